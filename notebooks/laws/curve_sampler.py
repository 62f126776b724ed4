"""The slow way to the same answer: the prior conditioned on a curve by an ensemble of walkers, many curves at once.

Walkers start from the prior and the likelihood is let in slowly (annealing) in the first half of the steps, which is
left out. Stretch moves (Goodman and Weare 2010, eq. 7) take turns with moves of differential evolution (ter Braak
2006): each half of the walkers moves by the places of the other half, so scales and correlations need not be known.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from curve_prior import N_LATENT, Array, Drawn, curve, log_likelihood

Likelihood = Callable[[Array], Array]
_COLD = 1e-4  # the likelihood's first power


@dataclass(frozen=True)
class Posterior:
    """Predictions of ensembles for what was asked of each curve; a mixture of normal distributions.

    Attributes:
        mean: ``(draws, m, k)``.
        noise: Standard deviations, of the same shape.
        r_hat: By curve, of the means' ranks in two independent ensembles, the worst of the k.
    """

    mean: Array
    noise: Array
    r_hat: Array

    def log_density(self, y: Array) -> Array:
        """Return the log density of observations ``(m, k)``."""
        each = -(((y - self.mean) / self.noise) ** 2) / 2 - np.log(self.noise) - np.log(2 * np.pi) / 2
        return np.logaddexp.reduce(each, 0) - np.log(len(each))


def sample(likelihood: Likelihood, start: Array, steps: int, every: int, rng: np.random.Generator) -> Array:
    """Walk through a standard normal prior times a likelihood.

    Args:
        likelihood: Its logarithm, from ``(walkers, curves, d)`` to ``(walkers, curves)``.
        start: Draws of the prior, ``(walkers, curves, d)``, an even number of walkers.
        steps: How many; in each every walker moves once.
        every: Keep each such step of the second half.
        rng: Randomness.

    Returns:
        Positions, ``(kept steps, walkers, curves, d)``.
    """
    x, value, kept = start.copy(), likelihood(start), []
    prior, half = -(x * x).sum(-1) / 2, len(x) // 2
    for step in range(steps):
        power = min(1.0, _COLD ** (1 - step / (0.4 * steps)))
        for own, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
            trial, weight = _move(x[own], x[other], step % 2 == 0, rng)
            found, before = likelihood(trial), -(trial * trial).sum(-1) / 2
            ratio = weight + power * (found - value[own]) + before - prior[own]
            moved = np.log(rng.random(ratio.shape)) < ratio
            x[own] = np.where(moved[..., None], trial, x[own])
            value[own], prior[own] = np.where(moved, found, value[own]), np.where(moved, before, prior[own])
        if step >= steps // 2 and step % every == 0:
            kept.append(x.copy())
    return np.array(kept)


def _move(own: Array, other: Array, stretch: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return where walkers try to go, and the logarithm of what that weighs."""
    n, m, d = own.shape
    first = rng.integers(n, size=(n, m, 1))
    partner = np.take_along_axis(other, first, 0)
    if stretch:
        z = (rng.random((n, m)) + 1) ** 2 / 2
        return (partner + z[..., None] * (own - partner)).astype(own.dtype), (d - 1) * np.log(z)
    second = (first + rng.integers(1, n, size=(n, m, 1))) % n  # another one
    length = rng.uniform(0.5, 1.5, (n, m, 1)) * 1.68 / np.sqrt(d)  # 2.38 / sqrt(2 d) is best for a normal target
    length = np.where(rng.random((n, m, 1)) < 0.1, 1.0, length)  # from mode to mode
    trial = own + length * (partner - np.take_along_axis(other, second, 0)) + 1e-5 * rng.standard_normal(own.shape)
    return trial.astype(own.dtype), np.zeros((n, m))


def condition(drawn: Drawn, steps: int, walkers: int, rng: np.random.Generator, every: int = 10) -> Posterior:
    """Condition the prior on each curve with two independent ensembles.

    Args:
        drawn: Curves.
        steps: Of each ensemble; the first half is left out.
        walkers: Of each ensemble, an even number.
        rng: Randomness.
        every: Keep each such step.

    Returns:
        What is predicted, and whether both ensembles agree.
    """
    u, y = drawn.u.astype(np.float32), drawn.y.astype(np.float32)  # twice as fast
    span, found = -drawn.u[:, :1], []
    for _ in range(2):
        start = rng.standard_normal((walkers, len(u), N_LATENT), dtype=np.float32)
        z = sample(lambda z: log_likelihood(z, u, y, drawn.seen), start, steps, every, rng)
        found.append(curve(z.reshape(-1, *z.shape[2:]), drawn.ahead + span, span))
    mean, noise = (np.stack(each) for each in zip(*found, strict=True))
    return Posterior(np.concatenate(mean), np.concatenate(noise), _r_hat(mean).max(1))


def _r_hat(values: Array) -> Array:
    """Return R-hat of the ranks of ``(2, n, m, k)``, each ensemble cut into halves: root of total over within."""
    cut = values.shape[1] // 2
    parts = np.concatenate([values[:, :cut], values[:, cut : 2 * cut]])
    flat = parts.reshape(4 * cut, *parts.shape[2:])
    ranks = flat.argsort(0).argsort(0).reshape(parts.shape)
    return np.sqrt(1 + ranks.mean(1).var(0, ddof=1) / ranks.var(1, ddof=1).mean(0))

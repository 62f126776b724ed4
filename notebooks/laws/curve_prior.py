"""What a learning curve may be: a prior over curves from 16 standard normal numbers, drawn from and conditioned on.

A curve starts at a level and goes towards a share of it, along a mixture of a power law, a stretched exponential and
an MMF curve; it may carry one bump, and every observation is noisy. Lengths are log x from the first point seen, the
span is log(last / first): so units change nothing. All 16 numbers z are standard normal, whatever they stand for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
N_LATENT = 16
RATIO, HORIZON = np.log(2) / 8, 3.2  # of anchors, in log x; how far beyond the last point is asked for
_GEOMETRIC, _LINEAR = (0.7, 6.3), (4, 40)  # spans of geometric grids, points of linear ones


def curve(z: Array, v: Array, span: Array) -> tuple[Array, Array]:
    """Return means and standard deviations of observations.

    Args:
        z: Standard normal, shape ``(..., 16)``.
        v: log(x / first x), shape ``(..., n)``.
        span: log(last x / first x) of what is seen, shape ``(..., 1)``.

    Returns:
        Mean and standard deviation, each ``(..., n)``.
    """
    each = [z[..., i : i + 1] for i in range(N_LATENT)]
    alpha = 0.4 * np.exp(0.9 * each[0])
    power = np.exp(-alpha * v)
    place = [span * (0.8 + 0.8 * each[i]) for i in (1, 3)]
    steep = [np.exp(0.6 * each[i]) for i in (2, 4)]
    grown = [np.exp(np.clip(d * (v - t), -50, 50)) for d, t in zip(steep, place, strict=True)]
    zero = [np.exp(np.clip(-d * t, -50, 50)) for d, t in zip(steep, place, strict=True)]
    weibull = np.exp(-np.minimum(grown[0] - zero[0], 700))
    mmf = (1 + zero[1]) / (1 + grown[1])
    share = np.exp(2.5 * z[..., 5:8])
    share /= share.sum(-1, keepdims=True)
    shape = share[..., :1] * power + share[..., 1:2] * weibull + share[..., 2:] * mmf
    level, small = np.exp(1.5 * each[9]), np.exp(-2 * np.maximum(each[15], 0))  # half of the curves are flatter
    limit = 1 - small * (1 - 1.1 * ndtr(1.2 * each[8]))
    width = 0.5 * np.exp(0.4 * each[12])
    bump = 0.05 * small * each[10] ** 3 * np.exp(-(((v - span * (0.5 + 0.5 * each[11])) / width) ** 2) / 2)
    mean = level * (limit + (1 - limit) * shape + bump)
    noise = 0.01 * small**0.7 * np.exp(1.2 * each[13]) * np.exp(-(0.25 + 0.2 * each[14]) * v)
    return mean, level * noise


@dataclass(frozen=True)
class Drawn:
    """Curves from the prior: what is seen of each, and what comes at the times that are asked for.

    Attributes:
        u: log(x / last x) of what is seen, shape ``(m, n)``, 0 beyond a curve's points.
        y: Observations, ``(m, n)``.
        seen: Which entries are points, ``(m, n)``, bool; the first ones.
        ahead: log(x / last x) of what is asked for, positive, ``(m, k)``.
        future: Observations there, ``(m, k)``.
    """

    u: Array
    y: Array
    seen: NDArray[np.bool_]
    ahead: Array
    future: Array


def draw(rng: np.random.Generator, m: int, k: int = 4) -> Drawn:
    """Draw m curves, each with its own grid: anchors in a constant ratio, or epochs one after another."""
    linear = rng.random(m) < 0.4
    spans, counts = rng.uniform(*_GEOMETRIC, m), rng.integers(_LINEAR[0], _LINEAR[1] + 1, m)
    n = np.where(linear, counts, (spans / RATIO).astype(int) + 1)
    i = np.arange(n.max())
    seen = i < n[:, None]
    u = np.where(linear[:, None], np.log((i + 1) / n[:, None]), (i - n[:, None] + 1) * RATIO) * seen
    span, ahead = -u[:, :1], HORIZON * rng.random((m, k))
    mean, noise = curve(rng.standard_normal((m, N_LATENT)), np.concatenate([u, ahead], 1) + span, span)
    y = mean + noise * rng.standard_normal(mean.shape)
    return Drawn(u, np.where(seen, y[:, : len(i)], 0), seen, ahead, y[:, len(i) :])


def log_likelihood(z: Array, u: Array, y: Array, seen: NDArray[np.bool_]) -> Array:
    """Return the log density of what is seen, up to a constant; z of shape ``(w, m, 16)`` for w walkers on m curves."""
    span = -u[:, :1]
    mean, noise = curve(z, u + span, span)
    each = -(((y - mean) / noise) ** 2) / 2 - np.log(noise)
    return np.where(seen, each, 0).sum(-1)

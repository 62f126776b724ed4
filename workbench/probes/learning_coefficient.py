"""The local learning coefficient: how fast the volume of low loss around a minimum shrinks with the loss."""

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor, nn
from torch.autograd import grad
from torch.func import functional_call, vmap

from workbench.errors import is_count, is_number, require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.landscape import Landscape, Measured, Where
from workbench.seeds import generator

Array = NDArray[np.float64]
State = tuple[Tensor, ...]
# a step times the log posterior's top curvature; from 4 on the leapfrog runs away, long before it is not taken
_STIFFNESS = 1.0
_ACCEPTANCE, _AIM, _R_HAT = 0.4, 0.65, 1.1
_TINY = 10_000  # parameters up to which chains run in one batch
_EXTRA = 4.0  # the third arm's temperature: twice the distance from the minimum


@dataclass(frozen=True, kw_only=True)
class LearningCoefficient(Measured):
    """A learning coefficient, its error, and the chains it stands on.

    Three arms ran: the step at beta, half the step at beta, and beta / 4.

    Attributes:
        value: Lambda of the first arm; NaN where the run is refused.
        interval: 95 %: Student's over chains, stretched for the finite temperature; NaN where refused.
        finite_temperature: Lambda at beta less lambda at beta / 4.
        refused: Why the run says nothing, or None.
        step: Of each arm, shape ``(3,)``, as it stood after burning in.
        beta: Inverse temperatures, shape ``(3,)``.
        by_arm: What each arm says of lambda, shape ``(3,)``; there for refused runs, too.
        error_by_arm: Its standard error over chains.
        acceptance: Share of proposals taken, shape ``(3,)``.
        r_hat: The larger of those of losses and of squared distances, over half chains, shape ``(3,)``.
        trace: Losses after burning in, shape ``(3, n_chains, n_steps)``.
        loss: At the point.
        curvature: The Hessian's largest eigenvalue in size at the point, by power iteration.
    """

    value: float
    interval: tuple[float, float]
    finite_temperature: float
    refused: str | None
    step: Array
    beta: Array
    by_arm: Array
    error_by_arm: Array
    acceptance: Array
    r_hat: Array
    trace: Array
    loss: float
    curvature: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row an arm."""
        names = {"by_arm": "value", "error_by_arm": "standard_error"}
        columns = ("step", "beta", "by_arm", "error_by_arm", "acceptance", "r_hat")
        return pd.DataFrame({names.get(name, name): getattr(self, name) for name in columns})


def learning_coefficient(
    objective: Supervised,
    point: Tensor | Point,
    *,
    step: float | None = None,
    beta: float | None = None,
    prior: float = 1.0,
    n_chains: int = 8,
    n_leapfrog: int = 30,
    n_steps: int = 300,
    n_burn: int | None = None,
    **where: Unpack[Where],
) -> LearningCoefficient:
    """Estimate the local learning coefficient at a minimum.

    ``lambda = n beta (E[L] - L*)``, with L* the loss at the point and E over phi with density proportional to
    ``exp(-n beta L(phi) - prior / 2 |phi - point|^2)``. A regular minimum has half its number of parameters, a
    degenerate one less. The sampler is Hamiltonian with the Metropolis test on all examples (MALA where ``n_leapfrog``
    is 1), so that its answer does not drift with the step: too large a step shows as proposals not taken, too small
    a one as chains that disagree or still move away. Two errors remain. That of chance is Student's over chains. That
    of the finite temperature is read from the estimate at beta / 4: where lambda(beta) nears its limit as
    ``beta^-a``, what is missing is
    ``(lambda(beta) - lambda(beta / 4)) / (4^a - 1)``, at most that difference for a from 1/2 on (the prior on a
    curved direction has a = 1, a fourth-order direction beside curved ones 1/2). The interval is stretched by it.
    A multiplicity m above 1 takes ``(m - 1) / log(n beta)`` off, which no two temperatures can tell; the upper end
    has room for m = 2.

    Args:
        objective: Left bit for bit as it is.
        point: The minimum, phi or theta, shape ``(d,)``; evaluation mode with the buffers as they stand or its own.
        step: Square of the leapfrog's step, the variance of Langevin's noise; None finds it while burning in, for
            65 % acceptance.
        beta: Inverse temperature of one example; None for ``1 / log n``.
        prior: Precision of the normal prior around the point, positive; per unit of phi squared.
        n_chains: Of each of the three arms; at least 2. All run in one batch (``vmap``) for networks without
            convolutions of at most 10,000 parameters, else one after another.
        n_leapfrog: Gradients a proposal; 1 is Langevin's, and many reach farther along flat directions.
        n_steps: Proposals kept of each chain.
        n_burn: Left out before them; None for half as many.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        Lambda with its interval, or a result that says why it is refused: acceptance below 40 %, split R-hat above
        1.1, half the step says otherwise, or the point is no minimum. Its trace is there either way.

    Raises:
        InputError: If an argument breaks its rule; among them a step that, times the top curvature of n beta L and
            the prior, is above 1, which is checked before the chains start.

    References:
        Lau et al. 2023, "The local learning coefficient", https://arxiv.org/abs/2308.12108. Watanabe 2013, WBIC,
        https://arxiv.org/abs/1208.6338, theorem 4. Gelman et al. 2013, Bayesian Data Analysis, 11.4 (R-hat).

    Example:
        >>> x = torch.eye(4, dtype=torch.float64).repeat(5, 1)
        >>> line = Supervised(nn.Linear(4, 1), (x, x.sum(1)), loss="squared_error", dtype=torch.float64)
        >>> minimum = torch.tensor([1.0, 1, 1, 1, 0], dtype=torch.float64)
        >>> found = learning_coefficient(line, minimum, beta=10.0, n_steps=200)
        >>> found.interval[0] < 2.0 < found.interval[1]  # four directions count, five parameters or not
        True
    """
    at = Landscape(objective, point, **where)
    require(at.n >= 3 or beta is not None, "n_examples", "must be at least 3 for beta = 1 / log n", at.n)
    beta = 1 / np.log(at.n) if beta is None else beta
    n_burn = n_steps // 2 if n_burn is None else n_burn
    for name, number in (("step", 1 if step is None else step), ("beta", beta), ("prior", prior)):
        require(is_number(number) and number > 0, name, "must be positive and finite", number)
    counts = {"n_chains": (n_chains, 2), "n_leapfrog": (n_leapfrog, 1), "n_steps": (n_steps, 8), "n_burn": (n_burn, 0)}
    for name, (count, least) in counts.items():
        require(is_count(count, least), name, f"must be a whole number of at least {least}", count)
    curvature, n_power = _top_curvature(at)
    largest = _STIFFNESS / (at.n * beta * curvature + prior)
    rule = f"must be at most {largest:.3g}, 1 over the top curvature of n beta L and the prior"
    require(step is None or step <= largest, "step", rule, step, "take a smaller one, or None to have it found")
    start, betas = (largest if step is None else step), beta * np.array([1, 1, 1 / _EXTRA])
    chains = _Chains(at, at.n * betas, prior, n_chains, n_leapfrog)
    steps, acceptance, trace, distances = chains.run(start, n_burn, n_steps, adapt=step is None)
    with at.visit():
        loss = float(chains.slopes(at.phi[None])[0])
    found: dict[str, Any] = {"step": steps, "beta": betas, "acceptance": acceptance, "trace": trace}
    cost = 3.0 * n_chains * (n_leapfrog * (n_burn + n_steps) + 1) + n_power + 1
    found |= {"loss": loss, "curvature": curvature, "n_gradients": cost, "seed": at.seed, "n_examples": at.n}
    return LearningCoefficient(**found, **_judged(at.n * betas, trace - loss, distances, acceptance))


def _judged(heat: Array, excess: Array, distances: Array, acceptance: Array) -> dict[str, Any]:
    """Turn losses above the point's into estimates, and refuse what does not hang together."""
    n_chains = excess.shape[1]
    by_chain = heat[:, None] * excess.mean(-1)
    values, errors = by_chain.mean(1), by_chain.std(1, ddof=1) / np.sqrt(n_chains)
    r_hat = np.array([max(map(_split_r_hat, each)) for each in zip(excess, distances, strict=True)])
    value, missing, moved = float(values[0]), float(values[0] - values[2]), abs(values[0] - values[1])
    reasons = (
        (acceptance.min() < _ACCEPTANCE, f"acceptance {acceptance.min():.2f} is below {_ACCEPTANCE}: smaller steps"),
        (not r_hat.max() <= _R_HAT, f"R-hat {r_hat.max():.3f} is above {_R_HAT}: more steps"),
        (
            moved > max(4 * np.hypot(*errors[:2]), 0.05 * value),
            f"half the step moves lambda by {moved:.3g}: more steps",
        ),
        (value <= 0, f"lambda {value:.3g} is not positive, so the point is no minimum: train on"),
    )
    refused = "; ".join(text for wrong, text in reasons if wrong) or None
    half = float(stdtrit(n_chains - 1, 0.975) * errors[0])
    high = half + max(missing, 0) + 1 / max(np.log(heat[0]), 1)
    low, high, kept = (np.nan,) * 3 if refused else (value - half + min(missing, 0), value + high, value)
    said = {"value": kept, "interval": (float(low), float(high)), "finite_temperature": missing, "refused": refused}
    return {**said, "by_arm": values, "error_by_arm": errors, "r_hat": r_hat}


class _Chains:
    """Hamiltonian chains at three temperatures and steps, moved together."""

    def __init__(self, at: Landscape, heat: Array, prior: float, n_chains: int, n_leapfrog: int) -> None:
        self.at, self.prior, self.n_leapfrog, self.shape = at, prior, n_leapfrog, (len(heat), n_chains)
        self.heat = torch.from_numpy(heat).to(at.phi).repeat_interleave(n_chains)
        self.rng = generator(at.seed, "chains")
        convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in at.objective.model.modules())
        self.batched = at.objective.D <= _TINY and not convolves

    def _loss(self, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        outputs = functional_call(self.at.objective.model, self.at.objective.layout.views(theta), (x,))
        return self.at.objective.losses(outputs, y).sum() / self.at.n

    def slopes(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses, shape ``(k,)``, and their gradients, shape ``(k, d)``, at phi, shape ``(k, d)``."""
        losses, slopes = phi.new_zeros(len(phi), dtype=torch.float64), torch.zeros_like(phi)
        size = len(phi) if self.batched else 1
        for rows in torch.arange(len(phi)).split(size):
            for x, y in self.at.chunks(1000):
                leaf = phi[rows].detach().requires_grad_()
                theta = torch.stack([self.at.theta(each) for each in leaf]) if self.at._map else leaf
                found = vmap(self._loss, (0, None, None))(theta, x, y) if size > 1 else self._loss(theta[0], x, y)[None]
                losses[rows] += found.detach()
                slopes[rows] += grad(found.sum(), leaf)[0]
        return losses, slopes

    def _state(self, phi: Tensor) -> State:
        """Return phi, the losses, the squared distances, the energies and the energies' gradients."""
        loss, slope = self.slopes(phi)
        away = phi - self.at.phi
        distance = away.double().square().sum(1)
        energy = self.heat * loss + self.prior / 2 * distance
        return phi, loss, distance, energy, self.heat[:, None] * slope + self.prior * away

    def run(self, start: float, n_burn: int, n_steps: int, adapt: bool) -> tuple[Array, Array, Array, Array]:
        """Return each arm's step and acceptance, and the losses and distances of every chain and kept proposal."""
        logs, taken, trace = np.log(start) + np.log([1, 0.5, _EXTRA]), np.zeros(self.shape[0]), []
        with self.at.visit():
            state = self._state(self.at.phi.repeat(self.shape[0] * self.shape[1], 1))
            for i in range(n_burn + n_steps):
                state, chances = self._move(state, np.exp(logs))
                by_arm = chances.view(self.shape).mean(1).numpy()
                if i >= n_burn:
                    trace.append(torch.stack(state[1:3]))
                    taken += by_arm / n_steps
                elif adapt:
                    logs += (by_arm - _AIM) / (1 + i) ** 0.6
                    logs[1] = logs[0] - np.log(2)
        losses, distances = torch.stack(trace, -1).view(2, *self.shape, -1).numpy()
        return np.exp(logs), taken, losses, distances

    def _move(self, state: State, steps: Array) -> tuple[State, Tensor]:
        """Propose by leapfrog, and take each proposal with the chance that keeps the density as it is."""
        step = torch.from_numpy(np.sqrt(steps) * self.rng.uniform(0.8, 1)).to(state[0])  # no orbit closes every time
        step = step.repeat_interleave(self.shape[1])[:, None]
        speed = torch.from_numpy(self.rng.standard_normal(state[0].shape)).to(state[0])
        new, before = state, state[3] + speed.double().square().sum(1) / 2
        speed = speed - step / 2 * state[4]
        for i in range(self.n_leapfrog):
            new = self._state(new[0] + step * speed)
            speed = speed - step / (1 if i + 1 < self.n_leapfrog else 2) * new[4]
        change = before - new[3] - speed.double().square().sum(1) / 2
        chance = change.nan_to_num(nan=-torch.inf).clamp(max=0).exp()
        take = torch.from_numpy(self.rng.random(len(chance))).to(chance) < chance
        both = zip(state, new, strict=True)
        return tuple(torch.where(take.view(-1, *[1] * (a.ndim - 1)), b, a) for a, b in both), chance


def _top_curvature(at: Landscape, n_products: int = 10) -> tuple[float, int]:
    """Return the size of the Hessian's largest eigenvalue by power iteration, and the number of products."""
    v = torch.from_numpy(generator(at.seed, "curvature").standard_normal(at.d)).to(at.phi)
    with at.products("hessian") as product:
        for _ in range(n_products):
            v = product(v / v.norm().clamp(min=torch.finfo(v.dtype).tiny))
    return float(v.norm()), n_products


def _split_r_hat(losses: Array) -> float:
    """Return R-hat of chains cut in halves: 1 where they agree; NaN where none moves."""
    half = losses.shape[1] // 2
    parts = np.concatenate([losses[:, :half], losses[:, -half:]])
    within = parts.var(1, ddof=1).mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.sqrt((half - 1) / half + parts.mean(1).var(ddof=1) / within))

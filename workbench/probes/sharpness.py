"""How much the loss rises around a point: at worst in a ball, and on average."""

from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch
from torch import Tensor
from torch.autograd import grad

from workbench.errors import is_count, is_number, require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.landscape import Landscape, Measured, Where
from workbench.seeds import generator


@dataclass(frozen=True, kw_only=True)
class Sharpness(Measured):
    """Two rises of the mean loss, in its unit.

    Attributes:
        worst_case: Largest rise found in the ball: a lower bound on the largest there is.
        worst_spread: By how much the poorest ascent fell short of it: what hangs on the start. No bound on what all of
            them may have missed, for which there is none.
        worst_after: Each ascent's best so far after each step, shape ``(n_starts, n_steps)``: flat at its end where
            more steps would add little.
        average: Mean rise over Gaussian moves.
        average_error: Its standard error, over pairs of opposite moves.
        radius: Of the ball; a Gaussian move's root mean square length.
        adaptive: Whether moves were measured in units of each coordinate's size.
    """

    worst_case: float
    worst_spread: float
    worst_after: np.ndarray
    average: float
    average_error: float
    radius: float
    adaptive: bool


def sharpness(
    objective: Supervised,
    point: Tensor | Point,
    *,
    radius: float = 0.05,
    adaptive: bool = False,
    n_starts: int = 2,
    n_steps: int = 20,
    n_draws: int = 20,
    **where: Unpack[Where],
) -> Sharpness:
    """Measure the worst-case and the average rise of the loss around a point.

    Worst case: max of L(phi + T u) - L(phi) over |u| <= radius, by gradient ascent inside the ball from random
    directions; average: its mean over u ~ N(0, radius^2 / d). T is the identity or, where ``adaptive``, diag(|phi|):
    multiplying one layer of a ReLU network by c and the next by 1 / c leaves the function as it was and moves the
    plain measures and the Hessian's eigenvalues by factors up to c squared; the adaptive ones stay.

    Args:
        objective: Network and examples; left as they are.
        point: Theta ``(D,)``, a point with buffers, or phi where there are coordinates.
        radius: Positive; in units of phi, or of each coordinate's own size where adaptive.
        adaptive: Whether every coordinate moves in proportion to its size; one that is 0 stays.
        n_starts: Ascents; at least 2.
        n_steps: Of each ascent, a gradient and a loss each.
        n_draws: Pairs of opposite Gaussian moves; at least 2.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        Both rises.

    Raises:
        InputError: If an argument breaks its rule, or the loss at the point is not finite.

    References:
        Keskar et al. 2017, https://arxiv.org/abs/1609.04836; Dinh et al. 2017, https://arxiv.org/abs/1703.04933; Kwon
        et al. 2021, eq. 4 (T), https://arxiv.org/abs/2102.11600.

    Example:
        >>> x, y = torch.diag(torch.tensor([1.0, 3.0])).double(), torch.zeros(2, 1)
        >>> quadratic = Supervised(torch.nn.Linear(2, 1, bias=False), (x, y), loss="squared_error", dtype=x.dtype)
        >>> round(sharpness(quadratic, torch.zeros(2).double(), radius=1.0).worst_case, 6)  # 9 / 2
        4.5
    """
    require(is_number(radius) and radius > 0, "radius", "must be positive", radius)
    for name, count, least in (("n_starts", n_starts, 2), ("n_steps", n_steps, 1), ("n_draws", n_draws, 2)):
        require(is_count(count, least), name, f"must be at least {least}", count)
    landscape = Landscape(objective, point, **where)
    scale = landscape.phi.abs() if adaptive else torch.ones_like(landscape.phi)
    base = _loss(landscape, landscape.phi)
    require(bool(np.isfinite(base)), "point", "must have a finite loss", base)

    def rise(u: Tensor) -> float:
        return _loss(landscape, landscape.phi + scale * u) - base

    rng = generator(landscape.seed, "sharpness")
    moves = torch.from_numpy(rng.standard_normal((n_draws + n_starts, landscape.d))).to(landscape.phi)
    moves = moves.roll(n_starts - 1, 0)  # so that the draws are the same for any number of starts
    found = np.array([(rise(u) + rise(-u)) / 2 for u in moves[n_starts:] * radius / np.sqrt(landscape.d)])
    starts = moves[:n_starts] * 1e-2 * radius / moves[:n_starts].norm(dim=1, keepdim=True)
    after = np.array([_ascend(landscape, base, scale, u, radius, n_steps) for u in starts])
    return Sharpness(
        worst_case=float(after.max()), worst_spread=float(np.ptp(after[:, -1])), worst_after=after,
        average=float(found.mean()), average_error=float(found.std(ddof=1)) / np.sqrt(n_draws), radius=radius,
        adaptive=adaptive, n_gradients=n_starts * n_steps * 4 / 3 + (2 * n_draws + 1) / 3, n_examples=landscape.n,
        seed=landscape.seed,
    )  # fmt: skip


def _ascend(landscape: Landscape, base: float, scale: Tensor, u: Tensor, radius: float, n_steps: int) -> list[float]:
    """Climb inside the ball from u; return the best rise so far after each step."""
    best, step, after = 0.0, radius, []
    for _ in range(n_steps):
        slope = scale * _slope(landscape, landscape.phi + scale * u)
        ahead = u + step * slope / slope.norm().clamp_min(torch.finfo(u.dtype).tiny)
        ahead = ahead * min(1.0, radius / float(ahead.norm()))
        height = _loss(landscape, landscape.phi + scale * ahead) - base
        if height > best:
            best, u = height, ahead
        else:
            step /= 2  # beyond a maximum: try nearer
        after.append(best)
    return after


def _loss(landscape: Landscape, phi: Tensor) -> float:
    return landscape.objective.loss(Point(landscape.theta(phi).detach(), landscape.buffers))


def _slope(landscape: Landscape, phi: Tensor) -> Tensor:
    """Return the gradient at any phi, shape ``(d,)``."""
    phi = phi.clone().requires_grad_()
    theta = landscape.theta(phi)
    at = landscape.objective.gradient(Point(theta.detach(), landscape.buffers))
    return grad(theta, phi, at)[0]

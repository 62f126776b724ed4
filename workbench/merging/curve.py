"""Curve: is there a path of low loss between two networks where the straight one is high?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import comb
from torch import Tensor

from workbench.errors import is_count, is_number, require, require_choice
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.landscape import Map
from workbench.seeds import generator

Kind = Literal["bezier", "polygonal"]


@dataclass(frozen=True)
class Curve:
    """A path; ``points``, shape ``(n_bends + 2, d)``, are its control points, both ends included.

    ``losses`` are the minibatches' while it was trained, shape ``(n_steps,)``.
    """

    kind: Kind
    points: Tensor
    losses: NDArray[np.float64]
    n_gradients: float
    seed: int

    def __call__(self, t: float) -> Tensor:
        """Return theta or phi at t in [0, 1], shape ``(d,)``."""
        return _shares(self.kind, len(self.points), t).to(self.points) @ self.points


def curve(
    objective: Supervised,
    first: Tensor | Point,
    second: Tensor | Point,
    *,
    kind: Kind = "bezier",
    n_bends: int = 1,
    n_steps: int = 2000,
    learning_rate: float = 1e-3,
    batch_size: int | None = 128,
    coordinates: Map | None = None,
    seed: int = 0,
) -> Curve:
    """Train the bends of a path for a low mean loss over t, uniform in [0, 1], the ends held fixed.

    A Bezier curve is ``sum_k C(n, k) t^k (1 - t)^(n - k) w_k``, a polygonal one runs straight from w_k to w_(k+1) as
    t runs from k / n to (k + 1) / n. Each step draws one t and one minibatch; Adam, cosine schedule, training mode.
    Bends start on the segment. Measure the path with :func:`workbench.probes.barrier`, which recomputes statistics of
    BatchNorm at every point: ``barrier(objective, first, second, path=curve(...))``.

    Args:
        objective: Network and examples; left as it is.
        first: Theta or phi at t = 0, shape ``(d,)``; or a point.
        second: Likewise at t = 1.
        kind: ``"bezier"`` or ``"polygonal"``.
        n_bends: Control points between the ends.
        n_steps: Gradients, one a step.
        learning_rate: Adam's, at the start.
        batch_size: Examples a step; None for all.
        coordinates: Theta as a differentiable function of phi; None where phi is theta itself.
        seed: Of t, minibatches and dropout.

    Returns:
        The path, callable.

    Raises:
        InputError: If the ends differ in length, or a setting is out of its range.

    References:
        Garipov et al. 2018, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", section 3,
        https://arxiv.org/abs/1802.10026; there by SGD with weight decay.
    """
    require_choice("kind", kind, ("bezier", "polygonal"))
    for name, value in (("n_bends", n_bends), ("n_steps", n_steps)):
        require(is_count(value, 1), name, "must be a positive whole number", value)
    require(is_number(learning_rate) and learning_rate > 0, "learning_rate", "must be positive", learning_rate)
    a, b = (end[0] if isinstance(end, tuple) else end for end in (first, second))
    require(a.shape == b.shape, "second", f"must have the shape of first, {tuple(a.shape)}", tuple(b.shape))
    points = torch.stack([a.lerp(b, k / (n_bends + 1)) for k in range(n_bends + 2)]).detach()
    bends = points[1:-1].requires_grad_(False)  # a view: a step moves the curve
    optimizer = torch.optim.Adam([bends], learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    rng, losses = generator(seed, "curve"), np.empty(n_steps)
    batches = objective.minibatches(seed, batch_size)
    start = (coordinates(a) if coordinates else a).detach()
    with torch.random.fork_rng(), objective.visit(Point(start, first[1] if isinstance(first, tuple) else {})):
        torch.manual_seed(seed)
        for step in range(n_steps):
            shares = _shares(kind, len(points), rng.random()).to(points)
            phi = (shares @ points).requires_grad_()
            theta = coordinates(phi) if coordinates else phi
            objective.set_point(theta)
            losses[step] = float(objective.backward(*objective.train_batch(next(batches))))
            (slope,) = torch.autograd.grad(theta, phi, objective.grad) if coordinates else (objective.grad,)
            bends.grad = torch.outer(shares[1:-1], slope)
            optimizer.step()
            schedule.step()
    n = len(objective.splits["train"])
    return Curve(kind, points, losses, n_steps * min(batch_size or n, n) / n, seed)


def _shares(kind: Kind, n_points: int, t: float) -> Tensor:
    """Return what each control point counts at t, shape ``(n_points,)``."""
    k, n = np.arange(n_points), n_points - 1
    if kind == "bezier":
        return torch.from_numpy(comb(n, k) * t**k * (1 - t) ** (n - k))
    return torch.from_numpy(np.clip(1 - abs(n * t - k), 0, None))

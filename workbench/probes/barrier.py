"""Barrier: how much worse are the networks between two than the two themselves?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit
from torch import Tensor

from workbench.errors import is_count, is_number, require
from workbench.layout import Point
from workbench.objective import BatchStats, Supervised
from workbench.probes.landscape import Measured, Where
from workbench.probes.slices import Array, Slices


@dataclass(frozen=True, kw_only=True)
class Barrier(Measured):
    """Loss (in its own unit, nats for cross-entropy) and error along a path, shape ``(m,)``, and their barriers.

    ``standard_error`` and ``error_standard_error`` are those of the barriers over examples, paired at the highest
    point and both ends; they count neither the choice of that point nor the seeds of the networks.
    """

    t: Array
    loss: Array
    error: Array
    height: float
    standard_error: float
    error_height: float
    error_standard_error: float
    recalibrated: bool

    def connected(self, margin: float = 0.02, width: float = 2.0) -> bool | None:
        """Tell whether the error nowhere rises by the margin; None within ``width`` standard errors of it."""
        distance = self.error_height - margin
        return None if abs(distance) <= width * self.error_standard_error else distance < 0

    def to_frame(self) -> pd.DataFrame:
        """Return t, loss and error, one row a point."""
        return pd.DataFrame({"t": self.t, "loss": self.loss, "error": self.error})


def barrier(
    objective: Supervised,
    first: Tensor | Point,
    second: Tensor | Point,
    *,
    path: Callable[[float], Tensor] | None = None,
    n_points: int = 25,
    batch_stats: BatchStats = "recalibrated",
    **where: Unpack[Where],
) -> Barrier:
    """Measure the barrier between two networks along a straight segment or another path.

    ``max over t in [0, 1] of L(path(t)) - (1 - t) L(first) - t L(second)``, which is never negative; likewise for the
    error. Two networks are linearly connected where the error's barrier on the segment is below a margin
    (:meth:`Barrier.connected`).

    Args:
        objective: Network and examples.
        first: Theta or phi at t = 0, shape ``(d,)``; or a point with its buffers.
        second: Likewise at t = 1.
        path: From t to theta or phi, such as a :class:`workbench.merging.Curve`; None for the segment.
        n_points: Equally spaced t, both ends included.
        batch_stats: Statistics of BatchNorm ``"recalibrated"`` at every point on the whole training split, ends
            included; or ``"stored"`` ones, those of two points interpolated as theta is, which makes barriers of
            networks that have none.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        The path's values and both barriers.

    Raises:
        InputError: If the ends differ in length, one is not finite, or there are fewer than three points.

    References:
        Frankle et al. 2020, "Linear mode connectivity and the lottery ticket hypothesis", section 2,
        https://arxiv.org/abs/1912.05671; statistics recomputed as Jordan et al. 2023, "REPAIR",
        https://arxiv.org/abs/2211.08403.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> product = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> data = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [0.0]])
        >>> objective = Supervised(product, data, loss="squared_error")  # (w v - 1)^2 / 2, at w = v = t from -1 to 1
        >>> barrier(objective, -torch.ones(2), torch.ones(2)).height
        0.5
    """
    require(is_count(n_points, 3), "n_points", "must be a whole number of at least 3", n_points)
    slices, last = (Slices(objective, end, batch_stats, **where) for end in (first, second))
    rule = f"must have the length of first, {len(slices.phi)}"
    require(last.phi.shape == slices.phi.shape, "second", rule, len(last.phi))
    t, found = np.linspace(0, 1, n_points), []
    for each in t.tolist():
        phi = slices.phi.lerp(last.phi, each) if path is None else path(each)
        found.append(slices.each(slices.settle(phi, _between(slices.buffers, last.buffers, each))).cpu().numpy())
    values = np.stack(found)  # (m, 2, n)
    loss, error = values.mean(2).T
    (height, deviation), (error_height, error_deviation) = (_height(t, values[:, i]) for i in (0, 1))
    return Barrier(
        t=t,
        loss=loss,
        error=error,
        height=height,
        standard_error=deviation,
        error_height=error_height,
        error_standard_error=error_deviation,
        recalibrated=slices.recalibrates,
        n_gradients=n_points * slices.cost,
        n_examples=slices.n,
        seed=slices.seed,
    )


def pairs_interval(heights: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean barrier between networks of different seeds, and the ends of its interval.

    Pairs that share a network are no independent measurements, so whole networks are left out in turn (the jackknife
    of a mean over pairs), and Student's t has n - 1 degrees of freedom.

    Args:
        heights: Barriers of every pair of n >= 3 networks, shape ``(n, n)``, symmetric; the diagonal is not read.
        level: Confidence.

    Returns:
        Mean, low, high.

    Raises:
        InputError: If the matrix is not square, symmetric, finite off its diagonal and of at least three networks.

    References:
        Arvesen 1969, "Jackknifing U-statistics", Annals of Mathematical Statistics.

    Example:
        >>> [round(v, 3) for v in pairs_interval([[0, 1, 2], [1, 0, 3], [2, 3, 0]])]
        [2.0, -2.968, 6.968]
    """
    matrix = np.array(heights, dtype=float)
    n = len(matrix)
    ok = matrix.ndim == 2 and matrix.shape == (n, n) and n >= 3
    if ok:
        np.fill_diagonal(matrix, 0)
        ok = bool(np.isfinite(matrix).all() and np.array_equal(matrix, matrix.T))
    rule = "must be the symmetric matrix of three or more networks' barriers, finite off its diagonal"
    require(ok, "heights", rule, matrix.shape)
    require(is_number(level) and 0 < level < 1, "level", "must be between 0 and 1", level)
    mean = matrix.sum() / (n * (n - 1))
    without = (matrix.sum() - 2 * matrix.sum(0)) / ((n - 1) * (n - 2))
    half = stdtrit(n - 1, (1 + level) / 2) * np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    return float(mean), float(mean - half), float(mean + half)


def _between(first: dict[str, Tensor], second: dict[str, Tensor], t: float) -> dict[str, Tensor]:
    """Interpolate two points' buffers; where one has none, the other's stand."""
    if not (first and second):
        return first or second
    return {k: v.lerp(second[k], t) if v.is_floating_point() else v for k, v in first.items()}


def _height(t: Array, values: Array) -> tuple[float, float]:
    """Return the largest rise of values, shape ``(m, n)``, above their ends' interpolation, and its standard error."""
    with np.errstate(invalid="ignore"):  # where the path runs through infinity
        rise = values - np.outer(1 - t, values[0]) - np.outer(t, values[-1])
        highest = rise[int(rise.mean(1).argmax())]
        spread = highest.std(ddof=1) if len(highest) > 1 else np.nan
    return float(highest.mean()), float(spread / np.sqrt(len(highest)))

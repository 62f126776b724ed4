"""Many learning curves fitted at once by least squares, each in its own units.

Given the shape's parameters the rest is linear (variable projection), so a grid of shapes finds the start and
Levenberg-Marquardt steps go on from there, for all curves in one array.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from workbench.laws.families import Array, Family

_CHUNK, _STEPS, _TINY = 128, 200, 1e-24  # curves at a time; steps at most; smallest mean square, of the largest y's


@dataclass(frozen=True)
class Curves:
    """Curves side by side, each in its own units: log x over the largest, y over the largest, where seen."""

    u: Array  # (m, n)
    y: Array  # (m, n), 0 where not seen
    seen: Array  # (m, n), 1 or 0
    low: Array  # (m, 1), smallest c
    x_unit: Array  # (m, 1)
    y_unit: Array  # (m, 1)

    def part(self, rows: slice | NDArray[np.intp]) -> "Curves":
        """Return some of the curves."""
        return Curves(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Fits:
    """One family fitted to m curves: logarithms of the shape's parameters, A, c, and what intervals need."""

    family: Family
    q: Array  # (m, k)
    linear: Array  # (m, 2): A and c
    square: Array  # (m,), sum of squared residuals
    inverse: Array  # (m, p, p), of J'J
    n: Array  # (m,), points seen

    @cached_property
    def aicc(self) -> Array:
        """Akaike's criterion for small samples, infinite where there are too few points for it."""
        k, n = self.family.n_parameters, self.n
        mean = np.maximum(self.square / n, _TINY)
        return np.where(n > k + 1, n * np.log(mean) + 2 * k * n / np.maximum(n - k - 1, 1), np.inf)

    def predict(self, u: Array) -> tuple[Array, Array]:
        """Return value and standard error of a new observation at u, both ``(m, n)``, in a curve's own units."""
        shape, jacobian = _jacobian(self.family, u, self.q, self.linear[:, :1])
        mean = self.linear[:, :1] * shape + self.linear[:, 1:]
        spread = np.einsum("mnp,mpq,mnq->mn", jacobian, self.inverse, jacobian)
        noise = self.square / np.maximum(self.n - self.family.n_parameters + 1, 1)
        return mean, np.sqrt(noise[:, None] * (1 + spread) + _TINY)


def place(x: Array, y: Array, low: float) -> Curves:
    """Put curves into their own units, y of shape ``(m, n)``."""
    x, wanted = np.broadcast_to(x, y.shape), ~np.isnan(y).all(0)
    x, y = x[:, wanted], y[:, wanted]
    seen = ~np.isnan(y)
    x_unit = np.where(seen, x, 0).max(1, keepdims=True)
    y_unit = np.where(seen, np.abs(y), 0).max(1, keepdims=True)
    y_unit = np.where(y_unit > 0, y_unit, 1.0)
    u, scaled = np.log(x / x_unit) * seen, np.where(seen, y, 0) / y_unit
    return Curves(u, scaled, seen.astype(float), low / y_unit, x_unit, y_unit)


def _linear(curves: Curves, shape: Array, offset: bool) -> tuple[Array, Array]:
    """Return the best A >= 0 and c >= low for shapes ``(m, g, n)``, stacked last, and the sum of squared residuals."""
    both = np.stack([curves.seen, curves.y], -1)
    (s, t), ss = np.moveaxis(shape @ both, -1, 0), (shape**2 @ curves.seen[..., None])[..., 0]
    n, total, square = (each.sum(1, keepdims=True) for each in (curves.seen, curves.y, curves.y**2))
    if not offset:
        a, c = np.maximum(t, 0) / np.maximum(ss, _TINY), np.zeros(s.shape)
    else:
        centred = np.maximum(ss - s * s / n, 0)
        a = np.where(centred > 1e-13 * ss, (t - s * total / n) / np.maximum(centred, _TINY), 0).clip(min=0)
        c = (total - a * s) / n
        held = np.where(np.isfinite(curves.low), curves.low, 0)
        a = np.where(c < curves.low, np.maximum(t - held * s, 0) / np.maximum(ss, _TINY), a)
        c = np.maximum(c, curves.low)
    left = square - 2 * a * t - 2 * c * total + a * a * ss + 2 * a * c * s + n * c * c
    return np.stack([a, c], -1), left


def _residual(family: Family, curves: Curves, q: Array) -> tuple[Array, Array, Array]:
    """Return A and c, residuals and their sum of squares at shapes' parameters ``(m, k)``."""
    shape = family.shape(curves.u, q)
    linear = _linear(curves, shape[:, None], family.offset)[0][:, 0]
    r = (curves.y - linear[:, :1] * shape - linear[:, 1:]) * curves.seen
    return linear, r, np.einsum("mn,mn->m", r, r)


def _jacobian(family: Family, u: Array, q: Array, a: Array) -> tuple[Array, Array]:
    """Return shapes ``(m, n)`` and the derivatives by q, A and c, ``(m, n, p)``; a complex step makes them exact."""
    shape = family.shape(u, q)
    steps = [q + 1e-30j * np.eye(q.shape[1])[j] for j in range(q.shape[1])]
    by_q = [a * family.shape(u.astype(complex), step).imag / 1e-30 for step in steps]
    return shape, np.stack([*by_q, shape, *[np.ones_like(shape)] * family.offset], -1)


def _start(family: Family, curves: Curves) -> Array:
    """Return the best shape of a grid for each curve, ``(m, k)``."""
    n = 41 if len(family.bounds) == 1 else 17
    grid = np.array(list(product(*(np.linspace(*ends, n) for ends in family.bounds))))
    _, square = _linear(curves, family.shape(curves.u[:, None], grid), family.offset)  # (m, g)
    return grid[square.argmin(1)]


def fit(curves: Curves, family: Family) -> Fits:
    """Fit a family to curves, some at a time."""
    parts = [curves.part(slice(i, i + _CHUNK)) for i in range(0, len(curves.y), _CHUNK)]
    found = [_polish(part, family, _start(family, part)) for part in parts]
    q, linear, square, inverse = (np.concatenate(each) for each in zip(*found, strict=True))
    return Fits(family, q, linear, square, inverse, curves.seen.sum(1))


def _polish(curves: Curves, family: Family, q: Array) -> tuple[Array, Array, Array, Array]:
    """Walk down by Levenberg-Marquardt steps within the bounds until no curve gains."""
    lower, upper = np.array(family.bounds).T
    linear, r, square = _residual(family, curves, q)
    damping, idle = np.full(len(q), 1e-3), np.zeros(len(q), int)
    for _ in range(_STEPS):
        rows = np.flatnonzero(idle < 8)  # the others have arrived
        if not len(rows):
            break
        part = curves.part(rows)
        normal, gradient = _normal(family, part, q[rows], linear[rows], r[rows])
        step = np.linalg.solve(normal * (1 + damping[rows, None, None] * np.eye(normal.shape[1])), gradient[..., None])
        moved = np.clip(q[rows] + step[:, : q.shape[1], 0], lower, upper)
        trial = _residual(family, part, moved)
        gain, better = square[rows] - trial[2], trial[2] < square[rows]
        idle[rows] = np.where(gain > 1e-10 * square[rows] + _TINY * 1e-8, 0, idle[rows] + 1)
        damping[rows] = np.where(better, damping[rows] / 8, damping[rows] * 10).clip(1e-6, 1e12)
        up = rows[better]
        q[up], linear[up], r[up], square[up] = (each[better] for each in (moved, *trial))
    normal, _ = _normal(family, curves, q, linear, r)
    return q, linear, square, np.linalg.inv(normal).astype(float)


def _normal(family: Family, curves: Curves, q: Array, linear: Array, r: Array) -> tuple[Array, Array]:
    """Return J'J and J'r; a parameter held by its bound, or without effect, stays where it is."""
    _, jacobian = _jacobian(family, curves.u, q, linear[:, :1])
    jacobian *= curves.seen[..., None]
    k, lower, upper = q.shape[1], *np.array(family.bounds).T
    free = [linear[:, :1] > 0, linear[:, 1:] > curves.low]
    jacobian *= np.concatenate([np.ones(q.shape, bool), *free[: 1 + family.offset]], 1)[:, None]
    gradient = (r[:, None] @ jacobian)[:, 0]
    pushed = ((q <= lower) & (gradient[:, :k] < 0)) | ((q >= upper) & (gradient[:, :k] > 0))
    jacobian[..., :k] *= ~pushed[:, None]
    gradient[:, :k] *= ~pushed
    normal = np.swapaxes(jacobian, 1, 2) @ jacobian
    diagonal = np.einsum("mpp->mp", normal)
    diagonal += 1e-12 * diagonal.max(1, keepdims=True) + (diagonal <= 0)
    return normal, gradient

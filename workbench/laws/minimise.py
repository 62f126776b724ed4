"""Many small fits at once: non-negative least squares and a bounded quasi-Newton descent, a problem a row."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
EXACT = 1e-22  # a value that is rounding
# From points (b, P) and the problems they belong to, (b,), to values (b,), gradients (b, P), a curvature (b, P, P).
Function = Callable[[Array, Rows], tuple[Array, Array, Array]]


def nonnegative(gram: Array, moment: Array) -> Array:
    """Minimise ``x' gram x / 2 - moment' x`` over x >= 0 by trying every set of columns; for a handful of columns.

    Args:
        gram: Shape ``(..., K, K)``, positive semidefinite.
        moment: Shape ``(..., K)``.

    Returns:
        Shape ``(..., K)``.

    Example:
        >>> nonnegative(np.eye(2), np.array([3.0, -1.0])).round(9).tolist()
        [3.0, 0.0]
    """
    scale = np.sqrt(np.maximum(np.diagonal(gram, axis1=-2, axis2=-1), 1e-300))
    gram, moment = gram / (scale[..., :, None] * scale[..., None, :]), moment / scale
    best, found = np.zeros(moment.shape[:-1]), np.zeros(moment.shape)
    k = moment.shape[-1]
    for chosen in (list(each) for size in range(1, k + 1) for each in combinations(range(k), size)):
        part = gram[..., chosen, :][..., chosen] + 1e-12 * np.eye(len(chosen))  # columns may coincide
        x = np.linalg.solve(part, moment[..., chosen, None])[..., 0]
        gain = (moment[..., chosen] * x).sum(-1)
        better = (x >= 0).all(-1) & (gain > best)
        best = np.where(better, gain, best)
        full = np.zeros_like(found)
        full[..., chosen] = x
        found = np.where(better[..., None], full, found)
    return found / scale


def descend(function: Function, start: Array, low: Array, high: Array, n_steps: int = 300) -> tuple[Array, Array]:
    """Minimise many functions by BFGS within bounds, each from its own start, all steps taken together.

    The first metric is the curvature that the function reports, so the path does not depend on units.

    Args:
        function: See ``Function``.
        start: Shape ``(b, P)``.
        low: Bounds, shape ``(P,)``.
        high: Bounds, shape ``(P,)``.
        n_steps: At most.

    Returns:
        Points, shape ``(b, P)``, and their values, shape ``(b,)``.
    """
    x = np.clip(start, low, high)
    rows, length = np.arange(len(x)), np.ones(len(x))
    value, gradient, curvature = function(x, rows)
    value, gradient = np.where(np.isnan(value), np.inf, value), np.nan_to_num(gradient, posinf=0, neginf=0)
    metric, fresh = _inverse(curvature), np.ones(len(x), dtype=bool)
    best, ends = x.copy(), value.copy()
    for _ in range(n_steps):
        held = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
        downhill = np.where(held, 0, gradient)
        if (edge := held.any(1)).any():  # what is held must not steer the others: a metric of theirs alone
            free = ~held[edge, :, None] & ~held[edge, None, :]
            metric[edge] = _inverse(np.where(free, curvature[edge], 0) + held[edge, :, None] * np.eye(x.shape[1]))
        step = -np.einsum("bij,bj->bi", metric, downhill) * ~held
        slope = (step * downhill).sum(1)
        step *= (length * np.minimum(1, 2 / np.maximum(np.abs(step).max(1), 1e-300)))[:, None]
        new, after, shrink = _search(function, rows, x, value, gradient, step, low, high)
        length = np.minimum(1, 8 * length * shrink)  # a row that went a short way starts from there
        stuck = (shrink == 0) | np.isinf(value)  # where nothing can be predicted there is no way down
        fell = np.where(stuck, 0, value - after[0])
        small = (fell <= 1e-13 * np.abs(value)) & (np.abs(slope) <= 1e-11 * np.abs(value))
        done = np.where(stuck, fresh | np.isinf(value), small) | (value <= EXACT)
        metric = np.where(stuck[:, None, None], _inverse(curvature), _update(metric, new - x, after[1] - gradient))
        length[stuck], fresh = 1, stuck
        x, (value, gradient, curvature) = new, after
        best[rows], ends[rows] = x, value
        if done.all():
            break
        x, value, gradient, curvature, metric, length = (
            each[~done] for each in (x, value, gradient, curvature, metric, length)
        )
        fresh, rows = fresh[~done], rows[~done]
    return best, ends


def _search(
    function: Function, rows: Rows, x: Array, value: Array, gradient: Array, step: Array, low: Array, high: Array
) -> tuple[Array, tuple[Array, Array, Array], Array]:
    """Quarter steps until each function falls enough; return points, what is known there, and by how much (0: stay)."""
    new = np.clip(x + step, low, high)
    after = function(new, rows)
    shrink = np.ones(len(x))
    for turn in range(16):
        wanted = 1e-4 * ((new - x) * gradient).sum(1)
        poor = ~(after[0] <= value + np.minimum(wanted, 0)) & (shrink > 0)
        if not poor.any():
            break
        shrink[poor] = 0 if turn == 15 else shrink[poor] / 4
        new[poor] = np.clip(x[poor] + shrink[poor, None] * step[poor], low, high)
        for whole, part in zip(after, function(new[poor], rows[poor]), strict=True):
            whole[poor] = part
    return new, after, shrink


def _inverse(curvature: Array) -> Array:
    """Invert symmetric matrices, their smallest directions lifted; what is not finite counts as flat."""
    curvature = np.nan_to_num(curvature, posinf=0, neginf=0)
    own = np.diagonal(curvature, axis1=1, axis2=2)
    scale = np.sqrt(np.maximum(own, 1e-18 * own.max(axis=1, keepdims=True) + 1e-200))
    outer = scale[:, :, None] * scale[:, None, :]
    values, vectors = np.linalg.eigh(curvature / outer)
    lifted = np.maximum(values, 1e-9)
    return np.einsum("bij,bj,bkj->bik", vectors, 1 / lifted, vectors) / outer


def _update(metric: Array, s: Array, y: Array) -> Array:
    """Return the BFGS update of inverse Hessians; one without positive curvature along its step stays."""
    sy = (s * y).sum(1)
    good = sy > 1e-12 * np.linalg.norm(s, axis=1) * np.linalg.norm(y, axis=1)
    rho = np.where(good, 1 / np.where(good, sy, 1.0), 0.0)
    left = np.eye(s.shape[1]) - rho[:, None, None] * s[:, :, None] * y[:, None, :]
    new = np.einsum("bij,bjk,blk->bil", left, metric, left) + rho[:, None, None] * s[:, :, None] * s[:, None, :]
    return np.where(good[:, None, None], new, metric)

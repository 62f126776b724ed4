"""The fitted score near its crossing: a local line, else the isotonic curve."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench import statistics
from workbench.dimension.tables import Array, Runs

LEVEL_WIDTH = math.log(2)  # half-width in log d of the window that gives the level
SLOPE_WIDTH = math.log(3)  # least half-width of the window that gives the slope


@dataclass(frozen=True)
class LocalLine:
    """A line near a point, with one slope and one offset per group: ``y = level + slope * (x - pivot)``."""

    pivot: float
    level: float
    slope: float
    slope_se: float
    slope_df: int
    group_levels: Array  # each group's level at the pivot; groups without a point in the window are absent
    weights: Array  # (n_groups, n): what each point adds to its group's level


def local_weights(x: Array, groups: NDArray[np.intp], centre: float) -> Array:
    """Return tricube weights around a point, summing to one in each group.

    Args:
        x: Abscissae, shape ``(n,)``.
        groups: Group of each point, counted from 0, shape ``(n,)``.
        centre: Where the weights peak. They vanish ``LEVEL_WIDTH`` away; up to ``SLOPE_WIDTH`` where a group needs that
            to hold four points, and further where its nearest point is far. A group without any point within
            ``SLOPE_WIDTH`` is left out, unless all are.

    Returns:
        Weights, shape ``(n_groups, n)``.
    """
    member = np.arange(groups.max() + 1)[:, None] == groups
    distance = np.abs(x - centre)
    ranked = np.sort(np.where(member, distance, np.inf), axis=1)
    nearest, fourth = ranked[:, 0], ranked[:, min(3, ranked.shape[1] - 1)]
    keep = nearest <= max(SLOPE_WIDTH, nearest.min())
    width = np.maximum(np.clip(1.2 * fourth, LEVEL_WIDTH, SLOPE_WIDTH), 1.5 * nearest)[keep, None]
    weights = _tricube(distance / width) * member[keep]
    return weights / weights.sum(axis=1, keepdims=True)


def _tricube(u: Array) -> Array:
    """Return Cleveland's weights, which vanish smoothly at 1."""
    return (1 - np.minimum(u, 1) ** 3) ** 3


def _common_slope(x: Array, y: Array, groups: NDArray[np.intp], centre: float) -> tuple[float, float, int]:
    """Return a slope common to all groups, its standard error and degrees of freedom; NaN if it is undetermined.

    The window widens by half until the points fix the slope (squared spread within groups of 1/4) or all are in it.
    """
    width = SLOPE_WIDTH
    member = np.arange(groups.max() + 1)[:, None] == groups
    while True:
        kernel = _tricube(np.abs(x - centre) / width)
        totals = np.maximum(member @ kernel, 1e-300)
        dx, dy = (np.where(kernel > 0, v - ((member @ (kernel * v)) / totals)[groups], 0.0) for v in (x, y))
        spread = float(kernel @ dx**2)
        if spread >= 0.25 or (kernel > 0).all():
            break
        width *= 1.5
    if spread < 1e-12:
        return math.nan, math.nan, 0
    slope = float(kernel @ (dx * dy)) / spread
    df = int((kernel > 0).sum() - (member @ kernel > 0).sum()) - 1
    variance = float(kernel @ (dy - slope * dx) ** 2 / kernel[kernel > 0].mean()) / max(df, 1)
    return slope, math.sqrt(variance * float(kernel**2 @ dx**2)) / spread, df


def local_line(x: Array, y: Array, groups: NDArray[np.intp], centre: float) -> LocalLine | None:
    """Fit a line near a point, its slope common to all groups, its level the mean of the groups' levels.

    The slope comes from a wider window than the levels: its error matters little at the centre, where curvature would
    bias the levels.

    Args:
        x: Abscissae, shape ``(n,)``.
        y: Ordinates, shape ``(n,)``.
        groups: Group of each point, counted from 0, shape ``(n,)``; groups count alike, however many points they have.
        centre: Where the line is wanted.

    Returns:
        The line, or None where its slope is not positive or no group has two abscissae.
    """
    slope, slope_se, df = _common_slope(x, y, groups, centre)
    if not slope > 0:
        return None
    weights = local_weights(x, groups, centre)
    group_x = weights @ x
    pivot = float(group_x.mean())
    levels = weights @ y + slope * (pivot - group_x)
    return LocalLine(pivot, float(levels.mean()), slope, slope_se, df, levels, weights)


@dataclass(frozen=True)
class Curve:
    """The fitted score near its crossing, and what is needed to draw from its uncertainty."""

    crossing: Callable[[Array | float, Array | float], Array]  # (change of the goal, change of the slope) -> log d
    group_levels: Array  # each seed's level near the crossing
    weights: Array  # (n_seeds, n_runs)
    gains: Array  # d level / d score of each run, 0 for a diverged one
    goal_gain: float
    slope_se: float
    slope_df: int
    method: Literal["line", "isotonic"]


def line_curve(x: Array, runs: Runs, goal: float, centre: float, perfect: float | None) -> Curve | None:
    """Fit minus the log of the error (the score itself where nothing is perfect) by a local line in log d."""
    groups = np.unique(runs.seeds, return_inverse=True)[1]
    if perfect is None:
        y, gains, level, goal_gain = runs.scores, np.ones(len(runs)), goal, 1.0
    elif goal >= perfect:
        return None
    else:
        # Half an example more: it keeps a faultless run finite and takes out the bias of the log of a count.
        half = 0.0 if runs.correct is None else 0.5 / runs.correct.shape[1]
        error = np.maximum(perfect - runs.scores + half, 1e-3 * (perfect - goal))
        y, gains, level, goal_gain = -np.log(error), 1 / error, -math.log(perfect - goal), 1 / (perfect - goal)
    alive = ~np.isnan(y)
    reach = local_weights(x, groups, centre)
    if not alive.all() and (reach[:, ~alive] > 0).any():
        return None  # a failure has no log error to speak of, and must not be left out
    fit = local_line(x[alive], y[alive], np.unique(groups[alive], return_inverse=True)[1], centre)
    if fit is None:
        return None
    weights = np.zeros((len(fit.weights), len(runs)))
    weights[:, alive] = fit.weights

    def crossing(shift: Array | float, tilt: Array | float) -> Array:
        # To first order: the ratio of two uncertain numbers has tails that the estimate, run near its centre, has not.
        distance = (level - fit.level) / fit.slope
        return np.asarray(fit.pivot + distance + goal_gain * shift / fit.slope - distance * tilt / fit.slope)

    gains = np.where(alive, gains, 0.0)
    return Curve(crossing, fit.group_levels, weights, gains, goal_gain, fit.slope_se, fit.slope_df, "line")


def step_curve(x: Array, scores: Array, runs: Runs, goal: float, centre: float) -> Curve:
    """Fall back on the isotonic curve, joined by straight lines in log d."""
    # Noisier than the line; with noise of single runs alone the 95 % interval covers 87 % in bench_estimator's world.
    names, groups = np.unique(runs.seeds, return_inverse=True)
    residual = np.zeros(len(runs))
    for group in range(len(names) if len(names) > 1 else 0):
        # Against the curve of the other seeds: a seed alone at its d would lie on the common one without any residual.
        mine = groups == group
        knots, fitted = statistics.isotonic(x[~mine], scores[~mine])
        residual[mine] = scores[mine] - np.interp(x[mine], knots, fitted)
    weights = local_weights(x, groups, centre)
    levels = (weights @ residual) * (1 - 1 / len(names))

    def crossing(shift: Array | float, tilt: Array | float) -> Array:
        return statistics.crossing_isotonic(x, scores, goal + shift)

    return Curve(crossing, levels, weights, 1.0 * ~np.isnan(runs.scores), 1.0, 0.0, 0, "isotonic")

"""Runs and a baseline -> intrinsic dimension with an interval."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench import statistics
from workbench.dimension.tables import Array, Estimate, Runs
from workbench.errors import is_number, require
from workbench.seeds import generator

Groups = NDArray[np.intp]  # the seed of each run, counted from 0
N_DRAWS = 2000
LEVEL_WIDTH = math.log(2)  # half-width in log d of the window that gives the level
SLOPE_WIDTH = math.log(3)  # least half-width of the window that gives the slope


def target_score(baseline: Runs, fraction: float, threshold: Literal["local"] | float = "local") -> float:
    """Return the score to be reached; refuse a baseline, fraction or threshold that gives none."""
    require(is_number(fraction) and 0 < fraction <= 1, "fraction", "must be in (0, 1]", fraction, "0.9 is usual")
    require(len(set(baseline.dims)) == 1, "baseline", "must be runs at d = D alone", baseline.dims)
    require(bool(baseline.alive.any()), "baseline", "must hold a run that did not diverge", baseline.scores)
    if threshold == "local":
        goal = fraction * float(baseline.scores[baseline.alive].mean())
        require(goal > 0, "baseline", "must have a positive mean score", goal, "give threshold as a number")
        return goal
    require(is_number(threshold), "threshold", "must be 'local' or a number", threshold)
    return float(threshold)


def _require_matching(runs: Runs, baseline: Runs) -> None:
    """Refuse runs and a baseline that do not belong together."""
    D, largest = int(baseline.dims[0]), int(runs.dims.max())
    require(largest <= D, "dims", f"must be in 1..D={D}", largest)
    sizes = {table.correct.shape[1] for table in (runs, baseline) if table.correct is not None}
    require(len(sizes) < 2, "correct", "must be over the same test examples in runs and baseline", sizes)
    top = float(np.nanmax(np.append(runs.scores, baseline.scores)))
    require(top <= 1, "scores", "must be at most 1", top, "divide returns by the best possible one")


def intrinsic_dim(
    runs: Runs,
    baseline: Runs,
    fraction: float = 0.9,
    threshold: Literal["local"] | float = "local",
    *,
    level: float = 0.95,
) -> Estimate:
    """Estimate the d at which the expected score reaches a threshold, with an interval.

    An isotonic regression of all scores on log d says between which d the curve crosses. There a line is fitted,
    ``-log(1 - score) = a_seed + b log d`` with ``b > 0`` common and the offsets averaged over seeds; where it cannot
    be (no positive slope, a diverged run in the window, threshold not below 1, a crossing a factor 2 from the isotonic
    one) the isotonic curve is interpolated. The interval covers seeds as wholes (t with n - 1 degrees of freedom), the
    baseline's seeds, and, where both tables have ``correct``, the test examples, paired between runs and baseline. A
    diverged run counts as failing, with score 0 or the lowest seen; a diverged baseline run is left out of its mean.

    Args:
        runs: Runs in subspaces; 1 is the score of a faultless run, so divide returns by the best possible one.
        baseline: Runs of the full network, all at d = D.
        fraction: Fraction of the baseline's mean score to be reached, in (0, 1].
        threshold: "local" for that fraction of the baseline, or an absolute score.
        level: Confidence level.

    Returns:
        The estimate, censored where the tested d do not bracket the crossing.

    Raises:
        InputError: If an argument breaks its rule or the two tables do not belong together.
    """
    statistics.check_level(level)
    goal = target_score(baseline, fraction, threshold)
    _require_matching(runs, baseline)
    x, groups = np.log(runs.dims), np.unique(runs.seeds, return_inverse=True)[1]
    scores = np.where(runs.alive, runs.scores, np.nanmin(np.append(runs.scores, 0.0)))
    start = float(statistics.crossing_isotonic(x, scores, goal))
    censored: Literal["above", "below"] | None = "above" if start > x.max() else "below" if start <= x.min() else None
    centre = float(np.clip(start, x.min(), x.max()))
    curve = _line_curve(x, runs, groups, goal, centre)
    # A line that crosses a factor 2 from the isotonic curve has left its window: its points do not fix it.
    if curve is None or (censored is None and abs(curve.crossing(0.0) - centre) > LEVEL_WIDTH):
        curve = _step_curve(x, scores, runs, groups, goal, centre)
    local = fraction if threshold == "local" else None
    draws, covers = _draws(curve, runs, baseline, local)
    tested = int(runs.dims.min()), int(runs.dims.max())
    value = float(tested[censored == "above"])
    if censored is None:
        crossing = float(curve.crossing(0.0))
        # Between the last failing and the first passing d if these stand clear, else only within the tested d.
        below, above = x[scores < goal].max(), x[scores >= goal].min()
        inside = float(np.clip(crossing, *((below, above) if below < above else (x.min(), x.max()))))
        value, draws = math.exp(inside), None if draws is None else draws + (inside - crossing)
    low, high = (None, None) if draws is None else _ends(draws, level, tested, censored)
    return Estimate(
        value=value,
        low=low,
        high=high,
        threshold=goal,
        fraction=local,
        level=level,
        censored=censored,
        method=curve.method,
        covers=covers,
        tested=tested,
        n_diverged=runs.n_diverged + baseline.n_diverged,
        log_draws=draws,
    )


@dataclass(frozen=True)
class _Curve:
    """The level near the crossing and what moves it: minus the log of the error of a line, else the score itself."""

    method: Literal["line", "isotonic"]
    crossing: Callable[[Array | float], Array]  # change of the level sought -> log d
    levels: Array  # each seed's level near the crossing
    pull: Array  # (n_seeds, n_runs): d level of a seed / d score of a run
    goal_pull: float = 1.0  # d level sought / d threshold
    slope_error: float = 0.0  # what the slope's standard error does to the level
    slope_df: int = 0


def _line_curve(x: Array, runs: Runs, groups: Groups, goal: float, centre: float) -> _Curve | None:
    """Return the fit of ``-log(1 - score) = a_seed + b log d`` near the centre; None where that cannot be done.

    ``b`` is common, ``a`` is averaged over seeds however many runs they have. The slope comes from a wider window than
    the levels: its error matters little at the crossing, where curvature would bias the levels.
    """
    alive, weights = runs.alive, _local_weights(x, groups, centre)
    if goal >= 1 or weights[:, ~alive].any():
        return None  # a failure has no log error to speak of, and must not be left out
    # Half an example more: it keeps a faultless run finite and takes out the bias of the log of a count.
    half = 0.0 if runs.correct is None else 0.5 / runs.correct.shape[1]
    error = np.where(alive, np.maximum(1 - runs.scores + half, 1e-3 * (1 - goal)), 1.0)
    y = -np.log(error)
    slope, slope_se, slope_df = _common_slope(x[alive], y[alive], groups[alive], centre)
    if slope <= 0:
        return None
    group_x = weights @ x
    pivot = group_x.mean()
    levels = weights @ y + slope * (pivot - group_x)
    distance = (-math.log(1 - goal) - levels.mean()) / slope
    # To first order: the ratio of two uncertain numbers has tails that the estimate, run near its centre, has not.
    return _Curve(
        method="line",
        crossing=lambda shift: np.asarray(pivot + distance + shift / slope),
        levels=levels,
        pull=weights / error,
        goal_pull=1 / (1 - goal),
        slope_error=-distance * slope_se,
        slope_df=slope_df,
    )


def _step_curve(x: Array, scores: Array, runs: Runs, groups: Groups, goal: float, centre: float) -> _Curve:
    """Return the isotonic curve, joined by straight lines in log d, to fall back on."""
    # Noisier than the line; with noise of single runs alone the 95 % interval covers 87 % in bench_estimator's world.
    n_seeds = int(groups.max()) + 1
    residual = np.zeros(len(runs))
    for group in range(n_seeds if n_seeds > 1 else 0):
        # Against the curve of the other seeds: a seed alone at its d would lie on the common one without any residual.
        mine = groups == group
        knots, fitted = statistics.isotonic(x[~mine], scores[~mine])
        residual[mine] = scores[mine] - np.interp(x[mine], knots, fitted)
    weights = _local_weights(x, groups, centre)
    levels = weights @ residual * (1 - 1 / n_seeds)
    return _Curve(
        "isotonic", lambda shift: statistics.crossing_isotonic(x, scores, goal + shift), levels, weights * runs.alive
    )


def _tricube(u: Array) -> Array:
    """Return Cleveland's weights, which vanish smoothly at 1."""
    return (1 - np.minimum(u, 1) ** 3) ** 3


def _local_weights(x: Array, groups: Groups, centre: float) -> Array:
    """Return tricube weights around a point, summing to one in each group, shape ``(n_groups, n)``.

    They vanish ``LEVEL_WIDTH`` away; up to ``SLOPE_WIDTH`` where a group needs that to hold four points, and further
    where its nearest point is far. A group without any point within ``SLOPE_WIDTH`` is left out, unless all are.
    """
    member = np.arange(groups.max() + 1)[:, None] == groups
    distance = np.abs(x - centre)
    ranked = np.sort(np.where(member, distance, np.inf), axis=1)
    nearest, fourth = ranked[:, 0], ranked[:, min(3, len(x) - 1)]
    keep = nearest <= max(SLOPE_WIDTH, nearest.min())
    width = np.maximum(np.clip(1.2 * fourth, LEVEL_WIDTH, SLOPE_WIDTH), 1.5 * nearest)[keep, None]
    weights = _tricube(distance / width) * member[keep]
    return weights / weights.sum(axis=1, keepdims=True)


def _common_slope(x: Array, y: Array, groups: Groups, centre: float) -> tuple[float, float, int]:
    """Return a slope common to all groups, its standard error and degrees of freedom; zeros if it is undetermined.

    The window widens by half until the points fix the slope (squared spread within groups of 1/4) or all are in it.
    """
    member = np.arange(groups.max() + 1)[:, None] == groups
    width, spread, inside = SLOPE_WIDTH, 0.0, np.zeros(len(x), bool)
    while spread < 0.25 and not inside.all():
        kernel = _tricube(np.abs(x - centre) / width)
        inside = kernel > 0
        totals = np.maximum(member @ kernel, 1e-300)
        dx, dy = (v - (member @ (kernel * v) / totals)[groups] for v in (x, y))
        spread = float(kernel @ dx**2)
        width *= 1.5
    if spread < 1e-12:
        return 0.0, 0.0, 0
    slope = float(kernel @ (dx * dy)) / spread
    df = int(inside.sum()) - len(np.unique(groups[inside])) - 1
    variance = float(kernel @ (dy - slope * dx) ** 2 / kernel[inside].mean()) / max(df, 1)
    return slope, math.sqrt(variance * float(kernel**2 @ dx**2)) / spread, df


def _draws(curve: _Curve, runs: Runs, baseline: Runs, fraction: float | None) -> tuple[Array | None, tuple[str, ...]]:
    """Return draws of log d_int from its fiducial distribution and what they cover; None if that is too little.

    Each source of noise moves the level sought by a Student t with the degrees of freedom it was estimated with: exact
    for one normal source, slightly wide for several (Behrens and Fisher). Resampling three seeds would be too narrow:
    their percentile interval is the range of three numbers, which covers the truth 75 % of the time.
    """
    sources: dict[str, tuple[float, int]] = {}  # standard error in units of the level, degrees of freedom
    n, full = len(curve.levels), baseline.scores[baseline.alive]
    if n > 1:
        sources["seeds"] = float(curve.levels.std(ddof=1)) / math.sqrt(n), n - 1
    if fraction is not None and len(full) > 1:
        error = curve.goal_pull * fraction * float(full.std(ddof=1)) / math.sqrt(len(full))
        sources["baseline"] = error, len(full) - 1
    if runs.correct is not None and (fraction is None or baseline.correct is not None):
        arms: list[Array] = [curve.pull @ runs.correct]
        if fraction is not None and baseline.correct is not None:
            arms.append(curve.goal_pull * fraction * baseline.correct[baseline.alive].astype(float))
        sources["examples"] = math.sqrt(statistics.crossed_variance(*arms)), 0
    covers = tuple(sources)
    if not {"seeds", "examples"} & sources.keys():
        return None, ()
    if n > 1 and curve.slope_df > 0:
        sources["slope"] = curve.slope_error, curve.slope_df
    shift = np.zeros(N_DRAWS)
    for name, (error, df) in sources.items():
        shift += error * _student(df, name)
    return curve.crossing(shift), covers


@lru_cache
def _student(df: int, source: str) -> Array:
    """Return the draws of one source, the same in every estimate; kept, since they are half of its cost."""
    return statistics.student_draws(df, N_DRAWS, generator(0, "intrinsic_dim", source))


def _ends(draws: Array, level: float, tested: tuple[int, int], censored: str | None) -> tuple[float, float]:
    """Return the interval's ends; beyond the tested d no run supports one, so it is 0 or inf there."""
    # Actual draws, not interpolated ones: between two infinities there is nothing to interpolate.
    ends = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    least, most = np.log(tested)
    low, high = np.exp(np.clip(ends, least, most)).tolist()
    if censored == "below" or ends[0] < least:
        low = 0.0
    if censored == "above" or ends[1] > most:
        high = math.inf
    return low, high

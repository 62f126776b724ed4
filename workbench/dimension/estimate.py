"""Runs and a baseline -> intrinsic dimension with an interval."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from workbench import statistics
from workbench.dimension.curves import LEVEL_WIDTH, Curve, line_curve, step_curve
from workbench.dimension.tables import Array, Estimate, Runs, check_fraction, check_number, is_int
from workbench.errors import require
from workbench.seeds import generator


def _threshold(baseline: Runs, fraction: float, threshold: Literal["local"] | float) -> float:
    """Return the score to be reached."""
    alive = baseline.scores[~np.isnan(baseline.scores)]
    require(alive.size > 0, "baseline", "must hold a run that did not diverge", baseline.scores, "lower its rate")
    if threshold == "local":
        goal = fraction * float(alive.mean())
        require(goal > 0, "baseline", "must have a positive mean score", goal, "give threshold as a number")
        return goal
    return check_number("threshold", threshold, "must be 'local' or a number")


def _example_se(curve: Curve, runs: Runs, baseline: Runs, fraction: float | None) -> float | None:
    """Return the standard error, in units of the score's threshold, that the choice of test examples gives."""
    if runs.correct is None or (fraction is not None and baseline.correct is None):
        return None
    arms: list[Array] = [np.asarray((curve.weights * curve.gains) @ runs.correct / curve.goal_gain)]
    if fraction is not None and baseline.correct is not None:
        arms.append(np.asarray(fraction * baseline.correct[~np.isnan(baseline.scores)], dtype=float))
    return math.sqrt(statistics.crossed_variance(*arms))


def _draws(
    curve: Curve, runs: Runs, baseline: Runs, fraction: float | None, n: int, seed: int
) -> tuple[Array | None, tuple[str, ...]]:
    """Draw log d_int from its fiducial distribution, and say what the draws cover.

    Each source of noise moves the goal by a Student t with the degrees of freedom it was estimated with: exact for one
    normal source, slightly wide for several (Behrens and Fisher). Resampling three seeds would be too narrow: their
    percentile interval is the range of three numbers, which covers the truth 75 % of the time.

    Returns:
        The draws, or None when neither seeds nor examples tell a spread, and the names of what they cover.
    """

    def student(df: int, name: str) -> Array:
        return statistics.student_draws(df, n, generator(seed, "intrinsic_dim", name))

    shift, tilt, covers = np.zeros(n), np.zeros(n), []
    k = len(curve.group_levels)
    if k > 1:
        se = float(curve.group_levels.std(ddof=1)) / math.sqrt(k) / curve.goal_gain
        shift += se * student(k - 1, "seeds")
        tilt = curve.slope_se * student(curve.slope_df, "slope") if curve.slope_df > 0 else tilt
        covers.append("seeds")
    alive = baseline.scores[~np.isnan(baseline.scores)]
    if fraction is not None and len(alive) > 1:
        se = fraction * float(alive.std(ddof=1)) / math.sqrt(len(alive))
        shift += se * student(len(alive) - 1, "baseline")
        covers.append("baseline seeds")
    example_se = _example_se(curve, runs, baseline, fraction)
    if example_se is not None:
        shift += example_se * student(0, "examples")
        covers.append("examples")
    if not {"seeds", "examples"} & set(covers):
        return None, ()
    return curve.crossing(shift, tilt), tuple(covers)


def _correction(x: Array, scores: Array, goal: float, curve: Curve) -> float:
    """Return what moves the crossing in log d between the last failing and the first passing d, if these stand clear.

    Where they overlap it is only kept within the tested d.
    """
    value = float(curve.crossing(0.0, 0.0))
    below, above = x[scores < goal].max(initial=x.min()), x[scores >= goal].min(initial=x.max())
    return float(np.clip(value, *((below, above) if below < above else (x.min(), x.max())))) - value


def _check(runs: Runs, baseline: Runs, perfect: float | None) -> None:
    """Refuse two tables that do not belong together, and scores beyond perfection."""
    D = int(baseline.dims[0])
    require(bool((baseline.dims == D).all()), "baseline", "must be runs at d = D alone", baseline.dims)
    require(int(runs.dims.max()) <= D, "dims", f"must be in 1..D={D}", int(runs.dims.max()))
    sizes = {table.correct.shape[1] for table in (runs, baseline) if table.correct is not None}
    require(len(sizes) < 2, "correct", "must be over the same test examples in runs and baseline", sizes)
    if perfect is not None:
        best = check_number("perfect", perfect, "must be a number or None")
        top = float(np.nanmax(np.append(runs.scores, baseline.scores)))
        require(top <= best, "scores", f"must be at most perfect={perfect}", top, "pass perfect=None for returns")


def intrinsic_dim(
    runs: Runs,
    baseline: Runs,
    fraction: float = 0.9,
    threshold: Literal["local"] | float = "local",
    *,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
    perfect: float | None = 1.0,
) -> Estimate:
    """Estimate the d at which the expected score reaches a threshold, with an interval.

    An isotonic regression of all scores on log d says between which d the curve crosses. There a line is fitted,
    ``-log(perfect - score) = a_seed + b log d`` with ``b > 0`` common and the offsets averaged over seeds; where it
    cannot be (no positive slope, a diverged run in the window, threshold not below ``perfect``, a crossing a factor
    2 from the isotonic one) the isotonic curve is interpolated. The interval covers seeds as wholes (t with n - 1
    degrees of freedom), the baseline's seeds, and, where both tables have ``correct``, the test examples, paired
    between runs and baseline. A diverged run counts as failing, with score 0 or the lowest seen; a diverged
    baseline run is left out of its mean; both are counted.

    Args:
        runs: Runs in subspaces.
        baseline: Runs of the full network, all at d = D.
        fraction: Fraction of the baseline's mean score to be reached, in (0, 1].
        threshold: "local" for that fraction of the baseline, or an absolute score.
        level: Confidence level.
        n_resamples: Number of draws.
        seed: Seed of the draws.
        perfect: The score of a faultless run, 1 for accuracies; None for scores without one, such as returns.

    Returns:
        The estimate, censored where the tested d do not bracket the crossing.

    Raises:
        InputError: If an argument breaks its rule.
    """
    check_fraction(fraction)
    require(is_int(n_resamples) and n_resamples >= 100, "n_resamples", "must be an integer from 100", n_resamples)
    require(isinstance(level, float) and 0 < level < 1, "level", "must be between 0 and 1", level)
    goal = _threshold(baseline, fraction, threshold)
    _check(runs, baseline, perfect)
    x = np.log(runs.dims)
    scores = np.nan_to_num(runs.scores, nan=min(0.0, float(np.nanmin(np.append(runs.scores, 0.0)))))
    start = float(statistics.crossing_isotonic(x, scores, goal))
    censored: Literal["above", "below"] | None = "above" if start > x.max() else "below" if start <= x.min() else None
    centre = float(np.clip(start, x.min(), x.max()))
    line = line_curve(x, runs, goal, centre, perfect)
    # A line that crosses a factor 2 from the isotonic curve has left its window: its points do not fix it.
    trusted = line is not None and (censored or abs(float(line.crossing(0.0, 0.0)) - centre) <= LEVEL_WIDTH)
    curve = line if line is not None and trusted else step_curve(x, scores, runs, goal, centre)
    share = fraction if threshold == "local" else None
    draws, covers = _draws(curve, runs, baseline, share, n_resamples, seed)
    correction = _correction(x, scores, goal, curve) if censored is None else 0.0
    draws = None if draws is None else draws + correction
    value = float(curve.crossing(0.0, 0.0)) + correction
    tested = int(runs.dims.min()), int(runs.dims.max())
    low, high = _ends(draws, level, tested, censored)
    return Estimate(
        value=math.exp(value) if censored is None else float(tested[censored == "above"]),
        low=low,
        high=high,
        threshold=goal,
        fraction=share,
        level=level,
        censored=censored,
        method=curve.method,
        covers=covers,
        tested=tested,
        n_runs=len(runs),
        n_seeds=len(curve.group_levels),
        n_baseline=len(baseline),
        n_examples=None if runs.correct is None else runs.correct.shape[1],
        n_diverged=runs.n_diverged + baseline.n_diverged,
        log_draws=draws,
    )


def _ends(
    draws: Array | None, level: float, tested: tuple[int, int], censored: str | None
) -> tuple[float | None, float | None]:
    """Return the interval's ends; beyond the tested d no run supports one, so it is 0 or inf there."""
    if draws is None:
        return None, None
    # Actual draws, not interpolated ones: between two infinities there is nothing to interpolate.
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    low = 0.0 if censored == "below" or low < math.log(tested[0]) else math.exp(min(low, math.log(tested[1])))
    high = math.inf if censored == "above" or high > math.log(tested[1]) else math.exp(max(high, math.log(tested[0])))
    return low, high


def both_thresholds(
    runs: Runs, baseline: Runs, fraction: float = 0.9, absolute: float = 0.9, **settings: Any
) -> tuple[Estimate, Estimate]:
    """Estimate the intrinsic dimension at both thresholds in use; they differ by up to 40 %, so print both.

    Args:
        runs: Runs in subspaces.
        baseline: Runs of the full network, all at d = D.
        fraction: The local threshold as a fraction of the baseline's mean score.
        absolute: The absolute threshold.
        settings: Further arguments of `intrinsic_dim`.

    Returns:
        The estimates at the local and at the absolute threshold.

    Raises:
        InputError: If an argument breaks its rule.
    """
    local = intrinsic_dim(runs, baseline, fraction, **settings)
    return local, intrinsic_dim(runs, baseline, fraction, absolute, **settings)


def spread_ratio(
    estimates: Sequence[Estimate], level: float = 0.95, seed: int = 0
) -> tuple[float, float | None, float | None]:
    """Return max over min of several intrinsic dimensions, such as those of several widths.

    The ratio itself is biased upward by noise; its interval (see `statistics.spread_interval`) is not.

    Args:
        estimates: Estimates, at least two; taken as independent, so shared test examples make the interval wide.
        level: Confidence level.
        seed: Seed of the interval.

    Returns:
        Ratio, low, high; high is inf where an estimate is censored, both are None where one has no interval.

    Raises:
        InputError: If there are fewer than two estimates.
    """
    require(len(estimates) > 1, "estimates", "must be at least two", len(estimates))
    values = np.log([e.value for e in estimates])
    ratio = math.exp(np.ptp(values))
    if any(e.log_draws is None for e in estimates):
        return ratio, None, None
    draws = []
    for e in estimates:
        assert e.log_draws is not None
        bounds = {None: (-np.inf, np.inf), "above": (-np.inf, math.log(e.value)), "below": (math.log(e.value), np.inf)}
        draws.append(np.clip(e.log_draws, *bounds[e.censored]))
    _, low, high = statistics.spread_interval(values, draws, level, seed)
    return ratio, math.exp(low), math.inf if any(e.censored for e in estimates) else math.exp(min(high, 700))

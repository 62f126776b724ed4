"""Intervals, monotone curves and local lines: the statistics that every study shares.

Everything here is a pure function of arrays. Randomness, where there is any, comes from a named stream of a seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import ndtri, stdtrit

from workbench.errors import require
from workbench.seeds import generator

Array = NDArray[np.float64]


def _check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1)."""
    number = isinstance(level, float | np.floating)
    require(number and 0 < level < 1, "level", "must be between 0 and 1", level, "0.95 is usual")


def _sample(name: str, values: ArrayLike) -> Array:
    """Return a non-empty one-dimensional float sample without NaN."""
    sample = np.asarray(values, dtype=float)
    require(sample.ndim == 1 and sample.size > 0, name, "must be a non-empty list of numbers", values)
    require(not np.isnan(sample).any(), name, "must hold no NaN", values, "count failed runs apart")
    return sample


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Return a mean and its Student t interval.

    Args:
        values: Independent measurements, shape ``(n,)``.
        level: Confidence level.

    Returns:
        Mean, low, high; low and high are NaN for a single measurement, which says nothing of its own spread.

    Raises:
        InputError: If ``values`` is empty or holds NaN, or ``level`` is not in (0, 1).

    Example:
        >>> [round(v, 3) for v in mean_interval([1.0, 2.0, 3.0])]
        [2.0, -0.484, 4.484]
    """
    _check_level(level)
    sample = _sample("values", values)
    mean, n = float(sample.mean()), len(sample)
    if n == 1:
        return mean, float("nan"), float("nan")
    half = float(stdtrit(n - 1, (1 + level) / 2) * sample.std(ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion.

    Args:
        successes: How many of the trials succeeded, in 0..n.
        n: Number of trials, at least 1.
        level: Confidence level.

    Returns:
        Low and high, within [0, 1].

    Raises:
        InputError: If ``successes`` is not in 0..n, ``n`` is below 1 or ``level`` is not in (0, 1).

    References:
        Wilson 1927, Probable inference, the law of succession, and statistical inference.

    Example:
        >>> [round(v, 3) for v in wilson_interval(9, 10)]
        [0.596, 0.982]
    """
    _check_level(level)
    require(n >= 1, "n", "must be at least 1", n)
    require(0 <= successes <= n, "successes", f"must be in 0..n={n}", successes)
    z = float(ndtri((1 + level) / 2))
    centre = successes + z * z / 2
    half = z * np.sqrt(successes * (n - successes) / n + z * z / 4)
    low, high = (centre - half) / (n + z * z), (centre + half) / (n + z * z)
    # At 0 and n the exact ends are 0 and 1; rounding must not cross them.
    return (0.0 if successes == 0 else float(low)), (1.0 if successes == n else float(high))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Array] = np.mean,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return a statistic of many exchangeable measurements and its percentile bootstrap interval.

    Args:
        values: Measurements such as test examples, shape ``(n,)``. Below about 20 the interval is too narrow:
            use `mean_interval` for a few seeds.
        statistic: Function of an array that takes ``axis``, such as ``np.median``.
        level: Confidence level.
        n_resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Value, low, high.

    Raises:
        InputError: If ``values`` is empty or holds NaN, or ``level`` is not in (0, 1).
    """
    _check_level(level)
    sample = _sample("values", values)
    picks = generator(seed, "bootstrap").integers(len(sample), size=(n_resamples, len(sample)))
    low, high = np.quantile(statistic(sample[picks], axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(statistic(sample, axis=0)), float(low), float(high)


def student_draws(df: int, n: int, rng: np.random.Generator) -> Array:
    """Return ``n`` stratified draws of Student's t, one from each of ``n`` equally likely slices, shuffled.

    Args:
        df: Degrees of freedom, at least 1; 0 stands for infinitely many, the normal distribution.
        n: Number of draws.
        rng: Randomness; one permutation.

    Returns:
        The draws, shape ``(n,)``; their quantiles are those of the distribution almost exactly.
    """
    p = (np.arange(n) + 0.5) / n
    return rng.permutation(stdtrit(df, p) if df else ndtri(p))


def isotonic(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Fit a non-decreasing curve by least squares, ties in ``x`` averaged.

    Args:
        x: Abscissae, shape ``(n,)``, in any order.
        y: Ordinates, shape ``(n,)``.

    Returns:
        The distinct ``x`` in increasing order and the fitted value at each.

    Raises:
        InputError: If the two are empty, hold NaN or differ in length.
    """
    x, y = _sample("x", x), _sample("y", y)
    require(len(x) == len(y), "y", f"must have the length of x={len(x)}", len(y))
    knots, group, count = np.unique(x, return_inverse=True, return_counts=True)
    return knots, isotonic_regression(np.bincount(group, y) / count, weights=count).x


def crossing_isotonic(x: ArrayLike, y: ArrayLike, threshold: ArrayLike) -> Array:
    """Return where the isotonic curve of ``y`` over ``x``, joined by straight lines, first reaches a threshold.

    Args:
        x: Abscissae, shape ``(n,)``; pass logarithms to interpolate in log d.
        y: Ordinates, shape ``(n,)``.
        threshold: One or many thresholds.

    Returns:
        The crossings in the shape of ``threshold``: ``inf`` where the curve never gets there, ``-inf`` where it
        already starts above.

    Raises:
        InputError: If the two are empty, hold NaN or differ in length.

    Example:
        >>> float(crossing_isotonic([0, 1, 2], [0.0, 0.5, 1.0], 0.75))
        1.5
    """
    knots, fitted = isotonic(x, y)
    goal = np.asarray(threshold, dtype=float)
    right = np.searchsorted(fitted, goal, side="left")
    hi, lo = np.clip(right, 0, len(knots) - 1), np.clip(right - 1, 0, len(knots) - 1)
    rise = np.where(fitted[hi] > fitted[lo], fitted[hi] - fitted[lo], 1.0)
    inside = knots[lo] + np.clip((goal - fitted[lo]) / rise, 0, 1) * (knots[hi] - knots[lo])
    at_start = np.where(goal < fitted[0], -np.inf, knots[0])
    return np.where(right == 0, at_start, np.where(right == len(knots), np.inf, inside))


def crossed_variance(*arms: Array) -> float:
    """Return the variance that the choice of test examples gives to the difference of means of paired arms.

    Replicates of an arm also differ by chance on each example; that part belongs to the spread between replicates,
    so it is taken out here (two-way crossed random effects). With one replicate it cannot be told apart and stays in.

    Args:
        arms: One or two arrays ``(n_replicates, n_examples)`` over the same examples; the second is subtracted.

    Returns:
        The variance, at least 0.

    References:
        Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics, on why both margins must count.
    """
    total = sum(sign * arm.mean(axis=0) for sign, arm in zip((1, -1), arms, strict=False))
    variance = float(np.var(total, ddof=1))
    for arm in arms:
        if len(arm) > 1:
            own = np.var(arm, axis=1, ddof=1).mean() - np.var(arm.mean(axis=0), ddof=1)
            variance -= float(own) / (len(arm) - 1)
    return max(variance, 0.0) / arms[0].shape[1]


def spread_interval(values: ArrayLike, draws: Sequence[Array], level: float = 0.95, seed: int = 0) -> tuple[float, ...]:
    """Return max minus min of several noisy estimates with an interval for the max minus min of the true values.

    Noise alone spreads estimates out, so the plain difference is too large on average, and the spread of resampled
    estimates larger still. The two ends therefore come from arguments that hold for any true values: the largest true
    difference belongs to one fixed pair, so ``max over pairs (difference + quantile of that pair's noise)`` bounds it
    from above; every true difference bounds it from below, so there the noise of all pairs must be held at once,
    ``difference - quantile of the range of the noise`` (Tukey).

    Args:
        values: The estimates, shape ``(k,)``.
        draws: For each, draws of the true value given the estimate; shuffled here, as the estimates are independent.
        level: Confidence level.
        seed: Seed of the shuffles.

    Returns:
        Spread, low, high; at least 0.

    Raises:
        InputError: If there are no values, NaN among them, or not one array of draws for each.
    """
    _check_level(level)
    centre = _sample("values", values)
    require(len(draws) == len(centre), "draws", f"must be one array for each of {len(centre)} values", len(draws))
    shuffled = [generator(seed, "spread", k).permutation(d) for k, d in enumerate(draws)]
    # A large finite number instead of inf: the difference of two infinities would be NaN.
    noise = np.clip(np.array(shuffled), -1e9, 1e9) - centre[:, None]
    spread, p = float(np.ptp(centre)), (1 + level) / 2
    low = max(0.0, spread - float(np.quantile(np.ptp(noise, axis=0), p)))
    pairs = [(i, j) for i in range(len(centre)) for j in range(len(centre)) if i != j]
    ends = [centre[i] - centre[j] + np.quantile(noise[i] - noise[j], p) for i, j in pairs]
    high = max([spread, *map(float, ends)])
    return spread, low, high if high < 1e8 else float("inf")


@dataclass(frozen=True)
class Solved:
    """The smallest tested d that enough seeds solved; the truth lies in ``(failed, value]``."""

    value: int | None
    failed: int | None
    counts: tuple[int, ...]
    censored: str | None
    bound: int

    def __str__(self) -> str:
        """Return ``4``, ``<= 4`` or ``> 16``."""
        return {None: "", "below": "<= ", "above": "> "}[self.censored] + str(self.bound)


def smallest_solved(dims: Sequence[int], solved: ArrayLike, at_least: int) -> Solved:
    """Return the smallest d at which at least a given number of seeds solved the task.

    Args:
        dims: The tested d, strictly increasing, shape ``(n_dims,)``.
        solved: Whether each seed solved each d, boolean, shape ``(n_dims, n_seeds)``.
        at_least: How many seeds must succeed, in 1..n_seeds.

    Returns:
        The d, the largest tested d below it, and the count at each d. ``censored`` is "above" when no tested d was
        solved and "below" when the smallest already was and is not 1.

    Raises:
        InputError: If ``dims`` does not increase, ``solved`` has another shape or is not boolean, or ``at_least`` is
            out of range.

    Example:
        >>> str(smallest_solved([1, 2, 4], [[False, False], [True, False], [True, True]], at_least=2))
        '4'
    """
    tested, table = np.asarray(dims), np.asarray(solved)
    require(tested.ndim == 1 and tested.size > 0, "dims", "must be a non-empty list", dims)
    require(bool((np.diff(tested) > 0).all() and tested[0] >= 1), "dims", "must increase from at least 1", dims)
    shaped = table.ndim == 2 and table.dtype == bool and len(table) == len(tested)
    require(shaped, "solved", f"must be boolean of shape ({len(tested)}, n_seeds)", (table.dtype.name, table.shape))
    n = table.shape[1]
    require(at_least in range(1, n + 1) and at_least is not True, "at_least", f"must be in 1..n_seeds={n}", at_least)
    counts = table.sum(axis=1)
    passing = np.flatnonzero(counts >= at_least)
    if not passing.size:
        return Solved(None, int(tested[-1]), tuple(counts.tolist()), "above", int(tested[-1]))
    first = int(passing[0])
    value = int(tested[first])
    failed = int(tested[first - 1]) if first else None
    return Solved(value, failed, tuple(counts.tolist()), "below" if first == 0 and value > 1 else None, value)

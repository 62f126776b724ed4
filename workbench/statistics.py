"""Intervals and monotone curves: the statistics that every study shares, pure functions of arrays."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import ndtri, stdtrit

from workbench.errors import is_number, require

Array = NDArray[np.float64]


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1)."""
    require(is_number(level) and 0 < level < 1, "level", "must be between 0 and 1", level, "0.95 is usual")


def _sample(name: str, values: ArrayLike) -> Array:
    """Return a non-empty one-dimensional float sample without NaN."""
    sample = np.asarray(values, dtype=float)
    ok = sample.ndim == 1 and sample.size > 0 and not np.isnan(sample).any()
    require(ok, name, "must be a non-empty list of numbers without NaN", values, "count failed runs apart")
    return sample


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean, low and high of Student's t interval; NaN ends for a single measurement, which tells no spread.

    Example:
        >>> [round(v, 3) for v in mean_interval([1.0, 2.0, 3.0])]
        [2.0, -0.484, 4.484]
    """
    check_level(level)
    sample = _sample("values", values)
    mean, n = float(sample.mean()), len(sample)
    if n == 1:
        return mean, float("nan"), float("nan")
    half = float(stdtrit(n - 1, (1 + level) / 2) * sample.std(ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def student_draws(df: int, n: int, rng: np.random.Generator) -> Array:
    """Return draws of Student's t, one from each of ``n`` equally likely slices, shuffled; df = 0 is the normal."""
    p = (np.arange(n) + 0.5) / n
    return rng.permutation(stdtrit(df, p) if df else ndtri(p))


def isotonic(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return the distinct ``x``, increasing, and at each the least-squares non-decreasing fit to ``y``."""
    x, y = _sample("x", x), _sample("y", y)
    require(len(x) == len(y), "y", f"must have the length of x={len(x)}", len(y))
    knots, group, count = np.unique(x, return_inverse=True, return_counts=True)
    return knots, isotonic_regression(np.bincount(group, y) / count, weights=count).x


def crossing_isotonic(x: ArrayLike, y: ArrayLike, threshold: ArrayLike) -> Array:
    """Return where the isotonic curve of ``y`` over ``x``, joined by straight lines, first reaches a threshold.

    It is ``inf`` where the curve never gets there and ``-inf`` where it already starts above. ``x`` and ``y`` have
    shape ``(n,)``; pass logarithms to interpolate in log d. The answer has the shape of ``threshold``.

    Example:
        >>> float(crossing_isotonic([0, 1, 2], [0.0, 0.5, 1.0], 0.75))
        1.5
    """
    knots, fitted = isotonic(x, y)
    goal = np.asarray(threshold, dtype=float)
    first = np.searchsorted(fitted, goal).clip(max=len(knots) - 1)
    between = np.interp(goal, fitted, knots, left=-np.inf, right=np.inf)
    return np.where(fitted[first] == goal, knots[first], between)  # interp would give the end of a plateau


def crossed_variance(*arms: Array) -> float:
    """Return the variance that the choice of test examples gives to the difference of means of paired arms.

    Replicates of an arm also differ by chance on each example; that part belongs to the spread between replicates,
    so it is taken out here (two-way crossed random effects). With one replicate it cannot be told apart and stays in.
    Each of one or two arms has shape ``(n_replicates, n_examples)`` over the same examples; the second is subtracted.
    Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics, says why both margins must count.
    """
    total = sum(sign * arm.mean(axis=0) for sign, arm in zip((1, -1), arms, strict=False))
    variance = float(np.var(total, ddof=1))
    for arm in arms:
        if len(arm) > 1:
            own = np.var(arm, axis=1, ddof=1).mean() - np.var(arm.mean(axis=0), ddof=1)
            variance -= float(own) / (len(arm) - 1)
    return max(variance, 0.0) / arms[0].shape[1]

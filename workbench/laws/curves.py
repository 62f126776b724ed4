"""Learning curves: a family fitted within bounds, and the ensemble of families, weighted by AICc.

A curve falls: loss or error rate over examples, steps or epochs. Units of x and y change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from workbench.errors import require, require_choice
from workbench.laws.curve_fits import fit, place
from workbench.laws.families import FAMILIES, Array, Family
from workbench.statistics import check_level

MIN_POINTS = 5  # the AICc of the smallest family asks for them


@dataclass(frozen=True)
class CurveFit:
    """A family fitted to one curve; held-out error first.

    Attributes:
        family: Which.
        held_out: Predicted minus observed at the largest x, which the fit did not see; empty if none were held out.
        parameters: The shape's, then ``A``, and ``c`` where the family has one, in the units of x and y.
        aicc: Akaike's criterion for small samples; comparable between families on the same points.
        n: Points that the fit saw.
    """

    family: Family
    held_out: Array
    parameters: dict[str, float]
    aicc: float
    n: int

    def predict(self, x: ArrayLike) -> Array:
        """Return the curve at x."""
        q = np.log([self.parameters[name] for name in self.family.parameters])
        return self.parameters["A"] * self.family.shape(np.log(x), q) + self.parameters.get("c", 0.0)

    def to_frame(self) -> pd.DataFrame:
        """Return a table: the held-out error (root mean square), then each parameter."""
        error = np.sqrt(np.square(self.held_out).sum() / (len(self.held_out) or np.nan))
        return pd.DataFrame({"value": {"held-out error": error, **self.parameters, "AICc": self.aicc, "n": self.n}})


@dataclass(frozen=True)
class Extrapolation:
    """What the ensemble says at ``x``; each array but the weights' ends in as many columns as there are x.

    Attributes:
        mean: Of the families' predictions, weighted; shape ``(n,)``, or ``(m, n)`` for m curves.
        low: Lower end of the interval for a new observation.
        high: Upper end.
        weights: Family -> its weight, shape ``()`` or ``(m,)``.
        each: Family -> its own prediction.
    """

    x: Array
    mean: Array
    low: Array
    high: Array
    weights: dict[str, Array]
    each: dict[str, Array]


def fit_curve(x: ArrayLike, y: ArrayLike, family: str, *, low: float = 0.0, hold_out: int = 0) -> CurveFit:
    """Fit one family to one curve by least squares, ``A >= 0`` and ``c >= low``.

    Args:
        x: Examples, steps or epochs, positive, shape ``(n,)``, any order.
        y: Loss or error, shape ``(n,)``.
        family: Name in ``FAMILIES``.
        low: Smallest value that a curve may fall to, 0 for losses and errors; ``-inf`` for none.
        hold_out: How many points of the largest x the fit does not see.

    Returns:
        The fit.

    Raises:
        InputError: If there are too few points, or values that no curve has.

    Example:
        >>> x = [1, 2, 4, 8, 16, 32]
        >>> fit = fit_curve(x, [0.1 + 0.8 * n**-0.5 for n in x], "power_offset", hold_out=1)
        >>> {name: round(value, 6) for name, value in fit.parameters.items()}
        {'alpha': 0.5, 'A': 0.8, 'c': 0.1}
    """
    require_choice("family", family, tuple(FAMILIES))
    x, y = np.asarray(x, float), np.asarray(y, float)
    require(y.ndim == 1, "y", "must be one curve", y.shape, "extrapolate takes many")
    check_curves(x, y, low)
    require(0 <= hold_out <= len(x) - MIN_POINTS, "hold_out", f"must leave {MIN_POINTS} points to the fit", hold_out)
    order = np.argsort(x, kind="stable")
    kept, out = order[: len(x) - hold_out], order[len(x) - hold_out :]
    curves = place(x[kept], y[None, kept], low)
    fits = fit(curves, FAMILIES[family])
    named = dict(zip(FAMILIES[family].parameters, np.exp(fits.q[0]).tolist(), strict=True))
    x_unit, y_unit = float(curves.x_unit[0, 0]), float(curves.y_unit[0, 0])
    named |= {"tau": named["tau"] * x_unit} if "tau" in named else {}
    named["A"] = float(fits.linear[0, 0]) * y_unit * x_unit ** named.get("alpha", 0.0)
    named |= {"c": float(fits.linear[0, 1]) * y_unit} if FAMILIES[family].offset else {}
    found = CurveFit(FAMILIES[family], np.empty(0), named, float(fits.aicc[0]), len(kept))
    return replace(found, held_out=found.predict(x[out]) - y[out])


def extrapolate(
    x: ArrayLike,
    y: ArrayLike,
    x_new: ArrayLike,
    *,
    families: Sequence[str] = tuple(FAMILIES),
    level: float = 0.8,
    low: float = 0.0,
) -> Extrapolation:
    """Predict where curves go on: every family fitted, weighted by ``exp(-AICc / 2)``.

    The interval is that of the mixture of Student's distributions which the families give to a new observation
    (parameters by the delta method). It knows nothing of curves that no family fits: multiply it by a factor of
    ``conformal_scale`` found on other curves.

    Args:
        x: Shape ``(n,)``, positive; for many curves also ``(m, n)``.
        y: Shape ``(n,)``, or ``(m, n)`` with NaN where a curve was not seen.
        x_new: Where to predict, positive, shape ``(k,)`` or ``(m, k)``.
        families: Names in ``FAMILIES``.
        level: Of the interval.
        low: Smallest value that a curve may fall to.

    Returns:
        Mean, interval, weights.

    Raises:
        InputError: If a curve has too few points, or values that no curve has.

    References:
        Burnham and Anderson 2002, Model Selection and Multimodel Inference, for the weights.
    """
    check_level(level)
    require(len(families) > 0, "families", "must not be empty", families)
    for name in families:
        require_choice("families", name, tuple(FAMILIES))
    x, y, new = (np.asarray(each, float) for each in (x, y, x_new))
    require(y.ndim in {1, 2}, "y", "must be a curve or a table of curves", y.shape)
    check_curves(x, y, low)
    require(bool(np.isfinite(new).all() and (new > 0).all()), "x_new", "must be positive and finite", x_new)
    curves = place(x, np.atleast_2d(y), low)
    u = np.broadcast_to(np.log(new / curves.x_unit), (len(curves.y), new.shape[-1]))
    fits = [fit(curves, FAMILIES[name]) for name in families]
    aicc = np.array([each.aicc for each in fits])
    require(bool(np.isfinite(aicc.min(0)).all()), "families", "must hold one with few enough parameters", families)
    weights = np.exp((aicc.min(0) - aicc) / 2)
    weights /= weights.sum(0)
    mean, error = (np.array(each) for each in zip(*(each.predict(u) for each in fits), strict=True))
    df = np.array([np.maximum(each.n - each.family.n_parameters + 1, 1) for each in fits])[..., None]
    ends = [_quantile(mean, error, df, weights[..., None], p) for p in ((1 - level) / 2, (1 + level) / 2)]

    def shaped(values: Array) -> Array:
        return values * curves.y_unit if y.ndim == 2 else (values * curves.y_unit)[0]

    centre, low_end, high_end = (shaped(part) for part in ((weights[..., None] * mean).sum(0), *ends))
    each = {name: shaped(own) for name, own in zip(families, mean, strict=True)}
    shares = {name: own if y.ndim == 2 else own[0] for name, own in zip(families, weights, strict=True)}
    return Extrapolation(new, centre, low_end, high_end, shares, each)


def conformal_scale(y: ArrayLike, centre: ArrayLike, low: ArrayLike, high: ArrayLike, level: float) -> float:
    """Return the factor on both half-widths at which intervals cover a share ``level`` of new curves.

    It is the ``ceil((n + 1) level)``-th smallest of the factors that each of n curves would need; curves like these
    are then covered with probability at least ``level``, whatever made the intervals.

    Args:
        y: What was observed, shape ``(n,)``, on curves that nothing is judged on.
        centre: What was predicted.
        low: Lower end, below the centre.
        high: Upper end, above it.
        level: Between 0 and 1.

    Returns:
        The factor; infinite if n is too small for the level.

    References:
        Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a Random World; Lei et al. 2018, arXiv:1604.04173.

    Example:
        >>> conformal_scale([1, 2, 3, 4], [0] * 4, [-2] * 4, [2] * 4, 0.8)
        2.0
    """
    check_level(level)
    y, centre, low, high = (np.asarray(each, float).ravel() for each in (y, centre, low, high))
    require(bool((low < centre).all() and (centre < high).all()), "centre", "must lie within the interval", centre)
    needed = np.sort(np.where(y < centre, (centre - y) / (centre - low), (y - centre) / (high - centre)))
    k = int(np.ceil((len(needed) + 1) * level - 1e-9))
    return float(needed[k - 1]) if k <= len(needed) else float("inf")


def check_curves(x: Array, y: Array, low: float) -> None:
    """Refuse what is no curve, by name."""
    require(x.shape in {y.shape, y.shape[-1:]}, "x", f"must have the shape of y, {y.shape}", x.shape)
    require(bool(np.isfinite(x).all() and (x > 0).all()), "x", "must be positive and finite", x)
    single = y.ndim == 1
    require(not np.isinf(y).any() and not (single and np.isnan(y).any()), "y", "must be finite", y, "leave those out")
    require(not (y < low).any(), "y", f"must not lie below low={low:g}", np.nanmin(y), "give low=-inf for any value")
    seen = np.where(np.isnan(y), np.nan, x)
    distinct = [len(np.unique(row[~np.isnan(row)])) for row in np.atleast_2d(seen)]
    require(min(distinct) >= MIN_POINTS, "x", f"must hold {MIN_POINTS} different points or more", min(distinct))


def _quantile(mean: Array, error: Array, df: Array, weights: Array, p: float) -> Array:
    """Return a quantile of mixtures of Student's distributions, ``(m, k)``, by bisection; families come first."""
    each = mean + error * stdtrit(df, p)
    low, high = each.min(0), each.max(0)
    for _ in range(60):
        middle = (low + high) / 2
        below = (weights * stdtr(df, (middle - mean) / error)).sum(0) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2

"""When has a learning curve shown enough? A power law fitted again at every point, and what it has still to fall."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from workbench.errors import is_number, require
from workbench.laws.curve_fits import Curves, Fits, fit, place
from workbench.laws.curves import MIN_POINTS, check_curves
from workbench.laws.families import FAMILIES, Array

_INFINITY = 1e9  # as log x: there every power has fallen to nothing


@dataclass(frozen=True)
class Trace:
    """Power laws ``c + A x^-alpha`` fitted to the first 5, 6, ... points of a curve; a level is a number of points.

    Attributes:
        levels: 5 to n.
        x: Of each level's last point.
        asymptote: Each level's c.
        estimate: Each level's value at the horizon.
        gap: What each level's power law falls between its last point and the horizon.
        prediction_level: The first level whose asymptote is possible, not below the floor; None if there is none.
        stop: The first level from there on with a possible asymptote and a gap of the threshold or less; or None.
    """

    levels: NDArray[np.int_]
    x: Array
    asymptote: Array
    estimate: Array
    gap: Array
    prediction_level: int | None
    stop: int | None

    def at(self, x: float) -> float:
        """Return the estimate of the largest level that needs no point beyond x; NaN if there is none."""
        seen = np.flatnonzero(self.x <= x)
        return float(self.estimate[seen[-1]]) if len(seen) else np.nan

    def to_frame(self) -> pd.DataFrame:
        """Return one row per level."""
        names = ("levels", "x", "estimate", "gap", "asymptote")
        return pd.DataFrame({name: getattr(self, name) for name in names}).set_index("levels")


def functional_stopping(
    x: ArrayLike, y: ArrayLike, threshold: float, *, horizon: float = np.inf, floor: float = 0.0, anchored: bool = False
) -> Trace:
    """Fit a power law again at every point; stop once it has no more than a threshold left to fall.

    The source's curves are accuracies, ``c - a x^-b``; ours are errors, so its asymptotes that sink towards the final
    accuracy are here ones that rise towards the final error. Its proximity condition bounds what is left until the
    asymptote, ours until a horizon: the whole data base, or infinity as in the source. The trend of a level may have
    an impossible asymptote; from the first possible one, the prediction level, its estimates count. The source starts
    at three points; five are asked for here.

    One distorted point may tear a trend away. Against that the source anchors trends. Here, after the prediction
    level, each is fitted to one observation more: the asymptote of the level before, at infinity. That definition is
    taken at second hand, not from the source's text.

    Args:
        x: Examples, steps or epochs, positive, shape ``(n,)``, any order.
        y: Error or loss, shape ``(n,)``.
        threshold: What may be left to gain, in units of y; positive.
        horizon: Size of the whole data base, in units of x.
        floor: Smallest possible value of y.
        anchored: Whether trends are anchored; they are then fitted one after another, some hundredths of a second each.

    Returns:
        The trace; its ``stop`` uses only points up to that level.

    Raises:
        InputError: If there are too few points, or values that no curve has.

    References:
        Vilares Ferro, Darriba Bilbao, Ribadas Pena 2017, Modeling of learning curves with applications to POS tagging,
        arXiv:2402.02515.

    Example:
        >>> x = [100, 200, 400, 800, 1600, 3200, 6400, 12800]
        >>> trace = functional_stopping(x, [0.03 + 4 / n for n in x], 0.01)
        >>> trace.prediction_level, trace.stop, round(float(trace.asymptote[0]), 6)
        (5, 5, 0.03)
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    require(y.ndim == 1, "y", "must be one curve", y.shape)
    check_curves(x, y, floor)
    require(is_number(threshold) and threshold > 0, "threshold", "must be positive", threshold)
    require(horizon >= x.max(), "horizon", f"must not lie below the largest x, {x.max():g}", horizon)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    levels = np.arange(MIN_POINTS, len(x) + 1)
    curves = place(x, np.where(np.arange(len(x)) < levels[:, None], y, np.nan), -np.inf)
    fits, unit = fit(curves, FAMILIES["power_offset"]), curves.y_unit[:, 0]
    if anchored:
        _anchor(curves, fits, fits.linear[:, 1] * unit >= floor)
    alpha = np.exp(fits.q[:, 0])
    asymptote, left = fits.linear[:, 1] * unit, fits.linear[:, 0] * unit
    gap = left * (1 - (horizon / curves.x_unit[:, 0]) ** -alpha)
    possible = asymptote >= floor
    near = possible & (gap <= threshold)
    first, stop = (int(levels[found.argmax()]) if found.any() else None for found in (possible, near))
    return Trace(levels, x[levels - 1], asymptote, asymptote + left - gap, gap, first, stop)


def _anchor(curves: Curves, fits: Fits, possible: NDArray[np.bool_]) -> None:
    """Fit all levels after the first possible one again, each with the asymptote before it as one more observation."""
    for i in range(int(possible.argmax()) + 1, len(possible) if possible.any() else 0):
        one, end = curves.part(slice(i, i + 1)), fits.linear[i - 1, 1] * curves.y_unit[i - 1] / curves.y_unit[i]
        more = {"u": _INFINITY, "y": float(end[0]), "seen": 1.0}
        one = replace(one, **{key: np.hstack([getattr(one, key), [[value]]]) for key, value in more.items()})
        again = fit(one, fits.family)
        fits.q[i], fits.linear[i] = again.q[0], again.linear[0]

"""How far intrinsic dimensions, such as those of several widths, lie apart: their ratio and its interval."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.dimension import Estimate
from workbench.errors import require
from workbench.seeds import generator


def spread_ratio(estimates: Sequence[Estimate]) -> tuple[float, float | None, float | None]:
    """Return max over min of several intrinsic dimensions, such as those of several widths, with its 95 % interval.

    The ratio itself is biased upward by noise; its interval (see `spread_interval`) is not. The upper end
    is inf where an estimate is censored; both ends are None where one has no interval. Estimates are taken as
    independent, so shared test examples make the interval wide.
    """
    require(len(estimates) > 1, "estimates", "must be at least two", len(estimates))
    values = [math.log(e.value) for e in estimates]
    draws = []
    for value, e in zip(values, estimates, strict=True):
        if e.log_draws is None:
            return math.exp(np.ptp(values)), None, None
        # Beyond its bound a censored answer only adds to the ratio. Finite: the difference of infinities would be NaN.
        bounds = {None: (-1e9, 1e9), "above": (-1e9, value), "below": (value, 1e9)}[e.censored]
        draws.append(np.clip(e.log_draws, *bounds))
    spread, low, high = spread_interval(values, draws)
    least, most = estimates[int(np.argmin(values))], estimates[int(np.argmax(values))]
    if least.censored == "above" or most.censored == "below":
        low = 0.0  # the true values may lie close together
    unbounded = high > 700 or any(e.censored for e in estimates)
    return math.exp(spread), math.exp(low), math.inf if unbounded else math.exp(high)


def spread_interval(values: ArrayLike, draws: Sequence[NDArray[np.float64]]) -> tuple[float, float, float]:
    """Return max minus min of several noisy estimates and the 95 % interval of max minus min of the true values.

    Noise alone spreads estimates out, so the plain difference is too large on average, and the spread of resampled
    estimates larger still. The two ends therefore come from arguments that hold for any true values: the largest true
    difference belongs to one fixed pair, so ``max over pairs (difference + quantile of that pair's noise)`` bounds it
    from above; every true difference bounds it from below, so there the noise of all pairs must be held at once,
    ``difference - quantile of the range of the noise`` (Tukey).
    ``draws`` holds, for each estimate, finite draws of its true value; they are shuffled here, as for independent ones.
    """
    centre = np.asarray(values, dtype=float)
    require(len(draws) == len(centre), "draws", f"must be one array for each of {len(centre)} values", len(draws))
    noise = np.array([generator(0, "spread", k).permutation(d) for k, d in enumerate(draws)]) - centre[:, None]
    spread = float(np.ptp(centre))
    low = spread - float(np.quantile(np.ptp(noise, axis=0), 0.975))
    ends = centre[:, None] - centre + np.quantile(noise[:, None] - noise, 0.975, axis=2)
    return spread, max(0.0, low), max(spread, float(ends.max()))

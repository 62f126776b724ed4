"""Checks of the exercises on learning curves: each knows the right answer, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.exercises import check


def check_weights(function: Callable[[np.ndarray], Any]) -> None:
    """Check a function of AICc values, shape ``(n,)``, that returns Akaike weights."""
    aicc = np.array([-40.0, -42.0, -36.0])
    raw = np.exp(-(aicc - aicc.min()) / 2)
    full = np.exp(-(aicc - aicc.min()))
    slips = (
        (raw, "they must sum to 1: divide by their sum."),
        (full / full.sum(), "half of the AICc: it is twice a log likelihood."),
        (1 / raw / (1 / raw).sum(), "the sign: a small AICc is a good one."),
        (aicc / aicc.sum(), "the weights go with exp(-AICc / 2), not with AICc itself."),
    )
    note = "Two units of AICc make a factor of e."
    check(function(aicc), raw / raw.sum(), slips=slips, hint="exp(-AICc / 2), then normalise.", note=note)


def check_factor(function: Callable[[np.ndarray, float], Any]) -> None:
    """Check a function of needed factors, shape ``(n,)``, and a level that returns the conformal factor."""
    needed, level = np.array([0.5, 2.0, 1.0, 0.1, 3.0, 0.7, 1.5, 0.2, 1.2]), 0.8
    ordered = np.sort(needed)
    slips = (
        (ordered[6], "ceil(n level) forgets the new curve: it is one of n + 1."),
        (float(np.quantile(needed, level)), "no interpolation: take one of the factors, the k-th smallest."),
        (needed[7], "sort the factors first."),
        (ordered[8], "k counts from 1, an index from 0."),
        (ordered[1], "count from the smallest."),
    )
    note = "The new curve is as likely to come at each of n + 1 places."
    check(function(needed, level), ordered[7], slips=slips, hint="k = ceil((n + 1) level).", note=note)


def check_left(function: Callable[[float, float, float, float], Any]) -> None:
    """Check a function of A, alpha, x and a horizon that returns what a power law has still to fall."""
    a, alpha, x, horizon = 2.0, 0.5, 100.0, 400.0
    slips = (
        (0.2, "this is what is left until the asymptote: the data end at the horizon."),
        (-0.1, "the sign: the error falls, what is left to gain is positive."),
        (a * (horizon - x) ** -alpha, "take the difference of two values, not the value at a difference."),
        (0.1 / a, "A is missing."),
    )
    note = "The offset cancels: what is left does not depend on the asymptote."
    check(function(a, alpha, x, horizon), 0.1, slips=slips, hint="The law at x less the law at the horizon.", note=note)

"""Checks of the exercises on scaling laws: the right answer, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.exercises import check


def check_objective(function: Callable[[np.ndarray, np.ndarray, float], Any]) -> None:
    """Check a function of predictions, losses and delta that returns the sum of Huber's losses of log residuals."""
    measured = np.array([2.0, 2.5, 3.0, 3.5])
    predicted, delta = measured * np.array([1.0005, 0.98, 1.01, 1.0]), 1e-3

    def huber(r: np.ndarray) -> np.ndarray:
        return np.where(np.abs(r) <= delta, r**2 / 2, delta * (np.abs(r) - delta / 2))

    r = np.log(predicted / measured)
    slips = (
        (huber(r).mean(), "this is the mean: take the sum, or a minimiser's tolerances stop it early."),
        (huber(predicted - measured).sum(), "these are plain residuals: take those of the logarithms."),
        (huber(np.log10(predicted / measured)).sum(), "natural logarithms, not those to base 10."),
        ((r**2 / 2).sum(), "this is the squared loss: beyond delta it grows linearly."),
        (
            np.where(np.abs(r) <= delta, r**2 / 2, delta * np.abs(r)).sum(),
            "beyond delta it is delta (|r| - delta / 2).",
        ),
    )
    hint = "r = ln predicted - ln measured; r^2 / 2 up to delta, delta (|r| - delta / 2) beyond; then the sum."
    note = "Logarithms make errors relative; the linear part keeps a few odd runs from deciding the law."
    check(function(predicted, measured, delta), float(huber(r).sum()), slips=slips, hint=hint, note=note)


def check_exponent(answer: Any, alpha: float, beta: float) -> None:
    """Check the power of compute with which the best number of parameters grows."""
    slips = (
        (alpha / (alpha + beta), "this is the exponent of the tokens: the larger alpha, the sooner size pays off."),
        (alpha, "alpha says how the loss falls with N, not how N grows."),
        (0.5, "nearly, and exactly where alpha equals beta: solve for these two."),
        (beta / alpha, "on the line C = 6 N D both terms change: divide by their sum."),
    )
    hint = "Put D = C / (6 N) into A / N^alpha + B / D^beta, set the derivative by N to zero, solve for N."
    note = "Near 1/2: parameters and tokens grow alike."
    check(answer, beta / (alpha + beta), rtol=0.005, slips=slips, hint=hint, note=note)

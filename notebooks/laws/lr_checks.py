"""Checks of the exercises on learning rates: the right answer, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.exercises import check


def check_mean(function: Callable[[np.ndarray, np.ndarray, float], Any]) -> None:
    """Check a function of settings, losses and a share that returns the geometric mean of near-optimal settings."""
    settings, losses = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), np.array([2.5, 2.06, 2.0, 2.001, 2.004, 2.3])
    close = settings[losses <= 1.0025 * losses.min()]
    slips = (
        (close.mean(), "this is the arithmetic mean: settings lie on a log scale, so average their logarithms."),
        (settings[losses.argmin()], "this is the single best run: take all runs within the share of it."),
        (
            np.exp(np.log(settings).mean()),
            "these are all runs: keep those with a loss of at most (1 + near) times the best.",
        ),
        (
            np.exp(np.log(settings[losses <= 0.0025 + losses.min()]).mean()),
            "the share is of the best loss, not in nats.",
        ),
        (np.median(close), "this is the median: take the exponential of the mean logarithm."),
        (np.log(close).mean(), "this is the mean logarithm: take its exponential."),
    )
    note = "A step of the grid moves the single best run by a factor of 2, this mean by much less."
    check(function(settings, losses, 0.0025), float(np.exp(np.log(close).mean())), slips=slips, note=note,
          hint="exp of the mean of log, over settings with losses <= (1 + near) * losses.min().")  # fmt: skip


def check_exponents(function: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]) -> None:
    """Check a function of N, D and best settings that returns the exponents of N and D."""
    n = np.array([1e8, 1e8, 2e8, 4e8, 4e8, 8e8])
    d = np.array([2e9, 8e9, 4e9, 8e9, 9e10, 3e10])
    y = 3.0 * n**-0.75 * d**0.25 * np.array([1.1, 0.9, 1.05, 1.0, 0.95, 1.0])
    design = np.column_stack([np.ones(6), np.log(n), np.log(d)])
    solution = np.linalg.lstsq(design, np.log(y), rcond=None)[0]
    through = np.linalg.lstsq(design[:, 1:], np.log(y), rcond=None)[0]
    linear = np.linalg.lstsq(np.column_stack([np.ones(6), n, d]), y, rcond=None)[0]
    slips = (
        (solution, "return the two exponents, without the constant."),
        (solution[[2, 1]], "N's exponent comes first, then D's."),
        (through, "the law has a factor in front: its logarithm needs a column of ones."),
        (linear[1:], "a power law is linear in logarithms: take those of N, D and the setting."),
    )
    hint = "Least squares of ln y on 1, ln N, ln D."
    note = "D doubled moves the best learning rate by 2 to the power of D's exponent."
    check(function(n, d, y), solution[1:], slips=slips, hint=hint, note=note)


def check_ratio(answer: Any, exponent: float) -> None:
    """Check by what factor the best learning rate changes when N grows tenfold at the same D."""
    right = 10**exponent
    slips = (
        (10 * exponent, "the exponent stands above: 10 to its power."),
        (10**-exponent, "the sign: a larger model takes a smaller learning rate."),
        (exponent, "this is the exponent: the factor is 10 to its power."),
        (2**exponent, "tenfold, not twofold."),
    )
    check(answer, right, rtol=0.01, slips=slips, hint="lr is proportional to N to the power of the exponent.",
          note="A tenfold model wants a learning rate several times smaller, on as many tokens.")  # fmt: skip

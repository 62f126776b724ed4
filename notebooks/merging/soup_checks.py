"""Checks of the study's exercises: each knows the right answer of this run, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
from soup_results import Soups

from workbench.exercises import check


def check_greedy(function: Callable[[np.ndarray, Callable[[np.ndarray], float]], Any]) -> None:
    """Check a function of thetas, rows, and of a score that returns the greedy soup."""
    thetas = np.array([[9.0], [4.0], [0.7], [2.0]])

    def score(theta: np.ndarray) -> float:
        return -abs(float(theta[0]) - 2.5)  # best first: 2, 4, 0.7, 9; with 4 the score stays the same

    slips = (
        ([thetas.mean()], "this is the average of all: start with the best one, keep another where the score holds."),
        ([2.0], "one is kept where the score does not fall: as good is good enough."),
        ([3.0], "go on after 4: all are tried, one after the other."),
    )
    hint = "Sort by score, best first; average with the next one; keep it unless the score falls."
    check(function(thetas, score), [np.mean([2.0, 4.0, 0.7])], slips=slips, hint=hint)


def check_fisher(function: Callable[..., Any]) -> None:
    """Check a function of two thetas, two Fisher diagonals and lambda that merges them."""
    a, b, F, G, share = np.array([0.0, 1.0]), np.array([4.0, 3.0]), np.array([3.0, 1.0]), np.array([1.0, 4.0]), 0.25
    right = ((1 - share) * F * a + share * G * b) / ((1 - share) * F + share * G)
    slips = (
        (
            ((F * a) + (G * b)) / (F + G),
            "lambda is missing: weigh the first expert by 1 - lambda, the second by lambda.",
        ),
        ((1 - share) * a + share * b, "this is the plain average: multiply each weight by its Fisher value."),
        ((1 - share) * F * a + share * G * b, "divide by the sum of the weights."),
        ((share * F * a + (1 - share) * G * b) / (share * F + (1 - share) * G), "lambda belongs to the second expert."),
        (
            ((1 - share) / F * a + share / G * b) / ((1 - share) / F + share / G),
            "a large Fisher value means: trust it.",
        ),
    )
    note = "Where both Fisher values agree this is the plain average."
    check(function(a, b, F, G, share), right, slips=slips, hint="A weighted mean, entry by entry.", note=note)


def check_share(answer: Any, soups: Soups) -> None:
    """Check the share of pairs of independent starts whose barrier exceeds 20 points."""
    barriers = soups.barrier
    right = float((barriers[:, 1] > 20).mean())
    slips = [
        (float((barriers[:, 0] > 20).mean()), "this is the shared start: the second axis is the kind, 1 independent."),
        (float((barriers > 20).mean()), "this counts both kinds of start: take the second one, [:, 1]."),
        (100 * right, "a share lies between 0 and 1."),
        (float((barriers[:, 1] > 20).sum()), "this is their number: take the mean of the comparison."),
        (float((barriers[:, 1] > 0.2).mean()), "barriers are in points: compare with 20."),
    ]
    note = f"The smallest barrier of an independent pair is {barriers[:, 1].min():.1f} points."
    check(
        answer,
        right,
        slips=[slip for slip in slips if slip[0] != right],
        hint="Compare, then take the mean.",
        note=note,
    )

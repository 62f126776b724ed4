"""Checks of the exercises on degeneracy: each knows the right answer, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.exercises import check


def check_free(function: Callable[[int, int, int, list[int]], Any]) -> None:
    """Check a count of free directions from inputs, their rank, outputs and the sizes of groups of twins."""
    inputs, rank, outputs, sizes = 7, 5, 4, [3, 2, 1, 1]
    n, squares = sum(sizes), sum(s * s for s in sizes)
    off = n * (inputs - rank)
    slips = (
        (off + n, "twins are missing: s units that fire together can be mixed by any s x s matrix, not only scaled."),
        (off, "every unit can be scaled up on one side and down on the other: count the groups too."),
        (squares, "weights along directions that no input has are free as well, in every unit."),
        (off + squares - n, "a unit's own scale counts: a group of one has one free direction."),
        (n * (inputs + outputs) - off - squares, "these are the effective parameters; the others are asked for."),
        (inputs - rank + squares, "every unit has its own weights along the directions that no input has."),
    )
    note = "A group of s twins leaves s^2 directions free; s single units only s."
    check(
        function(inputs, rank, outputs, sizes),
        off + squares,
        slips=slips,
        hint="What no input shows, plus groups.",
        note=note,
    )


def check_coefficient(function: Callable[[np.ndarray, float, int, float], Any]) -> None:
    """Check a learning coefficient from the chains' losses, the point's loss, n and beta."""
    trace, loss, n, beta = np.array([[0.5, 0.7, 0.6], [0.8, 0.6, 0.7]]), 0.4, 50, 0.2
    right = n * beta * (trace.mean() - loss)
    slips = (
        (beta * (trace.mean() - loss), "n is missing: the chains feel n beta times the mean loss."),
        (n * (trace.mean() - loss), "beta is missing."),
        (n * beta * trace.mean(), "take the loss at the point off: lambda counts what is added to it."),
        (n * beta * (loss - trace.mean()), "the sign: the chains' losses are above the point's."),
        (n * beta * (trace.sum() - loss), "take the mean of the losses, not their sum."),
        (2 * right, "this is the number of parameters it stands for; each adds a half."),
    )
    note = "Each direction that the temperature can tell adds a half: twice lambda is a number of parameters."
    check(function(trace, loss, n, beta), right, slips=slips, hint="n beta (E[L] - L*).", note=note)

"""Checks of the study's exercises: each knows the right answer of this run, and why the likely wrong ones are wrong."""

import math
from typing import Any

import numpy as np
from measure import Measured

from workbench.exercises import check

SEED_BYTES, FLOAT_BYTES = 8, 4


def check_compression(answer: Any, measured: Measured) -> None:
    """Check how many times smaller a seed and d numbers are than the D numbers of the network."""
    D, value = measured.D, measured.local.value
    d = math.ceil(value)
    network, described = FLOAT_BYTES * D, SEED_BYTES + FLOAT_BYTES * d
    slips = (
        (D / d, "the seed is missing: without its 8 bytes nobody can draw theta_0 and P again."),
        (described / network, "this is the part that is left; turn the ratio round."),
        (network - described, "these are the bytes saved; a ratio is asked for."),
        (network / (SEED_BYTES + FLOAT_BYTES * value), "d must be a whole number: round it up."),
        (network / (SEED_BYTES + FLOAT_BYTES * math.floor(value)), "rounded down, d misses the threshold: round up."),
        (network / (1 + FLOAT_BYTES * d), "the seed takes 8 bytes, not one."),
        (network / (SEED_BYTES + d), "a float32 takes 4 bytes, not one; that holds for the d numbers too."),
        (D / (1 + d), "this counts the seed as one number of 4 bytes; it takes 8."),
        (D / (SEED_BYTES + FLOAT_BYTES * d), "a float32 takes 4 bytes, not one; that holds for the D numbers too."),
    )
    hint = "Divide 4 D bytes by 8 + 4 d bytes, d rounded up."
    check(answer, network / described, slips=slips, hint=hint, note="The table above counts what a file adds to it.")


def check_smallest(answer: Any, measured: Measured) -> None:
    """Check the smallest tested d whose mean accuracy reaches the threshold; None where no tested d does."""
    runs, goal, fit = measured.runs, measured.local.threshold, measured.local.value
    scores = np.where(runs.alive, runs.scores, 0.0)
    at = {int(d): scores[runs.dims == d] for d in np.unique(runs.dims)}
    right = next((d for d, found in at.items() if found.mean() >= goal), None)
    slips = [(d, "this is the fitted d_int90; only a d that was tested counts.") for d in (fit, round(fit))]
    for d, found in at.items():
        if found.mean() >= goal:
            slips.append((d, "a smaller tested d reaches the threshold as well."))
        else:
            one = " (one run reaches it)" if found.max() >= goal else ""
            slips.append((d, f"the mean there is {found.mean():.4f}, below the threshold of {goal:.4f}{one}."))
    hint = f"Take the mean of the scores at each tested d ({', '.join(map(str, at))}) and compare it with {goal:.4f}."
    note = (
        f"The fit says {measured.local}: a crossing may lie between tested d, and the fit draws on all runs near it, "
        f"where a mean at one d rests on those at that d alone, here {len(at.get(right, []))}."
    )
    check(answer, right, slips=slips, hint=hint, note=note)


def check_constraints(answer: Any) -> None:
    """Check the dimension of the toy with two more constraints, which follow from the ten."""
    slips = (
        (12, "count only what is independent: two of the twelve constraints follow from the others."),
        (11, "one more follows from the others; over which groups does each of the two new ones sum?"),
        (990, "this is D - 10, the dimension of the solutions; a random plane meets them if it has the rest."),
        (988, "this is D - 12; how many dimensions must a plane have to meet the solutions?"),
        (1000, "all of them do it, but fewer suffice: independent constraints are what counts."),
        (1, "a line can meet one constraint; several here are independent."),
    )
    note = "Had the last sum been 4 there would be no solution anywhere: 1 + 2 is not 4."
    check(answer, 10, slips=slips, hint="The rank of the matrix of constraints says it.", note=note)

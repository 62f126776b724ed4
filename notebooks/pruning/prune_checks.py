"""Checks of the study's exercises: each says why a likely wrong answer is wrong."""

from collections.abc import Callable
from typing import Any

import torch
from pruned import objective_of, prunable

from workbench.exercises import WrongAnswer, check


def _counts(dataset: str) -> tuple[int, int, int]:
    """Return the MLP's parameters, those that may be pruned, and an eighth of all."""
    objective = objective_of("mlp", dataset, None, 0)
    return objective.D, int(prunable(objective).sum()), round(objective.D / 8)


def check_density(answer: Any, dataset: str) -> None:
    """Check the density of the weights at which an eighth of all parameters is left."""
    D, n, kept = _counts(dataset)
    slips = (
        (1 / 8, "the biases stay: the weights must be pruned further than to 1/8."),
        (kept / n, "of the eighth that is left, the biases are part; take them off first."),
        (1 - (kept - D + n) / n, "this is the sparsity; the density is the share that is kept."),
        ((kept - D + n) / D, "density is a share of the prunable weights, not of all parameters."),
    )
    check(answer, (kept - D + n) / n, slips=slips, rtol=1e-3, hint="(D / 8 - biases) / weights.")


def check_index(answer: Any, dataset: str) -> None:
    """Check the compression once each prunable weight pays a bit that says whether it is kept."""
    D, n, kept = _counts(dataset)
    slips = (
        (D / kept, "this leaves the index out: without it nobody knows where the kept weights stand."),
        (32 * D / (33 * kept), "every prunable weight pays its bit, the pruned ones too."),
        (D / (kept + n), "an index entry takes a bit, a parameter 32."),
        ((32 * kept + n) / (32 * D), "turn the ratio round: the dense network's bits are above the line."),
    )
    note = "At 1/16 the index already takes a third of the file."
    check(answer, 32 * D / (32 * kept + n), slips=slips, rtol=1e-3, hint="32 D / (32 kept + weights).", note=note)


def check_prune(prune: Callable[[torch.Tensor, int, torch.Tensor], torch.Tensor]) -> None:
    """Check a function ``(theta, k, within) -> mask`` that keeps the k largest magnitudes inside an earlier mask."""
    theta, every = torch.tensor([0.5, -3.0, 2.0, 0.5, 0.5, -1.0]), torch.ones(6, dtype=torch.bool)
    earlier = torch.tensor([True, False, True, True, True, True])
    first, tied, nested = (prune(theta, k, within) for k, within in ((2, every), (4, every), (2, earlier)))
    if not isinstance(first, torch.Tensor) or first.dtype != torch.bool or first.shape != theta.shape:
        raise WrongAnswer("The function must return a tensor of bools with the shape of theta.")
    if first.tolist() == [False, False, True, True, False, False] or not first[1]:
        raise WrongAnswer("-3 has the largest magnitude: rank by the absolute value.")
    if first.tolist() == [True, False, False, True, True, True]:
        raise WrongAnswer("These are the pruned entries; True means kept.")
    if int(tied.sum()) != 4:
        raise WrongAnswer(
            f"Asked for 4 of [0.5, -3, 2, 0.5, 0.5, -1], {int(tied.sum())} stayed: a threshold keeps ties."
        )
    if nested[1]:
        raise WrongAnswer("Entry 1 was pruned before and came back: the new mask must lie in the earlier one.")
    check(nested.tolist(), [False, False, True, False, False, True], note="Exact count, nested: nothing is revived.")

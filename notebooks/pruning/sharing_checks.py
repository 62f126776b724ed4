"""Checks of the study's exercises: each says why a likely wrong answer is wrong."""

from collections.abc import Callable
from typing import Any

import torch
from linear_sharing import EXAMPLES, INPUTS, NOISE, isotropic_error

from workbench.exercises import WrongAnswer, check


def check_gradient(gradient: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]) -> None:
    """Check a function ``(g, home, sign, n_memory)`` that returns the gradient of a shared memory."""
    g = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    home, sign = torch.tensor([0, 2, 0, 2, 2]), torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    answer = gradient(g, home, sign, 4)
    if isinstance(answer, torch.Tensor) and answer.shape != (4,):
        raise WrongAnswer(f"The memory has 4 numbers, the gradient has shape {tuple(answer.shape)}.")
    slips = (
        ([5.0, 0.0, 26.0, 0.0], "the signs are missing: a weight of sign -1 moves against its number."),
        ([4.0, 0.0, -16.0, 0.0], "only the last reader of each number counts here: add them all (index_add)."),
        ([2.5, 0.0, -10 / 3, 0.0], "this is the mean of the readers; the chain rule adds them."),
    )
    note = "The more readers, the larger the gradient: that is what the stable variant divides out."
    check(answer, [5.0, 0.0, -10.0, 0.0], slips=slips, hint="Add sign * g to each weight's number.", note=note)


def check_sparsity(answer: Any) -> None:
    """Check the sparsity at which Sparse Wide doubles the hidden widths."""
    slips = (
        (0.5, "a layer between two hidden layers widens on both sides: it has four times the weights."),
        (0.25, "this is the share that is kept; sparsity is the share removed."),
        (2**0.5 / 2, "k = 1 / sqrt(1 - s), not 1 / s^2."),
    )
    check(
        answer, 0.75, slips=slips, hint="Solve 1 / sqrt(1 - s) = 2.", note="Twice the units, a quarter of the density."
    )


def check_error(answer: Any, compression: int) -> None:
    """Check the expected error of a hashed linear model on independent inputs."""
    m = round(INPUTS / compression)
    missed, cost = NOISE + 1 - m / INPUTS, (EXAMPLES - 1) / (EXAMPLES - m - 1)
    slips = (
        (missed, "this is what the best numbers leave; fitting them to n examples costs a factor more."),
        (cost * NOISE, "this is the price of fitting alone; the signal that m numbers cannot hold is missing."),
        ((NOISE + m / INPUTS) * cost, "the share m / D of the signal is what the numbers catch, not what they miss."),
        (missed * (EXAMPLES - 1) / (EXAMPLES - INPUTS - 1), "m numbers are fitted, not all D inputs."),
    )
    note = "Random pruning has the same: on independent inputs a hash knows no more than a random mask."
    hint = "(noise + 1 - m / D) (n - 1) / (n - m - 1)."
    check(answer, isotropic_error(m), slips=slips, rtol=1e-4, hint=hint, note=note)

"""Checks of the exercise on counted shares: the right answer, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.exercises import check


def check_bits(function: Callable[[np.ndarray, float], Any]) -> None:
    """Check a function of networks' errors, shape ``(n,)``, and a target that returns the bits of those at or below."""
    errors, target = np.array([0.5, 0.25, 0.125, 0.75, 0.5, 0.625, 0.25, 0.5]), 0.25
    share = float((errors <= target).mean())
    slips = (
        (share, "this is the share: bits are -log2 of it."),
        (float(np.log2(share)), "the sign: a share below 1 asks for a positive number of bits."),
        (float(-np.log(share)), "these are nats: take the logarithm to base 2."),
        (float(-np.log10(share)), "take the logarithm to base 2, not 10."),
        (float(-np.log2((errors < target).mean())), "a network on the target has reached it: at or below."),
        (float(-np.log2((errors > target).mean())), "count the networks that are good enough, not the others."),
        (float(-np.log2((errors <= target).sum())), "divide by how many networks there are."),
    )
    note = "Each bit halves the networks that are left: 3 bits pick one of 8."
    check(function(errors, target), -float(np.log2(share)), slips=slips, hint="-log2 of a mean of True.", note=note)

"""The k-th largest of very many scores, exactly and in little memory."""

import torch
from torch import Tensor

from workbench.errors import is_count, require

_CHUNK = 1 << 18  # entries at a time: they and 65,536 counters stay in the processor's cache


def kth_largest(scores: Tensor, k: int, where: Tensor | None = None) -> tuple[Tensor, int]:
    """Find the k-th largest score.

    A float's bits, flipped as below, order as unsigned integers do. So one pass counts the scores by their leading 16
    bits and finds the 16 bits of the k-th; the next counts by 16 more bits those that agree so far. Two passes are
    exact for 32 bits, four for 64. Nothing is sorted, joined or copied whole.

    Args:
        scores: Finite, shape ``(n,)``, of any floating type.
        k: Rank from the top, from 1.
        where: True for the scores that count, shape ``(n,)``; all of them by default.

    Returns:
        The k-th largest score, and how many of the k largest are equal to it: fewer than there are where ties cross
        the rank.

    Raises:
        InputError: If fewer than ``k`` scores count.

    Example:
        >>> kth_largest(torch.tensor([3.0, 1.0, 2.0, 2.0]), 2)  # of the two 2s, one is among the two largest
        (tensor(2.), 1)
    """
    n = len(scores) if where is None else int(where.sum())
    require(is_count(k, 1) and k <= n, "k", f"must be in 1..{n}", k)
    real, whole, bits = (torch.float32, torch.int32, 32)
    if scores.dtype == torch.float64:
        real, whole, bits = (torch.float64, torch.int64, 64)
    prefix = 0
    for shift in range(bits - 16, -1, -16):
        counts = torch.zeros(1 << 16, dtype=torch.int64, device=scores.device)
        for at in range(0, len(scores), _CHUNK):
            chunk = scores[at : at + _CHUNK]
            chunk = chunk if where is None else chunk[where[at : at + _CHUNK]]
            key = (chunk.to(real) + 0.0).view(whole)  # + 0.0 makes -0.0 the 0.0 that it equals
            key = key ^ ((key >> (bits - 1)) | -(1 << (bits - 1)))  # all bits of negatives, else the sign alone
            if shift < bits - 16:
                key = key[(key >> (shift + 16)) & ((1 << (bits - 16 - shift)) - 1) == prefix]
            counts += torch.bincount((key >> shift) & 0xFFFF, minlength=1 << 16)
        at_least = counts.flip(0).cumsum(0)
        place = int(torch.searchsorted(at_least, k))
        digit = 0xFFFF - place
        k -= int(at_least[place] - counts[digit])
        prefix = prefix << 16 | digit
    signed = prefix - (1 << (bits - 1)) if prefix >> (bits - 1) else ~prefix
    return torch.tensor(signed, dtype=whole, device=scores.device).view(real).to(scores.dtype), k

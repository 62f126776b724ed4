"""The k-th largest of very many scores, exactly and in little memory."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from workbench.errors import is_count, require

_CHUNK = 1 << 17  # entries at a time: they and 65,536 counters stay in the processor's cache
_FEW = 1 << 20  # so many are gathered and partitioned


def kth_largest(scores: Tensor, k: int, where: Tensor | None = None) -> tuple[Tensor, int]:
    """Find the k-th largest score.

    A float's bits, read as an integer, order as the floats do once those of negatives are inverted. So one pass counts
    the scores by their leading 16 bits and finds those 16 of the k-th; further passes refine 16 more among those that
    agree, until few are left. Nothing large is sorted, joined or copied whole.

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
    size = len(scores) if where is None else int(where.sum())
    require(is_count(k, 1) and k <= size, "k", f"must be in 1..{size}", k)
    floats, whole, shift = _types(scores)
    prefix, base = None, -(1 << 15)
    while size > _FEW and shift:
        counts, shift = torch.zeros(1 << 16, dtype=torch.int64, device=scores.device), shift - 16
        for key in _keys(scores, where, prefix, shift + 16):
            counts += torch.bincount((key >> shift) - base, minlength=1 << 16)
        at_least = counts.flip(0).cumsum(0)
        digit = 0xFFFF - int(torch.searchsorted(at_least, k))
        size = int(counts[digit])
        k -= int(at_least[0xFFFF - digit]) - size
        prefix, base = base + digit, base + digit << 16
    edge = prefix
    if shift:
        keys = np.concatenate([key.cpu().numpy() for key in _keys(scores, where, prefix, shift)])
        edge = np.partition(keys, size - k)[size - k]
        k -= int((keys > edge).sum())
    return _flip(torch.tensor(edge, dtype=whole, device=scores.device)).view(floats).to(scores.dtype), k


def _types(scores: Tensor) -> tuple[torch.dtype, torch.dtype, int]:
    """Return the floating type that holds the scores exactly, its integer and their bits."""
    return (torch.float64, torch.int64, 64) if scores.dtype == torch.float64 else (torch.float32, torch.int32, 32)


def _keys(scores: Tensor, where: Tensor | None, prefix: int | None, shift: int) -> Iterator[Tensor]:
    """Yield integers that order as the scores do, chunk by chunk: those whose bits from ``shift`` up are the prefix."""
    floats, whole, _ = _types(scores)
    for at in range(0, len(scores), _CHUNK):
        chunk = scores[at : at + _CHUNK]
        chunk = chunk if where is None else chunk.masked_select(where[at : at + _CHUNK])
        key = _flip((chunk.to(floats) + 0.0).view(whole))  # + 0.0 makes -0.0 the 0.0 that it equals
        yield key if prefix is None else key[key >> shift == prefix]


def _flip(bits: Tensor) -> Tensor:
    """Turn a float's bits into an integer of the same order, and back: of negatives all but the sign are inverted."""
    last = torch.iinfo(bits.dtype)
    return bits ^ ((bits >> (last.bits - 1)) & last.max)

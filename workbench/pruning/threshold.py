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
    size = len(scores)
    n = size if where is None else int(where.count_nonzero())
    require(is_count(k, 1) and k <= n, "k", f"must be in 1..{n}", k)
    shift = 64 if scores.dtype == torch.float64 else 32  # bits from here up are known: none yet
    prefix, base = None, -(1 << 15)
    while size > _FEW and shift:
        counts, shift = torch.zeros(1 << 16, dtype=torch.int64, device=scores.device), shift - 16
        for chunk in _agreeing(scores, where, prefix, shift + 16):
            counts += torch.bincount(_key(chunk, shift).sub_(base), minlength=1 << 16)
        at_least = counts.flip(0).cumsum(0)
        digit = 0xFFFF - int(torch.searchsorted(at_least, k))
        size = int(counts[digit])
        k -= int(at_least[0xFFFF - digit]) - size
        prefix, base = base + digit, base + digit << 16
    left = (chunk for chunk in _agreeing(scores, where, prefix, shift) if len(chunk))
    if not shift:
        return next(left)[0].to(scores.dtype), k  # they are all equal
    values = np.concatenate([chunk.cpu().numpy() for chunk in left])
    values.partition(size - k)
    edge = values[size - k]
    return torch.tensor(edge).to(scores), k - int((values > edge).sum())


def _agreeing(scores: Tensor, where: Tensor | None, prefix: int | None, shift: int) -> Iterator[Tensor]:
    """Yield, chunk by chunk, the scores whose key from bit ``shift`` up is the prefix; all of them for None."""
    for at in range(0, len(scores), _CHUNK):
        chunk = scores[at : at + _CHUNK]
        chunk = chunk if chunk.dtype == torch.float64 else chunk.float()
        if where is not None and not where[at : at + _CHUNK].all():
            chunk = chunk.masked_fill(~where[at : at + _CHUNK], -torch.inf)  # below every score that counts
        yield chunk if prefix is None else chunk[_key(chunk, shift) == prefix]


def _key(floats: Tensor, shift: int) -> Tensor:
    """Return the bits from ``shift`` up of integers of the same order: of negatives all but the sign are inverted."""
    bits = (floats + 0.0).view(torch.int64 if floats.dtype == torch.float64 else torch.int32)  # + 0.0: -0.0 is 0.0
    last = torch.iinfo(bits.dtype)
    sign = (bits >> (last.bits - 1)).bitwise_and_(last.max)
    return bits.bitwise_xor_(sign).bitwise_right_shift_(shift)

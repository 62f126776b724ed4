"""The Walsh-Hadamard transform as a few small matrix products."""

from functools import cache

import torch
from torch import Tensor


def walsh_hadamard(x: Tensor, spare: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply every row of x by the Hadamard matrix H_n (Sylvester's order, entries 1 and -1).

    H_n is the Kronecker product of smaller H_r, so the transform is one matrix product per factor along the axes of a
    reshaped row. Butterflies need fewer additions, log2 n per number against about 8 log2 n operations here, but each
    of their log2 n passes moves all data; products by H_16 do four passes in one. Measured on one CPU core with
    200,000 numbers: 2.2 to 2.5 times faster than torch butterflies at n = 128, 1,024 and 16,384.

    Args:
        x: Rows, shape ``(k, n)``, n a power of two, contiguous; destroyed.
        spare: Workspace of the same shape and type.

    Returns:
        The result and the other buffer, in this order: which of the two holds the result depends on n.

    Example:
        >>> walsh_hadamard(torch.tensor([[1.0, 0.0, 2.0, 0.0]]), torch.empty(1, 4))[0].tolist()
        [[3.0, 3.0, -1.0, -1.0]]
    """
    shape, inner = x.shape, 1
    for r in _factors(shape[1]):
        outer = x.numel() // (r * inner)
        h = _hadamard_matrix(r, x.dtype, x.device)
        if inner == 1:  # one large product instead of many products with a vector
            torch.mm(x.view(outer, r), h, out=spare.view(outer, r))
        else:
            torch.bmm(h.expand(outer, r, r), x.view(outer, r, inner), out=spare.view(outer, r, inner))
        x, spare, inner = spare, x, inner * r
    return x.view(shape), spare.view(shape)


@cache
def _hadamard_matrix(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return Sylvester's Hadamard matrix H_n; shared between callers, so read only."""
    from scipy.linalg import hadamard  # here, so that the other kinds start without it

    return torch.from_numpy(hadamard(n)).to(device, dtype)


def _factors(n: int) -> list[int]:
    """Split n into factors 16 and one other where needed: the fastest of all splits tried, or close to it."""
    if n <= 64:
        return [n]
    sixteens, rest = divmod(n.bit_length() - 1, 4)
    if rest == 1:  # 32 costs little more than 16, a pass by 2 nearly as much as either
        return [32] + [16] * (sixteens - 1)
    return [16] * sixteens + [2**rest] * (rest > 0)

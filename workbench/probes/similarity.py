"""Linear centred kernel alignment: how alike two representations of the same examples are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.errors import require
from workbench.probes.landscape import Measured


@dataclass(frozen=True, kw_only=True)
class LinearCKA(Measured):
    """The alignment, at most 1, exact for its inputs; 0 where a representation never varies."""

    value: float


def linear_cka(a: Tensor, b: Tensor, *, unbiased: bool = False) -> LinearCKA:
    """Measure linear CKA: 1 for representations equal up to rotation, scale and shift, lower for others.

    ``HSIC(K, M) / sqrt(HSIC(K, K) HSIC(M, M))`` of the Gram matrices ``K = A A'`` and ``M = B B'``; biased it is
    ``|A'B|^2 / (|A'A| |B'B|)`` of centred outputs, which few examples in many dimensions push towards 1 whatever they
    are; unbiased, independent ones have 0 on average, and it may be negative. It takes no gradient and draws nothing.

    Args:
        a: One representation, shape ``(n, ...)``; all but the first axis is flattened; computed in double.
        b: The other, of the same examples in the same order.
        unbiased: Whether to take the unbiased estimator of HSIC.

    Returns:
        The alignment.

    Raises:
        InputError: If there are not as many examples, fewer than 2 (unbiased: 4), or a value is not finite.

    References:
        Kornblith et al. 2019, https://arxiv.org/abs/1905.00414. Song et al. 2012, JMLR 13, eq. 5 (unbiased HSIC).

    Example:
        >>> linear_cka(torch.eye(4), 3 * torch.eye(4)[:, [1, 0, 3, 2]]).value
        1.0
    """
    least = 4 if unbiased else 2
    require(len(a) == len(b) >= least, "a, b", f"must be as many examples, at least {least}", (len(a), len(b)))
    require(bool(a.isfinite().all() and b.isfinite().all()), "a, b", "must be finite", "NaN or infinity")
    a, b = (each.detach().double().flatten(1) - each.detach().double().flatten(1).mean(0) for each in (a, b))
    if not unbiased and max(a.shape[1], b.shape[1]) < len(a):
        cross, own, other = ((x.T @ y).square().sum() for x, y in ((a, b), (a, a), (b, b)))
    else:
        grams = a @ a.T, b @ b.T
        inner = _unbiased_hsic if unbiased else lambda k, m: (k * m).sum()
        cross, own, other = inner(*grams), inner(grams[0], grams[0]), inner(grams[1], grams[1])
    scale = float(own * other)
    value = round(float(cross) / scale**0.5, 15) if own > 0 and other > 0 and scale > 0 else 0.0
    return LinearCKA(value=value, n_gradients=0.0, n_examples=len(a), seed=0)


def _unbiased_hsic(k: Tensor, m: Tensor) -> Tensor:
    """Return Song's estimator, times n (n - 3)."""
    n = len(k)
    k, m = (each - torch.diag(each.diag()) for each in (k, m))
    return (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(0))

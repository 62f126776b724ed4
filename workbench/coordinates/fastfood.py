"""Fastfood projection: a stand-in for a Gaussian matrix from Hadamard transforms."""

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates.base import Projection
from workbench.coordinates.walsh_hadamard import walsh_hadamard


class Fastfood(Projection):
    """P stacks blocks H G Pi H B of n rows, n the next power of two from d, and keeps the first D rows.

    B holds random signs, Pi permutes, G holds Gaussian numbers, H is the unnormalised Hadamard matrix; phi is filled
    with zeros up to n. Every column of a block has squared norm n ||G||^2, and G is scaled to ||G||^2 = 1/D in each
    block. Hence a column of P has norm exactly 1 (to rounding) where n divides D; otherwise the complete blocks give
    exactly their share, and the last block, cut to r rows, gives r/D in expectation: the squared norm is 1 in
    expectation, with a deviation of order sqrt(r)/D while r is well below n. Time O(D log d), memory O(D), all blocks
    at once.

    Attributes:
        signs: Diagonals of B, shape ``(blocks, n)``.
        index: Pi of all blocks, as positions in the blocks laid end to end, shape ``(blocks n,)``.
        gauss: Diagonals of G, shape ``(blocks, n)``.

    References:
        Le, Sarlos, Smola (2013), Fastfood: Approximating Kernel Expansions in Loglinear Time, without the diagonal S
        that gives rows the lengths of Gaussian ones, and with each block's G scaled by itself. The code of Li et al.
        (2018) leaves out S too, but takes one block with n the next power of two from D, cut to D rows, which costs
        O(D log D) and has unit columns in expectation only.
    """

    def _draw(self, rng: np.random.Generator, dtype: torch.dtype, device: torch.device | str) -> None:
        """Draw the blocks."""
        n = 1 << (self.d - 1).bit_length()
        shape = blocks, _ = -(-self.D // n), n
        signs = 1 - 2 * rng.integers(0, 2, size=shape, dtype=np.int8)
        index = rng.permuted(np.arange(blocks * n).reshape(shape), axis=1).reshape(-1)
        gauss = rng.standard_normal(shape)
        gauss /= np.linalg.norm(gauss, axis=1, keepdims=True) * self.D**0.5
        self.signs = torch.from_numpy(signs).to(device, dtype)
        self.index = torch.from_numpy(index).to(device, torch.int64)
        self.gauss = torch.from_numpy(gauss).to(device, dtype)
        self._buffers = torch.empty(2, blocks, n, dtype=dtype, device=device)
        self._padded = torch.zeros(n, dtype=dtype, device=device)

    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``."""
        x, y = self._buffers
        self._padded[: self.d] = v
        x, y = walsh_hadamard(torch.mul(self.signs, self._padded, out=x), y)
        torch.index_select(x.view(-1), 0, self.index, out=y.view(-1)).view_as(x)
        y, x = walsh_hadamard(y.mul_(self.gauss), x)
        return out.copy_(y.view(-1)[: self.D])

    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``."""
        x, y = self._buffers
        x.view(-1)[: self.D] = g
        x.view(-1)[self.D :] = 0
        x, y = walsh_hadamard(x, y)
        y.view(-1).scatter_(0, self.index, x.mul_(self.gauss).view(-1))
        y, x = walsh_hadamard(y, x)
        return out.copy_(y.mul_(self.signs).sum(0)[: self.d])

"""Hashed projection: every parameter follows one signed coordinate."""

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates.base import Projection


class Hashed(Projection):
    """P_ij = s_i / sqrt(n_j) where j = h(i), else 0, with random h, random signs s and n_j parameters at coordinate j.

    Columns have disjoint supports and unit length, so P'P = I exactly (to rounding), for every d. h is balanced: a
    random permutation dealt out in turn, n_j being D/d rounded down or up, so that no coordinate is idle and none is
    heavier than the others. Time O(D) and 8 bytes per parameter, whatever d.

    The sign needs no storage and no product: ``index`` points into the table [phi / sqrt(n), -phi / sqrt(n)], and the
    transpose adds into the same doubled table. int64 because torch gathers through int32 more slowly. On a GPU
    ``scatter_add_`` adds in no fixed order; ``torch.use_deterministic_algorithms`` fixes it.

    Attributes:
        index: h(i) where s_i = 1 and h(i) + d where s_i = -1, shape ``(D,)``.
        scale: 1 / sqrt(n_j), shape ``(d,)``.

    References:
        Chen, Wilson, Tyree, Weinberger, Chen (2015), Compressing Neural Networks with the Hashing Trick, for one
        signed coordinate per parameter; here on the difference from theta_0 and balanced.
    """

    def _draw(self, rng: np.random.Generator, dtype: torch.dtype, device: torch.device | str) -> None:
        """Draw the assignment and the signs."""
        D, d = self.D, self.d
        index = np.empty(D, dtype=np.int64)
        index[rng.permutation(D)] = np.arange(D) % d
        index += d * rng.integers(0, 2, size=D)
        counts = np.full(d, D // d)
        counts[: D % d] += 1
        self.index = torch.from_numpy(index).to(device)
        self.scale = torch.from_numpy(1 / np.sqrt(counts)).to(device, dtype)
        table = torch.zeros(2 * d, dtype=dtype, device=device)
        self._table = (table, table[:d], table[d:])  # views made once: making them costs as much as a small product

    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``."""
        table, plus, minus = self._table
        torch.mul(v, self.scale, out=plus)
        torch.neg(plus, out=minus)
        return torch.index_select(table, 0, self.index, out=out)

    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``."""
        table, plus, minus = self._table
        table.zero_().scatter_add_(0, self.index, g)
        return torch.sub(plus, minus, out=out).mul_(self.scale)

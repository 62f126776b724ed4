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
        self._table = torch.zeros(2, d, dtype=dtype, device=device)

    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``."""
        torch.mul(v, self.scale, out=self._table[0])
        torch.neg(self._table[0], out=self._table[1])
        return torch.index_select(self._table.view(-1), 0, self.index, out=out)

    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``."""
        self._table.zero_().view(-1).scatter_add_(0, self.index, g)
        return torch.sub(self._table[0], self._table[1], out=out).mul_(self.scale)

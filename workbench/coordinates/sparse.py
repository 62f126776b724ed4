"""Very sparse projection, the one Li et al. (2018) use for their larger networks."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates.base import Projection


class Sparse(Projection):
    """P with k = sqrt(D) (rounded) entries +-1/sqrt(k) per column, at distinct random rows.

    Column norms are exactly 1 (to rounding), for every d. The density is 1/sqrt(D), so a step costs O(d sqrt(D)) time
    and P takes 4 bytes (row) and one number (signed value) per entry. A parameter touched by no column stays at
    theta_0, and one touched by several follows their sum: columns are orthogonal in expectation only.

    The entries are kept column by column, rows ascending. On a CPU SciPy multiplies by them and by their transpose
    from the same arrays; elsewhere torch gathers and scatters.

    Attributes:
        rows: Row of every entry, shape ``(d, k)``, int32.
        values: Value of every entry, shape ``(d, k)``.

    References:
        Li, Farkhoor, Liu, Yosinski (2018), Measuring the Intrinsic Dimension of Objective Landscapes; the distribution
        is that of Li, Hastie, Church (2006), Very Sparse Random Projections. There every entry is nonzero with
        probability 1/sqrt(D) and the count per column varies by about D^(1/4) around sqrt(D); here the count is fixed,
        so that none is empty. The authors' code takes each tensor's own size for D and normalises whole columns; here
        P is one matrix over all parameters.
    """

    def _draw(self, rng: np.random.Generator, dtype: torch.dtype, device: torch.device | str) -> None:
        """Draw rows and signs."""
        D, d, k = self.D, self.d, round(self.D**0.5)
        self._require_room(d * k * (4 + dtype.itemsize))
        rows = _distinct(rng, D, (d, k))
        signs = 1 - 2 * rng.integers(0, 2, size=(d, k), dtype=np.int8)
        self.rows = torch.from_numpy(rows).to(device)
        self.values = torch.from_numpy(signs).to(device, dtype).mul_(k**-0.5)
        self._transpose = _scipy_view(self.rows, self.values, D)

    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``."""
        if self._transpose is None:
            return out.zero_().index_add_(0, self.rows.view(-1), (self.values * v[:, None]).view(-1))
        return out.copy_(torch.from_numpy(self._transpose.T @ v.detach().numpy()))

    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``."""
        if self._transpose is None:
            return torch.sum(self.values * g[self.rows], 1, out=out)
        return out.copy_(torch.from_numpy(self._transpose @ g.detach().numpy()))


def _distinct(rng: np.random.Generator, D: int, shape: tuple[int, int]) -> np.ndarray:
    """Draw rows of distinct integers below D, ascending; redrawing repeats leaves every set equally likely."""
    drawn = rng.integers(0, D, size=shape, dtype=np.int32)
    while True:
        drawn.sort(axis=1)
        repeated = np.zeros(shape, dtype=bool)
        repeated[:, 1:] = drawn[:, 1:] == drawn[:, :-1]
        if not repeated.any():
            return drawn
        drawn[repeated] = rng.integers(0, D, size=int(repeated.sum()), dtype=np.int32)


def _scipy_view(rows: Tensor, values: Tensor, D: int) -> Any:
    """Return P' as a SciPy matrix that shares the tensors' memory, or None where SciPy cannot read them."""
    if rows.device.type != "cpu" or values.dtype not in {torch.float32, torch.float64}:
        return None
    from scipy.sparse import csr_array  # here, so that the other kinds start without it

    d, k = rows.shape
    starts = np.arange(0, d * k + 1, k, dtype=np.int32)
    return csr_array((values.numpy().reshape(-1), rows.numpy().reshape(-1), starts), shape=(d, D))

"""Dense Gaussian projection: the reference, for small problems."""

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates.base import Projection

_CHUNK = 2**22


class Dense(Projection):
    """P with Gaussian columns, each divided by its norm.

    Column norms are exactly 1 (to rounding), for every d. Memory D d numbers and two matrix-vector products per step,
    both proportional to d.

    References:
        Li, Farkhoor, Liu, Yosinski (2018), Measuring the Intrinsic Dimension of Objective Landscapes.
    """

    def _draw(self, rng: np.random.Generator, dtype: torch.dtype, device: torch.device | str) -> None:
        """Draw a few columns at a time, so that the float64 draws never double the memory."""
        self._require_room(self.D * self.d * dtype.itemsize)
        self.columns = torch.empty(self.d, self.D, dtype=dtype, device=device)  # row j is column j of P
        step = max(1, _CHUNK // self.D)
        for first in range(0, self.d, step):
            block = rng.standard_normal((min(step, self.d - first), self.D))
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            self.columns[first : first + step] = torch.from_numpy(block)

    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``."""
        return torch.mv(self.columns.T, v, out=out)

    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``."""
        return torch.mv(self.columns, g, out=out)

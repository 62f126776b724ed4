"""Dense Gaussian projection: the reference, for small problems."""

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates.base import Projection, fits_in_memory

_CHUNK = 2**22


class Dense(Projection):
    """P with Gaussian columns, each divided by its norm.

    Column norms are exactly 1 (to rounding), for every d. Memory D d numbers and two matrix-vector products per step,
    both proportional to d.

    References:
        Li, Farkhoor, Liu, Yosinski (2018), Measuring the Intrinsic Dimension of Objective Landscapes.
    """

    def __init__(
        self, D: int, d: int, rng: np.random.Generator, *, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        """Draw the matrix, a few columns at a time so that the float64 draws never double the memory.

        Args:
            D: Rows.
            d: Columns, in ``1..D``.
            rng: Randomness.
            dtype: Floating type.
            device: Where P lives.

        Raises:
            InputError: If the shape is invalid or P would exceed the memory limit.
        """
        super().__init__(D, d)
        fits_in_memory(D * d * dtype.itemsize, "dense", D, d)
        self.columns = torch.empty(d, D, dtype=dtype, device=device)  # row j is column j of P
        step = max(1, _CHUNK // D)
        for first in range(0, d, step):
            block = rng.standard_normal((min(step, d - first), D))
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            self.columns[first : first + step] = torch.from_numpy(block)

    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``; see the base class."""
        return torch.mv(self.columns.T, v, out=out)

    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``; see the base class."""
        return torch.mv(self.columns, g, out=out)

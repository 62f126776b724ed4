"""Block-Hadamard projection: a hashed one whose parameters are mixed in small blocks."""

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates.hashed import Hashed
from workbench.coordinates.walsh_hadamard import walsh_hadamard

_LARGEST_BLOCK = 256  # two passes by H_16; measured no slower than one product by H_64


class BlockHadamard(Hashed):
    """P = (I kron H_m / sqrt(m)) S, where S is `Hashed` and H_m mixes consecutive blocks of m parameters.

    Both factors have orthonormal columns, so P'P = I exactly (to rounding), for every d. Every parameter of a block is
    a signed combination of the block's m coordinates (fewer where two of them coincide), against one in S: closer to a
    dense P at little more cost. m is the largest power of two up to sqrt(D), and at most 256; the last D mod m
    parameters stay as S leaves them. Time O(D log m); memory that of S plus two buffers of length D.

    Attributes:
        index, scale: Those of S.
        block: m.
    """

    def _draw(self, rng: np.random.Generator, dtype: torch.dtype, device: torch.device | str) -> None:
        """Draw the hashed factor."""
        super()._draw(rng, dtype, device)
        self.block = min(_LARGEST_BLOCK, 2 ** ((self.D.bit_length() - 1) // 2))
        self._buffers = torch.empty(2, self.D, dtype=dtype, device=device)

    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``."""
        return self._mix(super().apply(v, self._buffers[0]), out)

    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``."""
        self._buffers[0].copy_(g)
        return super().adjoint(self._mix(self._buffers[0], self._buffers[1]), out)

    def _mix(self, x: Tensor, out: Tensor) -> Tensor:
        """Write the symmetric orthogonal factor I kron H_m / sqrt(m) times x into ``out``; destroys x."""
        whole = self.D - self.D % self.block
        rows, spare = (buffer[:whole].view(-1, self.block) for buffer in (x, self._buffers[1]))
        mixed, _ = walsh_hadamard(rows, spare)
        torch.mul(mixed.view(-1), self.block**-0.5, out=out[:whole])
        out[whole:] = x[whole:]
        return out

"""Structure-aware subspaces: one more trainable number per tensor, its scale."""

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.coordinates.base import Coordinates, Projection
from workbench.coordinates.subspace import Subspace, projection
from workbench.errors import is_count, require


class LayerScaled(Subspace):
    """theta_i = theta_0_i + (1 + lambda_t) (P z)_i for parameter i of tensor t, with phi = [z, lambda].

    The budget is d = (columns of P) + m for m tensors: the scales are paid for. At phi = 0 theta is theta_0, and the
    scales' gradient is zero there, because they multiply P z; they begin to move at the second step.

    Args:
        theta_0: Origin, shape ``(D,)``; read at every step, never written or copied.
        projection: P for z, of the same type and on the same device.
        layout_sizes: Numbers of parameters of the m tensors, in order; they add up to D.

    Raises:
        InputError: If ``theta_0`` is not a vector of length D or the sizes do not add up to it.

    References:
        Aghajanyan, Zettlemoyer, Gupta (2020), Intrinsic Dimensionality Explains the Effectiveness of Language Model
        Fine-Tuning ("SAID"), with 1 + lambda for their lambda, so that phi starts at zero like any other.
    """

    def __init__(self, theta_0: Tensor, projection: Projection, layout_sizes: Sequence[int]) -> None:
        super().__init__(theta_0, projection)
        sizes = list(layout_sizes)
        fits = all(is_count(size, 1) for size in sizes) and sum(sizes) == self.D
        require(fits, "layout_sizes", f"must be positive and add up to D={self.D}", sizes)
        self.d += len(sizes)
        self._repeats = torch.tensor(sizes, device=theta_0.device)

    @classmethod
    def of_dimension(
        cls, theta_0: Tensor, layout_sizes: Sequence[int], d: int, seed: int, *names: str | int, kind: str = "hashed"
    ) -> "LayerScaled":
        """Draw P so that z and the scales together have d numbers.

        Args:
            theta_0: Origin, shape ``(D,)``.
            layout_sizes: Numbers of parameters of the m tensors.
            d: Whole budget, more than m.
            seed: Seed of P.
            names: Further names of P's stream.
            kind: Kind of P.

        Returns:
            Coordinates with ``d`` numbers, ``d - m`` of them in the subspace.

        Raises:
            InputError: If ``d`` leaves nothing for z.
        """
        m, D = len(layout_sizes), theta_0.numel()
        rule = f"must be an integer in m+1..m+D={m + 1}..{m + D}, for m={m} scales"
        require(is_count(d, m + 1) and d <= m + D, "subspace_dim", rule, d)
        P = projection(kind, D, d - m, seed, "layer_scaled", *names, dtype=theta_0.dtype, device=theta_0.device)
        return cls(theta_0, P, layout_sizes)

    push, pull = Coordinates.push, Coordinates.pull  # by automatic differentiation: the map is no longer linear

    def __call__(self, phi: Tensor) -> Tensor:
        """Return theta(phi), differentiable."""
        z, scales = phi[: self.projection.d], phi[self.projection.d :]
        factors = torch.repeat_interleave(1 + scales, self._repeats, output_size=self.D)
        return self.theta_0 + factors * self.projection(z)

"""Structure-aware subspaces: one more trainable number per tensor, its scale."""

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.coordinates.base import Coordinates, Projection, Tangent, is_integer
from workbench.coordinates.subspace import Subspace, projection
from workbench.errors import require


class LayerScaled(Coordinates):
    """theta_i = theta_0_i + (1 + lambda_t) (P z)_i for parameter i of tensor t, with phi = [z, lambda].

    The budget is d = (columns of P) + m for m tensors: the scales are paid for. At phi = 0 theta is theta_0, and the
    scales' gradient is zero there, because they multiply P z; they begin to move at the second step.

    References:
        Aghajanyan, Zettlemoyer, Gupta (2020), Intrinsic Dimensionality Explains the Effectiveness of Language Model
        Fine-Tuning ("SAID"), with 1 + lambda for their lambda, so that phi starts at zero like any other.
    """

    def __init__(self, theta_0: Tensor, projection: Projection, layout_sizes: Sequence[int]) -> None:
        """Place the subspace at theta_0 and split theta into tensors.

        Args:
            theta_0: Origin, shape ``(D,)``; read at every step, never written or copied.
            projection: P for z, of the same type and on the same device.
            layout_sizes: Numbers of parameters of the m tensors, in order; they add up to D.

        Raises:
            InputError: If ``theta_0`` is not a vector of length D or the sizes do not add up to it.
        """
        sizes = [int(size) for size in layout_sizes]
        rule = f"must be positive and add up to D={projection.D}"
        require(min(sizes, default=0) > 0 and sum(sizes) == projection.D, "layout_sizes", rule, sizes)
        self._subspace = Subspace(theta_0, projection)
        self.theta_0, self.projection, self.sizes = self._subspace.theta_0, projection, sizes
        self.D, self.d = projection.D, projection.d + len(sizes)
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
        require(is_integer(d) and m < d <= m + D, "subspace_dim", rule, d)
        P = projection(kind, D, d - m, seed, "layer_scaled", *names, dtype=theta_0.dtype, device=theta_0.device)
        return cls(theta_0, P, layout_sizes)

    def initial(self) -> Tensor:
        """Return zeros, at which theta is theta_0 exactly."""
        return self.theta_0.new_zeros(self.d)

    @torch.no_grad()
    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Write theta(phi) into ``out``; see the base class."""
        z, scales = self._split(phi)
        self.projection.apply(z, out)
        for part, scale in zip(out.split(self.sizes), scales, strict=True):
            part.mul_(1 + scale)
        return out.add_(self.theta_0)

    @torch.no_grad()
    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Write [P' ((1 + lambda) g), per-tensor sums of g (P z)] into ``out``; see the base class."""
        z, scales = self._split(phi)
        offset, scaled = self.projection.apply(z, torch.empty_like(grad_theta)), torch.empty_like(grad_theta)
        grad_z, grad_scales = self._split(out)
        for t, (g, p, s) in enumerate(zip(*(x.split(self.sizes) for x in (grad_theta, offset, scaled)), strict=True)):
            torch.dot(g, p, out=grad_scales[t])
            torch.mul(g, 1 + scales[t], out=s)
        self.projection.adjoint(scaled, grad_z)
        return out

    def __call__(self, phi: Tensor) -> Tensor:
        """Return theta(phi), differentiable any number of times: the product rule is torch's, P is ours."""
        z, scales = self._split(phi)
        offset = Tangent.apply(z, z, self._subspace)
        return self.theta_0 + torch.repeat_interleave(1 + scales, self._repeats, output_size=self.D) * offset

    def _split(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Return the views z and lambda of a vector of d numbers."""
        return phi[: self.projection.d], phi[self.projection.d :]

"""A random affine subspace, theta = theta_0 + P phi, and the kinds of P it can be made of."""

import torch
from torch import Tensor

from workbench.coordinates.base import Coordinates, Projection
from workbench.coordinates.dense import Dense
from workbench.coordinates.fastfood import Fastfood
from workbench.coordinates.hadamard import BlockHadamard
from workbench.coordinates.hashed import Hashed
from workbench.coordinates.sparse import Sparse
from workbench.errors import require, require_choice
from workbench.seeds import generator

KINDS: dict[str, type[Projection]] = {
    "dense": Dense,
    "sparse": Sparse,
    "hashed": Hashed,
    "block_hadamard": BlockHadamard,
    "fastfood": Fastfood,
}


def projection(
    kind: str,
    D: int,
    d: int,
    seed: int,
    *names: str | int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Projection:
    """Draw a projection from its own named stream.

    Kind, D, d and ``names`` are part of the stream's name, so two projections that differ in any of them are
    independent. Everything made of integers (hashed, block-Hadamard, sparse, signs and permutations of Fastfood) is
    the same on every machine; Gaussian entries are NumPy's float64 draws, rounded to ``dtype``.

    Args:
        kind: One of ``KINDS``; ``"hashed"`` is the cheapest.
        D: Number of parameters.
        d: Dimension of the subspace, in ``1..D``.
        seed: Non-negative integer.
        names: Further names of the stream, such as the number of the replicate.
        dtype: Floating type of P.
        device: Where P lives.

    Returns:
        A projection of shape ``(D, d)``.

    Raises:
        InputError: If ``kind`` is unknown, ``d`` is outside ``1..D``, or a dense or sparse P would be too large.

    Example:
        >>> P = projection("hashed", 6, 6, 0)
        >>> theta = P.apply(torch.arange(6.0), torch.empty(6))  # at d = D a signed permutation
        >>> theta.abs().sort().values.tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    require_choice("kind", kind, tuple(KINDS))
    return KINDS[kind](D, d, generator(seed, "projection", kind, D, d, *names), dtype=dtype, device=device)


class Subspace(Coordinates):
    """theta = theta_0 + P phi, with phi starting at zero.

    Args:
        theta_0: Origin, shape ``(D,)``; read at every step, never written or copied.
        projection: P, of the same type and on the same device.

    Raises:
        InputError: If ``theta_0`` is not a vector of length D.
    """

    def __init__(self, theta_0: Tensor, projection: Projection) -> None:
        require(theta_0.shape == (projection.D,), "theta_0", f"must have shape (D={projection.D},)", theta_0.shape)
        self.theta_0, self.projection = theta_0.detach(), projection
        self.D, self.d = projection.D, projection.d

    def initial(self) -> Tensor:
        """Return zeros, at which theta is theta_0 exactly."""
        return self.theta_0.new_zeros(self.d)

    @torch.no_grad()
    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Write theta_0 + P phi into ``out``."""
        return self.projection.apply(phi, out).add_(self.theta_0)

    @torch.no_grad()
    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Write P' grad_theta into ``out``."""
        return self.projection.adjoint(grad_theta, out)

    def __call__(self, phi: Tensor) -> Tensor:
        """Return theta_0 + P phi as a differentiable function."""
        return self.projection(phi) + self.theta_0

"""The neural tangent kernel: which examples' outputs a step on one example moves, and how it changes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.errors import require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.example_gradients import Piece, factored, formed, pieces
from workbench.probes.landscape import Landscape, Map


@dataclass(frozen=True)
class TangentKernel:
    """A kernel, exact but for rounding.

    Attributes:
        matrix: ``J J'`` over examples and outputs, shape ``(n, C, n, C)``.
        path: ``"layers"`` or ``"vmap"``.
        n_gradients: Cost of its backward passes.
        seed: As given.
        n_examples: How many.
    """

    matrix: Tensor
    path: str
    n_gradients: float
    seed: int
    n_examples: int

    def change(self, other: "TangentKernel") -> float:
        """Return the distance to another kernel of the same examples over this one's norm; 0 is a lazy network."""
        self._fit(other)
        return float((other.matrix - self.matrix).norm() / self.matrix.norm())

    def alignment(self, other: "TangentKernel") -> float:
        """Return the cosine of both kernels as vectors: 1 where they differ by a factor alone."""
        self._fit(other)
        return float((self.matrix * other.matrix).sum() / (self.matrix.norm() * other.matrix.norm()))

    def _fit(self, other: "TangentKernel") -> None:
        shapes = tuple(self.matrix.shape), tuple(other.matrix.shape)
        require(shapes[0] == shapes[1], "other", f"must have shape {shapes[0]}", shapes[1])


def tangent_kernel(
    objective: Supervised,
    point: Tensor | Point,
    *,
    coordinates: Map | None = None,
    split: str = "train",
    n_examples: int | None = None,
    seed: int = 0,
) -> TangentKernel:
    """Compute the empirical neural tangent kernel, ``K[i, c, j, k] = df_c(x_i)/dphi . df_k(x_j)/dphi``.

    A linear layer adds the inputs' Gram matrix times that of the backpropagated gradients, so that the Jacobian is
    never formed; a convolution's part of it is. Where ``per_example`` takes ``vmap``, so does this.

    Args:
        objective: Left bit for bit as it is.
        point: Phi or theta, shape ``(d,)``; evaluation mode.
        coordinates: Theta as a differentiable function of phi, or None.
        split: Whose examples.
        n_examples: How many; None for all. Memory grows as ``(n C)^2``.
        seed: Which ones.

    Returns:
        The kernel; all axes of an example's outputs are flattened to C.

    References:
        Jacot et al. 2018, https://arxiv.org/abs/1806.07572.

    Example:
        >>> from torch import nn
        >>> line = Supervised(nn.Linear(2, 1, bias=False), (torch.eye(2), torch.ones(2)), loss="squared_error")
        >>> tangent_kernel(line, torch.zeros(2)).matrix[:, 0, :, 0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    at = Landscape(objective, point, coordinates, split=split, n_examples=n_examples, seed=seed)
    chunks: list[list[list[Piece]]] = []
    rows: list[Tensor] = []
    layered = factored(at)
    with at.visit():
        for x, y in at.chunks():
            each, fits = pieces(at, x, lambda z: z.flatten(1)) if layered else (iter(()), lambda: False)
            layered = layered and fits()
            if layered:
                chunks.append([parts for parts, _ in each])
            else:
                rows.append(formed(at, x, y, lambda z, y: z))
    if not layered:
        J = torch.cat(rows).flatten(0, 1)
        shape, matrix = (at.n, len(J) // at.n) * 2, J @ J.T
        return TangentKernel(matrix.view(shape), "vmap", float(len(J)), seed, at.n)
    C, matrix = len(chunks[0]), at.phi.new_zeros(())
    for i in range(len(chunks[0][0])):
        a = torch.cat([chunk[0][i][0] for chunk in chunks])
        d = torch.cat([torch.stack([parts[i][1] for parts in chunk], 1) for chunk in chunks]).flatten(0, 1)
        matrix = matrix + (d @ d.T).view(at.n, C, at.n, C) * (a @ a.T)[:, None, :, None]
    return TangentKernel(matrix, "layers", float(C), seed, at.n)

"""The neural tangent kernel: which examples' outputs a step on one example moves, and how it changes."""

from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from workbench.errors import require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.example_gradients import by_example
from workbench.probes.landscape import Landscape, Measured, Where


@dataclass(frozen=True, kw_only=True)
class TangentKernel(Measured):
    """A kernel, exact but for rounding; its cost is that of the backward passes.

    Attributes:
        matrix: ``J J'`` over examples and outputs, shape ``(n, C, n, C)``.
        path: ``"layers"``, ``"vmap"`` or ``"loop"``.
    """

    matrix: Tensor
    path: str

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


def tangent_kernel(objective: Supervised, point: Tensor | Point, **where: Unpack[Where]) -> TangentKernel:
    """Compute the empirical neural tangent kernel, ``K[i, c, j, k] = df_c(x_i)/dphi . df_k(x_j)/dphi``.

    A linear layer adds the inputs' Gram matrix times that of the backpropagated gradients, so that the Jacobian is
    never formed; a convolution's part of it is. Networks take the paths that they take in ``per_example``.

    Args:
        objective: Left bit for bit as it is.
        point: Phi or theta, shape ``(d,)``; evaluation mode.
        **where: ``coordinates``, ``split``, ``n_examples`` (memory grows as ``(n C)^2``) and ``seed``, as for
            ``Landscape``.

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
    at = Landscape(objective, point, **where)
    chunks, path = by_example(at, lambda outputs, y: outputs, list)
    C, matrix = len(chunks[0]), at.phi.new_zeros(())
    for i, part in enumerate(chunks[0][0]):
        a = torch.cat([chunk[0][i].a for chunk in chunks])
        d = torch.cat([torch.stack([parts[i].d for parts in chunk], 1) for chunk in chunks]).flatten(0, 1)
        matrix = matrix + (d @ d.T).view(at.n, C, at.n, C) * (a @ a.T + part.one)[:, None, :, None]
    cost = float(C if path == "layers" else at.n * C)
    return TangentKernel(matrix=matrix, path=path, n_gradients=cost, seed=at.seed, n_examples=at.n)

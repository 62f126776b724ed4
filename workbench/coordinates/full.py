"""All parameters free: theta = phi."""

import torch
from torch import Tensor

from workbench.coordinates.base import Coordinates


class Full(Coordinates):
    """The identity, so that ordinary training is one coordinate map among others.

    Passing the same tensor as ``phi`` and ``out`` costs nothing.

    Args:
        theta_0: Initial parameters, shape ``(D,)``; read, never written.
    """

    def __init__(self, theta_0: Tensor) -> None:
        self.theta_0 = theta_0.detach()
        self.D = self.d = theta_0.numel()

    def initial(self) -> Tensor:
        """Return a copy of theta_0."""
        return self.theta_0.clone()

    @torch.no_grad()
    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Copy phi into ``out``."""
        return out.copy_(phi)

    @torch.no_grad()
    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Copy the gradient into ``out``."""
        return out.copy_(grad_theta)

    def __call__(self, phi: Tensor) -> Tensor:
        """Return a differentiable copy of phi."""
        return phi.clone()

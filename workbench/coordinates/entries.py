"""Only some entries of theta move, the others stay at theta_0."""

import torch
from torch import Tensor

from workbench.coordinates.base import Coordinates
from workbench.coordinates.masked import require_mask
from workbench.errors import require


class Entries(Coordinates):
    """theta = phi at the free entries and theta_0 elsewhere: biases, norms, a head, random entries.

    phi holds the entries' values, so weight decay draws them to zero as in ``Full``.

    Args:
        theta_0: Parameters, shape ``(D,)``; read, never written.
        free: Which entries move: bool, shape ``(D,)``, as ``pruning.prunable`` marks them by their roles.

    Attributes:
        index: Positions of the free entries, shape ``(d,)``.

    Raises:
        InputError: If ``free`` is not a bool tensor of theta's shape or marks nothing.

    Example:
        >>> Entries(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([False, False, True]))(torch.tensor([9.0])).tolist()
        [1.0, 2.0, 9.0]
    """

    def __init__(self, theta_0: Tensor, free: Tensor) -> None:
        self.theta_0, self.D = theta_0.detach(), theta_0.numel()
        require_mask("free", free, self.D)
        self.index = free.nonzero()[:, 0]
        self.d = len(self.index)
        require(self.d > 0, "free", "must mark at least one entry", self.d)

    def initial(self) -> Tensor:
        """Return theta_0's free entries."""
        return self.theta_0[self.index]

    @torch.no_grad()
    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Copy theta_0, then phi to its places."""
        return out.copy_(self.theta_0).index_copy_(0, self.index, phi)

    @torch.no_grad()
    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Take the gradient at the free entries."""
        return torch.index_select(grad_theta, 0, self.index, out=out)

    def __call__(self, phi: Tensor) -> Tensor:
        """Return theta, differentiable."""
        return self.theta_0.index_copy(0, self.index, phi)

"""One map after another: a random subspace of the entries that a mask keeps, and the like."""

from torch import Tensor

from workbench.coordinates.base import Coordinates
from workbench.errors import require


class Composed(Coordinates):
    """theta = outer(inner(phi)), of maps that stay as they are while training.

    Args:
        outer: Map to theta.
        inner: Map to the outer one's coordinates.

    Raises:
        InputError: If ``inner`` does not end where ``outer`` begins.

    Example:
        >>> import torch
        >>> from workbench.coordinates import Entries, Subspace, projection
        >>> theta_0, kept = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([True, False, True])
        >>> within = Composed(Entries(theta_0, kept), Subspace(theta_0[kept], projection("hashed", 2, 1, 0)))
        >>> within(torch.ones(1))[1]  # what is not kept stays where it is
        tensor(0.)
    """

    def __init__(self, outer: Coordinates, inner: Coordinates) -> None:
        require(outer.d == inner.D, "inner", f"must map to the outer map's d={outer.d}", inner.D)
        self.outer, self.inner, self.D, self.d = outer, inner, outer.D, inner.d

    def initial(self) -> Tensor:
        """Return the inner map's start."""
        return self.inner.initial()

    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Write outer(inner(phi)) into ``out``."""
        return self.outer.push(self.inner.push(phi, out.new_empty(self.outer.d)), out)

    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Write the gradient, pulled through the outer map and then through the inner one, into ``out``."""
        middle = self.inner.push(phi, out.new_empty(self.outer.d))
        return self.inner.pull(phi, self.outer.pull(middle, grad_theta, middle.clone()), out)

    def __call__(self, phi: Tensor) -> Tensor:
        """Return outer(inner(phi)), differentiable."""
        return self.outer(self.inner(phi))

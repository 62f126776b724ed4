"""Pruned parameters: theta = mask * phi."""

from typing import Any

import torch
from torch import Tensor

from workbench.coordinates.base import Coordinates
from workbench.errors import require


class Masked(Coordinates):
    """theta = mask * phi: pruned entries are exactly zero after every step, under every optimizer.

    phi starts at zero where the mask is False and its gradient is zero there, so nothing that an optimizer adds up of
    it (momentum, second moments, weight decay) ever leaves zero. That costs two products where ``Full`` copies. The
    mask is part of a snapshot, so maps that change it while training are taken up with it.

    Args:
        theta_0: Initial parameters, shape ``(D,)``; what the mask drops is set to zero in a copy.
        mask: Bool, shape ``(D,)``; True = kept.

    Attributes:
        mask: As it stands; read, never written: ``set_mask`` changes it.

    Raises:
        InputError: If ``mask`` is not a bool tensor of theta's shape.
    """

    def __init__(self, theta_0: Tensor, mask: Tensor) -> None:
        self.D = self.d = theta_0.numel()
        self.theta_0, self._first = theta_0.detach(), mask
        self._use(mask, 0)
        self.theta_0 = self.theta_0.where(mask, 0.0)

    def _use(self, mask: Tensor, step: int) -> None:
        """Stand at a mask after a number of steps."""
        require_mask("mask", mask, self.D)
        # As numbers: a product with bools takes three to five times as long.
        self.mask, self._factor, self._step = mask, mask.to(self.theta_0), step

    def initial(self) -> Tensor:
        """Return a copy of theta_0, with zeros where pruned."""
        return self.theta_0.where(self.mask, 0.0)

    @torch.no_grad()
    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Write mask * phi into ``out``."""
        return torch.mul(phi, self._factor, out=out)

    @torch.no_grad()
    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Write mask * grad_theta into ``out``."""
        return torch.mul(grad_theta, self._factor, out=out)

    def __call__(self, phi: Tensor) -> Tensor:
        """Return mask * phi, differentiable."""
        return phi * self._factor

    def after_step(self, phi: Tensor, optimizer_state: dict[str, Any]) -> None:
        """Count the step."""
        self._step += 1

    @torch.no_grad()
    def set_mask(self, mask: Tensor, phi: Tensor, optimizer_state: dict[str, Any]) -> None:
        """Take another mask while training; what is dropped or grown is zero and has no past.

        Args:
            mask: Bool, shape ``(D,)``.
            phi: Coordinates, shape ``(D,)``; zeroed where the mask changes.
            optimizer_state: The optimizer's state of phi; its moments are zeroed likewise.

        Raises:
            InputError: If ``mask`` does not fit.
        """
        before = self.mask
        self._use(mask, self._step)
        changed = mask != before
        for value in (phi, *optimizer_state.values()):
            if isinstance(value, Tensor) and value.shape == phi.shape:
                value.masked_fill_(changed, 0)

    def state(self) -> dict[str, Tensor]:
        """Return the mask and the number of steps."""
        return {"mask": self.mask, "step": torch.tensor(self._step)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take up mask and number of steps."""
        self._use(state.get("mask", self._first), int(state.get("step", 0)))


def require_mask(name: str, mask: Tensor, D: int) -> None:
    """Raise InputError unless ``mask`` is a bool tensor of shape ``(D,)``."""
    fits = mask.dtype == torch.bool and mask.shape == (D,)
    require(fits, name, f"must be a bool tensor of shape ({D},)", (mask.dtype, tuple(mask.shape)))


def require_steps(steps: range) -> None:
    """Raise InputError unless ``steps`` says after which steps a mask changes."""
    fits = isinstance(steps, range) and 0 <= steps.start < steps.stop and steps.step > 0
    require(fits, "steps", "must be a range that rises from 0 or more, such as range(0, 1000, 100)", steps)

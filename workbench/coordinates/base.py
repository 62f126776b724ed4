"""What every coordinate map and every projection promises."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.functional import vjp

from workbench.errors import is_count, require

MAX_BYTES = 2**31


class Coordinates(ABC):
    """A map phi in R^d -> theta in R^D and its adjoint, on flat buffers that the caller owns.

    Calling the object gives theta as a differentiable function of phi, which is all that a map must define. A training
    step calls ``push`` before the network's forward pass and ``pull`` after its backward pass. They follow from the
    call by automatic differentiation; a map that can do without defines them itself, for that costs more than the map.

    Attributes:
        D: Length of theta.
        d: Length of phi.
    """

    D: int
    d: int

    @abstractmethod
    def initial(self) -> Tensor:
        """Return a new phi, shape ``(d,)``, at which theta is theta_0."""

    @torch.no_grad()
    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Write theta(phi) into ``out``.

        Args:
            phi: Coordinates, shape ``(d,)``.
            out: Parameters to overwrite, shape ``(D,)``, contiguous.

        Returns:
            ``out``.
        """
        return out.copy_(self(phi))

    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Write the gradient with respect to phi into ``out``: the map's transposed Jacobian times ``grad_theta``.

        Args:
            phi: Coordinates at which ``grad_theta`` was computed, shape ``(d,)``.
            grad_theta: Gradient with respect to theta, shape ``(D,)``, contiguous.
            out: Gradient to overwrite, shape ``(d,)``, contiguous.

        Returns:
            ``out``.
        """
        return out.copy_(vjp(self, phi, grad_theta)[1])

    @abstractmethod
    def __call__(self, phi: Tensor) -> Tensor:
        """Return theta(phi), a new tensor of shape ``(D,)`` that can be differentiated any number of times."""

    def after_step(self, phi: Tensor, optimizer_state: dict[str, Any]) -> None:
        """Change phi or the optimizer's state of it after a step, as growth rules do; by default nothing."""
        return None

    def state(self) -> dict[str, Tensor]:
        """Return what ``after_step`` has changed in the map itself, in memory of its own; by default nothing."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take up what ``state`` returned; an empty one is the start, where every training begins."""
        return None


class Projection(ABC):
    """A fixed random linear map P in R^(D x d) with columns of unit length, and its transpose.

    A kind draws its numbers in ``_draw`` and multiplies in ``apply`` and ``adjoint``. Both may use working buffers, so
    a projection serves one thread at a time.

    Args:
        D: Rows, positive.
        d: Columns, in ``1..D``.
        rng: Randomness.
        dtype: Floating type.
        device: Where P lives.

    Raises:
        InputError: If the shape is invalid or P would take more than ``MAX_BYTES``.
    """

    def __init__(
        self, D: int, d: int, rng: np.random.Generator, *, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        require(is_count(D, 1), "D", "must be a positive integer", D)
        require(is_count(d, 1) and d <= D, "subspace_dim", f"must be in 1..D={D}", d)
        self.D, self.d = int(D), int(d)
        self._draw(rng, dtype, device)

    @abstractmethod
    def _draw(self, rng: np.random.Generator, dtype: torch.dtype, device: torch.device | str) -> None:
        """Draw P's numbers; ``D`` and ``d`` are set."""

    @abstractmethod
    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out`` and return it.

        Args:
            v: Shape ``(d,)``.
            out: Tensor to overwrite, shape ``(D,)``, contiguous.
        """

    @abstractmethod
    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out`` and return it.

        Args:
            g: Shape ``(D,)``, contiguous.
            out: Tensor to overwrite, shape ``(d,)``, contiguous.
        """

    def __call__(self, v: Tensor) -> Tensor:
        """Return P v, a new tensor that can be differentiated any number of times."""
        return _Product.apply(v, self, False)

    def _require_room(self, n_bytes: int) -> None:
        """Refuse a projection too large to be worth storing, before it is drawn."""
        kind = type(self).__name__.lower()
        rule = f"must keep a {kind} P with D={self.D} below {MAX_BYTES:,} bytes (here {n_bytes:,})"
        remedy = 'use kind "hashed", whose size does not grow with d'
        require(n_bytes <= MAX_BYTES, "subspace_dim", rule, self.d, remedy)


class _Product(Function):
    """P x, or P' x where ``transposed``; each is the other's backward pass, so derivatives of any order exist."""

    @staticmethod
    def forward(x: Tensor, P: Projection, transposed: bool) -> Tensor:
        """Multiply into a new tensor."""
        x = x.contiguous()
        return P.adjoint(x, x.new_empty(P.d)) if transposed else P.apply(x, x.new_empty(P.D))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Projection, bool], output: Tensor) -> None:
        """Remember P and which product it was."""
        _, ctx.P, ctx.transposed = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Multiply by the transpose."""
        return _Product.apply(grad, ctx.P, not ctx.transposed), None, None

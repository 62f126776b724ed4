"""What every coordinate map and every projection promises, and the automatic differentiation they share."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from torch import Tensor
from torch.autograd import Function

from workbench.errors import require

MAX_BYTES = 2**31


class Coordinates(ABC):
    """A map phi in R^d -> theta in R^D and its adjoint, on flat buffers that the caller owns.

    A training step calls ``push`` before the network's forward pass and ``pull`` after its backward pass; neither
    records anything for automatic differentiation, which would cost more than the map. Calling the object gives the
    same theta with a gradient, for Hessian products and for anything else that differentiates through the map.

    Attributes:
        D: Length of theta.
        d: Length of phi.
    """

    D: int
    d: int

    @abstractmethod
    def initial(self) -> Tensor:
        """Return a new phi, shape ``(d,)``, at which theta is theta_0."""

    @abstractmethod
    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Write theta(phi) into ``out``.

        Args:
            phi: Coordinates, shape ``(d,)``.
            out: Parameters to overwrite, shape ``(D,)``, contiguous.

        Returns:
            ``out``.
        """

    @abstractmethod
    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Write the gradient with respect to phi into ``out``: the map's transposed Jacobian times ``grad_theta``.

        Args:
            phi: Coordinates at which ``grad_theta`` was computed, shape ``(d,)``.
            grad_theta: Gradient with respect to theta, shape ``(D,)``, contiguous.
            out: Gradient to overwrite, shape ``(d,)``, contiguous.

        Returns:
            ``out``.
        """

    def after_step(self, phi: Tensor, optimizer_state: dict[str, Any]) -> None:
        """Change phi or the optimizer's state after a step, as growth rules do; by default nothing.

        Args:
            phi: Coordinates just updated, shape ``(d,)``.
            optimizer_state: The optimizer's state of phi.
        """
        return None

    def tangent(self, direction: Tensor, out: Tensor) -> Tensor:
        """Write the Jacobian times ``direction`` into ``out``; only maps that are affine in phi define it.

        Args:
            direction: Change of phi, shape ``(d,)``.
            out: Change of theta to overwrite, shape ``(D,)``, contiguous.

        Returns:
            ``out``.

        Raises:
            NotImplementedError: If the map is not affine; such a map overrides ``__call__`` to be differentiated twice.
        """
        raise NotImplementedError(f"{type(self).__name__} is not affine: override __call__ to differentiate it twice")

    def __call__(self, phi: Tensor) -> Tensor:
        """Return theta(phi) with a gradient; an affine map may be differentiated any number of times.

        Args:
            phi: Coordinates, shape ``(d,)``.

        Returns:
            Parameters, shape ``(D,)``, a new tensor.
        """
        return _Push.apply(phi, self)


class _Push(Function):
    """theta(phi), whose backward pass is ``pull``."""

    @staticmethod
    def forward(phi: Tensor, coordinates: Coordinates) -> Tensor:
        """Compute theta in a new tensor."""
        return coordinates.push(phi, phi.new_empty(coordinates.D))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Coordinates], output: Tensor) -> None:
        """Keep phi: a nonlinear map's Jacobian depends on it."""
        phi, ctx.coordinates = inputs
        ctx.save_for_backward(phi)

    @staticmethod
    def backward(ctx: Any, grad_theta: Tensor) -> tuple[Tensor, None]:
        """Pull the gradient back."""
        return _Pull.apply(*ctx.saved_tensors, grad_theta.contiguous(), ctx.coordinates), None


class _Pull(Function):
    """J' g, whose backward pass in g is J. In phi it has none, because ``tangent`` exists for affine maps only."""

    @staticmethod
    def forward(phi: Tensor, grad_theta: Tensor, coordinates: Coordinates) -> Tensor:
        """Compute the gradient with respect to phi in a new tensor."""
        return coordinates.pull(phi, grad_theta, phi.new_empty(coordinates.d))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Coordinates], output: Tensor) -> None:
        """Keep phi for derivatives beyond the second."""
        phi, _, ctx.coordinates = inputs
        ctx.save_for_backward(phi)

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[None, Tensor, None]:
        """Apply the Jacobian."""
        return None, Tangent.apply(*ctx.saved_tensors, direction.contiguous(), ctx.coordinates), None


class Tangent(Function):
    """J u for an affine map, whose backward pass in u is ``pull``: this closes the circle."""

    @staticmethod
    def forward(phi: Tensor, direction: Tensor, coordinates: Coordinates) -> Tensor:
        """Compute the change of theta in a new tensor."""
        return coordinates.tangent(direction, phi.new_empty(coordinates.D))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Coordinates], output: Tensor) -> None:
        """Keep phi for the next derivative."""
        phi, _, ctx.coordinates = inputs
        ctx.save_for_backward(phi)

    @staticmethod
    def backward(ctx: Any, grad_theta: Tensor) -> tuple[None, Tensor, None]:
        """Pull the gradient back."""
        return None, _Pull.apply(*ctx.saved_tensors, grad_theta.contiguous(), ctx.coordinates), None


class Projection(ABC):
    """A fixed random linear map P in R^(D x d) with columns of unit length, and its transpose.

    Attributes:
        D: Rows.
        d: Columns.
    """

    def __init__(self, D: int, d: int) -> None:
        """Check the shape.

        Args:
            D: Rows, positive.
            d: Columns, in ``1..D``.

        Raises:
            InputError: If either is not an integer in its range.
        """
        require(is_integer(D) and D >= 1, "D", "must be a positive integer", D)
        require(is_integer(d) and 1 <= d <= D, "subspace_dim", f"must be in 1..D={D}", d)
        self.D, self.d = int(D), int(d)

    @abstractmethod
    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``.

        Args:
            v: Shape ``(d,)``.
            out: Tensor to overwrite, shape ``(D,)``, contiguous.

        Returns:
            ``out``.
        """

    @abstractmethod
    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``.

        Args:
            g: Shape ``(D,)``, contiguous.
            out: Tensor to overwrite, shape ``(d,)``, contiguous.

        Returns:
            ``out``.
        """

    @property
    def memory_bytes(self) -> int:
        """Bytes of every tensor the projection holds, working buffers included."""
        held = vars(self).values()
        return sum(
            x.nbytes if isinstance(x, Tensor) else x.memory_bytes for x in held if isinstance(x, Tensor | Projection)
        )


def fits_in_memory(n_bytes: int, kind: str, D: int, d: int) -> None:
    """Refuse a projection too large to be worth storing, before it is drawn.

    Args:
        n_bytes: What it would take.
        kind: Its kind, for the message.
        D: Rows.
        d: Columns.

    Raises:
        InputError: If it would take more than ``MAX_BYTES``.
    """
    rule = f"must keep a {kind} P with D={D} below {MAX_BYTES:,} bytes (here {n_bytes:,})"
    require(n_bytes <= MAX_BYTES, "subspace_dim", rule, d, 'use kind "hashed", whose size does not grow with d')


def is_integer(value: object) -> bool:
    """Tell integers, NumPy's included, from everything else, booleans included.

    Args:
        value: Anything.

    Returns:
        Whether it is an integer.
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)

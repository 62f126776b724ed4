"""The loss around a point, in any coordinates: what every probe of its derivatives stands on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor
from torch.autograd import grad
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from workbench.errors import require, require_choice
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.forwards import Map, computing, twice_differentiable

Matrix = Literal["hessian", "gauss_newton", "empirical_fisher"]


class Where(TypedDict, total=False):
    """In which coordinates, and on which examples: the arguments that every probe hands on to ``Landscape``."""

    coordinates: Map | None
    split: str
    n_examples: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What every result carries.

    Attributes:
        n_gradients: Cost counted, not timed, in gradients of these examples: by convention a matrix product is one, a
            forward pass a third.
        n_examples: How many examples the loss is the mean of; curvatures at different numbers do not compare.
        seed: Of the examples and of all random vectors; 0 where nothing is drawn.
    """

    n_gradients: float
    n_examples: int
    seed: int


class Landscape:
    """The mean loss of some examples as a function of phi around a point; evaluation mode, stored running statistics.

    Args:
        objective: Network and examples; left bit for bit as it is, torch's generator included.
        point: Phi, shape ``(d,)``, with the buffers as they stand; or a point with its own.
        coordinates: Theta as a differentiable function of phi, such as a subspace, a mask, or
            ``lambda a: base + a @ experts``; None where phi is theta itself.
        split: Whose examples.
        n_examples: How many of them, at random; None for all.
        seed: Which ones.

    Attributes:
        phi: Shape ``(d,)``.
        d: Number of coordinates.
        n: Number of examples.
        seed: The seed.
        objective: Over these examples alone, as its training split.

    Raises:
        InputError: If the point is not finite or does not fit, or the network answers the same question twice
            differently, as with dropout that stays on in evaluation mode.
    """

    def __init__(
        self,
        objective: Supervised,
        point: Tensor | Point,
        coordinates: Map | None = None,
        *,
        split: str = "train",
        n_examples: int | None = None,
        seed: int = 0,
    ) -> None:
        phi, self.buffers = point if isinstance(point, tuple) else (point, {})
        require(phi.ndim == 1 and bool(phi.isfinite().all()), "point", "must be a finite vector", tuple(phi.shape))
        self.phi, self.d, self._map = phi.detach(), len(phi), coordinates
        self.objective = objective.sample(n_examples, seed, split)
        self.n, self.seed = len(self.objective.splits["train"]), seed
        with self.visit():
            x, _ = next(self.objective.splits["train"].chunks(min(self.n, 32)))
            first, second = (self.objective.model(x).detach() for _ in range(2))
        rule, remedy = "must give the same outputs twice in evaluation mode", "take what is random out of its forward"
        require(torch.equal(first.nan_to_num(), second.nan_to_num()), "model", rule, "it does not", remedy)

    def theta(self, phi: Tensor) -> Tensor:
        """Return theta at phi, shape ``(D,)``."""
        return phi if self._map is None else self._map(phi)

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Stand at the point; the model's parameters can be differentiated to any order there."""
        point = Point(self.theta(self.phi).detach(), self.buffers)
        # the fused kernels of attention have no second derivative
        with torch.random.fork_rng(), sdpa_kernel(SDPBackend.MATH), self.objective.visit(point):
            yield

    def chunks(self, size: int = 250) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the examples' inputs and targets."""
        return self.objective.splits["train"].chunks(min(size, self.objective.chunk_size))

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The model's tensors that make up theta, in its order."""
        return [p for p in self.objective.model.parameters() if p.requires_grad]

    def gradient(self) -> Tensor:
        """Return the exact gradient at phi, shape ``(d,)``, in the loss's unit per unit of phi."""
        with self.visit():
            at = Point(self.objective.theta.clone(), self.objective.buffers())
        return self.pull(self.objective.gradient(at))

    def pull(self, grad_theta: Tensor) -> Tensor:
        """Return the map's transposed Jacobian at phi times a vector of shape ``(D,)``."""
        if self._map is None:
            return grad_theta
        phi = self.phi.clone().requires_grad_()
        return grad(self._map(phi), phi, grad_theta)[0]

    @contextmanager
    def products(self, matrix: Matrix = "hessian", max_bytes: int = 2**32) -> Iterator[Map]:
        """Offer products of vectors with a matrix of second derivatives at the point, exact but for rounding.

        ``"hessian"`` is that of the mean loss. ``"gauss_newton"`` is the mean of J' L J, J the outputs' Jacobian and L
        the Hessian of the loss in the outputs; for cross-entropy it is the Fisher matrix of the model's own labels.
        ``"empirical_fisher"`` is the mean of g g', g an example's own gradient at its label. In coordinates of theta
        all three are those of the composed function.

        Args:
            matrix: Which.
            max_bytes: Graphs are computed once and kept as long as all of them fit, else anew for every product, at
                about twice the cost.

        Yields:
            A function from v, shape ``(d,)``, to the product, shape ``(d,)``; valid inside the context.
        """
        require_choice("matrix", matrix, tuple(_MATRICES))
        forwards = twice_differentiable(self.objective.model)
        with self.visit(), computing(forwards):
            chart = _Chart(self, matrix == "hessian")
            images = any(isinstance(module, torch.nn.Conv2d) for module in forwards)
            batches = list(self.chunks(250 if images else 500))  # larger ones leave the processor's caches
            build = partial(_MATRICES[matrix], self)
            first, n_bytes = _weighed(build, *batches[0])
            if n_bytes * len(batches) <= max_bytes:
                parts = [first, *(build(x, y) for x, y in batches[1:])]
            else:
                parts = [lambda v, x=x, y=y: build(x, y)(v) for x, y in batches]

            def product(v: Tensor) -> Tensor:
                require(v.shape == (self.d,), "v", f"must have shape ({self.d},)", tuple(v.shape))
                vs = list(self.objective.layout.views(chart.push(v)).values())
                total = parts[0](vs)
                for part in parts[1:]:
                    torch._foreach_add_(total, part(vs))
                return chart.pull(torch.cat([each.flatten() for each in total]), v)

            yield product

    def _hessian(self, x: Tensor, y: Tensor) -> Callable[[list[Tensor]], list[Tensor]]:
        """Store the graph of a batch's share of the gradient; differentiate it along v."""
        parameters = self.parameters
        gradient = grad(self._share(x, y), parameters, create_graph=True, materialize_grads=True)
        bent = [g for g in gradient if g.requires_grad]

        def part(vs: list[Tensor]) -> list[Tensor]:
            along = [v for v, g in zip(vs, gradient, strict=True) if g.requires_grad]
            return list(grad(bent, parameters, along, retain_graph=True, materialize_grads=True))

        return part

    def _gauss_newton(self, x: Tensor, y: Tensor) -> Callable[[list[Tensor]], list[Tensor]]:
        """Store the graph of a batch's outputs; go to them along v, through the loss's Hessian there, and back."""
        outputs = self.objective.model(x)
        at = outputs.detach().requires_grad_()
        slope = grad(self.objective.losses(at, y).sum() / self.n, at, create_graph=True)[0]
        return self._there_and_back(outputs, lambda u: grad(slope, at, u, retain_graph=True)[0])

    def _empirical_fisher(self, x: Tensor, y: Tensor) -> Callable[[list[Tensor]], list[Tensor]]:
        """Store the graph of a batch's losses; go to them along v and back."""
        return self._there_and_back(self.objective.losses(self.objective.model(x), y), lambda u: u / self.n)

    def _there_and_back(self, outputs: Tensor, between: Map) -> Callable[[list[Tensor]], list[Tensor]]:
        parameters = self.parameters
        dual = torch.zeros_like(outputs, requires_grad=True)
        pulled = grad(outputs, parameters, dual, create_graph=True, materialize_grads=True)
        used = [g for g in pulled if g.requires_grad]

        def part(vs: list[Tensor]) -> list[Tensor]:
            along = [v for v, g in zip(vs, pulled, strict=True) if g.requires_grad]
            (u,) = grad(used, dual, along, retain_graph=True)  # the derivative of J'w in w, which is J
            return list(grad(outputs, parameters, between(u), retain_graph=True, materialize_grads=True))

        return part

    def _share(self, x: Tensor, y: Tensor) -> Tensor:
        """Return a batch's part of the mean loss: examples are averaged, not batches."""
        return self.objective.losses(self.objective.model(x), y).sum() / self.n


_MATRICES = {
    "hessian": Landscape._hessian,
    "gauss_newton": Landscape._gauss_newton,
    "empirical_fisher": Landscape._empirical_fisher,
}


class _Chart:
    """The map's Jacobian at a point, and what its own bending adds to a Hessian."""

    def __init__(self, landscape: Landscape, bends: bool) -> None:
        self.flat = landscape._map is None
        if self.flat:
            return
        with torch.enable_grad():
            self.phi = landscape.phi.clone().requires_grad_()
            self.theta = landscape.theta(self.phi)
            self.dual = torch.zeros_like(self.theta, requires_grad=True)
            (self.pulled,) = grad(self.theta, self.phi, self.dual, create_graph=True)
            self.slope = None
            if bends:
                g = torch.zeros_like(landscape.objective.theta)
                for x, y in landscape.chunks():  # a graph at a time: memory does not grow with the examples
                    parts = grad(landscape._share(x, y), landscape.parameters, materialize_grads=True)
                    g += torch.cat([each.flatten() for each in parts])
                (slope,) = grad(self.theta, self.phi, g, create_graph=True)
                self.slope = slope if slope.requires_grad else None  # a straight map's depends on phi no more

    def push(self, v: Tensor) -> Tensor:
        """Return J v."""
        return v if self.flat else grad(self.pulled, self.dual, v, retain_graph=True)[0]

    def pull(self, g: Tensor, v: Tensor) -> Tensor:
        """Return J' g, and the second derivative of theta(phi) along v, weighted by the gradient."""
        if self.flat:
            return g
        (pulled,) = grad(self.theta, self.phi, g, retain_graph=True)
        if self.slope is not None:
            pulled += grad(self.slope, self.phi, v, retain_graph=True)[0]
        return pulled


def _weighed(build: Callable[..., Any], x: Tensor, y: Tensor) -> tuple[Any, int]:
    """Return what is built for a batch, and the bytes of what its graph keeps."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()

    with saved_tensors_hooks(pack, lambda t: t):
        built = build(x, y)
    return built, sum(kept.values())

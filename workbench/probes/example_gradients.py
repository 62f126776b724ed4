"""Gradients of single examples as outer products, layer by layer; or formed, where layers do not allow it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.autograd.functional import jacobian
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F

from workbench.probes.landscape import Landscape

T = TypeVar("T")
Scalars = Callable[[Tensor, Tensor], Tensor]  # of outputs and targets, shape (n, k) or (n,)


class Unlayered(Exception):
    """Theta is not held by layers whose inputs and outputs give its gradients."""


class Piece(NamedTuple):
    """A part of n gradients: row i is the outer product of ``a[i]``, with a 1 behind it if ``one``, and ``d[i]``."""

    a: Tensor
    d: Tensor
    one: bool

    def squared(self) -> Tensor:
        """Return each row's squared norm, shape ``(n,)``, double."""
        a, d = (t.norm(dim=1).double().square() for t in (self.a, self.d))
        return (a + self.one) * d

    def total(self) -> Tensor:
        """Return the rows' sum, shape ``(q, p)`` or ``(q, p + 1)``."""
        summed = self.d.mT @ self.a
        return torch.cat([summed, self.d.sum(0)[:, None]], 1) if self.one else summed


def by_example(at: Landscape, scalars: Scalars, use: Callable[[Iterator[list[Piece]]], T]) -> tuple[list[T], str]:
    """Return what ``use`` makes of each chunk's pieces, one list for each of an example's scalars, and the path taken.

    Layers serve where linear, plain convolution and normalisation layers, each called once on one row an example, hold
    theta; ``vmap`` wherever it can run the network; a loop everywhere.
    """
    unfolds = any(type(m) is nn.Conv2d for m in at.objective.model.modules())  # which leaves the caches sooner
    with at.visit():
        with suppress(Unlayered):
            return [use(layered(at, x, y, scalars)) for x, y in at.chunks(250 if unfolds else 1000)], "layers"
        with suppress(RuntimeError):  # how vmap says that it cannot
            return [use(_vmapped(at, x, y, scalars)) for x, y in at.chunks(50)], "vmap"
        return [use(_looped(at, x, y, scalars)) for x, y in at.chunks(50)], "loop"


def layered(at: Landscape, x: Tensor, y: Tensor, scalars: Scalars) -> Iterator[list[Piece]]:
    """Go back to the layers' outputs only, which forms no weight's gradient.

    Raises:
        Unlayered: If theta is held otherwise, or an output is changed in place, as ``ReLU(inplace=True)`` does.
    """
    layers = [m for m in at.objective.model.modules() if list(m.parameters(recurse=False))]
    held = [id(p) for m in layers for p in m.parameters(recurse=False)]
    untied = at._map is None and len(held) == len(set(held)) == len(at.parameters)
    if not (untied and all(map(_plain, layers))):
        raise Unlayered
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    versions: list[int] = []

    def keep(layer: nn.Module, inputs: tuple[Tensor], out: Tensor) -> None:
        seen.append((layer, inputs[0].detach(), out))
        versions.append(inputs[0]._version + out._version)

    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.register_forward_hook(keep).remove)
        values = scalars(at.objective.model(x), y).reshape(len(x), -1)
    once = len(seen) == len(layers) == len({m for m, _, _ in seen}) and all(len(a) == len(x) for _, a, _ in seen)
    unchanged = versions == [a._version + out._version for _, a, out in seen]
    if not (once and unchanged):
        raise Unlayered
    seen.sort(key=lambda call: layers.index(call[0]))
    for one in values.sum(0):
        slopes = grad(one, [out for _, _, out in seen], retain_graph=True, materialize_grads=True)
        yield [piece for (m, a, _), d in zip(seen, slopes, strict=True) for piece in _layer(m, a, d)]


def _plain(m: Any) -> bool:
    """Tell whether ``_layer`` knows the layer."""
    plain = type(m) is nn.Conv2d and m.groups == 1 and m.padding_mode == "zeros" and not isinstance(m.padding, str)
    return type(m) is nn.Linear or plain or (type(m) in (nn.BatchNorm1d, nn.BatchNorm2d) and m.track_running_stats)


def _layer(layer: Any, a: Tensor, d: Tensor) -> list[Piece]:
    """Return one layer's pieces from its inputs and its outputs' gradients."""
    n, bias = len(a), layer.bias is not None
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        shape = (-1, *[1] * (a.ndim - 2))
        mean, variance = (t.view(shape) for t in (layer.running_mean, layer.running_var) if t is not None)
        unit = (a - mean) / (variance + layer.eps).sqrt()
        return [_whole(g.reshape(n, a.shape[1], -1).sum(2)) for g in (d * unit, d)]
    if isinstance(layer, nn.Conv2d):
        a = F.unfold(a, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT  # type: ignore[arg-type]
        d = d.flatten(2).mT
    a, d = a.reshape(n, -1, a.shape[-1]), d.reshape(n, -1, d.shape[-1])
    if a.shape[1] == 1:
        return [Piece(a[:, 0], d[:, 0], bias)]
    whole = [_whole((d.mT @ a).flatten(1))]  # a weight shared over positions: no product of norms any more
    return [*whole, _whole(d.sum(1))] if bias else whole


def _whole(rows: Tensor) -> Piece:
    """Return gradients that stand as they are."""
    return Piece(rows[:, :0], rows, True)


def _vmapped(at: Landscape, x: Tensor, y: Tensor, scalars: Scalars) -> Iterator[list[Piece]]:
    rows = vmap(jacrev(_of_theta(at, scalars)), (None, 0, 0))(at.theta(at.phi).detach(), x, y)
    return _formed(at, rows)


def _looped(at: Landscape, x: Tensor, y: Tensor, scalars: Scalars) -> Iterator[list[Piece]]:
    one, theta = _of_theta(at, scalars), at.theta(at.phi).detach()
    return _formed(at, torch.stack([jacobian(lambda t, i=i: one(t, x[i], y[i]), theta) for i in range(len(x))]))


def _formed(at: Landscape, rows: Tensor) -> Iterator[list[Piece]]:
    """Take Jacobians in theta, shape ``(n, k, D)``, to phi."""
    if at._map is not None:
        rows = torch.stack([torch.stack([at.pull(g) for g in each]) for each in rows])
    return ([_whole(each)] for each in rows.detach().unbind(1))


def _of_theta(at: Landscape, scalars: Scalars) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return one example's scalars as a function of theta and the example."""

    def one(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        outputs = functional_call(at.objective.model, at.objective.layout.views(theta), (x[None],))
        return scalars(outputs, y[None]).flatten()

    return one

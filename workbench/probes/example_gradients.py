"""Gradients of single examples as outer products, layer by layer; or formed, where layers do not allow it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.func import functional_call, vmap
from torch.func import jacrev as jacobian
from torch.nn import functional as F

from workbench.probes.landscape import Landscape

Piece = tuple[Tensor, Tensor]  # (n, p) and (n, q): row i is the outer product of its two rows


def factored(at: Landscape) -> bool:
    """Tell whether theta is held by linear, plain convolution and normalisation layers alone, none of them tied."""
    modules = [m for m in at.objective.model.modules() if list(m.parameters(recurse=False))]
    held = [id(p) for m in modules for p in m.parameters(recurse=False)]
    plain = all(
        type(m) is nn.Linear
        or (type(m) in (nn.BatchNorm1d, nn.BatchNorm2d) and m.track_running_stats)
        or (type(m) is nn.Conv2d and m.groups == 1 and m.padding_mode == "zeros" and not isinstance(m.padding, str))
        for m in modules
    )
    return at._map is None and plain and len(held) == len(set(held)) == len(at.parameters)


def pieces(
    at: Landscape, x: Tensor, scalars: Callable[[Tensor], Tensor]
) -> tuple[Iterator[tuple[list[Piece], list[Tensor]]], Callable[[], bool]]:
    """Return an iterator over the scalars of every example, ``(n, k)``: each one's pieces and summed gradient.

    The second answer says whether every layer was called once, on one row an example.
    """
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    layers = [m for m in at.objective.model.modules() if list(m.parameters(recurse=False))]
    with ExitStack() as hooks:
        for layer in layers:
            handle = layer.register_forward_hook(lambda m, inputs, out: seen.append((m, inputs[0].detach(), out)))
            hooks.callback(handle.remove)
        values = scalars(at.objective.model(x))
    sums, outs = values.sum(0), [out for _, _, out in seen]

    def each() -> Iterator[tuple[list[Piece], list[Tensor]]]:
        for one in sums:
            found = grad(one, [*outs, *at.parameters], retain_graph=True, materialize_grads=True)
            parts = [p for (m, a, _), d in zip(seen, found, strict=False) for p in _layer(m, a, d)]
            yield parts, list(found[len(outs) :])

    return each(), lambda: len(seen) == len(layers) and all(len(a) == len(x) for _, a, _ in seen)


def _layer(layer: Any, a: Tensor, d: Tensor) -> list[Piece]:
    """Return one layer's pieces from its inputs and its outputs' gradients."""
    n, bias = len(a), layer.bias is not None
    one = a.new_ones(n, 1)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        shape = (-1, *[1] * (a.ndim - 2))
        mean, variance = (t.view(shape) for t in (layer.running_mean, layer.running_var) if t is not None)
        unit = (a - mean) / (variance + layer.eps).sqrt()
        return [(one, g.reshape(n, a.shape[1], -1).sum(2)) for g in (d * unit, d)]
    if isinstance(layer, nn.Conv2d):
        a = F.unfold(a, layer.kernel_size, layer.dilation, layer.padding, layer.stride).mT  # type: ignore[arg-type]
        d = d.flatten(2).mT
    a, d = a.reshape(n, -1, a.shape[-1]), d.reshape(n, -1, d.shape[-1])
    if a.shape[1] == 1:
        return [(torch.cat([a[:, 0], one], 1) if bias else a[:, 0], d[:, 0])]
    formed = [(one, (d.mT @ a).flatten(1))]  # a weight shared over positions: no product of norms any more
    return [*formed, (one, d.sum(1))] if bias else formed


def formed(at: Landscape, x: Tensor, y: Tensor, scalars: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return every example's Jacobian of its scalars, shape ``(n, k, d)``, by vmap."""

    def one(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        state = at.objective.layout.views(theta)
        return scalars(functional_call(at.objective.model, state, (x[None],)), y[None]).flatten()

    theta = at.theta(at.phi).detach()
    rows = vmap(jacobian(one), (None, 0, 0))(theta, x, y).detach()
    return rows if at._map is None else torch.stack([torch.stack([at.pull(g) for g in each]) for each in rows])

"""Whole units pruned, and the smaller network that is left: it needs no mask and no sparse products to be faster."""

import copy
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from workbench.errors import require
from workbench.layout import Entry, Layout
from workbench.pruning.allocation import select

_NORMS: dict[type[nn.Module], tuple[str, ...]] = {kind: ("num_features",) for kind in (nn.BatchNorm1d, nn.BatchNorm2d)}
_SIZES = {nn.Linear: ("out_features", "in_features"), nn.Conv2d: ("out_channels", "in_channels"), **_NORMS}
_LAYERS = (nn.Linear, nn.Conv2d)
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout)
_OTHERS = (*_ACTIVATIONS, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten)  # each channel by itself


def select_units(
    scores: Tensor,
    density: float,
    *,
    prunable: Tensor,
    layout: Layout,
    scope: Literal["global", "layer"] = "global",
    min_per_layer: int = 1,
    seed: int = 0,
) -> Tensor:
    """Keep the output units with the largest scores, and of the others nothing: no weight, bias or norm.

    Args:
        scores: Equal within a unit, as ``filters`` and ``taylor`` give, shape ``(D,)``.
        density: Kept share of the units, in (0, 1].
        prunable: True for the matrices and kernels whose units may go, shape ``(D,)``; leave out the output layer.
        layout: Where each tensor stands in theta; vectors of a unit each that follow a matrix belong to its units.
        scope: As in ``select``.
        min_per_layer: Units that each layer keeps at least.
        seed: Which of equal units are kept.

    Returns:
        True where kept, shape ``(D,)``.

    Raises:
        InputError: If an argument breaks its rule.
    """
    layers = [e for e in layout.entries if len(e.shape) > 1 and prunable[e.offset : e.offset + e.size].all()]
    require(bool(layers), "prunable", "must hold whole matrices or kernels", int(prunable.sum()))
    firsts = torch.cat([torch.arange(e.offset, e.offset + e.size, e.size // e.shape[0]) for e in layers])
    ends = torch.tensor([e.shape[0] for e in layers]).cumsum(0).tolist()
    units = Layout(
        tuple(Entry(e.name, e.shape[:1], b - e.shape[0], e.shape[0], e.role) for e, b in zip(layers, ends, strict=True))
    )
    rest: dict[str, Any] = {"layout": units, "scope": scope, "min_per_layer": min_per_layer, "seed": seed}
    chosen = select(scores[firsts], density, prunable=torch.ones(units.D, dtype=torch.bool), **rest)
    kept, mask, own = units.views(chosen.cpu()), torch.ones(layout.D, dtype=torch.bool), None
    for entry, part in zip(layout.entries, layout.views(mask).values(), strict=True):
        own = kept.get(entry.name) if len(entry.shape) > 1 else own
        if own is not None and entry.shape[0] == len(own):
            part[~own] = False
    return mask.to(scores.device)


def shrink(model: nn.Sequential, x: Tensor) -> nn.Sequential:
    """Remove the units of a network that do nothing, where the outputs stay equal.

    A unit goes if no weight leads out of it, or if none leads in and what it then puts out is zero or can join the
    bias of a linear layer that follows. (Before a convolution a constant cannot: padding is zero.) Zeros count, so
    hand over the masked network, ``objective.module_at(mask * theta)``.

    Args:
        model: Linear layers and convolutions in sequence, with norms, activations and pooling between.
        x: An example input, shape ``(1, ...)``.

    Returns:
        A new network in evaluation mode.

    Raises:
        InputError: If the network has other parts, or a layer of which no unit would be left.
    """
    small = copy.deepcopy(model).eval()
    for name, part in small.named_children():
        rule = "must be a sequence of linear, convolution (groups=1), norm, activation and pooling layers"
        fits = type(part) in (*_SIZES, *_OTHERS) and getattr(part, "groups", 1) == 1
        require(fits, "model", rule, f"{name}: {part}")
    layers = [i for i, part in enumerate(small) if isinstance(part, _LAYERS)]
    with torch.no_grad():
        while any([_remove(small, i, j, x) for i, j in pairwise(layers)]):  # one unit less may free another
            pass
    return small


def _remove(net: Any, i: int, j: int, x: Tensor) -> bool:
    """Remove what units of layer i the layer j after it can do without; tell if there were any."""
    layer, after, between = net[i], net[j], net[i + 1 : j]
    out = net[: i + 1](x)
    n = out.shape[1]
    bias = torch.zeros(n) if layer.bias is None else layer.bias
    constant = between(bias.view(1, n, *[1] * (out.ndim - 2)).expand_as(out)).reshape(n, -1)  # of units without weights
    leaving = after.weight.view(len(after.weight), n, -1)
    silent = (layer.weight.flatten(1) == 0).all(1) & (isinstance(after, nn.Linear) | (constant == 0).all(1))
    keep = ~(silent | (leaving == 0).all(2).all(0))
    if keep.all():
        return False
    require(bool(keep.any()), "model", f"must keep a unit of layer {i}", "none: nothing passes through the network")
    if isinstance(after, nn.Linear):
        moved = torch.einsum("our,ur->o", leaving[:, ~keep], constant[~keep])
        if moved.any():
            after.bias = nn.Parameter(moved if after.bias is None else after.bias + moved)
    after.weight = nn.Parameter(leaving[:, keep].reshape(len(leaving), -1, *after.weight.shape[2:]))
    for part in (layer, *(part for part in between if type(part) in _SIZES)):
        for tensor in (*part.parameters(), *(b for b in part.buffers() if b.ndim)):
            tensor.data = tensor.data[keep]
    for part in net[i : j + 1]:
        for name, k in zip(_SIZES.get(type(part), ()), range(2), strict=False):
            setattr(part, name, next(iter(part.state_dict().values())).shape[k])
    return True

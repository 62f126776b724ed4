"""What a mask saves on paper, in the field's terms."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.errors import require
from workbench.objective import Supervised
from workbench.pruning.products import add_up


@dataclass(frozen=True)
class Compression:
    """What a mask leaves of a network. Tied tensors count once, their multiply-accumulates at every use.

    Attributes:
        n_parameters: All trainable parameters, D.
        n_prunable: Those that could be pruned.
        n_kept: Those of all D that are kept.
        densities: Kept share of each layer's prunable entries, by the tensor's name.
        density: Kept share of all prunable entries.
        compression_of_weights: Prunable entries over kept ones, as many papers have it.
        compression: Parameters over kept parameters.
        compression_with_index: The same in bits of 32 a kept parameter and 1 a prunable one, which says if it is kept.
        macs: Multiply-accumulates of one example in products with parameters; those of two activations, as within
            attention, of norms and of biases are not counted.
        macs_kept: Those with kept parameters.
        speed_up: ``macs / macs_kept``: what a device could gain that skips every zero for nothing.
        empty_layers: Tensors of which nothing prunable is left.
    """

    n_parameters: int
    n_prunable: int
    n_kept: int
    densities: dict[str, float]
    density: float
    compression_of_weights: float
    compression: float
    compression_with_index: float
    macs: int
    macs_kept: int
    speed_up: float
    empty_layers: tuple[str, ...]


def report(objective: Supervised, mask: Tensor, prunable: Tensor) -> Compression:
    """Count what a mask saves.

    Args:
        objective: Network, and the shape of one training example.
        mask: True where kept, shape ``(D,)``.
        prunable: True where entries could be pruned, shape ``(D,)``.

    Returns:
        Densities, ratios and multiply-accumulates; a ratio to nothing is infinite.

    Raises:
        InputError: If a mask has another shape.

    References:
        Blalock et al. 2020, https://arxiv.org/abs/2003.03033: both ratios, over the original network.
    """
    for name, given in (("mask", mask), ("prunable", prunable)):
        fits = given.shape == (objective.D,) and given.dtype == torch.bool
        require(fits, name, f"must be bools of shape ({objective.D},)", (str(given.dtype), tuple(given.shape)))
    uses = add_up(objective.sample(1), objective.theta_0, _positions).double().cpu()
    mask, prunable = mask.cpu(), prunable.cpu()
    parts = zip(*(objective.layout.views(flat).items() for flat in (prunable, mask & prunable)), strict=True)
    densities = {name: float(kept.sum() / free.sum()) for (name, free), (_, kept) in parts if free.any()}
    n, n_kept, kept = int(prunable.sum()), int(mask.sum()), int((mask & prunable).sum())
    macs, macs_kept = int(uses.sum()), int(uses[mask].sum())
    sizes = _ratio(n, kept), _ratio(objective.D, n_kept), _ratio(32 * objective.D, 32 * n_kept + n)
    empty = tuple(name for name, density in densities.items() if not density)
    speed = macs, macs_kept, _ratio(macs, macs_kept)
    return Compression(objective.D, n, n_kept, densities, kept / n, *sizes, *speed, empty)


def _positions(x: Tensor, _: Tensor, out: Tensor, convolution: Any) -> float:
    """Count the places at which one parameter multiplies something: rows of a matrix, pixels of an image."""
    placed = x if convolution and convolution[3] else out  # a transposed convolution's kernel lies on its input
    return placed.numel() / placed.shape[1]


def _ratio(whole: int, part: int) -> float:
    """Divide; by nothing to infinity."""
    return whole / part if part else float("inf")

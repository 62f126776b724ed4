"""Scores -> mask: which entries are kept, exactly how many, and how they are shared among layers."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from workbench.errors import is_count, is_number, require, require_choice
from workbench.layout import Entry, Layout
from workbench.pruning.threshold import kth_largest
from workbench.seeds import generator

Scope = Literal["global", "layer", "erk"]


def select(
    scores: Tensor,
    density: float,
    *,
    prunable: Tensor,
    layout: Layout,
    scope: Scope = "global",
    min_per_layer: int = 0,
    seed: int = 0,
    within: Tensor | None = None,
) -> Tensor:
    """Keep the entries with the largest scores.

    Exactly ``density * n`` of the n prunable entries are kept, rounded half up, in every scope; density is always a
    share of all n, so amounts never compound. A layer's share is rounded down or up so that the shares add up.

    Args:
        scores: Larger = keep, shape ``(D,)``; finite where prunable, ignored elsewhere.
        density: Kept share of the prunable entries, in (0, 1].
        prunable: True where entries may be pruned, shape ``(D,)``.
        layout: Where each tensor stands in theta; a tensor with prunable entries is a layer.
        scope: ``"global"``, one threshold for all layers; ``"layer"``, the same density in each; ``"erk"``, a layer's
            kept number in proportion to the sum of its shape, dense ones capped and their rest shared out.
        min_per_layer: Entries that each layer keeps at least, against collapse; smaller layers keep all.
        seed: Which of equal scores are kept is drawn from it, never decided by their position.
        within: An earlier mask, shape ``(D,)``; the new one lies in it, nothing is revived.

    Returns:
        True where kept, shape ``(D,)``; True wherever not prunable.

    Raises:
        InputError: If an argument breaks its rule.

    References:
        Erdos-Renyi-kernel: Evci et al. 2020, "Rigging the lottery", section 3, https://arxiv.org/abs/1911.11134.

    Example:
        >>> from workbench.layout import layout_of
        >>> layout = layout_of(torch.nn.Linear(4, 1, bias=False))
        >>> weights = torch.ones(4, dtype=torch.bool)
        >>> select(torch.tensor([3.0, 1.0, 4.0, 1.5]), 0.5, prunable=weights, layout=layout).tolist()
        [True, False, True, False]
    """
    require_choice("scope", scope, ("global", "layer", "erk"))
    require(is_count(min_per_layer), "min_per_layer", "must be a non-negative integer", min_per_layer)
    for name, given in (("scores", scores), ("prunable", prunable), ("within", prunable if within is None else within)):
        fits = given.shape == (layout.D,) and (name == "scores" or given.dtype == torch.bool)
        rule = f"must be {'floats' if name == 'scores' else 'bools'} of shape ({layout.D},)"
        require(fits, name, rule, (str(given.dtype), tuple(given.shape)))
    prunable = prunable.to(scores.device)
    candidates = prunable if within is None else prunable & within.to(scores.device)
    layers = [entry for entry in layout.entries if _cut(prunable, entry).any()]
    _require_finite(scores, prunable, layers)
    sizes, most = (np.array([int(_cut(mask, entry).sum()) for entry in layers]) for mask in (prunable, candidates))
    least, kept = np.minimum(min_per_layer, sizes), kept_count(density, int(sizes.sum()))
    for entry, n, needed in zip(layers, most, least, strict=True):
        require(n >= needed, "within", f"must keep min_per_layer={needed} entries of {entry.name}", int(n))
    rule = f"must ask for {least.sum()} (min_per_layer) to {most.sum()} (within) of {sizes.sum()} entries"
    require(least.sum() <= kept <= most.sum(), "density", rule, density)
    if scope != "global":
        erk = np.array([sum(entry.shape) / entry.size for entry in layers])
        least = _shares(kept, sizes * (erk if scope == "erk" else 1.0), least, most)
    mask, rng = ~prunable, generator(seed, "ties")
    for entry, n in zip(layers, least, strict=True):
        keep_best(int(n), _cut(mask, entry), _cut(scores, entry), _cut(candidates, entry), rng)
    return keep_best(kept - int(least.sum()), mask, scores, candidates & ~mask, rng)  # 0 but in scope "global"


def kept_count(density: float, n: int) -> int:
    """Return how many of n entries a density keeps: ``density * n`` as written in decimals, rounded half up.

    Args:
        density: In (0, 1].
        n: Entries.

    Returns:
        An integer in ``1..n``.

    Raises:
        InputError: If ``density`` is not in (0, 1] or keeps nothing.

    Example:
        >>> kept_count(0.145, 100)  # 14.499999999999998 in binary
        15
    """
    require(is_number(density) and 0 < density <= 1, "density", "must be in (0, 1]", density, "it is the kept share")
    kept = int((Decimal(str(float(density))) * n).to_integral_value(ROUND_HALF_UP))
    require(kept >= 1, "density", f"must keep at least one of {n} entries", density)
    return kept


def shuffled(mask: Tensor, layout: Layout, seed: int) -> Tensor:
    """Permute a mask within each tensor: the control that keeps how many stay in a layer, but not which.

    Args:
        mask: Bool, shape ``(D,)``.
        layout: Where each tensor stands in theta.
        seed: Of the permutations.

    Returns:
        A new mask of as many kept entries per tensor, shape ``(D,)``.

    Raises:
        InputError: If ``mask`` has another shape.
    """
    require(mask.shape == (layout.D,), "mask", f"must have shape ({layout.D},)", tuple(mask.shape))
    rng = generator(seed, "shuffle")
    return torch.cat([_cut(mask, e)[torch.from_numpy(rng.permutation(e.size)).to(mask.device)] for e in layout.entries])


def _cut(flat: Tensor, entry: Entry) -> Tensor:
    """Return one tensor's part of a flat vector, a view."""
    return flat[entry.offset : entry.offset + entry.size]


def _require_finite(scores: Tensor, prunable: Tensor, layers: list[Entry]) -> None:
    """Refuse scores that cannot be ranked, by the name of their layer."""
    for entry in layers:
        bad = _cut(scores, entry)[_cut(prunable, entry) & ~_cut(scores, entry).isfinite()]
        require(
            not len(bad), "scores", f"must be finite in {entry.name}", bad[:1].tolist(), "use float64, smaller steps"
        )


def _shares(total: int, wishes: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Share a total in proportion to wishes, within bounds, in whole numbers: largest remainders are rounded up."""
    # What the bounds let through of scale * wishes is piecewise linear in the scale, with these corners.
    corners = np.sort(np.concatenate([[0.0], least / wishes, most / wishes]))
    scale = np.interp(total, [np.clip(corner * wishes, least, most).sum() for corner in corners], corners)
    shares = np.clip(scale * wishes, least, most)
    counts = np.floor(shares + 1e-9).astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: total - counts.sum()]] += 1
    return counts


def keep_best(k: int, mask: Tensor, scores: Tensor, where: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Set the mask where the k largest of some scores are; equal ones at the edge are drawn. Return the mask."""
    if not k:
        return mask
    edge, n_equal = kth_largest(scores, k, where)
    above, equal = scores > edge, scores == edge
    if where is not None:
        above, equal = above.logical_and_(where), equal.logical_and_(where)
    drawn = equal.nonzero().flatten()
    if n_equal < len(drawn):
        drawn = drawn[torch.from_numpy(rng.permutation(len(drawn))[:n_equal]).to(mask.device)]
    return mask.logical_or_(above).index_fill_(0, drawn, True)

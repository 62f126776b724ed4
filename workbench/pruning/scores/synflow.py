"""SynFlow: what carries the flow from inputs to outputs, without data and without emptying a layer."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import is_count, require
from workbench.objective import Supervised
from workbench.pruning.allocation import keep_best, kept_count
from workbench.seeds import generator

_SHIFTS = ("bias", "running_mean")
_REMEDY = "make the network shallower or scale its weights down"


def synflow(objective: Supervised, theta: Tensor, mask: Tensor | None = None) -> Tensor:
    """Score every entry by its synaptic flow, ``|theta_i| dR / d|theta_i|``, R the sum of outputs.

    R is that of the network with absolute parameters, all-ones inputs, and all shifts zero: biases, norms' offsets,
    running means. With them a layer could be emptied while R stays positive; without, the scores of every layer of a
    feed-forward ReLU network sum to R. Float64, because R grows with depth beyond float32. So that R stays
    homogeneous, LayerNorm, RMSNorm and GroupNorm only scale; an embedding table answers all ones with the sum of its
    rows. Attention keeps its softmax: queries and keys get what flows through it.

    Args:
        objective: Network; of the data only the shape of one input is used.
        theta: Parameters, shape ``(D,)``.
        mask: Entries that are there, shape ``(D,)``; the others count as zero.

    Returns:
        Larger = keep, shape ``(D,)``, float64.

    References:
        Tanaka et al. 2020, "Pruning neural networks without any data", https://arxiv.org/abs/2006.05467.
    """
    twin, x = _positive(objective, theta)
    if mask is not None:
        twin.theta.mul_(mask)
    return _gradient(twin, x) * twin.theta


def synflow_mask(
    objective: Supervised, theta: Tensor, density: float, *, prunable: Tensor, n_rounds: int = 100, seed: int = 0
) -> Tensor:
    """Prune by synaptic flow in rounds of equal ratio, ``density ** (round / n_rounds)``, each within the last.

    Args:
        objective: Network; of the data only the shape of one input is used.
        theta: Parameters, shape ``(D,)``.
        density: Kept share of the prunable entries at the end, in (0, 1].
        prunable: True where entries may be pruned, shape ``(D,)``.
        n_rounds: Rounds; positive.
        seed: Which of equal scores are kept.

    Returns:
        True where kept, shape ``(D,)``.

    Raises:
        InputError: If an argument breaks its rule, or the flow is not finite: the network is too deep for float64.
    """
    require(is_count(n_rounds, 1), "n_rounds", "must be a positive integer", n_rounds)
    require(prunable.shape == (objective.D,), "prunable", f"must have shape ({objective.D},)", tuple(prunable.shape))
    mask = ~prunable.to(theta.device)
    rng, alive = generator(seed, "ties"), (~mask).nonzero().flatten()
    last, total = kept_count(density, len(alive)), len(alive)
    twin, x = _positive(objective, theta)
    for i in range(1, n_rounds + 1):  # work shrinks with what is left
        n = kept_count(density ** (i / n_rounds), total) if i < n_rounds else last
        scores = _gradient(twin, x).index_select(0, alive) * twin.theta.index_select(0, alive)
        flow = float(scores.sum())
        require(math.isfinite(flow), "theta", "must have a flow that float64 can hold", flow, _REMEDY)
        kept = keep_best(n, torch.zeros_like(alive, dtype=torch.bool), scores, None, rng)
        twin.theta.index_fill_(0, alive.masked_select(~kept), 0.0)
        alive = alive.masked_select(kept)
    return mask.index_fill_(0, alive, True)


def _positive(objective: Supervised, theta: Tensor) -> tuple[Supervised, Tensor]:
    """Build the positive network, and its input."""
    x, _ = objective.train_batch(torch.zeros(1, dtype=torch.long, device=objective.device))
    x = torch.ones_like(x, dtype=torch.float64) if x.is_floating_point() else x
    module = objective.module_at(theta)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        value.data = torch.zeros_like(value) if name.endswith(_SHIFTS) else value.data.abs()
    for part in module.modules():
        if type(part) in _LINEAR:
            part.register_forward_hook(_LINEAR[type(part)])
    return Supervised(module, (x, x.new_zeros(1)), device=objective.device, dtype=torch.float64), x


def _gradient(twin: Supervised, x: Tensor) -> Tensor:
    """Return dR / dtheta, shape ``(D,)``."""
    parameters = [p for p in twin.model.parameters() if p.requires_grad]
    found = torch.autograd.grad(twin.model(x).sum(), parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def _scale(module: Any, inputs: tuple[Tensor], _: Tensor) -> Tensor:
    """Scale as a norm does, but do not normalise."""
    (x,) = inputs
    trailing = [1] * (x.ndim - 2) if isinstance(module, nn.GroupNorm) else []
    return x if module.weight is None else x * module.weight.view(*module.weight.shape, *trailing)


def _sum_of_rows(module: Any, _: tuple[Tensor], output: Tensor) -> Tensor:
    """Answer an input of all ones."""
    return module.weight.sum(0).expand_as(output)


_LINEAR = {nn.LayerNorm: _scale, nn.RMSNorm: _scale, nn.GroupNorm: _scale, nn.Embedding: _sum_of_rows}

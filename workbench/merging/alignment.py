"""Alignment: which of two networks' units stand for one another?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from workbench.errors import is_count, require, require_choice
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.seeds import generator

Permutation = NDArray[np.int64]
_SWEEPS = 100  # through all layers, at most; a handful is usual


@dataclass(frozen=True)
class Alignment:
    """The second network with its units reordered; its function is the same.

    Unit i of hidden layer l was unit ``permutations[l][i]``. ``similarity`` is the cosine between the first network's
    theta and the reordered one's; ``residual`` the largest change of an output, over the largest output.
    """

    point: Point
    permutations: tuple[Permutation, ...]
    similarity: float
    residual: float
    n_gradients: float
    n_examples: int
    seed: int


@dataclass(frozen=True)
class _Hidden:
    """A hidden layer: tensors whose first axis are its units, in theta and in buffers, and the next layer's weight."""

    own: list[str]
    after: str


def alignment(
    objective: Supervised,
    first: Tensor | Point,
    second: Tensor | Point,
    *,
    method: Literal["weights", "activations"] = "weights",
    n_restarts: int = 5,
    split: str = "train",
    n_examples: int | None = None,
    seed: int = 0,
) -> Alignment:
    """Reorder the second network's hidden units so that they match the first one's.

    ``"weights"`` maximises the product of both thetas by solving one layer's assignment problem after another until
    none changes; the first start goes through the layers in their order, further ones in random orders, and the best
    is kept. ``"activations"`` maximises, layer by layer, the sum of the correlations between matched units' values
    over examples and pixels, before the nonlinearity, where units that are off can be told apart as well; all of them
    are held in memory.

    Args:
        objective: Examples and network: linear, convolution, BatchNorm, elementwise and pooling layers in sequence.
        first: Theta, shape ``(D,)``, with the buffers as they stand; or a point with its own.
        second: Likewise; it is the one that is reordered.
        method: How.
        n_restarts: Starts of weight matching.
        split: Whose examples, for activations.
        n_examples: How many of them, at random; None for all.
        seed: Which ones, and the orders of the layers.

    Returns:
        The reordered point, its running statistics reordered too.

    Raises:
        InputError: If the network is of another kind, so that reordering changes its outputs.

    References:
        Ainsworth et al. 2023, "Git Re-Basin", sections 3.1 and 3.2, https://arxiv.org/abs/2209.04836.
        Li et al. 2015, "Convergent learning", https://arxiv.org/abs/1511.07543.

    Example:
        >>> from workbench.models import mlp
        >>> objective = Supervised(mlp([2, 3, 2]), (torch.eye(2), torch.arange(2)))
        >>> shuffled = torch.cat([theta_i.flatten() for theta_i in (
        ...     objective.theta_0[:6].view(3, 2)[[2, 0, 1]], objective.theta_0[6:9],
        ...     objective.theta_0[9:15].view(2, 3)[:, [2, 0, 1]], objective.theta_0[15:])])
        >>> alignment(objective, objective.theta_0, shuffled).permutations
        (array([1, 2, 0]),)
    """
    require_choice("method", method, ("weights", "activations"))
    require(is_count(n_restarts, 1), "n_restarts", "must be a positive whole number", n_restarts)
    layers, examples = _hidden_layers(objective.model), objective.sample(n_examples, seed, split)
    ends = [end if isinstance(end, tuple) else Point(end, objective.buffers()) for end in (first, second)]
    a, b = (objective.layout.views(end.theta.detach()) for end in ends)
    if method == "weights":
        found = [_match_weights(a, b, layers, seed, i) for i in range(n_restarts)]
        permutations = max(found, key=lambda p: _product(a, _permuted(b, layers, p)))
    else:
        both = [_activations(examples, end, layers) for end in ends]
        alike = [torch.corrcoef(torch.cat(pair)).nan_to_num() for pair in zip(*both, strict=True)]
        permutations = [_assign(r[: len(r) // 2, len(r) // 2 :]) for r in alike]
    new = _permuted(b, layers, permutations)
    buffers = _permuted(ends[1].buffers, layers, permutations)
    point = Point(torch.cat([value.flatten() for value in new.values()]), buffers)
    few = objective.sample(min(100, len(objective.splits["train"])), seed)
    before, after = (few.logits(end, "train") for end in (ends[1], point))
    residual = float((after - before).abs().max() / before.abs().max())
    rule = "must be a sequence of layers whose units can be reordered"
    require(residual < 1e-2, "model", rule, f"outputs changed by a share of {residual:.2g}")
    similarity = float(torch.cosine_similarity(ends[0].theta.double(), point.theta.double(), dim=0))
    n_gradients = 2 / 3 if method == "activations" else 0.0
    n = len(examples.splits["train"])
    return Alignment(point, tuple(permutations), similarity, residual, n_gradients, n, seed)


def _hidden_layers(model: nn.Module) -> list[_Hidden]:
    """List the hidden layers of a sequence."""
    layers: list[_Hidden] = []
    own: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            if own:
                layers.append(_Hidden(own, f"{name}.weight"))
            own = []
        kinds = nn.Linear | nn.Conv2d | nn.modules.batchnorm._BatchNorm
        state = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        known = not state or (isinstance(module, kinds) and getattr(module, "groups", 1) == 1)
        rule = "must be made of linear, convolution (without groups) and BatchNorm layers in sequence"
        require(known, "model", rule, type(module).__name__)
        if own or isinstance(module, nn.Linear | nn.Conv2d):  # normalised inputs are no units
            own += [f"{name}.{key}" for key, value in state if value.ndim]
    return layers


def _permuted(values: dict[str, Tensor], layers: list[_Hidden], permutations: list[Permutation]) -> dict[str, Tensor]:
    """Reorder the units of every layer, in what makes them and in what reads them."""
    values = dict(values)
    for layer, order in zip(layers, map(torch.from_numpy, permutations), strict=True):
        for name in values.keys() & set(layer.own):
            values[name] = values[name][order]
        if layer.after in values:  # after Flatten a unit is read at each of its pixels
            read = values[layer.after]
            values[layer.after] = read.reshape(len(read), len(order), -1)[:, order].reshape(read.shape)
    return values


def _match_weights(
    a: dict[str, Tensor], b: dict[str, Tensor], layers: list[_Hidden], seed: int, start: int
) -> list[Permutation]:
    """Solve one layer's assignment after another until none changes."""
    permutations = [np.arange(len(a[layer.own[0]])) for layer in layers]
    rng = generator(seed, "alignment", start)
    for sweep in range(_SWEEPS):
        changed = False
        for i in rng.permutation(len(layers)) if start or sweep else range(len(layers)):
            others = [p if j != i else np.arange(len(p)) for j, p in enumerate(permutations)]
            x, y = (_features(values, layers[i]) for values in (a, _permuted(b, layers, others)))
            order = _assign(x @ y.T)
            changed |= not np.array_equal(order, permutations[i])
            permutations[i] = order
        if not changed:
            break
    return permutations


def _features(values: dict[str, Tensor], layer: _Hidden) -> Tensor:
    """Return all that a layer's units are made of and read by, one row a unit."""
    n = len(values[layer.own[0]])
    own = [values[name].reshape(n, -1) for name in layer.own if name in values]
    read = values[layer.after]
    return torch.cat([*own, read.reshape(len(read), n, -1).movedim(1, 0).flatten(1)], dim=1).double()


def _product(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Return the product of two thetas."""
    return sum(float((a[name].double() * b[name]).sum()) for name in a)


def _assign(gain: Tensor) -> Permutation:
    """Return for each row the column that it is matched with."""
    return linear_sum_assignment(gain.cpu().numpy(), maximize=True)[1]


def _activations(examples: Supervised, point: Point, layers: list[_Hidden]) -> list[Tensor]:
    """Return each unit's values before the nonlinearity, over examples and pixels, shape ``(units, m)`` a layer."""
    seen: list[list[Tensor]] = [[] for _ in layers]
    makers = [examples.model.get_submodule(layer.own[-1].rpartition(".")[0]) for layer in layers]
    hooks = [
        maker.register_forward_hook(lambda _, __, z, parts=parts: parts.append(z.movedim(1, 0).flatten(1).clone()))
        for maker, parts in zip(makers, seen, strict=True)
    ]
    try:
        examples.logits(point, "train")
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.cat(parts, dim=1).double() for parts in seen]

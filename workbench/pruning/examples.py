"""An objective over some of its examples, or over one at a time."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from workbench.errors import is_count, require
from workbench.examples import Tensors
from workbench.objective import Supervised
from workbench.seeds import generator

_AT_ONCE = 1 << 24  # entries of the examples' gradients held together


def some(objective: Supervised, n_examples: int | None, seed: int = 0) -> Supervised:
    """Return an objective whose training split is a random part of the given one's; they share the network.

    Args:
        objective: Where the network and the examples come from.
        n_examples: How many, without replacement; None for all of them.
        seed: Which ones.

    Returns:
        An objective of the same D and layout.

    Raises:
        InputError: If there are not as many examples.
    """
    n = len(objective.splits["train"])
    if n_examples is None:
        return objective
    require(is_count(n_examples, 1) and n_examples <= n, "n_examples", f"must be in 1..{n}", n_examples)
    index = torch.from_numpy(generator(seed, "score examples").permutation(n)[:n_examples]).to(objective.device)
    other = copy.copy(objective)
    other.splits = {"train": Tensors(*objective.train_batch(index), objective.device, objective.dtype)}
    return other


def mean_over_examples(objective: Supervised, theta: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
    """Average a function of each example's own gradient, shape ``(D,)``, over the training split; evaluation mode."""
    examples, total = objective.splits["train"], torch.zeros_like(theta)
    with objective._visit(theta), differentiable_attention():
        buffers = objective.buffers()

        def loss(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
            state = {**objective.layout.views(at), **buffers}
            return objective._losses(torch.func.functional_call(objective.model, state, (x[None],)), y[None]).sum()

        each = torch.func.vmap(lambda x, y: value(torch.func.grad(loss)(theta, x, y)))
        for x, y in examples.chunks(max(1, _AT_ONCE // objective.D)):
            total += each(x, y).sum(0) / len(examples)
    return total


def differentiable_attention() -> AbstractContextManager[None]:
    """Compute attention by products: the fused kernels have no second derivative and no batched one."""
    return torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)

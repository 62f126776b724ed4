"""An objective over one example at a time."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from workbench.layout import Point
from workbench.objective import Supervised

_AT_ONCE = 1 << 24  # entries of the examples' gradients held together


def mean_over_examples(objective: Supervised, point: Tensor | Point, value: Callable[[Tensor], Tensor]) -> Tensor:
    """Average a function of each example's own gradient, shape ``(D,)``, over the training split; evaluation mode."""
    theta = point[0] if isinstance(point, tuple) else point
    examples, total = objective.splits["train"], torch.zeros_like(theta)
    with objective.visit(point), differentiable_attention():
        buffers = objective.buffers()

        def loss(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
            state = {**objective.layout.views(at), **buffers}
            return objective.losses(torch.func.functional_call(objective.model, state, (x[None],)), y[None]).sum()

        each = torch.func.vmap(lambda x, y: value(torch.func.grad(loss)(theta, x, y)))
        for x, y in examples.chunks(max(1, _AT_ONCE // objective.D)):
            total += each(x, y).sum(0) / len(examples)
    return total


def differentiable_attention() -> AbstractContextManager[None]:
    """Compute attention by products: the fused kernels have no second derivative and no batched one."""
    return torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)

"""Wanda: a weight counts as much as the input that it multiplies."""

from typing import Any

import torch
from torch import Tensor

from workbench.objective import Supervised
from workbench.pruning.products import add_up


def wanda(objective: Supervised, theta: Tensor, n_examples: int | None = None, seed: int = 0) -> Tensor:
    """Score every weight by ``|W_ij| ||X_j||``, X_j the inputs that it multiplies on the training split.

    The L2 norm runs over examples and positions: of a sequence, or of the places where a kernel's entry lies on the
    image (padding is zero). Evaluation mode. Entries that multiply no input, such as biases, score 0.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        n_examples: Training examples; None for all of them.
        seed: Which examples.

    Returns:
        Larger = keep, shape ``(D,)``. The paper compares within an output unit; ``select`` within scope.

    References:
        Sun et al. 2024, "A simple and effective pruning approach for large language models",
        https://arxiv.org/abs/2306.11695.
    """
    return add_up(objective.sample(n_examples, seed), theta, _squares).sqrt_().mul_(theta.abs())


def _squares(x: Tensor, weight: Tensor, out: Tensor, convolution: Any) -> Tensor:
    """Sum the squares of what each weight multiplies."""
    if weight.ndim == 2:
        return x.square().sum(0)[:, None]
    # the gradient of a sum of outputs with respect to a weight is the sum of its inputs
    ones, only_weight = torch.ones_like(out), (False, True, False)
    return torch.ops.aten.convolution_backward(ones, x.square(), weight, None, *convolution, only_weight)[1]

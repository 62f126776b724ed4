"""SNIP: what the loss of one batch reacts to, before training."""

import torch
from torch import Tensor

from workbench.objective import Supervised


def snip(objective: Supervised, theta: Tensor, n_examples: int | None = None, seed: int = 0) -> Tensor:
    """Score every entry by its connection sensitivity, ``|theta_i g_i| / sum_j |theta_j g_j|``.

    g is the gradient of a batch's mean loss, in evaluation mode with the buffers as they stand: recalibrate them
    first where the running statistics of a new network would mislead.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        n_examples: Training examples in the batch; None for the whole split.
        seed: Which examples.

    Returns:
        Larger = keep, shape ``(D,)``, summing to 1; zeros where nothing reacts.

    References:
        Lee et al. 2019, "SNIP", https://arxiv.org/abs/1810.02340; theirs is the sum over prunable entries alone.
    """
    scores = objective.sample(n_examples, seed).gradient(theta).mul_(theta).abs_()
    return scores.div_(scores.sum().clamp_min(torch.finfo(scores.dtype).tiny))

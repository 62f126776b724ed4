"""Filters and neurons by the norm of what comes in."""

from typing import Literal

import torch
from torch import Tensor

from workbench.errors import require_choice
from workbench.objective import Supervised


def filters(objective: Supervised, theta: Tensor, norm: Literal["l1", "l2"] = "l1") -> Tensor:
    """Score every entry by the norm of its output unit's weights: ``sum |w|`` or ``sqrt(sum w^2)``.

    Args:
        objective: The network, for its layout.
        theta: Parameters, shape ``(D,)``.
        norm: ``"l1"`` or ``"l2"``.

    Returns:
        Larger = keep, shape ``(D,)``, equal within a unit; 0 for vectors, such as biases.

    Raises:
        InputError: If ``norm`` is unknown.

    References:
        Li et al. 2017, "Pruning filters for efficient ConvNets", https://arxiv.org/abs/1608.08710.
    """
    require_choice("norm", norm, ("l1", "l2"))
    scores = torch.zeros_like(theta)
    for view, out in zip(objective.layout.views(theta).values(), objective.layout.views(scores).values(), strict=True):
        if view.ndim > 1:
            out.copy_(view.flatten(1).norm(int(norm[1]), dim=1).view(-1, *[1] * (view.ndim - 1)).expand_as(view))
    return scores

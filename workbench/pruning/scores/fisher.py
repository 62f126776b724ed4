"""Fisher: the second-order change of the loss when an entry is set to zero."""

from typing import Literal

import torch
from torch import Tensor

from workbench.errors import require, require_choice
from workbench.examples import Tensors
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.pruning.examples import mean_over_examples
from workbench.seeds import generator


def fisher_diagonal(
    objective: Supervised,
    theta: Tensor | Point,
    n_examples: int | None = None,
    seed: int = 0,
    labels: Literal["data", "sampled"] = "data",
) -> Tensor:
    """Return the diagonal of the Fisher matrix, the mean over examples of each one's squared gradient.

    Exact in the gradients: they are squared per example, never per batch. Evaluation mode.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``; or a point with its own running statistics.
        n_examples: Training examples; None for all of them.
        seed: Which examples, and which labels.
        labels: ``"data"`` for the empirical Fisher matrix, which vanishes where every example is fitted; or
            ``"sampled"``, one draw an example from the network's own distribution, whose mean is the Fisher matrix.

    Returns:
        Shape ``(D,)``, nats squared per unit of theta squared.

    Raises:
        InputError: If labels are to be sampled from a network that is no classifier.
    """
    require_choice("labels", labels, ("data", "sampled"))
    examples = objective.sample(n_examples, seed)
    if labels == "sampled":
        require(objective.metric_name == "accuracy", "labels", "can be sampled from a classifier only", labels)
        logits = examples.logits(theta, "train").double()
        noise = torch.from_numpy(generator(seed, "fisher labels").gumbel(size=tuple(logits.shape))).to(logits.device)
        x, _ = examples.splits["train"].batch(None)
        examples.splits = {"train": Tensors(x, (logits + noise).argmax(-1), objective.device, objective.dtype)}
    return mean_over_examples(examples, theta, lambda g: g.square())


def fisher(objective: Supervised, theta: Tensor, n_examples: int | None = None, seed: int = 0) -> Tensor:
    """Score every entry by ``theta_i^2 F_ii / 2``, F the empirical Fisher matrix.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        n_examples: Training examples; None for all of them.
        seed: Which examples.

    Returns:
        Larger = keep, shape ``(D,)``.

    References:
        Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning",
        https://arxiv.org/abs/1801.05787.
    """
    return fisher_diagonal(objective, theta, n_examples, seed) * theta.square() / 2

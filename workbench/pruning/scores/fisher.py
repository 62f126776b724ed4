"""Fisher: the second-order change of the loss when an entry is set to zero."""

from torch import Tensor

from workbench.objective import Supervised
from workbench.pruning.examples import mean_over_examples


def fisher_diagonal(objective: Supervised, theta: Tensor, n_examples: int | None = None, seed: int = 0) -> Tensor:
    """Return the diagonal of the empirical Fisher matrix, the mean over examples of each one's squared gradient.

    Exact: gradients are squared per example, never per batch. Labels are those of the data; evaluation mode.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        n_examples: Training examples; None for all of them.
        seed: Which examples.

    Returns:
        Shape ``(D,)``, nats squared per unit of theta squared.
    """
    return mean_over_examples(objective.sample(n_examples, seed), theta, lambda g: g.square())


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

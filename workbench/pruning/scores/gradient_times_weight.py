"""Gradient times weight: the first-order change of the training loss when an entry is set to zero."""

from torch import Tensor

from workbench.objective import Supervised


def gradient_times_weight(objective: Supervised, theta: Tensor) -> Tensor:
    """Score every entry by ``|theta_i g_i|``, g the gradient of the whole training split's mean loss.

    Unlike SNIP it is in nats, not a share, and meant for trained networks. Evaluation mode.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.

    Returns:
        Larger = keep, shape ``(D,)``.

    References:
        Mozer and Smolensky 1988, "Skeletonization", who score units so; entries as the gradient baselines of
        Blalock et al. 2020, https://arxiv.org/abs/2003.03033.
    """
    return objective.gradient(theta).mul_(theta).abs_()

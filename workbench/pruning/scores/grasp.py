"""GraSP: what the flow of the gradient needs, before training."""

import torch
from torch import Tensor

from workbench.objective import Supervised
from workbench.pruning.examples import differentiable_attention


def grasp(objective: Supervised, theta: Tensor, n_examples: int | None = None, seed: int = 0) -> Tensor:
    """Score every entry by ``theta_i (H g)_i``: what its removal takes, to first order, from half of ``|g|^2``.

    g and H are gradient and Hessian of a batch's mean loss at theta as it is; nothing is initialised anew, and no
    temperature divides the logits. Evaluation mode with the buffers as they stand.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        n_examples: Training examples in the batch; None for the whole split.
        seed: Which examples.

    Returns:
        Larger = keep, shape ``(D,)``; either sign.

    References:
        Wang et al. 2020, "Picking winning tickets before training",
        https://arxiv.org/abs/2002.07376. Their score is the negative of this one, and its
        largest are removed.
    """
    batch = objective.sample(n_examples, seed)
    with batch.visit(theta), differentiable_attention():
        loss = torch.cat([batch.losses(outputs, y) for outputs, y in batch.outputs("train")]).mean()
        parameters = [p for p in batch.model.parameters() if p.requires_grad]
        g = torch.autograd.grad(loss, parameters, create_graph=True)
        hg = torch.autograd.grad(g, parameters, [part.detach() for part in g])
    return torch.cat([part.flatten() for part in hg]).mul_(theta)

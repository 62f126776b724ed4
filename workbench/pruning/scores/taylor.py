"""Taylor: how the loss reacts when a unit is switched off."""

import torch
from torch import Tensor

from workbench.objective import Supervised
from workbench.pruning.examples import mean_over_examples


def taylor(objective: Supervised, theta: Tensor, n_examples: int | None = None, seed: int = 0) -> Tensor:
    """Score every entry by its output unit's ``mean over examples of (sum_s g_s w_s)^2``, s the unit's weights.

    The sum is the loss's derivative with respect to a gate on these weights. Evaluation mode.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        n_examples: Training examples; None for all of them.
        seed: Which examples.

    Returns:
        Larger = keep, shape ``(D,)``, equal within a unit; 0 for vectors, such as biases.

    References:
        Molchanov et al. 2019, "Importance estimation", the form with gates,
        https://arxiv.org/abs/1906.10771; they average over batches, not examples.
    """

    def units(g: Tensor) -> Tensor:
        products = objective.layout.views(g * theta).values()
        return torch.cat([_per_unit(p) if p.ndim > 1 else p.new_zeros(p.shape) for p in products])

    return mean_over_examples(objective.sample(n_examples, seed), theta, units)


def _per_unit(products: Tensor) -> Tensor:
    """Return each unit's squared sum once for each of its entries, flat."""
    return products.flatten(1).sum(1, keepdim=True).square().expand(-1, products[0].numel()).flatten()

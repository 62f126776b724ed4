"""What an entry of theta is worth, one score a file: larger = keep."""

from collections.abc import Callable

from torch import Tensor

from workbench.errors import require_choice
from workbench.objective import Supervised
from workbench.pruning.scores.filters import filters
from workbench.pruning.scores.fisher import fisher, fisher_diagonal
from workbench.pruning.scores.gradient_times_weight import gradient_times_weight
from workbench.pruning.scores.grasp import grasp
from workbench.pruning.scores.magnitude import magnitude
from workbench.pruning.scores.movement import Movement
from workbench.pruning.scores.random import random
from workbench.pruning.scores.snip import snip
from workbench.pruning.scores.synflow import synflow, synflow_mask
from workbench.pruning.scores.taylor import taylor
from workbench.pruning.scores.wanda import wanda

_OF_A_NETWORK = (snip, grasp, synflow, gradient_times_weight, fisher, wanda, filters, taylor)
_BY_NAME: dict[str, Callable[[Supervised, Tensor], Tensor]] = {f.__name__: f for f in _OF_A_NETWORK}
SCORES = ("magnitude", "random", *_BY_NAME)
__all__ = ["SCORES", "Movement", "fisher_diagonal", "magnitude", "random", "score", "synflow_mask"]


def score(name: str, objective: Supervised, theta: Tensor, seed: int = 0) -> Tensor:
    """Score every entry of theta by a score's name, with that score's default settings.

    Movement is not among them, since it adds up while training goes.

    Args:
        name: One of ``SCORES``.
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        seed: For the random score.

    Returns:
        Larger = keep, shape ``(D,)``.

    Raises:
        InputError: If the name is unknown.
    """
    require_choice("score", name, SCORES)
    if name == "random":
        return random(objective.D, seed).to(theta)
    return magnitude(theta) if name == "magnitude" else _BY_NAME[name](objective, theta)

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

_BY_NAME: dict[str, Callable[[Supervised, Tensor, int], Tensor]] = {
    "magnitude": lambda objective, theta, seed: magnitude(theta),
    "random": lambda objective, theta, seed: random(objective.D, seed).to(theta),
    "snip": lambda objective, theta, seed: snip(objective, theta),
    "grasp": lambda objective, theta, seed: grasp(objective, theta),
    "synflow": lambda objective, theta, seed: synflow(objective, theta),
    "gradient_times_weight": lambda objective, theta, seed: gradient_times_weight(objective, theta),
    "fisher": lambda objective, theta, seed: fisher(objective, theta),
    "wanda": lambda objective, theta, seed: wanda(objective, theta),
    "filters": lambda objective, theta, seed: filters(objective, theta),
    "taylor": lambda objective, theta, seed: taylor(objective, theta),
}
SCORES = tuple(_BY_NAME)
__all__ = [*SCORES, "SCORES", "Movement", "fisher_diagonal", "score", "synflow_mask"]


def score(name: str, objective: Supervised, theta: Tensor, seed: int = 0) -> Tensor:
    """Score every entry of theta by a score's name, with that score's default settings.

    Movement is not among them, since it adds up while training goes.

    Args:
        name: One of ``SCORES``.
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        seed: For those that draw.

    Returns:
        Larger = keep, shape ``(D,)``.

    Raises:
        InputError: If the name is unknown.
    """
    require_choice("score", name, SCORES)
    return _BY_NAME[name](objective, theta, seed)

"""The trial of pruned networks' intrinsic dimension: a mask, a start, and random subspaces of what is kept."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from crossing_trials import OTHER, magnitude_mask, objective_of, pack, recipe_of
from torch import Tensor

from workbench import pruning
from workbench.coordinates import Full, Masked
from workbench.errors import require_choice
from workbench.measures import inside
from workbench.objective import Supervised
from workbench.recipes import Recipe, matched_learning_rate
from workbench.training import train, train_group

KINDS = ("magnitude", "shuffled", "another start")  # masks of a trained network, and two controls


def recipe(n_steps: int, lr: float, d: int = 1, kept: int = 1) -> Recipe:
    """Return how d dimensions of the kept entries are trained: theta moves as far per step in all."""
    return replace(recipe_of(n_steps), lr=matched_learning_rate(d, kept, lr))


@functools.lru_cache(maxsize=16)
def trained(dataset: str, n_train: int | None, width: int, n_steps: int, lr: float, seed: int) -> Tensor:
    """Train a whole network, once per process; read, never written."""
    objective = objective_of(dataset, n_train, width, seed)
    return train(objective, Full(objective.theta_0), recipe(n_steps, lr), seed).phi


def ticket(
    kind: str, dataset: str, n_train: int | None, width: int, n_steps: int, lr: float, density: float, seed: int
) -> tuple[Supervised, Tensor, Tensor]:
    """Return a network's loss, a start and a mask.

    Args:
        kind: ``"magnitude"``: the largest weights of the trained network, at the start that it was trained from;
            ``"shuffled"``: as many in each layer, at random; ``"another start"``: the same mask, other weights.
        dataset: Name of the data.
        n_train: Training images; None for all.
        width: Hidden units.
        n_steps: Of the training that the mask is taken from.
        lr: Its learning rate.
        density: Kept share of the weights.
        seed: Replicate.

    Returns:
        Objective, start and mask, both of shape ``(D,)``.
    """
    require_choice("kind", kind, KINDS)
    objective = objective_of(dataset, n_train, width, seed)
    mask = magnitude_mask(objective, trained(dataset, n_train, width, n_steps, lr, seed), density, seed)
    if kind == "shuffled":
        mask = pruning.shuffled(mask, objective.layout, seed)
    start = objective.theta_0
    if kind == "another start":
        start = objective_of(dataset, n_train, width, seed + OTHER).theta_0
    return objective, start, mask


def dimension_trial(
    kind: str,
    dataset: str,
    n_train: int | None,
    width: int,
    n_steps: int,
    lr: float,
    density: float,
    dims: Sequence[int],
    seed: int,
) -> dict[str, Any]:
    """Train a pruned network whole and inside random subspaces of what it keeps; the trial.

    Args:
        kind: Of ``KINDS``.
        dataset: Name of the data.
        n_train: Training images; None for all.
        width: Hidden units.
        n_steps: Of every training.
        lr: Learning rate of all kept entries.
        density: Kept share of the weights.
        dims: Dimensions of the subspaces; those above the number of kept entries are left out.
        seed: Replicate: start, mask, minibatches, subspaces.

    Returns:
        ``kept`` entries, accuracy at the start, and of the whole training (d = 0) and each subspace which test images
        were right, packed.
    """
    objective, start, mask = ticket(kind, dataset, n_train, width, n_steps, lr, density, seed)
    kept = int(mask.sum())
    fits = [d for d in dims if d <= kept]
    maps = [Masked(start, mask), *(inside(start, d, seed, mask) for d in fits)]
    recipes = [recipe(n_steps, lr), *(recipe(n_steps, lr, d, kept) for d in fits)]
    found = train_group(objective, maps, recipes, seed)
    right = [objective.evaluate(one.point(its), "test").correct for one, its in zip(found, maps, strict=True)]
    alive = [one.outcome == "finished" for one in found]
    return {
        "kind": kind, "density": density, "seed": seed, "kept": kept, "dims": [0, *fits], "alive": alive,
        "start": objective.evaluate(maps[0](start), "test").metric, "right": [pack(each) for each in right],
    }  # fmt: skip

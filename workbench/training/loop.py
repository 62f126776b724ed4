"""The one training loop: (objective, coordinates, recipe, seed) -> History.

Several coordinate maps may be trained together as one *group*: they share the minibatch stream of one replicate (and
so must share its seed), which saves fetching each minibatch again, and each ends where it would have ended alone.
Replicates never share a stream: their errors would no longer be independent.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from workbench.errors import is_count, require, require_choice
from workbench.recipes import Recipe
from workbench.training.group import CHECK_EVERY_STEPS, Group, History, Snapshot


def train(objective: Any, coordinates: Any, recipe: Recipe, seed: int, **options: Any) -> History:
    """Train one run; see ``train_group`` for arguments, errors and options."""
    return train_group(objective, [coordinates], [recipe], seed, **options)[0]


def train_group(
    objective: Any,
    coordinates: Sequence[Any],
    recipes: Sequence[Recipe],
    seed: int,
    *,
    eval_splits: Sequence[str] = ("validation",),
    checkpoint: Path | None = None,
    checkpoint_every_steps: int = 1000,
    progress: Callable[[float], None] | None = None,
    watch: Callable[[int, dict[str, Any]], None] | None = None,
    start: Sequence[Snapshot] = (),
    keep_steps: Collection[int] = (),
) -> list[History]:
    """Train several coordinate maps of one objective on one minibatch stream.

    A run that diverges is recorded as such and the others go on. With ``checkpoint`` the state is written to that
    file as training goes; calling again with the same arguments continues from it, bitwise as if never stopped.

    Args:
        objective: A supervised objective; it ends at the last run's point.
        coordinates: Maps phi -> theta over this objective's D.
        recipes: One a map; they may differ in ``lr`` only.
        seed: The replicate: names the minibatch order and any dropout.
        eval_splits: Splits measured at every evaluation.
        checkpoint: File for the state (NumPy ``.npz``; nothing in it is executed by loading).
        checkpoint_every_steps: Steps between writes.
        progress: Called with the fraction done.
        watch: Called with the index of a map and each of its evaluations as it is made; what it raises ends training.
        start: One a map, all of one step: where to go on, with the minibatches and learning rates of that step on; by
            default the maps' own starts at step 0.
        keep_steps: After how many steps to put a snapshot into ``History.kept``; 0 is before the first.

    Returns:
        One history a map, in order.

    Raises:
        InputError: If arguments disagree with one another or with a checkpoint.
    """
    require(len(coordinates) == len(recipes) > 0, "recipes", "must be one a coordinate map", len(recipes))
    alike = all(replace(r, lr=recipes[0].lr) == recipes[0] for r in recipes)
    require(alike, "recipes", "must agree in all but lr within a group", recipes)
    for c in coordinates:
        require(c.D == objective.D, "coordinates", f"must map to D={objective.D}", c.D)
    if recipes[0].eval_every_steps is not None:
        for split in eval_splits:
            require_choice("eval_splits", split, tuple(objective.splits))
        watched = recipes[0].patience is None or "validation" in eval_splits
        require(watched, "eval_splits", "must hold 'validation' for early stopping", tuple(eval_splits))
    rule = "must be a whole number, at least 1"
    require(is_count(checkpoint_every_steps, 1), "checkpoint_every_steps", rule, checkpoint_every_steps)
    require(len(start) in {0, len(coordinates)}, "start", "must be one snapshot a coordinate map", len(start))
    group = Group(objective, coordinates, recipes, seed, tuple(eval_splits))
    group.begin(start)
    group.keep(keep_steps)
    if checkpoint is not None:
        group.use_file(checkpoint)
    started, recipe = time.process_time(), recipes[0]
    with torch.random.fork_rng(devices=[objective.theta.device] if objective.device.type == "cuda" else []):
        for index in objective.minibatches(seed, recipe.batch_size, group.step):
            if group.step >= recipe.n_steps or not group.active:
                break
            group.advance(index)
            group.keep(keep_steps)
            if recipe.eval_every_steps and group.step % recipe.eval_every_steps == 0:
                group.evaluate(watch)
            if checkpoint is not None and group.step % checkpoint_every_steps == 0:
                group.save()
            if progress and group.step % CHECK_EVERY_STEPS == 0:
                progress(group.step / recipe.n_steps)
    histories = group.histories((time.process_time() - started) / len(coordinates))
    objective.set_point(histories[-1].point(coordinates[-1]))
    return histories

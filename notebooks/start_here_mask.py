"""What `start_here.ipynb` calls of masks: trial, table, verdict, figure, explorer, and the check of an exercise."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import start_here

import workbench
from workbench import pruning
from workbench.errors import require

SCORES = ("magnitude", "random")  # what decides which weights are kept, and its control
TENTH, SHORT = 0.1, 10  # the rule's density; steps of the training over those of the retraining


def prune_once(seed: int, n_steps: int, densities: Sequence[float]) -> dict[str, Any]:
    """Train the whole network of one seed, prune it at every density, retrain each; the trial, which a worker imports.

    Args:
        seed: Replicate, the same as of ``start_here.train_once``; it also draws the random weights that are kept.
        n_steps: Steps of the training; a tenth as many retrain.
        densities: Shares of the weights that are kept.

    Returns:
        Which test images the whole network had right, packed; for each score and density the number of weights kept,
        and which images were right before and after retraining. A run that diverged has none right.
    """
    objective = start_here.objective_of(seed)
    whole, rate = workbench.Full(objective.theta_0), workbench.matched_learning_rate(objective.D, objective.D)
    recipe = workbench.Recipe(n_steps, rate, batch_size=start_here.BATCH_SIZE)
    trained = workbench.train(objective, whole, recipe, seed).point(whole)
    weights, maps, arms = pruning.prunable(objective.layout), list[workbench.Masked](), list[dict[str, Any]]()
    for name in SCORES:
        scores = pruning.score(name, objective, trained.theta, seed)
        for density in densities:
            mask = pruning.select(scores, density, prunable=weights, layout=objective.layout, seed=seed)
            maps.append(workbench.Masked(trained.theta, mask))
            before = _right(objective, maps[-1].initial())
            arms.append({"score": name, "density": density, "kept": int((mask & weights).sum()), "before": before})
    retrain = replace(recipe, n_steps=max(1, n_steps // SHORT))
    histories = workbench.train_group(objective, maps, [retrain] * len(maps), seed)
    for arm, masked, history in zip(arms, maps, histories, strict=True):
        arm["after"] = _right(objective, history.point(masked), history.outcome != "diverged")
    return {"whole": _right(objective, trained), "arms": arms}


def _right(objective: workbench.Supervised, point: Any, finished: bool = True) -> str:
    """Return which test images are right at a point, packed."""
    return np.packbits(objective.evaluate(point, "test").correct & finished).tobytes().hex()


def measure(
    sweep: workbench.Sweep,
    densities: Sequence[float],
    seeds: Sequence[int],
    n_steps: int,
    tick: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Prune and retrain at every density with every seed.

    Args:
        sweep: Runs and keeps the trials.
        densities: Shares of the weights to keep; a tenth is always among them.
        seeds: Replicates.
        n_steps: Optimizer steps of the training.
        tick: Called with the fraction of the runs that is done.

    Returns:
        A row for each seed, score and density: how many weights were kept, and for the whole network, the pruned one
        ``before`` and ``after`` retraining which test images were right, each of shape ``(n_images,)``.
    """
    require(0 < len(seeds) == len(set(seeds)), "seeds", "must be at least one, each once", list(seeds))
    shares = sorted({*densities, TENTH})
    trials = sweep.map(prune_once, [{"seed": seed, "n_steps": n_steps, "densities": shares} for seed in seeds], tick)
    found = zip(seeds, (trial.result for trial in trials), strict=True)
    runs = pd.DataFrame([{"seed": seed, "whole": each["whole"]} | arm for seed, each in found for arm in each["arms"]])
    for column in ("whole", "before", "after"):
        runs[column] = runs[column].map(start_here.unpack)
    return runs

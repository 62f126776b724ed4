"""Trials: one replicate of a network trained in several random subspaces.

One trial is one replicate: all its subspaces share one starting point and one stream of minibatches, drawn by the
replicate's seed alone. Trials take and return what JSON can hold; this file imports only what they need, because a
trial's key covers every file it imports.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from controls import spoil

from workbench import models
from workbench.coordinates import Full, Subspace, projection
from workbench.datasets import Dataset, load
from workbench.objective import Supervised
from workbench.recipes import Recipe, matched_learning_rate
from workbench.training import train_group

LR = 2e-3  # Adam's rate for the full network before tuning
N_EVALUATIONS = 40  # of a run that is watched


@functools.lru_cache(maxsize=4)
def data(dataset: str, n_train: int | None, control: str) -> Dataset:
    """Load a dataset with its control, once per process."""
    return spoil(load(dataset, n_train=n_train), [] if control == "none" else [control])


def build(network: str, images: Dataset, seed: int) -> torch.nn.Module:
    """Return a network for a dataset's images.

    Args:
        network: ``"lenet"`` or ``"mlp-W"``, two hidden layers of width W.
        images: Gives the shape of the images and the number of classes.
        seed: Initialisation.

    Returns:
        The network.
    """
    shape, n_classes = images.train.x.shape[1:], images.n_classes or 1
    if network == "lenet":
        return models.lenet(shape[-1], n_classes, shape[0], seed)
    width = int(network.removeprefix("mlp-"))
    return models.mlp([math.prod(shape), width, width, n_classes], seed)


def objective_of(network: str, images: Dataset, seed: int, device: str = "cpu") -> Supervised:
    """Return a replicate's objective: network, starting point, splits."""
    return Supervised(build(network, images, seed), images.train, images.validation, images.test, device=device)


def n_steps(images: Dataset, n_epochs: int, batch_size: int) -> int:
    """Return the optimizer steps of a run; minibatches are whole."""
    return n_epochs * (len(images.train) // batch_size)


def train_replicate(
    dataset: str,
    n_train: int | None,
    control: str,
    network: str,
    kind: str,
    jobs: list[list[float]],
    seed: int,
    n_epochs: int,
    batch_size: int,
    device: str,
    splits: tuple[str, str],
    keep_solution: bool = False,
    watch: Callable[[int, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train one replicate in several subspaces on one minibatch stream.

    Args:
        dataset: Name of the dataset.
        n_train: Training examples; None for all.
        control: ``"none"``, ``"permuted_pixels"`` or ``"random_labels"``.
        network: See ``build``.
        kind: Projection, or ``"full"`` for the network itself.
        jobs: Pairs (d, learning-rate multiplier).
        seed: The replicate: start, projections, minibatches.
        n_epochs: Passes over the training examples.
        batch_size: Examples a step.
        device: ``"cpu"`` or ``"cuda"``.
        splits: Where settings are chosen, and where the result is measured.
        keep_solution: Return the coordinates found as well.
        watch: Called with a job's index and its validation now and then as it trains; it changes no result.

    Returns:
        D and, for each job, the accuracy on both splits, each example's outcome as packed bits, how training ended.
    """
    splits_of = data(dataset, n_train, control)
    objective = objective_of(network, splits_of, seed, device)
    D, steps = objective.D, n_steps(splits_of, n_epochs, batch_size)
    every = max(1, steps // N_EVALUATIONS) if watch else None
    maps, recipes = [], []
    for d, multiplier in jobs:
        maps.append(coordinates(objective.theta_0, kind, int(d), seed))
        lr = multiplier * matched_learning_rate(maps[-1].d, D, LR)
        recipes.append(Recipe(steps, lr, batch_size=batch_size, eval_every_steps=every))
    results = []
    for history, c in zip(train_group(objective, maps, recipes, seed, watch=watch), maps, strict=True):
        choice, found = (objective.evaluate(history.point(c), split) for split in splits)
        alive = history.outcome != "diverged"
        packed = np.packbits(found.correct).tobytes().hex()
        result = {"d": c.d, "choice": [choice.metric, choice.loss], "score": found.metric if alive else None}
        result |= {"loss": found.loss, "correct": packed, "n": len(found.correct), "outcome": history.outcome}
        results.append(result | ({"phi": history.phi.cpu().tolist()} if keep_solution else {}))
    return {"D": D, "runs": results}


def coordinates(theta_0: torch.Tensor, kind: str, d: int, seed: int) -> Full | Subspace:
    """Return the coordinates of one run: the network's own parameters, or a subspace with a P of this seed and d."""
    if kind == "full":
        return Full(theta_0)
    return Subspace(theta_0, projection(kind, len(theta_0), d, seed, dtype=theta_0.dtype, device=theta_0.device))

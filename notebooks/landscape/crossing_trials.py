"""Networks, masks and two trials of pruning: barriers to what is pruned, and how far solutions prune."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import workbench
from workbench import probes, pruning
from workbench.coordinates import Masked, Subspace, projection
from workbench.datasets import Dataset
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.recipes import Recipe, matched_learning_rate
from workbench.training import train, train_group

LR, BATCH_SIZE = 2e-3, 64
OTHER = 1000  # added to the seed: of another start, of an independent network
CUTS = np.geomspace(1, 1 / 64, 25).round(6).tolist()  # densities at which solutions are pruned without training


@functools.lru_cache(maxsize=4)
def images(dataset: str, n_train: int | None) -> Dataset:
    """Load the images, once per process."""
    return workbench.load(dataset, n_train=n_train)


def objective_of(dataset: str, n_train: int | None, width: int, seed: int) -> Supervised:
    """Return the loss of a network of one hidden layer as a function of theta; the seed chooses the start."""
    data = images(dataset, n_train)
    widths = [math.prod(data.train.x.shape[1:]), width, data.n_classes or 1]
    return Supervised(workbench.mlp(widths, seed), data.train, data.validation, data.test)


def recipe_of(n_steps: int, d: int = 1, D: int = 1) -> Recipe:
    """Return how d dimensions of D entries that may move are trained: theta moves as far per step in all."""
    return Recipe(n_steps, matched_learning_rate(d, D, LR), batch_size=BATCH_SIZE)


@functools.lru_cache(maxsize=16)
def dense(dataset: str, n_train: int | None, width: int, n_steps: int, seed: int) -> Tensor:
    """Train a whole network, once per process; read, never written."""
    objective = objective_of(dataset, n_train, width, seed)
    return train(objective, workbench.Full(objective.theta_0), recipe_of(n_steps), seed).phi


def magnitude_mask(objective: Supervised, theta: Tensor, density: float, seed: int = 0) -> Tensor:
    """Keep the largest weights of the whole network, and all biases."""
    free = pruning.prunable(objective.layout)
    return pruning.select(theta.abs(), density, prunable=free, layout=objective.layout, seed=seed)


def barrier_trial(
    dataset: str,
    n_train: int | None,
    width: int,
    n_steps: int,
    n_retrain_steps: int,
    densities: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    """Measure barriers of the training loss between the trained network and pruned ones; the trial.

    Args:
        dataset: Name of the data.
        n_train: Training images; None for all.
        width: Hidden units.
        n_steps: Of a training from the start.
        n_retrain_steps: Of retraining what is pruned.
        densities: Kept shares of the weights.
        seed: Replicate.

    Returns:
        For each density and arm (``"pruned"``, ``"retrained"``, ``"shuffled, retrained"``, ``"from the start"``) the
        barrier's height, the end's loss and test accuracy, the losses on the way; ``control``, the barrier to a dense
        network of another start.
    """
    objective, theta = objective_of(dataset, n_train, width, seed), dense(dataset, n_train, width, n_steps, seed)
    rows = []
    for density in densities:
        mask = magnitude_mask(objective, theta, density, seed)
        shuffled = pruning.shuffled(mask, objective.layout, seed)
        ends = {"pruned": theta.where(mask, 0.0)}
        for arm, kept in (("retrained", mask), ("shuffled, retrained", shuffled)):
            ends[arm] = train(objective, Masked(theta, kept), recipe_of(n_retrain_steps), seed).phi
        ends["from the start"] = train(objective, Masked(objective.theta_0, mask), recipe_of(n_steps), seed).phi
        for arm, end in ends.items():
            rows.append({"arm": arm, "density": density, **_between(objective, theta, end)})
    other = dense(dataset, n_train, width, n_steps, seed + OTHER)
    return {"seed": seed, "rows": rows, "control": _between(objective, theta, other)}


def _between(objective: Supervised, first: Tensor, second: Tensor) -> dict[str, Any]:
    """Measure the segment between two networks."""
    way = probes.barrier(objective, first, second)
    return {
        "height": way.height, "error_height": way.error_height, "loss": float(way.loss[-1]), "path": way.loss.tolist(),
        "accuracy": objective.evaluate(second, "test").metric,
    }  # fmt: skip


def further_trial(
    dataset: str, n_train: int | None, width: int, n_steps: int, parts: Sequence[int], seed: int
) -> dict[str, Any]:
    """Prune solutions of subspaces and of direct training, without training again; the trial.

    Args:
        dataset: Name of the data.
        n_train: Training images; None for all.
        width: Hidden units.
        n_steps: Of every training.
        parts: D over the dimensions of the subspaces.
        seed: Replicate.

    Returns:
        Of direct training (part 0) and each subspace: test accuracy, and which test images are right at every density
        of ``CUTS``, packed.
    """
    objective, rows = objective_of(dataset, n_train, width, seed), []
    dims = [max(1, objective.D // part) for part in parts]
    maps = [Subspace(objective.theta_0, projection("hashed", objective.D, d, seed)) for d in dims]
    found = train_group(objective, maps, [recipe_of(n_steps, d, objective.D) for d in dims], seed) if maps else []
    thetas = [dense(dataset, n_train, width, n_steps, seed), *(h.point(m)[0] for h, m in zip(found, maps, strict=True))]
    for part, d, theta in zip([0, *parts], [objective.D, *dims], thetas, strict=True):
        masks = torch.stack([magnitude_mask(objective, theta, density, seed) for density in CUTS])
        seen = pruning.evaluate_masks(objective, Point(theta, {}), masks, "test")
        rows.append({"part": part, "d": d, "right": [pack(each.correct) for each in seen]})
    return {"seed": seed, "rows": rows}


def pack(right: np.ndarray | None) -> dict[str, Any]:
    """Turn bools into what JSON holds."""
    values = np.asarray(right, dtype=bool)
    return {"n": len(values), "hex": np.packbits(values).tobytes().hex()}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """Return the bools that were packed."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed["hex"]), np.uint8))[: packed["n"]].astype(bool)

"""Trials of the temperature x load plane: train at a temperature, prune at each density, retrain twice, measure."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pruned import data, pack
from torch import Tensor

from workbench import probes, pruning
from workbench.coordinates import Full, Masked
from workbench.datasets import Split
from workbench.errors import require
from workbench.layout import Point
from workbench.models import small_cnn
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.seeds import generator, key
from workbench.training import Snapshot, train, train_group

COPIES = 2  # retrained, of each pruned network
BINS = np.linspace(-4, 4, 81)  # of weights


def noisy_labels(labels: Tensor, n_classes: int, noise: float, seed: int) -> Tensor:
    """Give an exact share of examples, rounded, another class at random; which and what is drawn from the seed."""
    rng, changed = generator(seed, "label noise"), labels.clone()
    drawn = torch.from_numpy(rng.permutation(len(labels))[: round(noise * len(labels))])
    shift = torch.from_numpy(rng.integers(1, n_classes, len(drawn)))
    changed[drawn] = (labels[drawn] + shift) % n_classes
    return changed


def objective_of(dataset: str, n_train: int | None, width: int, noise: float, seed: int) -> Supervised:
    """Return the loss of a small CNN with BatchNorm; validation and test labels are clean."""
    images = data(dataset, n_train)
    n_classes = images.n_classes or 1
    noisy = Split(images.train.x, noisy_labels(images.train.y, n_classes, noise, seed))
    network = small_cnn(n_classes, images.train.x.shape[1], width, seed)
    return Supervised(network, noisy, images.validation, images.test)


def recipe_of(n: int, epochs: int, batch_size: int, lr: float, **changes: Any) -> Recipe:
    """Return SGD with momentum for whole passes over n examples."""
    return Recipe(epochs * (n // batch_size), lr, "sgd", batch_size=batch_size, weight_decay=1e-4, **changes)


def dense_recipe(n: int, knob: str, value: int, n_epochs: int, batch_size: int, lr: float, **changes: Any) -> Recipe:
    """Return how the dense network trains, at a constant rate, so that its temperature is the same to the end."""
    epochs, size = (n_epochs, value) if knob == "batch_size" else (value, batch_size)
    return recipe_of(n, epochs, size, lr, schedule="constant", **changes)


def try_rate(
    dataset: str, n_train: int | None, width: int, noise: float, n_epochs: int, batch_size: int, lr: float, seed: int
) -> dict[str, float | None]:
    """Train a dense network; return its validation loss, None where it diverged. A trial."""
    objective = objective_of(dataset, n_train, width, noise, seed)
    recipe = recipe_of(len(objective.splits["train"]), n_epochs, batch_size, lr, schedule="constant")
    c = Full(objective.theta_0)
    history = train(objective, c, recipe, seed)
    loss = objective.evaluate(history.point(c), "validation", batch_stats="recalibrated").loss
    return {"validation": loss if np.isfinite(loss) else None}


def train_small(
    dataset: str, n_train: int | None, width: int, noise: float, n_epochs: int, batch_size: int, lr: float, seed: int
) -> dict[str, Any]:
    """Train a small dense network along a cosine; return which test images it has right and its weights. A trial."""
    objective = objective_of(dataset, n_train, width, noise, seed)
    c = Full(objective.theta_0)
    train(objective, c, recipe_of(len(objective.splits["train"]), n_epochs, batch_size, lr), seed)
    n_weights = int(pruning.prunable(objective.layout).sum())
    return {"right": _right(objective, _logits(objective, objective.theta)), "weights": n_weights}


def train_column(
    dataset: str,
    n_train: int | None,
    width: int,
    noise: float,
    knob: str,
    value: int,
    densities: Sequence[float],
    lr: float,
    n_epochs: int,
    n_retrain_epochs: int,
    batch_size: int,
    n_points: int,
    n_curvature: int,
    seed: int,
    watch: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """Train at one temperature, prune at each density and retrain two copies; the trial, which a worker imports.

    Args:
        dataset: Images by name.
        n_train: Training images; None for all.
        width: Maps of the CNN's first layer.
        noise: Share of training labels replaced by another class.
        knob: What makes the temperature: ``"batch_size"`` or ``"epochs"``; the smaller the hotter.
        value: Of the knob.
        densities: Kept shares of every layer's weights, by magnitude.
        lr: Of dense training, constant, and of retraining, falling along a cosine.
        n_epochs: Of dense training.
        n_retrain_epochs: Of each copy.
        batch_size: Of retraining, and of dense training where the knob is another.
        n_points: On the segment between the copies.
        n_curvature: Training images whose loss's curvature is measured.
        seed: Start, noise, minibatches.
        watch: Called with evaluations of the dense network as it trains.

    Returns:
        ``dense``, which test images are right; ``cells``, for each density which are right in both copies, losses on
        the segment, LMC, CKA of test logits, the top eigenvalue of the first copy, a histogram of its kept weights.

    Raises:
        InputError: If the rate makes training diverge.
    """
    objective = objective_of(dataset, n_train, width, noise, seed)
    n, c = len(objective.splits["train"]), Full(objective.theta_0)
    recipe = dense_recipe(n, knob, value, n_epochs, batch_size, lr)
    if watch:
        recipe = dense_recipe(n, knob, value, n_epochs, batch_size, lr, eval_every_steps=max(1, recipe.n_steps // 20))
    dense = train(objective, c, recipe, seed, watch=watch)
    require(dense.outcome == "finished", "lr", "must not make training diverge", lr, "choose a smaller one")
    free = pruning.prunable(objective.layout)
    masks = [
        pruning.select(dense.phi.abs(), density, prunable=free, layout=objective.layout, scope="layer", seed=seed)
        for density in densities
    ]
    copies = [
        _retrain(objective, dense.point(c), masks, recipe_of(n, n_retrain_epochs, batch_size, lr), seed, k)
        for k in range(COPIES)
    ]
    cells = [
        _measure(objective, [copy[i] for copy in copies], mask, n_points, n_curvature, free)
        for i, mask in enumerate(masks)
    ]
    return {"dense": _right(objective, _logits(objective, dense.phi)), "cells": cells}


def connectivity(losses: Sequence[float]) -> float:
    """Return LMC: the ends' mean loss minus the worst on the segment; 0 is flat, below 0 there is a barrier.

    Yang et al. 2021, "Taxonomizing local versus global structure", https://arxiv.org/abs/2107.11228, section 3. There
    the sign may be positive, as the point farthest from the mean counts; here the worst one does.

    Example:
        >>> connectivity([1.0, 4.0, 2.0])
        -2.5
    """
    return (losses[0] + losses[-1]) / 2 - max(losses)


def _retrain(
    objective: Supervised, point: Point, masks: Sequence[Tensor], recipe: Recipe, seed: int, copy: int
) -> list[Tensor]:
    """Train the pruned networks on one stream of minibatches, that of a copy; return their theta."""
    maps = [Masked(point.theta, mask) for mask in masks]
    start = [Snapshot(0, c.initial(), point.buffers, {}, {}) for c in maps]
    stream = key(seed, "retrain", copy) % 2**31
    histories = train_group(objective, maps, [recipe] * len(maps), stream, start=start)
    for history in histories:
        require(
            history.outcome == "finished", "lr", "must not make training diverge", recipe.lr, "choose a smaller one"
        )
    return [history.phi for history in histories]


def _logits(objective: Supervised, theta: Tensor) -> Tensor:
    return objective.logits(theta, "test", batch_stats="recalibrated")


def _right(objective: Supervised, logits: Tensor) -> dict[str, Any]:
    """Return which test images are right by these logits, packed."""
    return pack((logits.argmax(1) == objective.splits["test"].y).cpu().numpy())


def _measure(
    objective: Supervised, copies: Sequence[Tensor], mask: Tensor, n_points: int, n_curvature: int, free: Tensor
) -> dict[str, Any]:
    """Measure one cell of the plane."""
    losses = probes.barrier(objective, copies[0], copies[1], n_points=n_points).loss.tolist()
    logits = [_logits(objective, theta) for theta in copies]
    x, y = objective.splits["train"].batch(torch.arange(n_curvature).clamp(max=len(objective.splits["train"]) - 1))
    few, point = Supervised(objective.model, Split(x, y)), objective.recalibrated(copies[0])
    top = probes.top_eigenpairs(few, point, 1, coordinates=Masked(point.theta, mask))
    weights = copies[0][mask & free].clamp(-3.99, 3.99)
    return {
        "right": [_right(objective, each) for each in logits],
        "losses": losses,
        "lmc": connectivity(losses),
        "cka": probes.linear_cka(*logits).value,
        "eigenvalue": float(top.values[0]),
        "histogram": np.histogram(weights.numpy(), BINS)[0].tolist(),
    }

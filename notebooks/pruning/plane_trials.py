"""Trials of the temperature x load plane: train at a temperature, prune at each density, retrain twice, measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from landscape_probes import connectivity, linear_cka, segment_losses, top_eigenvalue
from pruned import data, pack, unpack
from scipy.stats import rankdata
from torch import Tensor

from workbench import pruning
from workbench.coordinates import Full, Masked
from workbench.datasets import Split
from workbench.errors import require
from workbench.layout import Point
from workbench.models import small_cnn
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.seeds import generator, key
from workbench.sweeps import Sweep
from workbench.training import Snapshot, train, train_group

COPIES, N_DRAWS = 2, 1000  # retrained copies of each pruned network; resamples of seeds and images
BINS = np.linspace(-1, 1, 41)  # of weights
KNOBS = ("batch_size", "epochs")


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
    return {"dense": _right(objective, dense.phi), "cells": cells}


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


def _right(objective: Supervised, theta: Tensor) -> dict[str, Any]:
    """Return which test images a network has right, packed."""
    correct = objective.evaluate(theta, "test", batch_stats="recalibrated").correct
    return pack(np.asarray(correct))


def _measure(
    objective: Supervised, copies: Sequence[Tensor], mask: Tensor, n_points: int, n_curvature: int, free: Tensor
) -> dict[str, Any]:
    """Measure one cell of the plane."""
    losses = segment_losses(objective, copies[0], copies[1], n_points)
    logits = [objective.logits(theta, "test", batch_stats="recalibrated") for theta in copies]
    x, y = objective.splits["train"].batch(torch.arange(n_curvature).clamp(max=len(objective.splits["train"]) - 1))
    few = Supervised(objective.model, Split(x, y))
    weights = copies[0][mask & free].clamp(-0.999, 0.999)
    return {
        "right": [_right(objective, theta) for theta in copies],
        "losses": losses,
        "lmc": connectivity(losses),
        "cka": linear_cka(*logits),
        "eigenvalue": top_eigenvalue(few, objective.recalibrated(copies[0]), mask),
        "histogram": np.histogram(weights.numpy(), BINS)[0].tolist(),
    }


class Draws(NamedTuple):
    """What resampling seeds and test images gives, each of shape ``(n_draws, n_temperatures, n_densities)``."""

    error: np.ndarray
    lmc: np.ndarray
    cka: np.ndarray


@dataclass(frozen=True)
class Plane:
    """Measurements over temperature and density; temperatures rise along the second axis, densities along the third.

    Attributes:
        wrong: Share of copies that have a test image wrong, shape ``(n_seeds, n_temperatures, n_densities, n)``.
        dense: Whether the dense network has, shape ``(n_seeds, n_temperatures, n)``.
        lmc: In nats, shape ``(n_seeds, n_temperatures, n_densities)``, as ``cka`` and ``eigenvalue``.
        losses: On the segment, shape ``(..., n_points)``; ``histogram`` likewise, by bin.
    """

    dataset: str
    knob: str
    noise: float
    temperatures: tuple[int, ...]  # values of the knob
    densities: tuple[float, ...]
    seeds: tuple[int, ...]
    wrong: np.ndarray
    dense: np.ndarray
    lmc: np.ndarray
    cka: np.ndarray
    eigenvalue: np.ndarray
    losses: np.ndarray
    histogram: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Mean test error, shape ``(n_temperatures, n_densities)``."""
        return np.asarray(self.wrong.mean(axis=(0, 3)))

    def name(self, value: int) -> str:
        """Return a temperature in words."""
        return f"batch {value}" if self.knob == "batch_size" else f"{value} epochs"

    def spearman(self, error: np.ndarray) -> np.ndarray:
        """Return the rank correlation of temperature and error, shape ``(..., n_densities)``; 0 if errors agree."""
        ranks = rankdata(error, axis=-2) - (len(self.temperatures) + 1) / 2
        t = np.arange(len(self.temperatures)) - (len(self.temperatures) - 1) / 2
        size = np.sqrt((ranks**2).sum(axis=-2) * (t**2).sum())
        return np.asarray((ranks * t[:, None]).sum(axis=-2) / np.where(size == 0, 1, size))

    @cached_property
    def draws(self) -> Draws:
        """Resample seeds and test images, each with replacement and apart (Owen 2007, the pigeonhole bootstrap)."""
        n_seeds, n = len(self.wrong), self.wrong.shape[3]
        rng = generator(0, "three regimes", "draws")
        seeds = rng.multinomial(n_seeds, [1 / n_seeds] * n_seeds, N_DRAWS) / n_seeds
        images = rng.multinomial(n, [1 / n] * n, N_DRAWS) / n
        wrong = np.einsum("stkn,dn->dstk", self.wrong, images, optimize=True)
        error = np.einsum("ds,dstk->dtk", seeds, wrong)
        lmc, cka = (np.einsum("ds,stk->dtk", seeds, each) for each in (self.lmc, self.cka))
        return Draws(error, lmc, cka)


def choose_rate(sweep: Sweep, rates: Sequence[float], **trial: Any) -> float:
    """Return the rate of least validation loss of the dense network; one is not tried."""
    if len(rates) == 1:
        return rates[0]
    found = sweep.map(try_rate, [trial | {"lr": lr} for lr in rates])
    losses = [each.result["validation"] for each in found]
    return min(zip(rates, losses, strict=True), key=lambda pair: np.inf if pair[1] is None else pair[1])[0]


def measure_plane(
    sweep: Sweep,
    seeds: Sequence[int],
    temperatures: Sequence[int],
    densities: Sequence[float],
    tick: Callable[[float], None] | None = None,
    **trial: Any,
) -> Plane:
    """Run the trials of every temperature and seed.

    Args:
        sweep: Runs and keeps them.
        seeds: Replicates.
        temperatures: Values of the knob, in any order.
        densities: Kept shares, in any order.
        tick: Called with the part that is done.
        trial: Further parameters of ``train_column``.

    Returns:
        The plane.
    """
    values, shares = tuple(sorted(temperatures, reverse=True)), tuple(sorted(densities))
    asked = [trial | {"seed": s, "value": v, "densities": list(shares)} for s in seeds for v in values]
    columns = [each.result for each in sweep.map(train_column, asked, tick)]

    def stack(read: Callable[[dict[str, Any]], Any]) -> np.ndarray:
        found = np.array([[read(cell) for cell in column["cells"]] for column in columns])
        return found.reshape(len(seeds), len(values), *found.shape[1:])

    dense = np.array([1 - unpack(column["dense"]) for column in columns]).reshape(len(seeds), len(values), -1)
    wrong = stack(lambda cell: 1 - np.mean([unpack(each) for each in cell["right"]], axis=0))
    rest = {
        name: stack(lambda cell, name=name: cell[name]) for name in ("lmc", "cka", "eigenvalue", "losses", "histogram")
    }
    named = {name: trial[name] for name in ("dataset", "knob", "noise")}
    return Plane(**named, temperatures=values, densities=shares, seeds=tuple(seeds), wrong=wrong, dense=dense, **rest)

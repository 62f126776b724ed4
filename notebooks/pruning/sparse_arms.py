"""Trials: one network with a given number of nonzeros, reached in one of several ways, in the same number of steps."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pruned import data, objective_of, pack, prunable, scores, small_factor, unpack

from workbench import pruning
from workbench.coordinates import Full, Gradual, Masked
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.procedures import iterative
from workbench.recipes import Recipe
from workbench.sweeps import Sweep
from workbench.training import train

ARMS = ("gradual", "one-shot", "random", "small dense", "small dense, equal bits")
BINS = np.linspace(-1, 1, 41)  # of the histograms of weights, the outermost without end
N_EVALUATIONS = 40  # of a run that is watched


def n_parameters(network: str, dataset: str, factor: float = 1.0) -> int:
    """Return D of a network of a share of its widths."""
    return objective_of(network, dataset, None, 0, factor).D


def sizes(network: str, dataset: str, reduction: int) -> tuple[float, int, float]:
    """Return the small dense network of 1/reduction of the parameters, how many it has, and the one of equal bits.

    The large sparse network keeps exactly as many parameters as the small dense one has. In bits it also pays one for
    each prunable entry, so there the small dense network may have a 32nd of those more.
    """
    large = objective_of(network, dataset, None, 0)
    small = small_factor(network, dataset, round(large.D / reduction))
    nonzeros = n_parameters(network, dataset, small)
    index = round(int(prunable(large).sum()) / 32)
    return small, nonzeros, small_factor(network, dataset, nonzeros + index)


def train_arm(
    dataset: str,
    n_train: int | None,
    network: str,
    arm: str,
    reduction: int,
    lr: float,
    seed: int,
    n_steps: int,
    batch_size: int,
    watch: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """Train one arm; every arm takes as many steps.

    Args:
        dataset: Name of the data.
        n_train: Training images; None for all.
        network: See ``pruned.build``.
        arm: ``"dense"`` or one of ``ARMS``.
        reduction: Parameters of the dense network over nonzeros; 1 for the dense one.
        lr: Adam's peak rate, falling along a cosine.
        seed: Start, minibatches, random masks.
        n_steps: Optimizer steps, of one-shot half before the cut and half after it.
        batch_size: Examples a step.
        watch: Called with evaluations as it trains; see ``workbench.train``.

    Returns:
        Validation loss, test scores, the compression report, the file's size, and what the explorer shows: kept
        weights of each input and a histogram of the weights.
    """
    small, nonzeros, equal = sizes(network, dataset, reduction) if reduction > 1 else (1.0, 0, 1.0)
    factor = {"small dense": small, "small dense, equal bits": equal}.get(arm, 1.0)
    objective = objective_of(network, dataset, n_train, seed, factor)
    free = prunable(objective)
    density = (nonzeros - objective.D + int(free.sum())) / int(free.sum())
    every = max(1, n_steps // N_EVALUATIONS) if watch else None
    recipe = Recipe(n_steps, lr, batch_size=batch_size, eval_every_steps=every)
    point, mask = _train(objective, arm, density, recipe, seed, free, watch)
    found = objective.evaluate(point, "validation")
    first = objective.layout.entries[0]
    with tempfile.TemporaryDirectory() as folder:
        n_bytes = pruning.export(Path(folder) / "network.npz", objective.layout, point, mask)
    return {
        "validation": found.loss if np.isfinite(found.loss) else None,
        "scores": pack(scores(objective, point)),
        "report": asdict(pruning.report(objective, mask, free)),
        "file_bytes": n_bytes,
        "inputs": mask[: first.size].view(first.shape).flatten(1).sum(0).tolist(),
        "histogram": np.histogram(point.theta[mask & free].clamp(-0.999, 0.999).numpy(), BINS)[0].tolist(),
    }


def _train(
    objective: Supervised,
    arm: str,
    density: float,
    recipe: Recipe,
    seed: int,
    free: torch.Tensor,
    watch: Callable[..., None] | None,
) -> tuple[Point, torch.Tensor]:
    """Return the network and its mask."""
    select = partial(pruning.select, prunable=free, layout=objective.layout, seed=seed)
    n, every = recipe.n_steps, max(1, recipe.n_steps // 100)
    if arm == "one-shot":
        half = Recipe(n // 2, recipe.lr, batch_size=recipe.batch_size)
        level = iterative(objective, half, [density], seed, prunable=free, rewind="none", finetune=half)[-1]
        return level.point, level.mask
    c: Full | Masked = Full(objective.theta_0)
    if arm == "gradual":
        c = Gradual(objective.theta_0, density, select, range(n // 10, 3 * n // 4, every))
    elif arm == "random":
        c = Masked(objective.theta_0, select(pruning.score("random", objective, objective.theta_0, seed), density))
    history = train(objective, c, recipe, seed, watch=watch)
    return history.point(c), c.mask if isinstance(c, Masked) else torch.ones_like(free)


def measure_arms(
    sweep: Sweep,
    cells: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    rates: Sequence[float],
    tick: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Train every cell with every seed, each at the learning rate that has the least validation loss with the first.

    Args:
        sweep: Runs and keeps the trials.
        cells: Parameters of ``train_arm`` but for ``lr`` and ``seed``.
        seeds: Replicates.
        rates: Learning rates to try, the same for every arm, sparse or dense.
        tick: Called with the part that is done.

    Returns:
        A row for each cell and seed: its parameters and what ``train_arm`` returns, ``scores`` unpacked.
    """
    share = len(rates) / (len(rates) + len(seeds) - 1)
    tries = [{**cell, "seed": seeds[0], "lr": lr} for cell in cells for lr in rates]
    tried = sweep.map(train_arm, tries, tick and (lambda done: tick(share * done)))
    losses = np.array([t.result["validation"] or np.inf for t in tried]).reshape(len(cells), -1)
    best = [rates[i] for i in losses.argmin(axis=1)]
    trials = [{**cell, "seed": seed, "lr": lr} for cell, lr in zip(cells, best, strict=True) for seed in seeds]
    runs = sweep.map(train_arm, trials, tick and (lambda done: tick(share + (1 - share) * done)))
    rows = [p | t.result | {"scores": unpack(t.result["scores"])} for p, t in zip(trials, runs, strict=True)]
    return pd.DataFrame(rows)


def cells_of(
    networks: Sequence[str], reductions: Sequence[int], dataset: str, n_train: int | None, n_steps: int, batch_size: int
) -> list[dict[str, Any]]:
    """Return the parameters of all arms: of each network the dense one, and each arm at each reduction."""
    arms = [("dense", 1), *((arm, reduction) for reduction in reductions for arm in ARMS)]
    fixed = {"dataset": dataset, "n_train": n_train, "n_steps": n_steps, "batch_size": batch_size}
    return [fixed | {"network": n, "arm": arm, "reduction": r} for n in networks for arm, r in arms]


def scores_of(runs: pd.DataFrame, network: str, arm: str, reduction: int) -> np.ndarray:
    """Return a cell's scores, shape ``(n_seeds, n_examples)``."""
    cell = runs[(runs.network == network) & (runs.arm == arm) & (runs.reduction == reduction)]
    return np.stack(list(cell.sort_values("seed").scores))


def compression_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Report every cell as "What is the State of Neural Network Pruning?" asks: both ratios, mean and spread.

    Returns:
        A row a network, arm and reduction: nonzeros, ratio of parameters, with index bits, of multiply-accumulates and
        of file bytes, all against the dense network; score, its standard deviation, change against dense, seeds.
    """
    rows = []
    for network, own in runs.groupby("network", sort=False):
        dense = own[own.arm == "dense"].iloc[0]
        base = np.mean([each.mean() for each in own[own.arm == "dense"].scores])
        for (arm, reduction), cell in own.groupby(["arm", "reduction"], sort=False):
            r, found = cell.iloc[0].report, np.array([each.mean() for each in cell.scores])
            bits = 32 * r["n_kept"] + (r["n_prunable"] if r["n_kept"] < r["n_parameters"] else 0)
            rows.append({
                "network": network, "arm": arm, "1 /": reduction, "nonzeros": r["n_kept"],
                "compression": dense.report["n_parameters"] / r["n_kept"],
                "with index": 32 * dense.report["n_parameters"] / bits,
                "theoretical speed-up": dense.report["macs"] / r["macs_kept"],
                "file": dense.file_bytes / cell.file_bytes.mean(),
                "score": found.mean(), "sd": found.std(ddof=1) if len(found) > 1 else np.nan,
                "change": found.mean() - base, "seeds": len(found),
            })  # fmt: skip
    return pd.DataFrame(rows).set_index(["network", "1 /", "arm"])


def images_of(dataset: str) -> Any:
    """Return the height and width of a dataset's images."""
    return tuple(data(dataset).train.x.shape[-2:])

"""Trials: a dense network, and wider sparse ones that take exactly as many multiply-accumulates."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from pruned import data, pack, unpack
from torch import Tensor, nn

from workbench import models, pruning
from workbench.coordinates import Dynamic, Full, Masked
from workbench.datasets import Dataset
from workbench.errors import require
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.seeds import generator
from workbench.sweeps import Sweep
from workbench.training import train_group

MEMBERS = ("wide", "parallel")
MASKS = ("static", "SET", "RigL")
HIDDEN = (300, 100)  # units of the dense MLP
CONTROL = "wide, dense"  # as many stored parameters as Wide, and so 1 / (1 - s) times the products


class Branches(nn.Module):
    """A sum of parallel layers, over a constant that keeps the second moment of k rectified normal outputs.

    Each has mean square 1/2 and mean 1 / sqrt(2 pi), so the sum has mean square (k (pi - 1) + k^2) / (2 pi).
    """

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches, k = nn.ModuleList(branches), len(branches)
        self.gain = math.sqrt((k * (math.pi - 1) + k**2) / math.pi)

    def forward(self, x: Tensor) -> Tensor:
        """Sum the branches."""
        return torch.stack([branch(x) for branch in self.branches]).sum(0) / self.gain


def network_of(network: str, member: str, sparsity: float, images: Dataset, width: int, seed: int) -> nn.Module:
    """Return a network, all entries of which are there.

    Args:
        network: ``"mlp"`` (300 and 100 units) or ``"cnn"`` (three convolutions with BatchNorm).
        member: ``"dense"``; ``"wide"``, hidden widths times 1 / sqrt(1 - sparsity), rounded; ``"parallel"``,
            1 / (1 - sparsity) branches of every hidden layer, summed after their nonlinearity.
        sparsity: In [0, 1).
        images: Gives inputs and classes.
        width: Maps of the dense CNN's first layer.
        seed: Initialisation.

    Returns:
        The network.

    Raises:
        InputError: If the number of branches would not be whole.
    """
    shape, n_classes, k = images.train.x.shape[1:], images.n_classes or 1, (1 - sparsity) ** -0.5
    widen = k if member == "wide" else 1.0
    if member != "parallel":
        if network == "cnn":
            return models.small_cnn(n_classes, shape[0], round(widen * width), seed)
        return models.mlp([math.prod(shape), *(round(widen * units) for units in HIDDEN), n_classes], seed)
    n, layers = round(k**2), list[nn.Module]()
    require(abs(k**2 - n) < 1e-6, "sparsity", "must make 1 / (1 - sparsity) a whole number", sparsity)
    if network == "mlp":
        units = [math.prod(shape), *HIDDEN]
        layers = [nn.Flatten()]
        for i, o in pairwise(units):
            layers.append(Branches([nn.Sequential(nn.Linear(i, o), nn.ReLU()) for _ in range(n)]))
        return models.initialise(nn.Sequential(*layers, nn.Linear(HIDDEN[-1], n_classes)), seed)
    maps = [shape[0], width, 2 * width, 4 * width]
    for step, (i, o) in enumerate(pairwise(maps)):
        layers.append(Branches([_convolution(i, o) for _ in range(n)]))
        layers.append(nn.MaxPool2d(2) if step < 2 else nn.AdaptiveAvgPool2d(1))
    return models.initialise(nn.Sequential(*layers, nn.Flatten(), nn.Linear(maps[-1], n_classes)), seed)


def _convolution(fan_in: int, fan_out: int) -> nn.Module:
    layers = (nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False), nn.BatchNorm2d(fan_out), nn.ReLU())
    return nn.Sequential(*layers)


def equal_mask(sparse: Supervised, dense: Supervised, seed: int) -> Tensor:
    """Return a random mask under which every layer takes exactly the products of the dense network's layer.

    Layers keep their places and image sizes, so that means as many weights; the branches of a layer share them.
    """
    sizes = [entry.size for entry in dense.layout.entries if entry.role == "weight"]
    weights = [entry for entry in sparse.layout.entries if entry.role == "weight"]
    n = (len(weights) - 1) // (len(sizes) - 1)  # branches; the output layer has one
    shares = [size * (j + 1) // n - size * j // n for size in sizes[:-1] for j in range(n)] + [sizes[-1]]
    rng, mask = generator(seed, "equal mask"), torch.ones(sparse.D, dtype=torch.bool)
    for entry, kept in zip(weights, shares, strict=True):
        order = torch.from_numpy(rng.permutation(entry.size))
        mask[entry.offset + order[kept:]] = False
    return mask


def scaled_start(objective: Supervised, mask: Tensor) -> Tensor:
    """Return theta_0 with every pruned tensor scaled by 1 / sqrt(density), so that activations keep their variance."""
    theta = objective.theta_0.clone()
    for entry in objective.layout.entries:
        here = slice(entry.offset, entry.offset + entry.size)
        theta[here] /= mask[here].float().mean().sqrt()
    return theta


def train_wide(
    dataset: str,
    n_train: int | None,
    network: str,
    width: int,
    member: str,
    sparsity: float,
    rates: Sequence[float],
    seed: int,
    n_steps: int,
    batch_size: int,
) -> list[dict[str, Any]]:
    """Train one member of the family under every kind of mask, or the dense network at several rates.

    Args:
        dataset: Name of the data.
        n_train: Training images; None for all.
        network: See ``network_of``.
        width: The same.
        member: The same.
        sparsity: The same; 0 for ``"dense"``.
        rates: Peak rates of SGD with momentum 0.9, falling along a cosine; one, but for ``"dense"``.
        seed: Start, minibatches, masks.
        n_steps: Optimizer steps.
        batch_size: Examples a step.

    Returns:
        A record a run: ``mask`` (one of ``MASKS``, ``CONTROL`` beside the wide ones, ``"dense"``), ``lr``, validation
        loss and accuracy, which test images were right, multiply-accumulates and parameters kept.
    """
    images = data(dataset, n_train)
    base, objective = (
        Supervised(
            network_of(network, each, sparsity, images, width, seed), images.train, images.validation, images.test
        )
        for each in ("dense", member)
    )
    start, layout = objective.theta_0, objective.layout
    if member == "dense":
        maps: dict[tuple[str, float], Any] = {("dense", lr): Full(start) for lr in rates}
    else:
        mask, (lr,) = equal_mask(objective, base, seed), rates
        begin = scaled_start(objective, mask)
        every = max(1, n_steps // 20)
        moving = {"steps": range(every, max(every + 1, 3 * n_steps // 4), every), "seed": seed}
        maps = {("static", lr): Masked(begin, mask)}
        maps[("SET", lr)] = Dynamic(begin, mask, layout, "random", **moving)
        maps[("RigL", lr)] = Dynamic(begin, mask, layout, "gradient", **moving)
        maps |= {(CONTROL, lr): Full(start)} if member == "wide" else {}
    recipes = [Recipe(n_steps, lr, optimizer="sgd", batch_size=batch_size) for _, lr in maps]
    histories = train_group(objective, [*maps.values()], recipes, seed)
    free, records = pruning.prunable(layout), []
    for (name, lr), c, history in zip(maps, maps.values(), histories, strict=True):
        point, kept = history.point(c), c.mask if isinstance(c, Masked) else torch.ones_like(free)
        found, report = objective.evaluate(point, "validation"), pruning.report(objective, kept, free)
        records.append({
            "mask": name, "lr": lr, "validation": found.loss if np.isfinite(found.loss) else None,
            "validation_accuracy": found.metric, "right": pack(np.asarray(objective.evaluate(point, "test").correct)),
            "macs": report.macs_kept, "n_kept": report.n_kept,
        })  # fmt: skip
    return records


def measure_wide(
    sweep: Sweep,
    networks: Sequence[dict[str, Any]],
    sparsities: Sequence[float],
    seeds: dict[str, Sequence[int]],
    rates: Sequence[float],
    tick: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Train dense and sparse networks at the rate that suits the dense one with the first seed.

    Args:
        sweep: Runs and keeps the trials.
        networks: Parameters of ``train_wide`` that are common to a network's runs.
        sparsities: Whose 1 / (1 - s) are whole numbers.
        seeds: Replicates of each network.
        rates: To try on the dense network.
        tick: Called with the part that is done.

    Returns:
        A row a run and seed: member, sparsity, mask, seed, ``right`` unpacked, ``accuracy``, what else was recorded.
    """
    dense = [
        {**fixed, "member": "dense", "sparsity": 0.0, "rates": list(rates), "seed": seeds[fixed["network"]][0]}
        for fixed in networks
    ]
    trials = []
    for fixed, tried in zip(networks, sweep.map(train_wide, dense), strict=True):
        losses = [np.inf if each["validation"] is None else each["validation"] for each in tried.result]
        chosen = {**fixed, "rates": [rates[int(np.argmin(losses))]]}
        kinds = [("dense", 0.0), *((member, s) for s in sparsities for member in MEMBERS)]
        for seed in seeds[fixed["network"]]:
            trials += [{**chosen, "member": member, "sparsity": s, "seed": seed} for member, s in kinds]
    found = sweep.map(train_wide, trials, tick)
    rows = [
        {n: p[n] for n in ("network", "dataset", "member", "sparsity", "seed")} | record
        for p, trial in zip(trials, found, strict=True) for record in trial.result
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    right = [unpack(each) for each in table.right]
    return table.assign(right=right, accuracy=[each.mean() for each in right])


def wide_right(table: pd.DataFrame, network: str, member: str, sparsity: float, mask: str) -> np.ndarray:
    """Return which test images were right, shape ``(n_seeds, n_images)``."""
    cell = table[(table.network == network) & (table.member == member) & (table["mask"] == mask)]
    return np.stack(list(cell[cell.sparsity == sparsity].sort_values("seed").right))

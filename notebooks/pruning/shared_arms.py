"""Trials: a network of few numbers, shared at random, pruned before training, small, or found by tickets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pruned import data, objective_of, pack, prunable, small_factor, unpack
from torch import Tensor, nn

from workbench import pruning
from workbench.coordinates import Full, Masked, Shared
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.procedures import geometric, iterative
from workbench.pruning.scores.grasp import grasp
from workbench.pruning.scores.snip import snip
from workbench.pruning.scores.synflow import synflow_mask
from workbench.recipes import Recipe
from workbench.sweeps import Sweep
from workbench.training import train_group

PRUNERS = ("random", "SNIP", "GraSP", "SynFlow")
SHARED, NAIVE, TICKETS = "shared, stable", "shared, naive", "tickets"
ARMS = (SHARED, NAIVE, "small dense", *PRUNERS, TICKETS)
ROUNDS = 4  # of tickets
SCORED = 1000  # training images that SNIP and GraSP see
TEMPERATURE = 200.0  # by which GraSP's authors divide the logits that it scores
BINS = np.linspace(-1, 1, 41)  # of the histograms of weights, the outermost without end
BELOW = 0.2  # density from which on masked MLPs are trained together as sparse ones
N_EVALUATIONS = 40  # of a run that is watched
Watch = Callable[[int, dict[str, Any]], None]


def mask_of(arm: str, objective: Supervised, density: float, seed: int) -> Tensor:
    """Return the mask that one of ``PRUNERS`` draws before training, shape ``(D,)``."""
    free, theta = prunable(objective), objective.theta_0
    if arm == "SynFlow":
        return synflow_mask(objective, theta, density, prunable=free, seed=seed)
    n = min(SCORED, len(objective.splits["train"]))
    if arm == "random":
        found = pruning.score("random", objective, theta, seed)
    else:
        found = snip(objective, theta, n, seed) if arm == "SNIP" else grasp(_cooled(objective), theta, n, seed)
    return pruning.select(found, density, prunable=free, layout=objective.layout, seed=seed)


class _Divided(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        """Divide by the temperature."""
        return logits / TEMPERATURE


def _cooled(objective: Supervised) -> Supervised:
    """Return the objective of divided logits, of the same theta and training images."""
    batch = objective.train_batch(torch.arange(len(objective.splits["train"])))
    return Supervised(nn.Sequential(objective.module_at(objective.theta_0), _Divided()), batch)


def train_arms(
    dataset: str,
    n_train: int | None,
    network: str,
    compression: int,
    runs: Sequence[tuple[str, float]],
    seed: int,
    n_steps: int,
    batch_size: int,
    watch: Watch | None = None,
) -> list[dict[str, Any]]:
    """Train arms of one compression and seed on one stream of minibatches, by SGD with momentum 0.9.

    Args:
        dataset: Name of the data.
        n_train: Training images; None for all.
        network: See ``pruned.build``.
        compression: Weights over kept or shared numbers; biases are always kept. The small dense network has as many
            parameters as all that is then left.
        runs: Arm (``"dense"`` or one of ``ARMS``) and peak learning rate of each; the rate falls along a cosine.
        seed: Start, minibatches, hash, random masks.
        n_steps: Optimizer steps; tickets take as many in each of their rounds.
        batch_size: Examples a step.
        watch: Called with evaluations as it trains; see ``workbench.train``.

    Returns:
        Of each run its validation loss (None where it diverged), which test images were right, the kept share of each
        tensor of weights, kept weights of each input, a histogram of the weights.
    """
    objective = objective_of(network, dataset, n_train, seed)
    every = max(1, n_steps // N_EVALUATIONS) if watch else None
    recipes = [Recipe(n_steps, lr, optimizer="sgd", batch_size=batch_size, eval_every_steps=every) for _, lr in runs]
    n = int(prunable(objective).sum())
    job = _Job(objective, round(n / compression), n, seed, watch)
    small = small_factor(network, dataset, objective.D - n + job.n_kept)
    places = job.places([arm for arm, _ in runs], together=network == "mlp" and watch is None)
    result: list[dict[str, Any]] = [{} for _ in runs]
    for kind, where in places.items():
        own = [recipes[i] for i in where]
        arms = [runs[i][0] for i in where]
        if kind == "small dense":
            other = objective_of(network, dataset, n_train, seed, small)
            found = [(other, *each) for each in _Job(other, 0, n, seed, watch).trained(["dense"] * len(own), own)]
        else:
            found = [(objective, *each) for each in getattr(job, kind)(arms, own)]
        for i, each in zip(where, found, strict=True):
            result[i] = _record(*each)
    return result


class _Job:
    """Training of one objective's arms at one compression."""

    def __init__(self, objective: Supervised, n_kept: int, n: int, seed: int, watch: Watch | None) -> None:
        self.objective, self.n_kept, self.density = objective, n_kept, n_kept / n
        self.seed, self.watch, self.masks = seed, watch, dict[str, Tensor]()

    def places(self, arms: Sequence[str], together: bool) -> dict[str, list[int]]:
        """Say which runs are trained in which way."""
        ways: dict[str, list[int]] = {}
        for i, arm in enumerate(arms):
            sparse = arm in PRUNERS and together and self.density < BELOW
            way = {"small dense": arm, TICKETS: "found"}.get(arm, "together" if sparse else "trained")
            ways.setdefault(way, []).append(i)
        return ways

    def mask(self, arm: str) -> Tensor:
        """Return an arm's mask, computed once."""
        if arm not in self.masks:
            self.masks[arm] = mask_of(arm, self.objective, self.density, self.seed)
        return self.masks[arm]

    def together(self, arms: Sequence[str], recipes: Sequence[Recipe]) -> list[tuple[Point, Tensor]]:
        """Train sparse perceptrons as one."""
        masks = torch.stack([self.mask(arm) for arm in arms])
        ensemble = pruning.SparseEnsemble(self.objective, self.objective.theta_0, masks)
        members = ensemble.train(recipes, self.seed)
        return [(Point(member.theta, {}), mask) for member, mask in zip(members, masks, strict=True)]

    def trained(self, arms: Sequence[str], recipes: Sequence[Recipe]) -> list[tuple[Point, Tensor]]:
        """Train dense, shared and masked networks beside one another."""
        theta, every = self.objective.theta_0, torch.ones(self.objective.D, dtype=torch.bool)
        maps: list[Full | Masked | Shared] = []
        for arm in arms:
            if arm in PRUNERS:
                maps.append(Masked(theta, self.mask(arm)))
            elif arm == "dense":
                maps.append(Full(theta))
            else:
                free, layout = prunable(self.objective), self.objective.layout
                maps.append(Shared(theta, free, self.n_kept, layout, self.seed, stable=arm == SHARED))
        histories = train_group(self.objective, maps, recipes, self.seed, watch=self.watch)
        masks = [c.mask if isinstance(c, Masked) else every for c in maps]
        return [(h.point(c), mask) for h, c, mask in zip(histories, maps, masks, strict=True)]

    def found(self, arms: Sequence[str], recipes: Sequence[Recipe]) -> list[tuple[Point, Tensor]]:
        """Find tickets round by round, rewound to a twentieth of the steps."""
        levels = []
        for recipe in recipes:
            densities, step = geometric(self.density, ROUNDS), recipe.n_steps // 20
            options = {"prunable": prunable(self.objective), "rewind_step": step, "watch": self.watch}
            levels.append(iterative(self.objective, recipe, densities, self.seed, **options)[-1])
        return [(level.point, level.mask) for level in levels]


def _record(objective: Supervised, point: Point, mask: Tensor) -> dict[str, Any]:
    """Say what became of a network."""
    loss, free = objective.evaluate(point, "validation").loss, prunable(objective)
    weights = [entry for entry in objective.layout.entries if entry.role == "weight"]
    kept = {e.name: float(mask[e.offset : e.offset + e.size].float().mean()) for e in weights}
    shown = point.theta[mask & free].nan_to_num(0.0).clamp(-0.999, 0.999).numpy()
    inputs = mask[: weights[0].size].view(weights[0].shape).flatten(1).sum(0)
    return {
        "validation": loss if np.isfinite(loss) else None,
        "right": pack(np.asarray(objective.evaluate(point, "test").correct)),
        "n_kept": int((mask & free).sum()),
        "densities": kept,
        "inputs": inputs.tolist(),
        "histogram": np.histogram(shown, BINS)[0].tolist(),
    }


def cells_of(
    network: str, compressions: Sequence[int], tickets: Sequence[int], **fixed: Any
) -> list[tuple[dict[str, Any], list[str]]]:
    """Return parameters and arms of each compression; at 1 a mask would be the dense network again."""
    rest = [arm for arm in ARMS if arm != TICKETS]
    return [
        (
            {**fixed, "network": network, "compression": c},
            ["dense", SHARED, NAIVE] if c == 1 else [*rest, *([TICKETS] if c in tickets else [])],
        )
        for c in sorted({1, *compressions})
    ]


def measure_sharing(
    sweep: Sweep,
    cells: Sequence[tuple[Mapping[str, Any], Sequence[str]]],
    seeds: Mapping[str, Sequence[int]],
    rates: Sequence[float],
    tick: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Train every arm, each at the rate that has the least validation loss with the first seed.

    Args:
        sweep: Runs and keeps the trials.
        cells: As ``cells_of`` returns them.
        seeds: Replicates of each network.
        rates: Learning rates to try, the same for every arm.
        tick: Called with the part that is done.

    Returns:
        A row a cell, arm and seed: parameters, ``lr``, what ``train_arms`` returns with ``right`` unpacked, and
        ``accuracy``.
    """
    share = len(rates) / (len(rates) + max(map(len, seeds.values())) - 1)
    tries = [[[arm, lr] for arm in arms for lr in rates] for _, arms in cells]
    first = [
        cell | {"seed": seeds[cell["network"]][0], "runs": runs} for (cell, _), runs in zip(cells, tries, strict=True)
    ]
    tried = sweep.map(train_arms, first, tick and (lambda done: tick(share * done)))
    rows, later = [], []
    for (cell, arms), trial in zip(cells, tried, strict=True):
        chosen = []
        for k, arm in enumerate(arms):
            own = trial.result[k * len(rates) : (k + 1) * len(rates)]
            best = int(np.argmin([np.inf if each["validation"] is None else each["validation"] for each in own]))
            chosen.append([arm, rates[best]])
            rows.append({**cell, "arm": arm, "lr": rates[best], "seed": seeds[cell["network"]][0], **own[best]})
        later += [{**cell, "seed": seed, "runs": chosen} for seed in seeds[cell["network"]][1:]]
    trials = sweep.map(train_arms, later, tick and (lambda done: tick(share + (1 - share) * done)))
    for parameters, trial in zip(later, trials, strict=True):
        fixed = {name: value for name, value in parameters.items() if name != "runs"}
        for (arm, lr), found in zip(parameters["runs"], trial.result, strict=True):
            rows.append({**fixed, "arm": arm, "lr": lr, **found})
    table = pd.DataFrame(rows)
    right = [unpack(each) for each in table.right]
    return table.assign(right=right, accuracy=[each.mean() for each in right])


def right_of(runs: pd.DataFrame, network: str, arm: str, compression: int) -> np.ndarray:
    """Return which test images were right, shape ``(n_seeds, n_images)``; a mask at compression 1 is the dense one."""
    arm = "dense" if compression == 1 and arm in PRUNERS else arm
    cell = runs[(runs.network == network) & (runs.arm == arm) & (runs.compression == compression)]
    return np.stack(list(cell.sort_values("seed").right))


def image_shape(dataset: str) -> tuple[int, int]:
    """Return the height and width of a dataset's images."""
    height, width = data(dataset).train.x.shape[-2:]
    return int(height), int(width)

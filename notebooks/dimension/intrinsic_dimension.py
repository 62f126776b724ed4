"""Trials of the study: the toy, networks trained in random subspaces, and what a found solution weighs.

Every function that a worker runs takes and returns what JSON can hold. One trial is one replicate: all its subspaces
share one starting point and one stream of minibatches, drawn by the replicate's seed alone.
"""

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench import models
from workbench.checkpoints import load_arrays, save_arrays
from workbench.coordinates import KINDS, Full, Subspace, projection
from workbench.datasets import Dataset, load
from workbench.dimension import Estimate, Runs, both_thresholds, grid, matched_learning_rate, search
from workbench.errors import require, require_choice
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.sweeps import Sweep
from workbench.training import train_group

LR = 2e-3  # Adam's rate for the full network before tuning
MULTIPLIERS = (1 / 3, 1.0, 3.0)  # the budget of the learning-rate check, the same for baseline and subspaces


@dataclass(frozen=True)
class Arm:
    """One curve of accuracy over d: a network, a projection and a control, measured on one split."""

    network: str  # "lenet", or "mlp-W" with two hidden layers of width W
    projection: str
    control: str = "none"

    @property
    def splits(self) -> tuple[str, str]:
        """Where settings are chosen and where the result is measured; random labels can only be memorised."""
        return ("train", "train") if self.control == "random_labels" else ("validation", "test")

    @property
    def name(self) -> str:
        """Name for tables and legends."""
        control = "" if self.control == "none" else f", {self.control.replace('_', ' ')}"
        return f"{self.network}, {self.projection}{control}"


@dataclass(frozen=True)
class Settings:
    """What all arms of a run share; checked when made."""

    dataset: str
    n_train: int | None
    subspace_dims: Sequence[int]
    seeds: Sequence[int]
    fraction: float
    design: str
    learning_rate: str
    n_epochs: int
    batch_size: int
    device: str

    def __post_init__(self) -> None:
        require_choice("design", self.design, ("search", "grid"))
        require_choice("learning_rate", self.learning_rate, ("rule", "checked", "tuned"))
        require(0 < self.fraction <= 1, "fraction", "must be in (0, 1]", self.fraction)
        for name in ("subspace_dims", "seeds"):
            values = list(getattr(self, name))
            require(
                bool(values) and len(set(values)) == len(values), name, "must be a list of different numbers", values
            )
        require(self.device == "cpu" or torch.cuda.is_available(), "device", "must be there", self.device, "choose cpu")


@functools.lru_cache(maxsize=4)
def _data(dataset: str, n_train: int | None, control: str) -> Dataset:
    return load(dataset, n_train=n_train, controls=() if control == "none" else (control,))


def build(network: str, data: Dataset, seed: int) -> torch.nn.Module:
    """Return a network for a dataset's images.

    Args:
        network: ``"lenet"`` or ``"mlp-W"``, two hidden layers of width W.
        data: Gives the shape of the images and the number of classes.
        seed: Initialisation.

    Returns:
        The network.
    """
    shape, n_classes = data.train.x.shape[1:], data.n_classes or 1
    if network == "lenet":
        return models.lenet(shape[-1], n_classes, shape[0], seed)
    width = int(network.removeprefix("mlp-"))
    return models.mlp([math.prod(shape), width, width, n_classes], seed)


def n_parameters(network: str, data: Dataset) -> int:
    """Return D of a network on a dataset."""
    return sum(p.numel() for p in build(network, data, 0).parameters())


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

    Returns:
        D and, for each job, the accuracy on both splits, each example's outcome as packed bits, how training ended.
    """
    data = _data(dataset, n_train, control)
    objective = Supervised(build(network, data, seed), data.train, data.validation, data.test, device=device)
    D, steps = objective.D, n_epochs * (len(data.train) // batch_size)
    maps, recipes = [], []
    for d, multiplier in jobs:
        maps.append(coordinates(objective.theta_0, kind, int(d), seed))
        recipes.append(Recipe(steps, multiplier * matched_learning_rate(maps[-1].d, D, LR), batch_size=batch_size))
    results = []
    for history, c in zip(train_group(objective, maps, recipes, seed), maps, strict=True):
        theta = c.push(history.phi, torch.empty_like(objective.theta_0))
        choice, found = (objective.evaluate(theta, split) for split in splits)
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


@dataclass(frozen=True)
class Measured:
    """One arm's runs and what they say: at a fraction of its own baseline, and at 0.9 accuracy."""

    arm: Arm
    D: int
    runs: Runs
    baseline: Runs
    local: Estimate
    absolute: Estimate
    multipliers: tuple[float, float]  # of the baseline's and the subspaces' learning rate
    seconds: float  # CPU time of all trials

    def row(self) -> dict[str, Any]:
        """Return the arm as a row of the results table."""
        accuracy = self.baseline.scores
        spread = (
            f"{np.nanmean(accuracy):.4f} ± {np.nanstd(accuracy, ddof=1):.4f}"
            if len(accuracy) > 1
            else f"{accuracy[0]:.4f}"
        )
        return {
            "network": self.arm.network,
            "projection": self.arm.projection,
            "control": self.arm.control,
            "D": self.D,
            "baseline accuracy": spread,
            "d_int90, own baseline": str(self.local),
            "d_int90, 0.9 absolute": str(self.absolute),
            "D / d": round(self.D / self.local.value, 1) if self.local.censored is None else None,
            "runs": f"{len(self.runs)} + {len(self.baseline)}",
            "seeds": len(set(self.runs.seeds)),
            "CPU s": round(self.seconds, 1),
        }


def _preference(run: dict[str, Any]) -> tuple[float, float]:
    """Order runs by accuracy where settings are chosen, then by loss; a diverged run comes last."""
    accuracy, loss = run["choice"]
    return (-1.0, 0.0) if run["score"] is None else (accuracy, -loss)


class _Measurement:
    """Measures one arm: learning rates on the validation split, baseline, then the runs of its design."""

    def __init__(self, arm: Arm, settings: Settings, sweep: Sweep) -> None:
        self.arm, self.settings, self.sweep, self.seconds = arm, settings, sweep, 0.0
        self.D = n_parameters(arm.network, _data(settings.dataset, settings.n_train, arm.control))
        self.tried = MULTIPLIERS if settings.learning_rate == "tuned" else (1.0,)

    def dims(self) -> list[int]:
        """Return the dimensions to look at: random labels take up where true ones end."""
        dims = sorted(self.settings.subspace_dims)
        if self.arm.control != "random_labels":
            return dims
        return sorted({int(d) for d in np.geomspace(dims[-1], self.D, len(dims)).round()})

    def trials(self, kind: str, jobs: dict[int, list[tuple[int, float]]]) -> dict[int, list[dict[str, Any]]]:
        """Run jobs (d, multiplier) of several seeds, a trial each."""
        s, arm = self.settings, self.arm
        common = {
            "dataset": s.dataset,
            "n_train": s.n_train,
            "control": arm.control,
            "network": arm.network,
            "kind": kind,
        }
        common |= {"n_epochs": s.n_epochs, "batch_size": s.batch_size, "device": s.device, "splits": list(arm.splits)}
        asked = [{**common, "jobs": [list(job) for job in jobs[seed]], "seed": seed} for seed in jobs]
        done = self.sweep.map(train_replicate, asked)
        self.seconds += sum(trial.seconds for trial in done)
        return {seed: trial.result["runs"] for seed, trial in zip(jobs, done, strict=True)}

    def check(self, kind: str, d: int) -> float:
        """Return the learning-rate multiplier with the best validation accuracy at one d, the first seed's."""
        if self.settings.learning_rate != "checked":
            return 1.0
        seed = self.settings.seeds[0]
        runs = self.trials(kind, {seed: [(d, m) for m in MULTIPLIERS]})[seed]
        return MULTIPLIERS[max(range(len(runs)), key=lambda i: _preference(runs[i]))]

    def runner(self, kind: str, base: float) -> Callable[[list[tuple[int, int]]], list[Any]]:
        """Return the function that trains (d, seed) pairs, the best of the tried rates by validation each."""

        def run(pairs: list[tuple[int, int]]) -> list[Any]:
            jobs: dict[int, list[tuple[int, float]]] = {}
            for d, seed in pairs:
                jobs.setdefault(seed, []).extend((d, base * m) for m in self.tried)
            found = {seed: iter(runs) for seed, runs in self.trials(kind, jobs).items()}
            chosen = []
            for _, seed in pairs:
                best = max((next(found[seed]) for _ in self.tried), key=_preference)
                bits = np.unpackbits(np.frombuffer(bytes.fromhex(best["correct"]), np.uint8))[: best["n"]]
                chosen.append((math.nan if best["score"] is None else best["score"], bits.astype(bool)))
            return chosen

        return run

    def measure(self, progress: Callable[[float], None]) -> Measured:
        s, arm = self.settings, self.arm
        dims = self.dims()
        low, high = dims[0], dims[-1]
        full = self.check("full", self.D)
        baseline = grid(self.runner("full", full), [self.D], s.seeds)
        progress(0.3)
        own = self.check(arm.projection, round(math.sqrt(low * high)))
        progress(0.4)
        run = self.runner(arm.projection, own)
        if s.design == "grid":
            runs = grid(run, dims, s.seeds)
        else:
            runs = search(
                run, low, high, s.seeds, baseline, s.fraction, progress=lambda n, of, _: progress(0.4 + 0.6 * n / of)
            )
        local, absolute = both_thresholds(runs, baseline, s.fraction)
        return Measured(arm, self.D, runs, baseline, local, absolute, (full, own), self.seconds)


def measure_arms(
    arms: Sequence[Arm], settings: Settings, sweep: Sweep, progress: Callable[[float], None] = lambda _: None
) -> list[Measured]:
    """Measure the intrinsic dimension of several arms, their trials side by side on the sweep's workers.

    Args:
        arms: Networks, projections and controls.
        settings: Data, seeds, training, design.
        sweep: Runs and keeps the trials.
        progress: Called with the fraction done.

    Returns:
        One measurement an arm, in order.

    Raises:
        InputError: If an arm's projection is unknown or a d is larger than every network.
    """
    for arm in arms:
        require_choice("projection", arm.projection, tuple(KINDS))
        D = n_parameters(arm.network, _data(settings.dataset, settings.n_train, arm.control))
        inside = all(1 <= d <= D for d in settings.subspace_dims)
        rule = f"must lie in 1..D={D:,}, the parameters of {arm.network}"
        require(inside, "subspace_dims", rule, list(settings.subspace_dims), "leave out the others")
    fractions = dict.fromkeys(arms, 0.0)

    def one(arm: Arm) -> Measured:
        def tick(fraction: float) -> None:
            fractions[arm] = fraction
            progress(sum(fractions.values()) / len(arms))

        measured = _Measurement(arm, settings, sweep).measure(tick)
        tick(1.0)
        return measured

    with ThreadPoolExecutor(len(arms)) as threads:  # threads only wait; the work is in the sweep's processes
        return list(threads.map(one, arms))


def solution(measured: Measured, settings: Settings, sweep: Sweep) -> dict[str, Any]:
    """Train once more at the measured dimension and keep the coordinates found.

    Args:
        measured: An arm with a dimension that is not censored from above.
        settings: The run's.
        sweep: Runs and keeps the trial.

    Returns:
        d, seed, phi, the accuracy, and that of the baseline's mean.
    """
    s, arm, d = settings, measured.arm, math.ceil(measured.local.value)
    parameters = {"dataset": s.dataset, "n_train": s.n_train, "control": arm.control, "network": arm.network}
    parameters |= {
        "kind": arm.projection,
        "jobs": [[d, measured.multipliers[1]]],
        "seed": s.seeds[0],
        "device": s.device,
    }
    parameters |= {
        "n_epochs": s.n_epochs,
        "batch_size": s.batch_size,
        "splits": list(arm.splits),
        "keep_solution": True,
    }
    found = sweep.map(train_replicate, [parameters])[0].result["runs"][0]
    return {"d": d, "seed": s.seeds[0], "phi": found["phi"], "accuracy": found["score"]}


def weigh(measured: Measured, found: dict[str, Any], settings: Settings, folder: Path) -> dict[str, Any]:
    """Write a solution as seed and coordinates, read it back, and compare it with the dense file.

    A solution in a subspace is described by its d coordinates, one seed and the names of network and projection:
    about ``32 d`` bits at single precision, ``16 d`` at half, against ``32 D`` for the network itself.

    Args:
        measured: The arm.
        found: What ``solution`` returned.
        settings: The run's.
        folder: Where the files go.

    Returns:
        Bits, bytes of each file, their ratios, and the accuracy of what was read back from each.
    """
    arm, data = measured.arm, _data(settings.dataset, settings.n_train, measured.arm.control)
    objective = Supervised(build(arm.network, data, found["seed"]), data.train, test=data.test)
    c = coordinates(objective.theta_0, arm.projection, found["d"], found["seed"])
    phi = np.array(found["phi"], dtype=np.float32)
    about = {"network": arm.network, "projection": arm.projection, "seed": found["seed"], "dataset": settings.dataset}
    dense = c.push(torch.from_numpy(phi), torch.empty_like(objective.theta_0)).numpy()
    contents = {"float32": phi, "float16": phi.astype(np.float16), "dense": dense}
    result: dict[str, Any] = {"d": found["d"], "D": measured.D, "trained accuracy": found["accuracy"]}
    for name, array in contents.items():
        path = folder / f"solution_{name}.npz"
        save_arrays(path, {"values": array}, about)
        values = torch.from_numpy(load_arrays(path)[0]["values"].astype(np.float32))
        theta = values if name == "dense" else c.push(values, torch.empty_like(objective.theta_0))
        accuracy = objective.evaluate(theta, arm.splits[1]).metric
        result[name] = {"bits": array.nbytes * 8, "file bytes": path.stat().st_size, "accuracy read back": accuracy}
    for name in ("float32", "float16"):
        result[name]["ratio to dense file"] = result["dense"]["file bytes"] / result[name]["file bytes"]
    return result

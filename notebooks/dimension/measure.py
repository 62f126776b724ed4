"""What the study measures: arms, each a curve of accuracy over d, over one sweep."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from replicate import build, data, n_steps, train_replicate
from returns import CartPole
from search import grid, search

from workbench.coordinates import KINDS
from workbench.datasets import Dataset
from workbench.dimension import Estimate, Runs, intrinsic_dim
from workbench.errors import require, require_choice
from workbench.sweeps import Sweep

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


def _require_inside(name: str, dims: Sequence[int], D: int, network: str) -> None:
    """Refuse dimensions that a network does not have."""
    inside = all(1 <= d <= D for d in dims)
    require(inside, name, f"must lie in 1..D={D:,}, the parameters of {network}", list(dims), "leave out the others")


@dataclass(frozen=True)
class Settings:
    """The study's parameters, checked when made; the notebook says what each is."""

    dataset: str
    n_train: int | None
    widths: Sequence[int]
    projection: str
    compared_projections: Sequence[str]
    subspace_dims: Sequence[int]
    design: str
    seeds: Sequence[int]
    fraction: float
    learning_rate: str
    n_epochs: int
    batch_size: int
    n_toy_seeds: int
    cartpole_dims: Sequence[int]
    cartpole_seeds: Sequence[int]
    device: str

    def __post_init__(self) -> None:
        choices = {
            "design": ("search", "grid"),
            "learning_rate": ("rule", "checked", "tuned"),
            "projection": tuple(KINDS),
        }
        for name, allowed in choices.items():
            require_choice(name, getattr(self, name), allowed)
        for kind in self.compared_projections:
            require_choice("compared_projections", kind, tuple(KINDS))
        require(0 < self.fraction <= 1, "fraction", "must be in (0, 1]", self.fraction, "0.9 is usual")
        for name in ("widths", "subspace_dims", "seeds", "cartpole_dims", "cartpole_seeds"):
            values = list(getattr(self, name))
            distinct = bool(values) and len(set(values)) == len(values)
            require(distinct, name, "must be a list of different numbers", values, "leave out what stands twice")
        rising = sorted(self.cartpole_dims) == list(self.cartpole_dims)
        require(rising, "cartpole_dims", "must rise", list(self.cartpole_dims), "sort them")
        available = self.device == "cpu" or torch.cuda.is_available()
        require(available, "device", "must be available on this machine", self.device, "choose cpu")
        n = len(self.images.train)  # a minibatch is whole, so none would be trained on
        require(self.batch_size <= n, "batch_size", f"must be at most {n}, the training examples", self.batch_size)
        _require_inside("cartpole_dims", self.cartpole_dims, CartPole().D, "the policy")
        for arm in self.arms:
            _require_inside("subspace_dims", self.subspace_dims, self.n_parameters(arm.network), arm.network)

    @property
    def images(self) -> Dataset:
        """The dataset without controls."""
        return data(self.dataset, self.n_train, "none")

    @property
    def n_steps(self) -> int:
        """Optimizer steps of a run."""
        return n_steps(self.images, self.n_epochs, self.batch_size)

    def n_parameters(self, network: str) -> int:
        """Return D of a network."""
        return sum(p.numel() for p in build(network, self.images, 0).parameters())

    @property
    def main(self) -> list[Arm]:
        """All networks with the main projection: the widths, then LeNet."""
        return [Arm(network, self.projection) for network in (*(f"mlp-{w}" for w in self.widths), "lenet")]

    @property
    def middle(self) -> Arm:
        """The MLP that the paper's figure for MNIST is about, or the last width where it is not among them."""
        return Arm(f"mlp-{200 if 200 in self.widths else self.widths[-1]}", self.projection)

    @property
    def compared(self) -> list[Arm]:
        """The smallest network with the other projections."""
        kinds = [kind for kind in self.compared_projections if kind != self.projection]
        return [Arm(f"mlp-{min(self.widths)}", kind) for kind in kinds]

    @property
    def controls(self) -> list[Arm]:
        """Permuted pixels for an MLP and LeNet; random labels in hashed subspaces, whose cost does not grow with d."""
        permuted = [Arm(network, self.projection, "permuted_pixels") for network in (self.middle.network, "lenet")]
        return [*permuted, Arm(self.middle.network, "hashed", "random_labels")]

    @property
    def arms(self) -> list[Arm]:
        """Everything that is measured."""
        return [*self.main, *self.compared, *self.controls]


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

    @property
    def finding(self) -> tuple[float, tuple[float, float] | None]:
        """Return the local estimate as value and interval; infinite beyond the tested dimensions."""
        if self.local.censored == "above":
            return math.inf, (self.local.value, math.inf)
        if self.local.censored == "below":
            return -math.inf, (0.0, self.local.value)
        ends = None if self.local.low is None else (self.local.low, self.local.high or math.inf)
        return self.local.value, ends

    def row(self) -> dict[str, Any]:
        """Return the arm as a row of the results table."""
        accuracy = self.baseline.scores
        spread = f" ± {np.nanstd(accuracy, ddof=1):.4f}" if len(accuracy) > 1 else ""
        return {
            "network": self.arm.network,
            "projection": self.arm.projection,
            "control": self.arm.control,
            "D": self.D,
            "baseline accuracy": f"{np.nanmean(accuracy):.4f}{spread}",
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
    return (-1.0, 0.0) if run["score"] is None else (accuracy, -float(loss))


def trial_parameters(arm: Arm, settings: Settings) -> dict[str, Any]:
    """Return the parameters that all trials of an arm share."""
    return {
        "dataset": settings.dataset,
        "n_train": settings.n_train,
        "control": arm.control,
        "network": arm.network,
        "kind": arm.projection,
        "n_epochs": settings.n_epochs,
        "batch_size": settings.batch_size,
        "device": settings.device,
        "splits": list(arm.splits),
    }


def both_thresholds(
    runs: Runs, baseline: Runs, fraction: float = 0.9, absolute: float = 0.9
) -> tuple[Estimate, Estimate]:
    """Return the estimates at the local and at the absolute threshold; they differ by up to 40 %, so print both."""
    return intrinsic_dim(runs, baseline, fraction), intrinsic_dim(runs, baseline, fraction, absolute)


class _Measurement:
    """Measures one arm: learning rates on the validation split, baseline, then the runs of its design."""

    def __init__(self, arm: Arm, settings: Settings, sweep: Sweep) -> None:
        self.arm, self.settings, self.sweep, self.seconds = arm, settings, sweep, 0.0
        self.D = settings.n_parameters(arm.network)
        self.tried = MULTIPLIERS if settings.learning_rate == "tuned" else (1.0,)

    def dims(self) -> list[int]:
        """Return the dimensions to look at: random labels take up where true ones end."""
        dims = sorted(self.settings.subspace_dims)
        if self.arm.control != "random_labels":
            return dims
        return sorted({int(d) for d in np.geomspace(dims[-1], self.D, len(dims)).round()})

    def trials(self, kind: str, jobs: dict[int, list[tuple[int, float]]]) -> dict[int, list[dict[str, Any]]]:
        """Run jobs (d, multiplier) of several seeds, a trial each."""
        common = trial_parameters(self.arm, self.settings)
        asked = [{**common, "kind": kind, "jobs": [list(job) for job in jobs[seed]], "seed": seed} for seed in jobs]
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
    settings: Settings, sweep: Sweep, progress: Callable[[float], None] = lambda _: None, arms: Sequence[Arm] = ()
) -> dict[Arm, Measured]:
    """Measure the intrinsic dimension of several arms, their trials side by side on the sweep's workers.

    Args:
        settings: Data, networks, seeds, training, design.
        sweep: Runs and keeps the trials.
        progress: Called with the fraction done.
        arms: Which to measure; all of the settings' by default.

    Returns:
        One measurement an arm, in order.
    """
    arms = arms or settings.arms
    fractions = dict.fromkeys(arms, 0.0)

    def one(arm: Arm) -> Measured:
        def tick(fraction: float) -> None:
            fractions[arm] = fraction
            progress(sum(fractions.values()) / len(arms))

        measured = _Measurement(arm, settings, sweep).measure(tick)
        tick(1.0)
        return measured

    with ThreadPoolExecutor(len(arms)) as threads:  # threads only wait; the work is in the sweep's processes
        return dict(zip(arms, threads.map(one, arms), strict=True))

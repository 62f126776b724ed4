"""The study's analysis: arms measured over a sweep, claims judged, a found solution weighed."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from replicate import coordinates, data, n_parameters, objective_of, train_replicate

from workbench.checkpoints import load_arrays, save_arrays
from workbench.coordinates import KINDS
from workbench.dimension import Estimate, Runs, both_thresholds, grid, intrinsic_dim, search
from workbench.errors import require, require_choice
from workbench.figures import AccuracyCurve, accuracy_curve
from workbench.study import Finding, Study, judge_interval, n_to_decide
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


def _parameters(arm: Arm, settings: Settings) -> dict[str, Any]:
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


class _Measurement:
    """Measures one arm: learning rates on the validation split, baseline, then the runs of its design."""

    def __init__(self, arm: Arm, settings: Settings, sweep: Sweep) -> None:
        self.arm, self.settings, self.sweep, self.seconds = arm, settings, sweep, 0.0
        self.D = n_parameters(arm.network, data(settings.dataset, settings.n_train, arm.control))
        self.tried = MULTIPLIERS if settings.learning_rate == "tuned" else (1.0,)

    def dims(self) -> list[int]:
        """Return the dimensions to look at: random labels take up where true ones end."""
        dims = sorted(self.settings.subspace_dims)
        if self.arm.control != "random_labels":
            return dims
        return sorted({int(d) for d in np.geomspace(dims[-1], self.D, len(dims)).round()})

    def trials(self, kind: str, jobs: dict[int, list[tuple[int, float]]]) -> dict[int, list[dict[str, Any]]]:
        """Run jobs (d, multiplier) of several seeds, a trial each."""
        common = _parameters(self.arm, self.settings)
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


def check_arms(arms: Sequence[Arm], settings: Settings) -> None:
    """Refuse arms that cannot run, before anything does.

    Args:
        arms: Networks, projections and controls.
        settings: Gives the data and the dimensions.

    Raises:
        InputError: If a projection is unknown or a dimension is outside 1..D of a network.
    """
    for arm in arms:
        require_choice("projection", arm.projection, tuple(KINDS))
        D = n_parameters(arm.network, data(settings.dataset, settings.n_train, arm.control))
        inside = all(1 <= d <= D for d in settings.subspace_dims)
        rule = f"must lie in 1..D={D:,}, the parameters of {arm.network}"
        require(inside, "subspace_dims", rule, list(settings.subspace_dims), "leave out the others")


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
    """
    check_arms(arms, settings)
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


def curves_at(measured: Sequence[Measured], fraction: float) -> list[AccuracyCurve]:
    """Return what the accuracy figure draws of several arms at a fraction of their baselines."""
    return [
        accuracy_curve(m.arm.network, m.runs, m.baseline, intrinsic_dim(m.runs, m.baseline, fraction)) for m in measured
    ]


def judge(
    study: Study,
    claim: str,
    value: float,
    interval: Sequence[float | None] | None,
    *,
    low: float | None = None,
    high: float | None = None,
    n: int,
    unit: str,
    detail: str,
    decidable: bool = True,
) -> Finding:
    """Judge a claim by its interval; where that crosses an end, say how many seeds would decide.

    Args:
        study: Where the finding belongs.
        claim: Its name.
        value: The measurement.
        interval: Its ends; none known counts as no interval.
        low: Smallest value at which the claim holds.
        high: Largest one.
        n: Number of seeds.
        unit: Unit of the value.
        detail: What a reader must know beside the number.
        decidable: Whether the run meets the rule's conditions at all.

    Returns:
        The finding.
    """
    ends = None if not interval or None in interval else (float(interval[0] or 0), float(interval[1] or 0))
    verdict = judge_interval(value, ends, low, high) if decidable else "inconclusive"
    needed = n_to_decide(value, ends, n, low, high) if verdict == "inconclusive" and ends else None
    if needed:
        detail += (
            f"; about {needed} seeds would decide" if needed <= 100 else "; over 100 seeds would be needed to decide"
        )
    return study.judge(claim, value=value, interval=ends, n=n, unit=unit, verdict=verdict, detail=detail)


def judge_count(
    study: Study,
    claim: str,
    value: float | None,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    n: int,
    needed: int,
    unit: str,
    detail: str,
) -> Finding:
    """Judge a claim whose rule counts seeds: with fewer than it asks for, nothing is decided.

    Args:
        study: Where the finding belongs.
        claim: Its name.
        value: The count, or what the count leads to; None counts as infinite.
        low: Smallest value at which the claim holds.
        high: Largest one.
        n: Number of seeds.
        needed: Number of seeds the rule asks for.
        unit: Unit of the value.
        detail: What a reader must know beside the number.

    Returns:
        The finding.
    """
    value = math.inf if value is None else value
    verdict = "inconclusive" if n < needed else "holds" if low <= value <= high else "fails"
    detail += f"; the rule asks for {needed} seeds" if n < needed else ""
    return study.judge(claim, value=value, interval=None, n=n, unit=unit, verdict=verdict, detail=detail)


def weigh(measured: Measured, settings: Settings, sweep: Sweep, folder: Path) -> dict[str, dict[str, float]]:
    """Train once at the measured dimension, write the solution as seed and coordinates, read it back, compare.

    A solution in a subspace is described by its d coordinates, one seed and the names of network and projection:
    about ``32 d`` bits at single precision, ``16 d`` at half, against ``32 D`` for the network itself.

    Args:
        measured: The arm; its dimension, or the largest one tested where it is censored.
        settings: The run's.
        sweep: Runs and keeps the trial.
        folder: Where the files go.

    Returns:
        For each file: numbers and bits in it, bytes, ratio to the dense file, accuracy of what was read back.
    """
    s, arm, seed = settings, measured.arm, settings.seeds[0]
    job = [math.ceil(measured.local.value), measured.multipliers[1]]
    found = sweep.map(train_replicate, [_parameters(arm, s) | {"jobs": [job], "seed": seed, "keep_solution": True}])
    phi = np.array(found[0].result["runs"][0]["phi"], dtype=np.float32)
    objective = objective_of(arm.network, data(s.dataset, s.n_train, arm.control), seed)
    c = coordinates(objective.theta_0, arm.projection, len(phi), seed)
    about = {"network": arm.network, "projection": arm.projection, "seed": seed, "dataset": s.dataset, "D": measured.D}

    def theta(values: np.ndarray) -> torch.Tensor:
        return c.push(torch.from_numpy(values.astype(np.float32)), torch.empty_like(objective.theta_0))

    files: dict[str, dict[str, float]] = {}
    for name, array in {"dense": theta(phi).numpy(), "float32": phi, "float16": phi.astype(np.float16)}.items():
        path = folder / f"solution_{name}.npz"
        save_arrays(path, {"values": array}, about)
        read = load_arrays(path)[0]["values"]
        point = torch.from_numpy(read) if name == "dense" else theta(read)
        accuracy = objective.evaluate(point, arm.splits[1]).metric
        files[name] = {"numbers": len(array), "bits": 8 * array.nbytes, "file bytes": path.stat().st_size}
        files[name] |= {"compression": files["dense"]["file bytes"] / path.stat().st_size, "accuracy": accuracy}
    return files

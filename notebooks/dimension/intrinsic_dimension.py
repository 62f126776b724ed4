"""The study's claims and their judgement, and what a found solution weighs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from measure import Arm, Measured, Settings, trial_parameters
from numpy.typing import ArrayLike
from replicate import coordinates, data, objective_of, train_replicate
from spread import spread_ratio

from workbench.checkpoints import load_arrays, save_arrays
from workbench.datasets import published
from workbench.errors import is_count, require
from workbench.study import Claim, Study, judge_interval, n_to_decide
from workbench.sweeps import Sweep

PAPER = "intrinsic-dimension-landscapes"
CLAIMS = (
    Claim(
        "toy",
        PAPER,
        "Ten constraints on 1,000 parameters need exactly ten dimensions.",
        "d_int = 10 in at least 9 of 10 seeds",
    ),
    Claim(
        "mnist",
        PAPER,
        "An MLP with two layers of 200 units needs about 750 of its 199,210 dimensions on MNIST.",
        "d_int90 at 0.9 of the own baseline lies in [375, 1500]",
        ("mnist",),
    ),
    Claim(
        "widths",
        PAPER,
        "d_int90 hardly moves with the width of the network.",
        "max / min over the widths is at most 2 while D varies at least tenfold",
        ("digits", "mnist"),
    ),
    Claim(
        "cartpole",
        PAPER,
        "A pole is balanced within a few dimensions.",
        "the smallest d solved in at least 4 of 5 seeds is at most 15",
    ),
)


def beside_published(settings: Settings, measured: Mapping[Arm, Measured]) -> pd.DataFrame:
    """Set the authors' values for MNIST, plain and with permuted pixels, beside this run's.

    Args:
        settings: Say which arms compare.
        measured: All arms.

    Returns:
        A row a published value: where it stands, and this run's at both thresholds.
    """
    permuted_mlp, permuted_lenet, _ = settings.controls
    arms = {("MNIST", "FC"): settings.middle, ("MNIST", "LeNet"): settings.main[-1]}
    arms |= {("MNIST-PP", "FC"): permuted_mlp, ("MNIST-PP", "LeNet"): permuted_lenet}
    rows = []
    for row in published("li2018"):
        arm = arms.get((str(row["dataset"]), str(row["network"])))
        if arm is not None:
            ours = {
                f"ours on {settings.dataset}": str(measured[arm].local),
                "at 0.9 absolute": str(measured[arm].absolute),
            }
            printed = {"network": row["network"], "D": row["D"], "published": row["d_int90"]}
            places = {"threshold": row["threshold"], "place": f"{row['place']}; {row['source']}"}
            rows.append({"": row["dataset"], **printed, **ours, **places})
    return pd.DataFrame(rows).set_index("").rename_axis(None)


class Solved(NamedTuple):
    """The smallest tested d that enough seeds solved; ``text`` is ``4``, ``<= 2`` or ``> 16``."""

    value: int | None
    counts: tuple[int, ...]
    text: str


def smallest_solved(dims: Sequence[int], solved: ArrayLike, at_least: int) -> Solved:
    """Return the smallest d at which at least a given number of seeds solved the task.

    Args:
        dims: The tested d, strictly increasing.
        solved: Whether each seed solved each d, boolean, shape ``(n_dims, n_seeds)``.
        at_least: How many seeds must succeed, in 1..n_seeds.

    Returns:
        The d, None if no tested one was solved; how many seeds solved each; in words, a bound where it is one.

    Example:
        >>> smallest_solved([1, 2, 4], [[False, False], [True, False], [True, True]], at_least=2)
        Solved(value=4, counts=(0, 1, 2), text='4')
    """
    tested, table = list(dims), np.asarray(solved)
    ok = len(tested) > 0 and all(is_count(d, 1) for d in tested) and tested == sorted(set(tested))
    require(ok, "dims", "must be a non-empty list that increases from at least 1", dims)
    shaped = table.ndim == 2 and table.dtype == bool and len(table) == len(tested)
    require(shaped, "solved", f"must be boolean of shape ({len(tested)}, n_seeds)", (table.dtype.name, table.shape))
    n = table.shape[1]
    require(is_count(at_least, 1) and at_least <= n, "at_least", f"must be in 1..n_seeds={n}", at_least)
    counts = tuple(table.sum(axis=1).tolist())
    value = next((int(d) for d, count in zip(tested, counts, strict=True) if count >= at_least), None)
    if value is None:
        return Solved(None, counts, f"> {tested[-1]}")
    return Solved(value, counts, f"<= {value}" if value == tested[0] > 1 else str(value))


def judge(
    study: Study, settings: Settings, toy: Sequence[int | None], measured: Mapping[Arm, Measured], pole: Solved
) -> None:
    """Judge every claim by its rule; a run that does not meet what the rule asks for decides nothing.

    Args:
        study: Keeps the findings.
        settings: The run's.
        toy: The toy's intrinsic dimension for each seed.
        measured: All arms.
        pole: CartPole's smallest solved dimension.
    """
    n, exact = len(toy), sum(d == 10 for d in toy)
    asked = {"10 seeds": n >= 10}
    _count(study, "toy", exact, exact >= 0.9 * n, asked, n, f"of {n} seeds", f"d_int of each seed: {list(toy)}")

    middle, n = measured[settings.middle], len(settings.seeds)
    at_90 = {"fraction 0.9": settings.fraction == 0.9}
    asked = at_90 | {"2 x 200 units": middle.arm.network == "mlp-200"}
    detail = f"{middle.arm.network}: {middle.local}; at accuracy 0.9: {middle.absolute}"
    _interval(study, "mnist", *middle.finding, (375, 1500), asked, n, "dimensions", detail)

    across = [measured[arm] for arm in settings.main[:-1]]
    ratio, low, high = spread_ratio([m.local for m in across])
    ends = None if low is None or high is None else (low, high)
    varied = max(m.D for m in across) / min(m.D for m in across)
    asked = at_90 | {"D varying tenfold": varied >= 10}
    _interval(study, "widths", ratio, ends, (None, 2), asked, n, "", f"D varies {varied:.0f}-fold")

    n, least = len(settings.cartpole_seeds), math.inf if pole.value is None else pole.value
    detail = f"d solved: {pole.text}; seeds solved at each d: {list(pole.counts)}"
    _count(study, "cartpole", least, least <= 15, {"5 seeds": n >= 5}, n, "dimensions", detail)


def _unmet(asked: Mapping[str, bool]) -> str:
    """Say which of a rule's conditions a run does not meet."""
    missing = ", ".join(name for name, met in asked.items() if not met)
    return f"; the rule asks for {missing}" if missing else ""


def _count(
    study: Study, claim: str, value: float, holds: bool, asked: Mapping[str, bool], n: int, unit: str, detail: str
) -> None:
    """Judge a rule that counts seeds."""
    unmet = _unmet(asked)
    verdict = "inconclusive" if unmet else "holds" if holds else "fails"
    study.judge(claim, value=value, interval=None, n=n, unit=unit, verdict=verdict, detail=detail + unmet)


def _interval(
    study: Study,
    claim: str,
    value: float,
    ends: tuple[float, float] | None,
    bounds: tuple[float | None, float],
    asked: Mapping[str, bool],
    n: int,
    unit: str,
    detail: str,
) -> None:
    """Judge a rule by an interval; where that crosses a bound, say how many seeds would decide."""
    unmet = _unmet(asked)
    verdict = "inconclusive" if unmet else judge_interval(value, ends, *bounds)
    needed = n_to_decide(value, ends, n, *bounds) if verdict == "inconclusive" and ends and not unmet else None
    if needed:
        detail += f"; about {needed} seeds would decide" if needed <= 100 else "; over 100 seeds would be needed"
    study.judge(claim, value=value, interval=ends, n=n, unit=unit, verdict=verdict, detail=detail + unmet)


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
    found = sweep.map(
        train_replicate, [trial_parameters(arm, s) | {"jobs": [job], "seed": seed, "keep_solution": True}]
    )
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

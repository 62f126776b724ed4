"""What the trials say, as tables; intrinsic dimensions, and means over seeds with their spread over test images too."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from crossing_curvature import coefficient_trial, curvature_trial
from crossing_dimensions import KINDS, dimension_trial
from crossing_trials import CUTS, barrier_trial, further_trial, unpack
from crossings import FRACTION

import workbench
from workbench.dimension import Estimate, Runs, intrinsic_dim
from workbench.errors import require
from workbench.seeds import generator
from workbench.statistics import crossing_isotonic, mean_interval, student_draws

N_FOLDS = 10  # groups of test images left out in turn
Tick = Callable[[float], None]
Keep = np.ndarray | slice  # which test images


def _run(sweep: workbench.Sweep, trial: Callable[..., Any], asked: Sequence[dict[str, Any]], tick: Tick) -> list[Any]:
    return [each.result for each in sweep.map(trial, asked, tick)]


def dimensions(
    sweep: workbench.Sweep, tick: Tick, seeds: Sequence[int], densities: Sequence[float], **given: Any
) -> pd.DataFrame:
    """Run the trials of every kind of mask, density and seed; at density 1 all masks are one.

    Returns:
        A row for each training: ``kind``, ``density``, ``seed``, ``d`` (0 for all kept entries), ``kept``, ``start``,
        ``right`` and ``accuracy`` (nan where it diverged).
    """
    falling = 1 in densities and list(densities) == sorted(set(densities), reverse=True)
    require(falling, "densities", "must fall from 1, each once", list(densities))
    asked = [
        {"kind": kind, "density": density, "seed": seed, **given}
        for density in densities
        for kind in (KINDS if density < 1 else KINDS[:1])
        for seed in seeds
    ]
    rows = []
    for one in _run(sweep, dimension_trial, asked, tick):
        same = {name: one[name] for name in ("kind", "density", "seed", "kept", "start")}
        for d, packed, alive in zip(one["dims"], one["right"], one["alive"], strict=True):
            right = unpack(packed)
            rows.append({**same, "d": d, "right": right, "accuracy": right.mean() if alive else np.nan})
    return pd.DataFrame(rows)


def arm(rows: pd.DataFrame, kind: str, density: float) -> pd.DataFrame:
    """Return the rows of one kind of mask; at density 1 those of the dense network."""
    return rows[(rows.kind == (kind if density < 1 else KINDS[0])) & (rows.density == density)]


def runs_of(rows: pd.DataFrame, d: int | None = None, keep: Keep = slice(None)) -> Runs:
    """Return rows of subspaces, of all kept entries where ``d`` is given, as runs over some of the test images."""
    own = rows[rows.d > 0] if d is None else rows[rows.d == 0].assign(d=d)
    right = np.stack([each[keep] for each in own.right])
    scores = np.where(own.accuracy.notna(), right.mean(1), np.nan)
    return Runs(own.d.to_numpy(), own.seed.to_numpy(), scores, right)


def baseline_of(rows: pd.DataFrame, keep: Keep = slice(None)) -> Runs:
    """Return the trainings of the dense network."""
    own = arm(rows, KINDS[0], 1)
    return runs_of(own, int(own.kept.iloc[0]), keep)


def estimate(rows: pd.DataFrame, kind: str, density: float) -> Estimate:
    """Estimate the intrinsic dimension at 90 % of the dense network's accuracy, over all seeds."""
    return intrinsic_dim(runs_of(arm(rows, kind, density)), baseline_of(rows), FRACTION)


def dimension_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row a mask and density: entries kept, intrinsic dimension, accuracy before and after whole training."""
    table = []
    for (density, kind), own in rows.groupby(["density", "kind"], sort=False):
        whole = own[own.d == 0]
        spread = f" ± {whole.accuracy.std(ddof=1):.3f}" if len(whole) > 1 else ""
        table.append({
            "mask": "dense" if density == 1 else kind, "density": density, "kept": int(own.kept.iloc[0]),
            "d": str(estimate(rows, kind, density)), "accuracy at the start": round(float(whole.start.mean()), 3),
            "all trained": f"{whole.accuracy.mean():.3f}{spread}",
        })  # fmt: skip
    return pd.DataFrame(table).set_index(["mask", "density"])


def seed_dims(rows: pd.DataFrame, kind: str, density: float, keep: Keep = slice(None)) -> np.ndarray:
    """Return each seed's intrinsic dimension; nan where no tested d is large enough, the smallest where all are."""
    baseline, found = baseline_of(rows, keep), []
    goal = FRACTION * float(np.nanmean(baseline.scores))
    for _, own in arm(rows, kind, density).groupby("seed"):
        one = intrinsic_dim(runs_of(own, keep=keep), baseline, FRACTION, goal)
        found.append(np.nan if one.censored == "above" else one.value)
    return np.array(found)


def kept_accuracy(rows: pd.DataFrame, near: float) -> list[float]:
    """Return the densities from 1 down to the last at which training all kept weights stays near the dense network."""
    accuracy = rows[(rows.kind == KINDS[0]) & (rows.d == 0)].groupby("density").accuracy.mean()
    found = []
    for density in sorted(accuracy.index, reverse=True):
        if not accuracy[density] >= accuracy[1.0] - near:
            break
        found.append(float(density))
    return found


def halving(rows: pd.DataFrame, kind: str, densities: Sequence[float], keep: Keep = slice(None)) -> np.ndarray:
    """Return of each seed the log of the factor by which d changes per halving of density, by least squares."""
    x = -np.log2(densities)
    y = np.log([seed_dims(rows, kind, density, keep) for density in densities])
    return np.asarray((x - x.mean()) @ y / ((x - x.mean()) ** 2).sum())


def log_ratio(rows: pd.DataFrame, kind: str, other: str, density: float, keep: Keep = slice(None)) -> np.ndarray:
    """Return of each seed the log of one kind's dimension over another's."""
    first, second = (seed_dims(rows, each, density, keep) for each in (kind, other))
    return np.log(first / second)


def over_examples(statistic: Callable[[Keep], np.ndarray], n: int) -> tuple[float, float, float, int]:
    """Return a mean over seeds of logs as a factor, its 95 % interval over seeds and test images, and the seeds used.

    Seeds by Student's t; images, which all seeds share, by leaving out a tenth in turn (the grouped jackknife).

    Args:
        statistic: From the images to be used to the logs, one a seed; nan for a seed that says nothing.
        n: Number of images.

    Returns:
        Factor, low, high, number of seeds; nan ends for fewer than two.
    """
    values = statistic(slice(None))
    kept = np.isfinite(values)
    m = int(kept.sum())
    if m < 2:
        return float(np.exp(values[kept].mean())) if m else np.nan, np.nan, np.nan, m
    fold = generator(0, "folds", n).permutation(n) % N_FOLDS
    without = np.array([np.nanmean(statistic(np.flatnonzero(fold != k))[kept]) for k in range(N_FOLDS)])
    examples = np.sqrt((N_FOLDS - 1) * without.var())
    seeds = values[kept].std(ddof=1) / np.sqrt(m)
    draws = seeds * student_draws(m - 1, 4000, generator(0, "crossings", "seeds"))
    draws = draws + examples * student_draws(0, 4000, generator(0, "crossings", "images"))
    mean = float(values[kept].mean())
    low, high = np.exp(mean + np.quantile(draws, [0.025, 0.975]))
    return float(np.exp(mean)), float(low), float(high), m


def barriers(sweep: workbench.Sweep, tick: Tick, seeds: Sequence[int], **given: Any) -> pd.DataFrame:
    """Run the trials; return a row a seed, arm and density, arm ``"control"`` (density nan) the independent network."""
    rows = []
    for one in _run(sweep, barrier_trial, [{"seed": seed, **given} for seed in seeds], tick):
        control = {"arm": "control", "density": np.nan, **one["control"]}
        rows += [{"seed": one["seed"], **row} for row in [*one["rows"], control]]
    return pd.DataFrame(rows)


def further(sweep: workbench.Sweep, tick: Tick, seeds: Sequence[int], **given: Any) -> pd.DataFrame:
    """Run the trials; return a row a seed and part (0: trained directly): ``d``, and ``right``, densities by images."""
    rows = []
    for one in _run(sweep, further_trial, [{"seed": seed, **given} for seed in seeds], tick):
        rows += [
            {"seed": one["seed"], **row, "right": np.stack([unpack(each) for each in row["right"]])}
            for row in one["rows"]
        ]
    return pd.DataFrame(rows)


def fallen(rows: pd.DataFrame, part: int, drop: float, keep: Keep = slice(None)) -> np.ndarray:
    """Return of each seed the log of the density at which accuracy falls by ``drop`` below its own unpruned one."""
    found = []
    for right in rows[rows.part == part].sort_values("seed").right:
        accuracy = right[:, keep].mean(1)
        found.append(float(crossing_isotonic(np.log(CUTS), accuracy, accuracy[0] - drop)))
    return np.array(found)


def curvatures(sweep: workbench.Sweep, tick: Tick, seeds: Sequence[int], **given: Any) -> tuple[pd.DataFrame, list]:
    """Run the trials; return a row a subspace, ``share`` its sum over d/D of the trace, and the trials' own results."""
    found = _run(sweep, curvature_trial, [{"seed": seed, **given} for seed in seeds], tick)
    rows = []
    for one in found:
        for row in one["rows"]:
            share = row["sum"] / (row["d"] / one["D"] * one["trace"])
            rows.append({"seed": one["seed"], "D": one["D"], "whole": one["values"][0], "share": share, **row})
    return pd.DataFrame(rows), found


def by_dimension(rows: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """Return mean and 95 % interval over networks at each d, rotations of a network averaged first."""
    each = values.groupby([rows.d, rows.seed]).mean()
    table = [(d, *mean_interval(own.to_numpy()), len(own)) for d, own in each.groupby(level=0)]
    return pd.DataFrame(table, columns=["d", "mean", "low", "high", "n"]).set_index("d")


def coefficients(
    sweep: workbench.Sweep, tick: Tick, seeds: Sequence[int], dims: Sequence[int], **given: Any
) -> pd.DataFrame:
    """Run the trials; return a row a network and d: ``value`` (nan where refused), ``count``, why it is refused."""
    found = _run(sweep, coefficient_trial, [{"d": d, "seed": s, **given} for d in dims for s in seeds], tick)
    names = ["seed", "d", "value", "count", "refused", "r_hat", "interval"]
    return pd.DataFrame([{name: one[name] for name in names} for one in found], columns=names).astype({"value": float})


def leaving(rows: pd.DataFrame, share: float) -> pd.DataFrame:
    """Return of each network the d at which lambda and the count fall below a share of d/2; nan where they do not."""
    table = {}
    for seed, own in rows[rows.value.notna()].sort_values("d").groupby("seed"):
        x, half = np.log(own.d.to_numpy(float)), own.d.to_numpy() / 2
        at = [float(crossing_isotonic(x, -own[name].to_numpy() / half, -share)) for name in ("value", "count")]
        table[seed] = {
            name: np.exp(v) if np.isfinite(v) else np.nan for name, v in zip(("value", "count"), at, strict=True)
        }
    return pd.DataFrame.from_dict(table, orient="index", columns=["value", "count"])

"""Trials: a trained network is pruned at once, then few or all of its parameters are trained again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pruned import objective_of, pack, recovered, unpack
from torch import Tensor

from workbench import pruning
from workbench.coordinates import Coordinates, Entries, Full, Masked, MaskedLowRank
from workbench.layout import Layout, Point
from workbench.objective import Supervised
from workbench.pruning.scores import wanda
from workbench.recipes import Recipe
from workbench.sweeps import Sweep
from workbench.training import Snapshot, train

RANK = 2  # of masked low-rank changes
CALIBRATION = 2000  # training examples on which Wanda measures inputs, and BatchNorms their statistics
LR = 2e-3  # of the network before it is pruned
UNTRAINED = ("none", "Wanda, not retrained")


def arms_of(layout: Layout) -> tuple[str, ...]:
    """Return what can be retrained: without norms there are fewer arms."""
    norms = any(entry.role == "norm" for entry in layout.entries)
    few = ("biases", "norms", "biases + norms") if norms else ("biases",)
    return ("all kept", *few, "head", "masked low rank")


def _coordinates(arm: str, theta: Tensor, mask: Tensor, layout: Layout, seed: int) -> Coordinates:
    """Return what moves; pruned entries stay zero in every arm."""
    if arm == "all kept":
        return Masked(theta, mask)
    if arm == "masked low rank":
        return MaskedLowRank(theta, mask, layout, RANK, seed)
    if arm == "head":
        names = [e.name for e in layout.entries]
        last = ["token.weight"] if "token.weight" in names else names[-2:]  # a transformer's is its embedding, tied
        own = [torch.full((e.size,), e.name in last) for e in layout.entries]
        return Entries(theta, torch.cat(own) & mask)
    roles: Mapping[str, Any] = {"biases": ("bias",), "norms": ("norm",), "biases + norms": ("bias", "norm")}
    return Entries(theta, pruning.prunable(layout, roles[arm]))


def retrain(
    dataset: str,
    n_train: int | None,
    network: str,
    seed: int,
    n_steps: int,
    n_retrain_steps: int,
    batch_size: int,
    sparsities: list[float],
    rates: dict[str, list[float]],
) -> dict[str, Any]:
    """Train a network, prune it at each sparsity, and retrain every arm for the same number of steps.

    Magnitude and Wanda are compared within each layer. Where there are BatchNorms their statistics are recalibrated on
    the same training examples for every arm, trained or not.

    Args:
        dataset: Name of the data.
        n_train: Training examples; None for all.
        network: See ``pruned.build``.
        seed: Start, minibatches, low-rank factors.
        n_steps: Of the dense network.
        n_retrain_steps: Of every arm.
        batch_size: Examples a step.
        sparsities: Removed shares of the weights.
        rates: Learning rates for each arm and sparsity, under ``"arm, sparsity"``; or for all others under ``""``.

    Returns:
        D, and a record for each arm, sparsity and rate: entries moved, validation loss, test losses of all examples.
    """
    objective = objective_of(network, dataset, n_train, seed)
    whole = Full(objective.theta_0)
    history = train(objective, whole, Recipe(n_steps, LR, batch_size=batch_size), seed)
    dense, records = history.point(whole), []
    records.append(_record(objective, dense, {"arm": "dense", "sparsity": 0.0, "d": objective.D}))
    n_calibration = min(CALIBRATION, len(objective.splits["train"]))
    by_wanda = wanda(objective, dense.theta, n_calibration, seed)
    objective.set_point(dense)
    for sparsity in sparsities:
        masks = [_mask(objective, scores, sparsity, seed) for scores in (dense.theta.abs(), by_wanda)]
        for arm, mask in zip(UNTRAINED, masks, strict=True):
            start = Point(dense.theta.where(mask, 0), dense.buffers)
            records.append(_record(objective, start, {"arm": arm, "sparsity": sparsity, "d": 0}))
        theta = dense.theta.where(masks[0], 0)
        for arm in arms_of(objective.layout):
            for lr in rates.get(f"{arm}, {sparsity:g}", rates.get("", [])):
                c = _coordinates(arm, theta, masks[0], objective.layout, seed)
                start_at = Snapshot(0, c.initial(), dense.buffers, {}, {})
                recipe = Recipe(n_retrain_steps, lr, batch_size=batch_size)
                found = train(objective, c, recipe, seed, start=[start_at]).point(c)
                records.append(_record(objective, found, {"arm": arm, "sparsity": sparsity, "d": c.d, "lr": lr}))
    return {"D": objective.D, "records": records}


def _mask(objective: Supervised, scores: Tensor, sparsity: float, seed: int) -> Tensor:
    free = pruning.prunable(objective.layout)
    kept = round(1 - sparsity, 6)
    return pruning.select(scores, kept, prunable=free, layout=objective.layout, scope="layer", seed=seed)


def _record(objective: Supervised, point: Point, about: dict[str, Any]) -> dict[str, Any]:
    """Measure a point, its BatchNorms recalibrated on some examples: all of MNIST would cost more than the training."""
    if point.buffers:
        n_calibration = min(CALIBRATION, len(objective.splits["train"]))
        point = objective.sample(n_calibration).recalibrated(point.theta)
    losses = objective.per_example_loss(point, "test").numpy()
    validation = objective.loss(point, "validation")
    return about | {"validation": validation if np.isfinite(validation) else None, "losses": pack(losses)}


def measure_retraining(
    sweep: Sweep,
    networks: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    rates: Sequence[float],
    tick: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Retrain every network with every seed; each arm at the rate of least validation loss with the first seed.

    Args:
        sweep: Runs and keeps the trials.
        networks: Parameters of ``retrain`` but for ``seed`` and ``rates``.
        seeds: Replicates.
        rates: Learning rates to try, the same for every arm.
        tick: Called with the part that is done.

    Returns:
        A row for each network, seed, sparsity and arm: D, d, test losses.
    """
    first = [{**network, "seed": seeds[0], "rates": {"": list(rates)}} for network in networks]
    tried = sweep.map(retrain, first, tick and (lambda done: tick(0.5 * done)))
    tables = [pd.DataFrame(trial.result["records"]) for trial in tried]
    best = [_best(table) for table in tables]
    chosen = [{f"{arm}, {sparsity:g}": [lr] for (arm, sparsity), lr in own.dropna().lr.items()} for own in best]
    rest = [
        {**network, "seed": seed, "rates": own}
        for network, own in zip(networks, chosen, strict=True)
        for seed in seeds[1:]
    ]
    trials = sweep.map(retrain, rest, tick and (lambda done: tick(0.5 + 0.5 * done)))
    found = [
        *(own.reset_index().assign(network=p["network"], seed=p["seed"], D=t.result["D"])
          for own, p, t in zip(best, first, tried, strict=True)),
        *(pd.DataFrame(t.result["records"]).assign(network=p["network"], seed=p["seed"], D=t.result["D"])
          for p, t in zip(rest, trials, strict=True)),
    ]  # fmt: skip
    table = pd.concat(found, ignore_index=True)
    return table.assign(losses=[unpack(each) for each in table.losses])


def _best(records: pd.DataFrame) -> pd.DataFrame:
    """Keep of each arm and sparsity the run of least validation loss; a diverged one comes last."""
    ordered = records.assign(validation=records.validation.astype(float).fillna(np.inf)).sort_values("validation")
    return ordered.groupby(["arm", "sparsity"], sort=False).first()


def losses_of(table: pd.DataFrame, network: str, arm: str, sparsity: float) -> np.ndarray:
    """Return test losses, shape ``(n_seeds, n_examples)``."""
    own = table[(table.network == network) & (table.arm == arm) & (table.sparsity == sparsity)]
    return np.stack(list(own.sort_values("seed").losses))


def recovery_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each arm recovers of full retraining's gain, a row an arm, a column a sparsity."""
    rows = []
    for network, own in table.groupby("network", sort=False):
        for arm in [a for a in dict.fromkeys(own.arm) if a not in {"dense", "none", "all kept"}]:
            row: dict[str, Any] = {
                "network": network,
                "arm": arm,
                "moved": f"{(own[own.arm == arm].d / own.D).max():.2%}",
            }
            for sparsity in sorted(set(own.sparsity) - {0.0}):
                parts = (losses_of(table, network, a, sparsity) for a in ("none", arm, "all kept"))
                share = recovered(*parts)
                row[f"sparsity {sparsity:g}"] = f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"
            rows.append(row)
    return pd.DataFrame(rows).set_index(["network", "arm"])

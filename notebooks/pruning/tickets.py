"""Trials: lottery tickets of LeNet-300-100, and the two controls that should not win."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pruned import objective_of, pack, unpack
from torch import Tensor

from workbench import pruning
from workbench.coordinates import Masked
from workbench.objective import Supervised
from workbench.procedures import iterative
from workbench.recipes import Recipe
from workbench.sweeps import Sweep
from workbench.training import train

KEPT, KEPT_OUTPUT = 0.8, 0.9  # of a layer's weights in a round: hidden layers and the output layer
LR, BATCH_SIZE = 1.2e-3, 60  # as Frankle and Carbin 2019, appendix G
N_EVALUATIONS = 40  # of a run
CONTROLS = (3, 7, 15)  # rounds after which 51.3, 21.1 and 3.6 % of the weights are left
REINITIALISED = 1000  # added to the seed


class EarliestBest:
    """Follows runs by their evaluations: the step of least validation loss, what was right of the test split there."""

    def __init__(self, objective: Supervised) -> None:
        self.objective, self.runs, self._last = objective, list[dict[str, Any]](), np.inf

    def __call__(self, _: int, evaluation: dict[str, Any]) -> None:
        """Take an evaluation on the validation split; the objective stands at it."""
        step = evaluation["step"]
        if step <= self._last:  # a new run
            self.runs.append({"step": 0, "loss": np.inf, "steps": [], "validation": []})
        self._last, run = step, self.runs[-1]
        run["steps"].append(step)
        run["validation"].append(evaluation["metric"])
        if evaluation["loss"] < run["loss"]:
            right = self.objective.evaluate(self.objective.theta, "test").correct
            run |= {"loss": evaluation["loss"], "step": step, "right": pack(np.asarray(right))}


def ticket_trial(dataset: str, n_train: int | None, seed: int, n_rounds: int, n_steps: int) -> dict[str, Any]:
    """Prune a network round by round, rewound to its start, and train the controls.

    Args:
        dataset: Name of the data.
        n_train: Training images; None for all.
        seed: Start, minibatches, shuffles.
        n_rounds: How often a fifth of the hidden layers' weights goes, and a tenth of the output layer's.
        n_steps: Optimizer steps of each run, at a constant rate.

    Returns:
        A record for each run: arm, round, share of the weights kept, step of least validation loss, which test images
        were right there, the validation curve.
    """
    objective = objective_of("mlp", dataset, n_train, seed)
    recipe = Recipe(
        n_steps, LR, batch_size=BATCH_SIZE, schedule="constant", eval_every_steps=max(1, n_steps // N_EVALUATIONS)
    )
    watch, free = EarliestBest(objective), pruning.prunable(objective.layout)
    rounds = [KEPT**k for k in range(1, n_rounds + 1)]
    levels = iterative(objective, recipe, rounds, seed, select=_select(objective, free, seed), watch=watch)
    runs = [("ticket", k, level.mask) for k, level in enumerate(levels)]
    other = objective_of("mlp", dataset, n_train, seed + REINITIALISED).theta_0
    for k, level in [(k, levels[k]) for k in CONTROLS if k < len(levels)]:
        shuffled = pruning.shuffled(level.mask, objective.layout, seed)
        for arm, start, mask in (
            ("reinitialised", other, level.mask),
            ("shuffled", objective.theta_0, shuffled | ~free),
        ):
            train(objective, Masked(start, mask), recipe, seed, watch=watch)
            runs.append((arm, k, mask))
    kept = [float((mask & free).sum() / free.sum()) for *_, mask in runs]
    return {
        "records": [
            {"arm": arm, "round": k, "kept": share} | {n: v for n, v in run.items() if n != "loss"}
            for (arm, k, _), share, run in zip(runs, kept, watch.runs, strict=True)
        ]
    }


def _select(objective: Supervised, free: Tensor, seed: int) -> Callable[..., Tensor]:
    """Return a rule that keeps the given share of every hidden layer and, of the output layer, as many rounds' more."""
    last = [entry.name for entry in objective.layout.entries if entry.role == "weight"][-1]
    hidden = pruning.prunable(objective.layout, skip=[last])
    output = free & ~hidden

    def select(scores: Tensor, density: float, within: Tensor) -> Tensor:
        share = density ** (np.log(KEPT_OUTPUT) / np.log(KEPT))
        parts = ((hidden, density), (output, float(share)))
        masks = [
            pruning.select(
                scores, kept, prunable=part, layout=objective.layout, scope="layer", seed=seed, within=within
            )
            for part, kept in parts
        ]
        return torch.stack(masks).all(0)

    return select


def measure_tickets(
    sweep: Sweep,
    seeds: Sequence[int],
    tick: Callable[[float], None] | None = None,
    **fixed: Any,
) -> pd.DataFrame:
    """Run every seed; return a row for each run, ``right`` unpacked and ``accuracy`` its mean."""
    trials = sweep.map(ticket_trial, [{**fixed, "seed": seed} for seed in seeds], tick)
    rows = [record | {"seed": s} for s, t in zip(seeds, trials, strict=True) for record in t.result["records"]]
    table = pd.DataFrame(rows)
    right = [unpack(each) for each in table.right]
    return table.assign(right=right, accuracy=[each.mean() for each in right])


def right_of(table: pd.DataFrame, arm: str, n_rounds: int) -> np.ndarray:
    """Return which test images were right, shape ``(n_seeds, n_images)``."""
    own = table[(table.arm == arm) & (table["round"] == n_rounds)]
    return np.stack(list(own.sort_values("seed").right))

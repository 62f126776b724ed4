"""How many edges of a trained network must be kept, in neurons, principal components and the interaction basis."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from degenerate_trials import TASKS, images, run
from interaction_basis import BASES, bases, edges, kept_edges, outputs, sections
from torch import Tensor, nn
from torch.nn import functional as F

import workbench
from workbench.errors import require_choice
from workbench.objective import Supervised

MODULUS, HIDDEN = 11, (24, 24)
MORE = 0.05  # loss that cutting edges may add, relative
N_BASIS = 500  # training examples that a basis is made on
N_SHOWN = 40  # points of a curve


def data(task: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return training and judged examples: images and test images, or all pairs of residues twice."""
    require_choice("task", task, TASKS)
    if task == "digits":
        train, test = images().train, images().test
        return (train.x.flatten(1), train.y), (test.x.flatten(1), test.y)
    a, b = (torch.from_numpy(each) for each in np.divmod(np.arange(MODULUS**2), MODULUS))
    both = torch.cat([F.one_hot(a, MODULUS), F.one_hot(b, MODULUS)], 1).float(), (a + b) % MODULUS
    return both, both


def network(task: str, n_steps: int, seed: int) -> nn.Module:
    """Train a network of two hidden layers by cross-entropy with weight decay."""
    (x, y), _ = data(task)
    objective = Supervised(workbench.mlp([x.shape[1], *HIDDEN, int(y.max()) + 1], seed), (x, y))
    recipe = workbench.Recipe(n_steps, 5e-3, "adam", weight_decay=1e-3, batch_size=128)
    found = workbench.train(objective, workbench.Full(objective.theta_0), recipe, seed, eval_splits=("train",))
    return objective.module_at(found.phi)


def fewest(loss: Callable[[int], float], total: int, limit: float) -> tuple[int, list[tuple[int, float]]]:
    """Return the fewest edges kept at which the loss stays within a limit, and the curve of edges and losses.

    From all edges down a grid of ``N_SHOWN`` numbers the first is sought at which the loss exceeds the limit; the end
    is found between it and the one before by halving.
    """
    grid = sorted({int(each) for each in np.geomspace(1, total, N_SHOWN).round()})
    curve = [(n, loss(n)) for n in grid]
    beyond = [n for n, value in curve if not value <= limit]
    low = max(beyond, default=0)
    high = min((n for n, _ in curve if n > low), default=total)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) <= limit else (middle, high)
    return high, curve


def edge_trial(task: str, n_steps: int, seed: int) -> dict[str, Any]:
    """Train a network and cut edges in three bases; the trial.

    Args:
        task: Of ``TASKS``.
        n_steps: Steps of training.
        seed: Start and order.

    Returns:
        ``loss`` and ``accuracy`` on the judged examples; for each basis ``kept``, ``total`` and a ``curve`` of edges
        kept and losses.
    """
    layers, (train, judged) = sections(network(task, n_steps, seed)), data(task)
    whole = outputs(layers, b := bases(layers, train[0], "neurons"), _all(b), judged[0])
    base = float(F.cross_entropy(whole, judged[1]))
    right = float((whole.argmax(1) == judged[1]).double().mean())
    found: dict[str, Any] = {"task": task, "seed": seed, "loss": base, "accuracy": right}
    for kind in BASES:
        basis = bases(layers, train[0][:N_BASIS], kind)
        strengths = edges(layers, basis, train[0][:N_BASIS])

        def loss(n: int, basis: Any = basis, strengths: Any = strengths) -> float:
            cut = outputs(layers, basis, kept_edges(strengths, n), judged[0])
            return float(F.cross_entropy(cut, judged[1]))

        total = sum(s.numel() for s in strengths)
        kept, curve = fewest(loss, total, (1 + MORE) * base)
        found[kind] = {"kept": kept, "total": total, "curve": [[n, round(value, 6)] for n, value in curve]}
    return found


def _all(basis: Sequence[Any]) -> list[Tensor]:
    """Return masks that keep every edge."""
    pairs = pairwise(basis)
    return [torch.ones(len(following.to), len(own.to), dtype=torch.bool) for own, following in pairs]


def measure(
    sweep: workbench.Sweep, tick: Callable[[float], None], seeds: Sequence[int], **given: int
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Run the trials of both tasks; return a row a network, and all that the trials returned."""
    found = run(sweep, edge_trial, [{"task": t, "seed": s, **given} for t in TASKS for s in seeds], tick)
    rows = []
    for one in found:
        row = {name: one[name] for name in ("task", "seed", "loss", "accuracy")}
        row |= {kind: one[kind]["kept"] for kind in BASES} | {f"{kind}, all": one[kind]["total"] for kind in BASES}
        rows.append(row)
    return pd.DataFrame(rows), found

"""What is saved on paper, and what on this machine: sparse products, and smaller dense ones."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.benchmark import Timer

from workbench import pruning
from workbench.models import mlp
from workbench.objective import Supervised
from workbench.pruning.sparse import latency, sparsify


def measure_savings(
    networks: Sequence[Sequence[int]], reductions: Sequence[int], n_examples: int, n_rounds: int
) -> pd.DataFrame:
    """Time perceptrons on one thread: dense with zeros, by sparse products, and with units removed instead.

    Times do not depend on what the weights are, so none is trained. Units: of every hidden layer the share whose
    removal leaves about as many multiply-accumulates.

    Args:
        networks: Widths of each.
        reductions: Weights over kept weights.
        n_examples: Fed at once.
        n_rounds: Timings of each, of which the least counts.

    Returns:
        A row for each network and reduction: theoretical and measured speed-up of both, against the dense network.
    """
    rows = []
    for widths in networks:
        x = torch.rand(n_examples, widths[0])
        objective = Supervised(mlp(widths), (x, torch.zeros(n_examples, dtype=torch.int64)))
        dense = objective.module_at(objective.theta_0)
        for reduction in reductions:
            zeros, units = (_masks(objective, 1 / reduction, kind) for kind in ("weights", "units"))
            faster = latency(dense, zeros, x, n_repeats=n_rounds).faster
            small = pruning.shrink(_sequential(objective.module_at(objective.theta_0 * units)), x[:1])
            masked = [sparsify(dense, zeros, layers=layers) for layers in ((), faster)]
            whole, *timed = _least([dense, *masked, small], x, n_rounds)
            macs = sum(m.weight.numel() for m in small.modules() if isinstance(m, nn.Linear))
            free = pruning.prunable(objective.layout)
            rows.append({
                "network": "-".join(map(str, widths)), "density": 1 / reduction,
                "sparse, theoretical": pruning.report(objective, zeros, free).speed_up,
                "zeros, measured": whole / timed[0], "sparse, measured": whole / timed[1],
                "layers run sparse": len(faster),
                "smaller, theoretical": int(free.sum()) / macs, "smaller, measured": whole / timed[2],
            })  # fmt: skip
    return pd.DataFrame(rows).set_index(["network", "density"])


def _masks(objective: Supervised, density: float, kind: str) -> torch.Tensor:
    """Keep a share of the weights, or of the hidden units as many as leave that share of the products."""
    layout, free = objective.layout, pruning.prunable(objective.layout)
    if kind == "weights":
        return pruning.select(objective.theta_0.abs(), density, prunable=free, layout=layout)
    first, *_, last = [entry for entry in layout.entries if entry.role == "weight"]
    inner = [entry for entry in layout.entries if entry.role == "weight"][1:-1]
    # share u of every hidden layer leaves u of the outer products and u^2 of the inner ones
    outer, squared = first.size + last.size, sum(entry.size for entry in inner)
    goal = density * (outer + squared)
    share = (math.sqrt(outer**2 + 4 * squared * goal) - outer) / (2 * squared) if squared else density
    scores = pruning.score("filters", objective, objective.theta_0)
    hidden = pruning.prunable(layout, skip=[last.name])
    return pruning.select_units(scores, min(1.0, share), prunable=hidden, layout=layout, scope="layer")


def _sequential(module: nn.Module) -> nn.Sequential:
    assert isinstance(module, nn.Sequential)
    return module


@torch.no_grad()
def _least(modules: Sequence[nn.Module], x: torch.Tensor, n_rounds: int) -> list[float]:
    """Return each module's least seconds of a pass on one thread; they alternate, and other load only adds."""
    timers = [Timer("f(x)", globals={"f": module, "x": x}) for module in modules]
    rounds = [[timer.timeit(10).mean for timer in timers] for _ in range(n_rounds + 1)]
    return np.min(rounds[1:], axis=0).tolist()

"""Sparse execution and training: CPU time of one thread over masked dense networks, one by one.

Run: ``python tests/benchmarks/bench_sparse.py``. Ratios are medians [quartiles] of interleaved rounds in one process.
Training many masked networks together is compared with training them one by one: in a plain PyTorch loop (a mask
product after each step; the optimizer fused, or as torch chooses by default) and by ``workbench.train`` with
``Masked``. Then measuring many masks; the latency of one layer by density, which is where ``PAYS_BELOW`` comes from;
and that of a whole network beside its theoretical speed-up.
"""

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from workbench import models
from workbench.coordinates import Masked
from workbench.objective import Supervised
from workbench.pruning.ensemble import SparseEnsemble, evaluate_masks
from workbench.pruning.sparse import latency
from workbench.recipes import Recipe
from workbench.training import train

LENET, TINY = [784, 300, 100, 10], [64, 48, 32, 10]
RATES = {"sgd": 0.02, "adam": 1e-3}


def make(widths: list[int], n_nets: int, density: float) -> tuple[Supervised, torch.Tensor, torch.Tensor]:
    """Return random data with learnable labels, N starts, and N masks; the last layer keeps 10 % at least."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(6000, widths[0], generator=g)
    y = (x[:, : widths[-1]] + 0.5 * torch.randn(6000, widths[-1], generator=g)).argmax(1)
    starts = [models.mlp(widths, seed) for seed in range(n_nets)]
    objective = Supervised(starts[0], (x, y), test=(x[:1000], y[:1000]))
    masks = torch.ones(n_nets, objective.D, dtype=torch.bool)
    for entry in objective.layout.entries:
        if entry.role == "weight":
            share = max(density, 0.1) if entry.shape[0] == widths[-1] else density
            kept = torch.rand(n_nets, entry.size, generator=g) < share
            masks[:, entry.offset : entry.offset + entry.size] = kept
    thetas = torch.stack([torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in starts])
    return objective, thetas, masks


def plain(objective: Supervised, theta: torch.Tensor, mask: torch.Tensor, recipe: Recipe, fused: bool) -> None:
    """Train as PyTorch users do who care for speed: one product of all weights with their masks after each step."""
    network = objective.module_at(theta * mask).train()
    parameters = list(network.parameters())
    masks = [part.float() for part in objective.layout.views(mask).values()]
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, recipe.lr, momentum=recipe.momentum, fused=fused)
    else:
        optimizer = torch.optim.Adam(parameters, recipe.lr, fused=fused)
    for step, index in zip(range(recipe.n_steps), objective.minibatches(0, recipe.batch_size), strict=False):
        x, y = objective.train_batch(index)
        optimizer.param_groups[0]["lr"] = recipe.lr * recipe.lr_factor(step)
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_mul_(parameters, masks)


def interleaved(arms: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Return the CPU seconds of every arm in every round."""
    seconds = {name: np.zeros(rounds) for name in arms}
    for turn in range(rounds):
        for name, arm in arms.items():
            started = time.process_time()
            arm()
            seconds[name][turn] = time.process_time() - started
    return seconds


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> str:
    low, middle, high = np.quantile(numerator / denominator, [0.25, 0.5, 0.75])
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def arms_of(widths: list[int], n_nets: int, density: float, recipe: Recipe) -> dict[str, Callable[[], object]]:
    """Return the ways of training N masked networks."""
    objective, thetas, masks = make(widths, n_nets, density)
    pairs = list(zip(thetas, masks, strict=True))
    return {
        "together": lambda: SparseEnsemble(objective, thetas, masks).train(recipe, 0),
        "plain, fused": lambda: [plain(objective, *pair, recipe, True) for pair in pairs],
        "plain, as torch's default": lambda: [plain(objective, *pair, recipe, False) for pair in pairs],
        "workbench.train": lambda: [train(objective, Masked(*pair), recipe, 0, eval_splits=()) for pair in pairs],
    }


def ensembles(rounds: int, n_steps: int) -> None:
    """Print the speed-up of training together, all set-up included."""
    print(f"\ntraining together over one by one; {rounds} rounds of {n_steps} steps of 60 examples")
    cases = [(LENET, 16, density) for density in (0.02, 0.05, 0.1, 0.19)] + [(TINY, 64, 1.0)]
    for widths, n_nets, density in cases:
        for optimizer, rate in RATES.items():
            arms = arms_of(widths, n_nets, density, Recipe(n_steps, rate, optimizer, batch_size=60))
            seconds = interleaved(arms, rounds)
            together = seconds.pop("together")
            per_step = 1e3 * np.median(together) / n_steps
            print(f"{n_nets} x {'-'.join(map(str, widths))} at {density:4.0%}, {optimizer}: {per_step:.2f} ms a step")
            for name, own in seconds.items():
                print(f"    over {name:26} {ratio(own, together)}", flush=True)


def measurements(rounds: int) -> None:
    """Print the speed-up of measuring many masks together."""
    print("\nevaluate_masks over one by one, 1,000 examples")
    for widths, n_masks, density in ((LENET, 16, 1.0), (LENET, 16, 0.05), (TINY, 64, 1.0), (TINY, 64, 0.1)):
        objective, thetas, masks = make(widths, n_masks, density)
        arms = {
            "together": partial(evaluate_masks, objective, thetas[0], masks),
            "one by one": lambda o=objective, t=thetas[0], m=masks: [o.evaluate(t * mask) for mask in m],
        }
        seconds = interleaved(arms, rounds)
        print(f"{n_masks} masks, {widths}, density {density:4.0%}: {ratio(seconds['one by one'], seconds['together'])}")


def latencies(n_repeats: int) -> None:
    """Print dense over sparse seconds of single layers by density and batch, and of a whole network."""
    densities, batches = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5), (1, 16, 60, 256, 1000)
    print("\ndense over sparse latency of one linear layer; rows batches, columns densities", *densities)
    for n_out, n_in in ((100, 300), (300, 784), (1000, 1000), (2048, 2048)):
        print(f"{n_in} -> {n_out}")
        for batch in batches:
            found = []
            for density in densities:
                mask = torch.rand(n_out * n_in) < density
                layer = torch.nn.Linear(n_in, n_out, bias=False)
                (row,) = latency(layer, mask, torch.randn(batch, n_in), n_repeats=n_repeats).layers
                found.append(f"{row['dense_seconds'] / row['sparse_seconds']:6.2f}")
            print(f"  {batch:4}", *found, flush=True)
    print("\nLeNet-300-100: measured speed-up (theoretical by weights), layers made sparse")
    for density in densities:
        objective, thetas, masks = make(LENET, 1, density)
        module, weights = objective.module_at(thetas[0]), [e for e in objective.layout.entries if e.role == "weight"]
        kept = sum(int(masks[0, e.offset : e.offset + e.size].sum()) for e in weights)
        theory = sum(e.size for e in weights) / kept
        for batch in (1, 60, 1000):
            found = latency(module, masks[0], torch.randn(batch, 784), n_repeats=n_repeats)
            print(f"  density {density:4.0%}, batch {batch:4}: {found.speed_up:5.2f} ({theory:.1f}) {found.faster}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=25, help="of a latency")
    parser.add_argument("--only", choices=("ensembles", "measurements", "latencies"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, 1 thread")
    if options.only in {None, "ensembles"}:
        ensembles(options.rounds, options.steps)
    if options.only in {None, "measurements"}:
        measurements(options.rounds)
    if options.only in {None, "latencies"}:
        latencies(options.repeats)

"""Cost of a point of a plane over one forward pass: ours and plain loops. Run on request, as a script.

Single-thread CPU time. A forward pass is that of all examples with their losses, without gradients, at the chunk size
that is cheapest here. Every round times every arm once, in a new order; a ratio is the median over rounds of an arm's
time a point over the forward pass's of the same round, with the quartiles beside it. ``plane`` stands for a whole row
of the grid by its per-point time on a smaller grid, which is dearer: the products of a chunk serve fewer points.
Networks: MLP 784-200-200-10 (D = 199,210), LeNet with padding 2 (D = 61,706), the small CNN with BatchNorm.
"""

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from tests.benchmarks.peers import loss_landscapes_plane, versions
from workbench.models import initialise, mlp, small_cnn
from workbench.objective import Supervised
from workbench.probes import directions, plane
from workbench.probes.slices import Slices

CHUNKS = (50, 100, 200, 500, 1000, 2000)


def lenet() -> nn.Module:
    """Return LeNet whose first layer keeps 28 x 28 pixels."""
    convolutions = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()]
    top = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()]
    return initialise(nn.Sequential(*convolutions, *top, nn.Linear(84, 10)), 0)


NETWORKS = {"mlp": lambda: mlp([784, 200, 200, 10]), "lenet": lenet, "small_cnn": lambda: small_cnn()}


def forward(objective: Supervised, chunk: int) -> float:
    """Run all examples through the network once, with their losses."""
    with torch.no_grad():
        return sum(
            float(objective.losses(objective.model(x), y).sum()) for x, y in objective.splits["train"].chunks(chunk)
        )


def milliseconds(run: Callable[[], object], n: int = 1) -> float:
    """Time a call, per unit of n."""
    start = time.process_time_ns()
    run()
    return (time.process_time_ns() - start) / 1e6 / n


def measure(name: str, n: int, side: int, rounds: int) -> None:
    """Print one row an arm, and the error."""
    x = torch.randn(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    objective = Supervised(NETWORKS[name](), (x, torch.arange(n) % 10))
    objective.model.eval()
    v, axis = directions(objective.theta_0, objective.layout), np.linspace(-1, 1, side)
    passes = {c: np.median([milliseconds(lambda c=c: forward(objective, c)) for _ in range(6)]) for c in CHUNKS}
    best = min(passes, key=lambda c: passes[c])
    slices = Slices(objective, objective.theta_0, "recalibrated")
    few = np.stack([axis, axis[::-1]], 1)[:8]
    arms = {
        "forward": lambda: milliseconds(lambda: forward(objective, best)),
        "plane": lambda: milliseconds(lambda: plane(objective, objective.theta_0, v, axis), side**2),
        "plane, stored": lambda: milliseconds(
            lambda: plane(objective, objective.theta_0, v, axis, batch_stats="stored"), side**2
        ),
        "plain passes": lambda: milliseconds(lambda: slices._plain(v, few), len(few)),
        "evaluate": lambda: milliseconds(lambda: objective.evaluate(objective.theta_0 + v[0], "train")),
    }
    peer = loss_landscapes_plane(objective, side)
    if peer:
        arms["loss-landscapes"] = lambda: milliseconds(peer, side**2)
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for arm in rng.permutation(list(arms)):
            times[arm].append(arms[arm]())
    for arm, values in times.items():
        low, ratio, high = np.percentile(np.array(values) / np.array(times["forward"]), [25, 50, 75])
        print(f"{name:>10} {arm:<15} {np.median(values):>8.2f} {ratio:>6.2f} ({low:.2f} to {high:.2f})", flush=True)
    exact = Supervised(NETWORKS[name](), (x, torch.arange(n) % 10), dtype=torch.float64)
    found = plane(objective, objective.theta_0, v, [-1, 0.5], [-0.7, 1])
    wanted = [
        [exact.loss((objective.theta_0 + a * v[0] + b * v[1]).double(), batch_stats="recalibrated") for b in (-0.7, 1)]
        for a in (-1, 0.5)
    ]
    error = np.abs(found.loss / np.array(wanted) - 1).max()
    print(f"{name:>10} forward's chunk {best}; largest relative error against float64 {error:.1e}", flush=True)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--side", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, torch {torch.__version__}, 1 thread; n = {args.examples}, {args.side} x {args.side}")
    print(versions())
    print("CPU ms a point, its ratio to a forward pass (quartiles over rounds)")
    for network in args.networks:
        measure(network, args.examples, args.side, args.rounds)


if __name__ == "__main__":
    main()

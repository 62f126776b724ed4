"""Cost of a masked training step over a dense one: ours and the usual ways. Run on request, as a script.

Single-thread CPU time. A block is a few steps of one arm, the first not counted: it pays for refilling the caches.
Every round runs every arm once, in a new order, so that drift of the machine hits all alike. A ratio is the median over
rounds of the arm's median over that of its dense step in the same round, with the quartiles beside it. Ours is a step
of ``workbench.training``, dense by ``Full``; the others are loops of torch modules, dense without masks. All gather
minibatches from memory.
Networks: LeNet-300-100, batch 60 (D = 266,610); MLP 784-2048-2048-10, batch 128 (D = 5,824,522); density 10 %.
"""

import argparse
import itertools
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from workbench.coordinates import Dynamic, Full, Masked
from workbench.models import mlp
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.training.group import Group

NETWORKS = {"lenet-300-100": ([784, 300, 100, 10], 60), "mlp-2048": ([784, 2048, 2048, 10], 128)}
DENSITY, STEPS = 0.1, 6
Step = Callable[[], None]


class Product(nn.Module):
    """A parametrisation that multiplies by a mask."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Mask a weight."""
        return weight * self.mask


def ours(kind: str, widths: list[int], data: tuple[torch.Tensor, torch.Tensor], optimizer: str, batch: int) -> Step:
    """Build a step of the package's loop."""
    objective = Supervised(mlp(widths), data)
    mask = torch.rand(objective.D) < DENSITY
    maps = {
        "dense": lambda: Full(objective.theta_0),
        "masked": lambda: Masked(objective.theta_0, mask),
        "RigL, every 100": lambda: Dynamic(
            objective.theta_0, mask, objective.layout, "gradient", range(100, 10**6, 100)
        ),
    }
    recipe = Recipe(100_000, 1e-3, optimizer, batch_size=batch, schedule="constant")  # type: ignore[arg-type]
    group, stream = Group(objective, [maps[kind]()], [recipe], 0, ()), objective.minibatches(0, batch)
    return lambda: group.advance(next(stream))


def plain(kind: str, widths: list[int], data: tuple[torch.Tensor, torch.Tensor], optimizer: str, batch: int) -> Step:
    """Build a step as everybody writes it, masked in one of the usual ways."""
    model = mlp(widths)
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    masks = [(torch.rand_like(m.weight) < DENSITY).float() for m in layers]
    for layer, mask in zip(layers, masks, strict=True):
        if kind == "torch.nn.utils.prune":
            prune.custom_from_mask(layer, "weight", mask)
        elif kind == "parametrize":
            parametrize.register_parametrization(layer, "weight", Product(mask))
    weights = [m.weight.data for m in layers]
    kinds = {"sgd": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9), "adam": lambda p: torch.optim.Adam(p, 1e-3)}
    moving, order = (
        kinds[optimizer](model.parameters()),
        torch.randperm(len(data[0])).split(batch),
    )
    turn = itertools.count()

    def step() -> None:
        index = order[next(turn) % (len(order) - 1)]
        x, y = data[0][index], data[1][index]
        moving.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        moving.step()
        if kind == "product after the step":
            torch._foreach_mul_(weights, masks)

    return step


def measure(network: str, optimizer: str, rounds: int) -> None:
    """Print one row an arm."""
    widths, batch = NETWORKS[network]
    data = torch.randn(4000, 784), torch.randint(0, 10, (4000,))
    arms = {("ours", k): ours(k, widths, data, optimizer, batch) for k in ("dense", "masked", "RigL, every 100")}
    usual = ("dense", "product after the step", "torch.nn.utils.prune", "parametrize")
    arms |= {("torch", k): plain(k, widths, data, optimizer, batch) for k in usual}
    times: dict[tuple[str, str], list[float]] = {name: [] for name in arms}
    rng, names = np.random.default_rng(0), list(arms)
    for _ in range(rounds):
        for i in rng.permutation(len(names)):
            block = []
            for _ in range(STEPS):
                start = time.process_time_ns()
                arms[names[i]]()
                block.append(time.process_time_ns() - start)
            times[names[i]].append(float(np.median(block[1:])) / 1e6)
    for (loop, kind), values in times.items():
        low, ratio, high = np.percentile(np.array(values) / np.array(times[loop, "dense"]), [25, 50, 75])
        over = np.median(np.array(values) / np.array(times["torch", "dense"]))
        row = f"{network:>14} {optimizer:>5} {loop:>6} {kind:<23} {np.median(values):>8.3f} {ratio:>6.3f}"
        print(f"{row} ({low:.3f} to {high:.3f}) {over:>7.3f}", flush=True)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--optimizers", nargs="+", default=["sgd", "adam"], choices=["sgd", "adam"])
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(
        f"{platform.machine()}, torch {torch.__version__}, 1 thread; {args.rounds} rounds of {STEPS - 1} counted steps"
    )
    print("CPU ms a step, its ratio to the same loop's dense step (quartiles over rounds), and to torch's dense step")
    for network in args.networks:
        for optimizer in args.optimizers:
            measure(network, optimizer, args.rounds)


if __name__ == "__main__":
    main()

"""Cost of a subspace step by kind of projection, as a ratio to a plain step. Run on request, as a script.

Single-thread CPU time, medians. Every round runs every arm, so that drift of the machine hits all alike, and a few
steps of it in a row, the first of which is not counted: it pays for refilling the caches.
Networks: MLP 784-200-200-10 (D = 199,210), LeNet (44,426), character transformer (1,258,080); batch 128, Adam.
"""

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from tests.references import memory_bytes
from workbench.coordinates import KINDS, Coordinates, Subspace, projection
from workbench.errors import InputError
from workbench.models import CharTransformer, lenet, mlp

BATCH = 128
COUNTED = 4


def problem(network: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Build a network with one batch for it."""
    if network == "transformer":
        tokens = torch.randint(0, 65, (BATCH, 65))
        return CharTransformer(), tokens[:, :-1], tokens[:, 1:]
    y = torch.randint(0, 10, (BATCH,))
    if network == "lenet":
        return lenet(), torch.randn(BATCH, 1, 28, 28), y
    return mlp([784, 200, 200, 10]), torch.randn(BATCH, 784), y


def loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Compute the mean cross-entropy."""
    return nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())


def flatten(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Make parameters and gradients views of two flat buffers."""
    parameters = list(model.parameters())
    theta = torch.cat([p.detach().reshape(-1) for p in parameters])
    grad = torch.zeros_like(theta)
    offset = 0
    for p in parameters:
        p.data = theta[offset : offset + p.numel()].view_as(p)
        p.grad = grad[offset : offset + p.numel()].view_as(p)
        offset += p.numel()
    return theta, grad


def plain_step(network: str) -> Callable[[], None]:
    """Build the step everybody writes: torch's own modules and optimizer."""
    model, x, y = problem(network)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss(model, x, y).backward()
        optimizer.step()

    return step


def subspace_step(network: str, kind: str, d: int) -> tuple[Callable[[], None], Subspace]:
    """Build a step of Adam in a subspace."""
    model, x, y = problem(network)
    theta, grad = flatten(model)
    coordinates = Subspace(theta.clone(), projection(kind, theta.numel(), d, 0))
    phi = nn.Parameter(coordinates.initial())
    phi.grad = torch.zeros_like(phi)
    optimizer = torch.optim.Adam([phi])

    def step() -> None:
        coordinates.push(phi, theta)
        grad.zero_()
        loss(model, x, y).backward()
        coordinates.pull(phi, grad, phi.grad)
        optimizer.step()

    return step, coordinates


def pair(coordinates: Coordinates) -> Callable[[], None]:
    """Build one push and one pull without a network."""
    phi, grad_phi = torch.randn(coordinates.d), torch.empty(coordinates.d)
    theta, grad = torch.empty(coordinates.D), torch.randn(coordinates.D)

    def both() -> None:
        coordinates.push(phi, theta)
        coordinates.pull(phi, grad, grad_phi)

    return both


def medians(arms: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median CPU time of every arm in milliseconds, interleaved."""
    times: dict[str, list[int]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            arm()
            for _ in range(COUNTED):
                start = time.process_time_ns()
                arm()
                times[name].append(time.process_time_ns() - start)
    return {name: float(np.median(values)) / 1e6 for name, values in times.items()}


def measure(network: str, d: int, kinds: list[str], rounds: int) -> None:
    """Print one row per kind."""
    arms, held = {"plain": plain_step(network)}, {}
    for kind in kinds:
        try:
            arms[kind], held[kind] = subspace_step(network, kind, d)
        except InputError as error:
            print(f"{kind:>15} {d:>6} refused: {error}")
            continue
        arms[f"{kind} pair"] = pair(held[kind])
    found = medians(arms, rounds)
    for kind, coordinates in held.items():
        bytes_per_parameter = memory_bytes(coordinates.projection) / coordinates.D
        row = f"{kind:>15} {d:>6} {found[f'{kind} pair']:>10.3f} {found[kind]:>8.3f} {found['plain']:>8.3f}"
        print(f"{row} {found[kind] / found['plain']:>6.2f} {bytes_per_parameter:>8.1f}", flush=True)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=["mlp", "lenet", "transformer"], default="mlp")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--dims", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{args.network}, {platform.machine()}, torch {torch.__version__}, batch {BATCH}, 1 thread")
    print(f"median CPU milliseconds of {COUNTED * args.rounds} steps")
    print(f"{'kind':>15} {'d':>6} {'push+pull':>10} {'step':>8} {'plain':>8} {'ratio':>6} {'bytes/D':>8}")
    for d in args.dims:
        measure(args.network, d, args.kinds, args.rounds)


if __name__ == "__main__":
    main()

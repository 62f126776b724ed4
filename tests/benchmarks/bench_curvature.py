"""Cost and accuracy of the curvature probes, in gradients of the same examples. Run on request, as a script.

Single-thread CPU time; every round runs every arm. n = 2,000 synthetic 28 x 28 images of ten classes, two networks:
784-200-200-10 (D = 199,210) and LeNet with padding 2 (D = 61,706). The density is measured on a network small enough
for its exact spectrum. Peers (curvlinops-for-pytorch) are compared where they are installed.
"""

import argparse
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import nn

from workbench.models import initialise, mlp
from workbench.objective import Supervised
from workbench.probes import Landscape, hessian, spectral_density, top_eigenpairs, trace


def lenet_padded() -> nn.Module:
    """Return LeNet with padding 2."""
    features = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()]
    classes = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    return initialise(nn.Sequential(*features, nn.MaxPool2d(2), nn.Flatten(), *classes), 0)


def problem(model: nn.Module, n: int = 2000, side: int = 28, n_steps: int = 60, dtype: torch.dtype = torch.float32):
    """Return an objective after some steps of SGD."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(0, 10, (n,), generator=draw)
    x = 0.25 * torch.randn(10, 1, side, side, generator=draw)[y] + torch.randn(n, 1, side, side, generator=draw)
    objective = Supervised(model, (x, y), dtype=dtype)
    objective.theta.grad = objective.grad
    optimizer = torch.optim.SGD([objective.theta], lr=0.05, momentum=0.9)
    for _, index in zip(range(n_steps), objective.minibatches(0, 100), strict=False):
        objective.backward(*objective.train_batch(index))
        optimizer.step()
    return objective, objective.theta.clone()


def medians(arms: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Return the CPU seconds of every arm and round, interleaved; a first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds + 1):
        for name, arm in arms.items():
            start = time.process_time()
            arm()
            times[name].append(time.process_time() - start)
    return {name: np.array(values[1:]) for name, values in times.items()}


def curvlinops(objective: Supervised, point: torch.Tensor) -> Callable[[], object] | None:
    """Return a product with curvlinops' Hessian, where it is installed."""
    try:
        from curvlinops import HessianLinearOperator
    except ImportError:
        return None
    objective.set_point(point)
    x, y = objective.splits["train"].batch(None)
    data = list(zip(x.split(500), y.split(500), strict=True))
    named = dict(objective.model.named_parameters())
    try:
        operator = HessianLinearOperator(objective.model, nn.CrossEntropyLoss(), list(named.values()), data)
    except (TypeError, ValueError, AttributeError):
        operator = HessianLinearOperator(objective.model, nn.CrossEntropyLoss(), named, data)
    v = torch.randn(objective.D)
    return lambda: operator @ v


def measure(name: str, model: nn.Module, rounds: int, goals: dict[str, float]) -> None:
    """Compare product, top pairs and trace with a gradient."""
    objective, point = problem(model)
    v, n = torch.randn(objective.D), 2000

    def gradient(size: int) -> None:
        objective.grad.zero_()
        for x, y in objective.splits["train"].chunks(size):
            (objective.losses(objective.model(x), y).sum() / n).backward()

    objective.set_point(point)
    objective.model.eval()
    arms: dict[str, Callable[[], object]] = {}
    for size in (250, 500, 1000):
        arms[f"gradient, chunks of {size}"] = lambda size=size: gradient(size)
    peer = curvlinops(objective, point)
    if peer:
        arms["curvlinops product"] = peer
    with Landscape(objective, point).products() as product:
        found = medians(arms | {"product": lambda: product(v)}, rounds)
    found |= medians({"trace": lambda: trace(objective, point)}, max(2, rounds // 3))
    found |= medians({"top 10": lambda: top_eigenpairs(objective, point)}, 1)
    base = min((np.median(t), key) for key, t in found.items() if key.startswith("gradient"))[1]
    pairs, exact = top_eigenpairs(objective, point), trace(objective, point)
    print(f"\n{name}, D = {objective.D:,}: CPU time over one gradient ({base})")
    for key, times in found.items():
        low, middle, high = np.quantile(times, [0.25, 0.5, 0.75]) / np.median(found[base])
        goal = f"   goal {goals[key]}" if key in goals else ""
        print(f"{key:>26} {1e3 * np.median(times):>10.1f} ms {middle:>8.2f} [{low:.2f}, {high:.2f}]{goal}", flush=True)
    largest = (pairs.errors / np.abs(pairs.values)).max()
    print(f"top 10 took {pairs.n_gradients:.0f} gradients and products; {len(pairs.values)} pairs, error {largest:.1e}")
    print(f"trace {exact.value:.6g} by {exact.method}")


def measure_density(n_seeds: int) -> None:
    """Compare densities with the exact spectrum: distance over the mean absolute eigenvalue."""
    objective, point = problem(mlp([64, 32, 32, 10]), 500, 8, 200, torch.float64)
    exact = hessian(objective, point, max_dim=5000).eigenvalues()
    found = [spectral_density(objective, point, seed=seed) for seed in range(n_seeds)]
    distances = [wasserstein_distance(each.support, exact, each.weights) / np.abs(exact).mean() for each in found]
    cost = np.mean([each.n_gradients for each in found])
    print(f"\ndensity, D = {objective.D:,}, {cost:.0f} products, goal 0.2: {np.median(distances):.3f}")
    print(f"by seed {np.round(distances, 3)}")
    errors = [each.mean / exact.mean() - 1 for each in found]
    print(f"its trace's relative errors: {np.round(errors, 4)}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        peer = version("curvlinops-for-pytorch")
    except PackageNotFoundError:
        peer = "not installed"
    print(f"{platform.machine()}, torch {torch.__version__}, 1 thread, curvlinops {peer}; medians [quartiles]")
    measure_density(args.seeds)
    measure("MLP", mlp([784, 200, 200, 10]), args.rounds, {"product": 1.2, "top 10": 35, "trace": 2.5})
    measure("LeNet", lenet_padded(), args.rounds, {"product": 1.15, "top 10": 50, "trace": 2.5})


if __name__ == "__main__":
    main()

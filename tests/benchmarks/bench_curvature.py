"""Cost and accuracy of the curvature probes, in gradients of the same examples. Run on request:
``python -m tests.benchmarks.bench_curvature``.

Single-thread CPU time; every round runs every arm. n = 2,000 synthetic 28 x 28 images of ten classes, two networks:
784-200-200-10 (D = 199,210) and LeNet with padding 2 (D = 61,706). The density is measured on a network small enough
for its exact spectrum. Peers are compared where they are installed (``pip install -c constraints.txt -e '.[peers]'``).
"""

import argparse
import platform
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import nn

from tests.benchmarks.peers import Curvature, versions
from tests.benchmarks.timing import interleaved, show
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
    peers = Curvature(objective, point)
    arms |= peers.products()
    with Landscape(objective, point).products() as product:
        found = interleaved(arms | {"product": lambda: product(v)}, rounds)
    base = min((np.median(t), key) for key, t in found.items() if key.startswith("gradient"))[1]
    print(f"\n{name}, D = {objective.D:,}: CPU time over one gradient ({base})")
    show(found, base, goals)
    dear = {"trace": lambda: trace(objective, point), "top 10": lambda: top_eigenpairs(objective, point)}
    results: dict[str, object] = {}
    theirs = peers.top_ten() | peers.traces()
    dear |= {key: lambda key=key, run=run: results.update({key: run()}) for key, run in theirs.items()}
    show(interleaved({base: arms[base], **dear}, max(1, rounds // 5), warm=not theirs), base, goals)
    pairs, exact = top_eigenpairs(objective, point), trace(objective, point)
    largest = (pairs.errors / np.abs(pairs.values)).max()
    print(f"top 10 took {pairs.n_gradients:.0f} gradients and products; {len(pairs.values)} pairs, error {largest:.1e}")
    print(f"trace {exact.value:.6g} by {exact.method}")
    for key, values in results.items():
        wanted = np.sort(pairs.values) if "top 10" in key else exact.value
        print(f"{key}: largest relative error against ours {np.abs(np.sort(np.ravel(values)) / wanted - 1).max():.1e}")


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
    for name, run in Curvature(objective, point).densities().items():
        try:
            each = [[np.asarray(values) for values in run()] for _ in range(n_seeds)]
        except Exception as error:  # a peer's own, whatever it is
            print(f"{name}: skipped, it fails with this torch: {type(error).__name__}: {error}"[:118])
            continue
        distances = [wasserstein_distance(at, exact, weights.clip(0)) / np.abs(exact).mean() for at, weights in each]
        print(f"{name}, 100 products: {np.median(distances):.3f}, by draw {np.round(distances, 3)}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", message="Using backward\\(\\) with create_graph=True")  # PyHessian's
    print(f"{platform.machine()}, torch {torch.__version__}, 1 thread; medians [quartiles]")
    print(versions())
    measure_density(args.seeds)
    measure("MLP", mlp([784, 200, 200, 10]), args.rounds, {"product": 1.2, "top 10": 35, "trace": 2.5})
    measure("LeNet", lenet_padded(), args.rounds, {"product": 1.15, "top 10": 50, "trace": 2.5})


if __name__ == "__main__":
    main()

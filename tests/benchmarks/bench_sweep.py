"""A sweep over d in one group, and d_int90 of MNIST from nothing to a value: CPU time, one thread.

Run: ``python tests/benchmarks/bench_sweep.py`` (with WORKBENCH_DATA or a network for MNIST). Ratios are medians of
interleaved rounds in one process; a run-step is one step of one of the sweep's runs.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from workbench import models
from workbench.coordinates import Subspace, projection
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.sweeps import Sweep
from workbench.training import train_group

WIDTHS = [784, 200, 200, 10]
DIMS = [10, 25, 50, 100, 200, 400, 750, 1000, 1500, 3000, 5000, 10_000]
N_STEPS, BATCH = 60, 128


def plain_step(x: torch.Tensor, y: torch.Tensor) -> float:
    """Return CPU seconds a step of a plain PyTorch loop."""
    network = models.mlp(WIDTHS)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    order = torch.randperm(len(y))
    started = time.process_time()
    for step in range(N_STEPS):
        index = order[step * BATCH : (step + 1) * BATCH]
        optimizer.zero_grad()
        F.cross_entropy(network(x[index]), y[index]).backward()
        optimizer.step()
    return (time.process_time() - started) / N_STEPS


def best_seconds(work: Callable[[], object]) -> float:
    """Return the least CPU time of some repeats."""
    best = float("inf")
    for _ in range(20):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def floors() -> tuple[float, float]:
    """Return the least seconds of a step by its FLOPs and by its bytes, at this core's best measured rates.

    FLOPs: the matrix products of forward and backward pass, without the gradient of the inputs. Bytes of a hashed
    step: the index twice, theta_0 once, theta written once and read twice, the gradient written and read once.
    """
    fan = [a * b for a, b in pairwise(WIDTHS)]
    flops, D = 2 * BATCH * (3 * sum(fan) - fan[0]), sum(fan) + sum(WIDTHS[1:])
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    flop_rate = 2 * 1024**3 / best_seconds(lambda: a @ b)
    source, target = torch.zeros(16 * 2**20), torch.zeros(16 * 2**20)  # 64 MB each: larger than any cache here
    byte_rate = 2 * source.nbytes / best_seconds(lambda: target.copy_(source))
    n_bytes = D * (2 * 8 + 4 * (1 + 3 + 2))
    print(f"{flops / 1e6:.1f} MFLOP at {flop_rate / 1e9:.0f} GFLOP/s")
    print(f"{n_bytes / 1e6:.1f} MB at {byte_rate / 1e9:.0f} GB/s")
    return flops / flop_rate, n_bytes / byte_rate


def sweep_ratio(rounds: int) -> None:
    """Print the cost of a run-step over a plain step: single runs, and all d of one replicate in one group."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(N_STEPS * BATCH, WIDTHS[0], generator=g), torch.randint(0, 10, (N_STEPS * BATCH,), generator=g)
    objective = Supervised(models.mlp(WIDTHS), (x, y))
    maps = {d: Subspace(objective.theta_0, projection("hashed", objective.D, d, 0)) for d in DIMS}

    def ours(dims: list[int]) -> float:
        started = time.process_time()
        train_group(objective, [maps[d] for d in dims], [Recipe(N_STEPS, 0.01, batch_size=BATCH)] * len(dims), 0)
        return (time.process_time() - started) / N_STEPS / len(dims)

    arms = {
        "plain": lambda: plain_step(x, y),
        **{f"hashed, d = {d}": lambda d=d: ours([d]) for d in (100, 1000, 10_000)},
    }
    arms[f"group of {len(DIMS)} d"] = lambda: ours(DIMS)
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            times[name].append(arm())
    by_flops, by_bytes = floors()
    plain = np.median(times["plain"])
    print(
        f"plain step {1e3 * plain:.2f} ms; floor by FLOPs {by_flops / plain:.2f}, by bytes {by_bytes / plain:.2f} of it"
    )
    for name, values in times.items():
        ratios = np.array(values) / np.array(times["plain"])
        low, high = np.quantile(ratios, [0.25, 0.75])
        print(f"{name:20} {np.median(values) / plain:.3f}  [{low:.3f}, {high:.3f}] quartiles of {rounds} rounds")


def mnist(learning_rate: str, repeats: int, folder: Path) -> None:
    """Print d_int90 of the MNIST MLP and its CPU time, from nothing, for independent triples of seeds."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks" / "dimension"))
    from measure import Arm, Settings, measure_arms

    arm, values = Arm("mlp-200", "hashed"), []
    for repeat in range(repeats):
        seeds = [3 * repeat, 3 * repeat + 1, 3 * repeat + 2]
        settings = Settings(
            dataset="mnist", n_train=None, widths=[200], projection="hashed", compared_projections=[],
            subspace_dims=[50, 2000], design="search", seeds=seeds, fraction=0.9, learning_rate=learning_rate,
            n_epochs=5, batch_size=BATCH, n_toy_seeds=1, cartpole_dims=[1], cartpole_seeds=[0], device="cpu",
        )  # fmt: skip
        started = time.process_time()
        sweep = Sweep(folder / f"{learning_rate}-{repeat}", workers=1)
        measured = measure_arms(settings, sweep, arms=[arm])[arm]
        seconds = time.process_time() - started
        values.append(measured.local.value)
        print(
            f"{learning_rate:8} seeds {seeds}: local {measured.local}, absolute {measured.absolute}, "
            f"{len(measured.runs)} + {len(measured.baseline)} runs, {seconds:.0f} CPU s"
        )
    if repeats > 1:
        spread = np.std(np.log(values), ddof=1)
        print(f"{learning_rate:8} spread over repeats {100 * spread:.1f} % (n = {repeats})")


if __name__ == "__main__":
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--mnist", type=int, default=0, help="repeats of the MNIST measurement")
    parser.add_argument("--learning-rate", default="rule")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, {platform.processor() or platform.machine()}, 1 thread")
    if options.rounds:
        sweep_ratio(options.rounds)
    if options.mnist:
        with tempfile.TemporaryDirectory() as name:
            mnist(options.learning_rate, options.mnist, Path(name))

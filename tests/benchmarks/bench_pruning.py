"""Cost of a threshold, of scores and of what pruning saves, as ratios. Run on request:
``python -m tests.benchmarks.bench_pruning``.

Single-thread CPU time, medians. Every round runs every arm, so that drift of the machine hits all alike. Peak memory is
that of a process of its own, above what it held before (Linux).
"""

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from tests.benchmarks.timing import interleaved, show
from workbench.models import mlp, small_cnn
from workbench.objective import Supervised
from workbench.pruning import prunable, report, select, select_units, shrink
from workbench.pruning.scores import filters, grasp, magnitude, snip, synflow_mask
from workbench.pruning.threshold import kth_largest

BATCH = 256
PEERS: dict[str, Callable[[torch.Tensor, int], object]] = {
    "kthvalue": lambda scores, k: scores.kthvalue(len(scores) + 1 - k).values,
    "ours": kth_largest,
    "sort": lambda scores, k: scores.sort(descending=True).values[k - 1],
}


def scores_of(n: int) -> torch.Tensor:
    """Draw magnitudes as weights have them."""
    return torch.randn(n, generator=torch.Generator().manual_seed(0)).abs_()


def peak(name: str, n: int) -> None:
    """Print the extra bytes a parameter that an arm needs at its peak: run alone, in a new process."""
    scores = scores_of(n)
    PEERS[name](scores[: 1 << 21], 1 << 17)  # code and small buffers are loaded
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held
    before = peak_bytes()
    PEERS[name](scores, n // 10)
    print((peak_bytes() - before) / n)


def peak_bytes() -> int:
    """Read the most memory this process has held."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure_threshold(n: int, rounds: int) -> None:
    """Compare the k-th largest of n scores, 10 % kept."""
    scores, marked = scores_of(n), torch.ones(n, dtype=torch.bool)
    print(f"\nk-th of {n:,} scores, k = n / 10: CPU time, over kthvalue")
    arms: dict[str, Callable[[], object]] = {name: (lambda f=f: f(scores, n // 10)) for name, f in PEERS.items()}
    if n > 20_000_000:
        del arms["sort"]
    arms["ours, where all"] = lambda: kth_largest(scores, n // 10, marked)
    show(interleaved(arms, rounds), "kthvalue", {"ours": 0.65})
    for name in arms.keys() & PEERS.keys():
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--peak", name, str(n)], capture_output=True, text=True, check=True
        )
        print(
            f"{name:>24} {float(done.stdout):>10.2f} extra bytes a parameter" + ("   goal 3" if name == "ours" else "")
        )


def measure_scores(rounds: int) -> None:
    """Compare scores on one batch with a plain training step on it: LeNet-300-100, SGD with momentum."""
    x, y = torch.randn(BATCH, 784), torch.randint(0, 10, (BATCH,))
    model = mlp([784, 300, 100, 10])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    objective = Supervised(model, (x, y))
    theta, layout = objective.theta_0, objective.layout
    marked = prunable(layout)
    arms: dict[str, Callable[[], object]] = {
        "step": lambda: [step() for _ in range(5)],
        "magnitude": lambda: [magnitude(theta) for _ in range(5)],
        "select, 10 %": lambda: [select(theta.abs(), 0.1, prunable=marked, layout=layout) for _ in range(5)],
        "SNIP": lambda: [snip(objective, theta) for _ in range(5)],
        "GraSP": lambda: [grasp(objective, theta) for _ in range(5)],
    }
    for density in (0.1, 0.01):
        name = f"SynFlow x 100, {density:.0%}"
        arms[name] = lambda density=density: synflow_mask(objective, theta, density, prunable=marked)
    print(f"\nLeNet-300-100, batch {BATCH}: CPU time of 5 over 5 steps; SynFlow: 5 times its time")
    found = interleaved(arms, rounds)
    for name in found.keys() - {name for name in found if not name.startswith("SynFlow")}:
        found[name] *= 5
    show(found, "step", {"SNIP": 1.4, "GraSP": 3.2, "SynFlow x 100, 10%": 70, "SynFlow x 100, 1%": 70})


def measure_structured(rounds: int) -> None:
    """Compare a smaller network's forward pass with the dense one's, and with the ratio of multiply-accumulates."""
    networks = {"mlp 784-1000-1000-10": (mlp([784, 1000, 1000, 10]), (784,)), "small_cnn": (small_cnn(), (1, 28, 28))}
    print(f"\nhalf of each layer's units pruned, forward pass of {BATCH} examples: CPU time, over dense")
    for name, (network, shape) in networks.items():
        x = torch.randn(BATCH, *shape)
        objective = Supervised(network, (x, torch.zeros(BATCH, dtype=torch.long)))
        last = [e.name for e in objective.layout.entries if e.role == "weight"][-1]
        marked = prunable(objective.layout, skip=(last,))
        scores = filters(objective, objective.theta_0)
        mask = select_units(scores, 0.5, prunable=marked, layout=objective.layout, scope="layer")
        dense = objective.module_at(objective.theta_0 * mask)
        small = shrink(dense, x[:1])
        twin = Supervised(small, (x, torch.zeros(BATCH, dtype=torch.long)))
        full = torch.ones(twin.D, dtype=torch.bool)
        macs = [report(o, m, prunable(o.layout)).macs for o, m in ((objective, mask), (twin, full))]
        with torch.no_grad():
            found = interleaved({"dense": partial(dense, x), "smaller": partial(small, x)}, rounds)
        print(f"{name}: 1 / theoretical speed-up {macs[1] / macs[0]:.2f}")
        show(found, "dense", {})


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=float, nargs="*", default=[1e7, 1e8])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peak", nargs=2, metavar=("ARM", "N"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if args.peak:
        peak(args.peak[0], int(args.peak[1]))
        return
    print(
        f"{platform.machine()}, torch {torch.__version__}, 1 thread; ratio: median [quartiles] of {args.rounds} rounds"
    )
    for n in args.sizes:
        measure_threshold(int(n), args.rounds if n < 5e7 else 5)
    measure_scores(args.rounds)
    measure_structured(args.rounds)


if __name__ == "__main__":
    main()

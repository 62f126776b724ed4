"""What executors cost: start-up, overhead a trial, and what a second worker gains. Wall time; trials on one thread.

Run: ``python tests/benchmarks/bench_executors.py``. The machine must be idle: each figure is a median with its range.
"""

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TINY = """
import torch

def tiny(seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(64, 8, generator=g)
    w = torch.zeros(8, requires_grad=True)
    (x @ w - 1).square().mean().backward()
    return w.grad.norm().item()
"""
LENET = {
    "dataset": "digits", "n_train": None, "control": "none", "network": "lenet", "kind": "full", "jobs": [[1, 1.0]],
    "n_epochs": 5, "batch_size": 32, "device": "cpu", "splits": ["validation", "test"],
}  # fmt: skip


def show(name: str, values: list[float], unit: str) -> None:
    """Print a median and its range."""
    print(f"{name:44} {statistics.median(values):7.2f} {unit}  [{min(values):.2f}, {max(values):.2f}]")


def start_up(folder: Path, rounds: int, n: int = 40) -> None:
    """Print the seconds of a program that does nothing but a sweep of tiny trials, the interpreter's start included."""
    (folder / "tiny.py").write_text(TINY)
    code = (
        "import sys; sys.path.insert(0, {folder!r}); import tiny; from workbench.sweeps import Sweep\n"
        "with Sweep({kept!r}, {executor!r}, 2) as sweep: sweep.map(tiny.tiny, [dict(seed=k) for k in range({n})])"
    )
    for executor in ("serial", "processes"):
        seconds = []
        for k in range(rounds):
            kept = str(folder / f"{executor}-{k}")
            command = [sys.executable, "-c", code.format(folder=str(folder), kept=kept, executor=executor, n=n)]
            started = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - started)
            assert len(list(Path(kept).glob("*.json"))) == n
        show(f"{n} tiny trials from nothing, {executor}", seconds, "s")


@contextlib.contextmanager
def local_cluster() -> Iterator[str]:
    """Yield the executor's name of two Dask workers of one thread each."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield f"dask:{cluster.scheduler_address}"


def overhead(folder: Path, rounds: int, n: int = 400) -> None:
    """Print milliseconds a tiny trial on workers that are warm, its file included."""
    sys.path.insert(0, str(folder))
    import tiny

    from workbench.sweeps import Sweep

    with local_cluster() as dask:
        for executor in ("serial", "processes", dask):
            milliseconds = []
            with Sweep(folder / f"warm-{executor[:4]}", executor, 2) as sweep:
                sweep.map(tiny.tiny, [{"seed": -1 - k} for k in range(8)])
                for k in range(rounds):
                    started = time.perf_counter()
                    sweep.map(tiny.tiny, [{"seed": k * n + i} for i in range(n)])
                    milliseconds.append(1e3 * (time.perf_counter() - started) / n)
            show(f"a tiny trial, {executor.partition(':')[0]}", milliseconds, "ms")


def bare_gain() -> float:
    """Return what a second process gains on this machine now, without any of our code: 2 where two cores are free."""
    code = "x = 0\nfor i in range(20_000_000):\n    x += i"
    seconds = []
    for n in (1, 2):
        started = time.perf_counter()
        for process in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(n)]:
            process.wait()
        seconds.append((time.perf_counter() - started) / n)
    return seconds[0] / seconds[1]


def second_worker(folder: Path, rounds: int, n: int = 8) -> None:
    """Print how much faster two workers are than one on LeNet trials, in interleaved rounds."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks" / "dimension"))
    from replicate import train_replicate

    from workbench.sweeps import Sweep

    with contextlib.ExitStack() as stack:
        sweeps = {w: stack.enter_context(Sweep(folder / f"lenet-{w}", "processes", w)) for w in (1, 2)}
        seconds: dict[int, list[float]] = {1: [], 2: []}
        bare = []
        for k in range(rounds + 1):
            for workers, sweep in sweeps.items():
                trials = [{**LENET, "seed": k * n + i} for i in range(n)]
                started = time.perf_counter()
                sweep.map(train_replicate, trials)
                if k:  # the first round loads the data
                    seconds[workers].append(time.perf_counter() - started)
            bare.append(bare_gain())
    for workers, values in seconds.items():
        show(f"{n} LeNet trials, {workers} worker{'s' * (workers > 1)}", values, "s")
    show("two bare processes over one", bare, "x")
    show("two workers over one", [one / two for one, two in zip(seconds[1], seconds[2], strict=True)], "x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        start_up(Path(name), options.rounds)
        overhead(Path(name), options.rounds)
        second_worker(Path(name), options.rounds)

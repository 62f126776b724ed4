"""What benchmarks share: single-thread CPU seconds of interleaved arms, and their ratios to one of them."""

import time
from collections.abc import Callable

import numpy as np


def interleaved(arms: dict[str, Callable[[], object]], rounds: int, warm: bool = True) -> dict[str, np.ndarray]:
    """Return the CPU seconds of every arm and round, interleaved; where warm, a first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds + warm):
        for name, arm in arms.items():
            start = time.process_time()
            arm()
            times[name].append(time.process_time() - start)
    return {name: np.array(values[warm:]) for name, values in times.items()}


def show(found: dict[str, np.ndarray], base: str, goals: dict[str, float]) -> None:
    """Print each arm's median and its ratio to the base arm, median and quartiles over rounds."""
    for name, values in found.items():
        low, middle, high = np.quantile(values / found[base], [0.25, 0.5, 0.75])
        goal = f"   goal {goals[name]}" if name in goals else ""
        print(
            f"{name:>24} {1e3 * np.median(values):>10.2f} ms {middle:>8.2f} [{low:.2f}, {high:.2f}]{goal}", flush=True
        )

"""How good the estimator of the intrinsic dimension is: simulated error, bias and coverage.

    python tests/benchmarks/bench_estimator.py [repeats]

Truth: log error linear in log d, 0.12 at d = 560 with slope -0.55 (a 784-200-200-10 network on MNIST), with curvature
where a row says so. Noise: each run's own (a new P and a new data order), its seed's, and the test examples', which
runs and baseline share. One thread; seconds for 500 repeats of a row.
"""

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.dimension import Estimate, Runs, intrinsic_dim
from workbench.seeds import generator

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks" / "dimension"))
from search import grid, search
from spread import spread_interval

D = 199_210


@dataclass(frozen=True)
class World:
    """A known accuracy curve and its noise, all standard deviations in accuracy."""

    run_sd: float = 0.004
    seed_sd: float = 0.0
    baseline_sd: float = 0.0
    n_examples: int | None = None
    curvature: float = 0.0
    truth: float = 560.0
    slope: float = 0.55
    baseline_mean: float = 0.88 / 0.9
    shared: float = 0.5  # the part of an example's difficulty that all runs share

    def curve(self, d):
        u = np.log(np.asarray(d) / self.truth)
        return 1 - 0.12 * np.exp(-self.slope * u + self.curvature * u**2)

    def draw(self, rng, seeds):
        """Return a baseline and a function that trains (d, seed) pairs."""
        offsets = {s: self.seed_sd * rng.standard_normal() for s in seeds}
        difficulty = None if self.n_examples is None else rng.standard_normal(self.n_examples)

        def outcome(p):
            p = float(np.clip(p, 0.001, 0.999))
            if difficulty is None:
                return p
            latent = math.sqrt(self.shared) * difficulty
            latent = latent + math.sqrt(1 - self.shared) * rng.standard_normal(self.n_examples)
            return (float((right := latent < _probit(p)).mean()), right)

        def run(pairs):
            return [outcome(float(self.curve(d)) + offsets[s] + self.run_sd * rng.standard_normal()) for d, s in pairs]

        def full(pairs):
            return [outcome(self.baseline_mean + self.baseline_sd * rng.standard_normal()) for _ in pairs]

        return grid(full, [D], [100 + s for s in seeds]), run


def _probit(p):
    from scipy.special import ndtri

    return float(ndtri(p))


def nine(run, baseline, seeds) -> Runs:
    """The adaptive design: 5 runs of the first seed, 2 of each other."""
    return search(run, 200, 1600, seeds, baseline)


def full_grid(run, baseline, seeds) -> Runs:
    """The usual design: 12 d with every seed."""
    return grid(run, [int(d) for d in np.geomspace(200, 1600, 12)], seeds)


def first_passing(runs: Runs, threshold: float) -> float:
    """The usual rule: the smallest tested d whose mean score passes."""
    means = {int(d): runs.scores[runs.dims == d].mean() for d in np.unique(runs.dims)}
    return min((d for d, m in means.items() if m >= threshold), default=float(runs.dims.max()))


def simulate(world: World, design, n_seeds: int, repeats: int, name: str = "bench") -> dict[str, float]:
    """Return error, bias, coverage and width over repeated measurements, in percent of d_int."""
    logs, covered, widths, habit, methods = [], [], [], [], 0
    for repeat in range(repeats):
        rng = generator(repeat, name)
        baseline, run = world.draw(rng, range(n_seeds))
        runs = design(run, baseline, range(n_seeds))
        estimate: Estimate = intrinsic_dim(runs, baseline)
        logs.append(math.log(estimate.value / world.truth))
        habit.append(math.log(first_passing(runs, estimate.threshold) / world.truth))
        methods += estimate.method == "line"
        if estimate.low is not None and estimate.high is not None:
            covered.append(estimate.low <= world.truth <= estimate.high)
            widths.append(min(estimate.high, 1e6) / max(estimate.low, 1) - 1)
    errors = 100 * np.array(logs)
    return {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "bias": float(errors.mean()),
        "habit_bias": 100 * float(np.mean(habit)),
        "coverage": 100 * float(np.mean(covered)) if covered else math.nan,
        "width": 100 * float(np.median(widths)) if widths else math.nan,
        "line": 100 * methods / repeats,
    }


ROWS = {
    "9 runs, run noise 0.004 (the peers' setting)": (World(), nine, 3),
    "36 runs, run noise 0.004 (the peers' setting)": (World(), full_grid, 3),
    "9 runs, curved": (World(curvature=-0.05), nine, 3),
    "36 runs, curved": (World(curvature=-0.05), full_grid, 3),
    "9 runs, curved the other way": (World(curvature=0.1), nine, 3),
    "36 runs, curved the other way": (World(curvature=0.1), full_grid, 3),
    "9 runs, run and seed noise 0.004, baseline 0.001": (World(seed_sd=0.004, baseline_sd=0.001), nine, 3),
    "13 runs of 5 seeds, the same noise": (World(seed_sd=0.004, baseline_sd=0.001), nine, 5),
    "36 runs, the same noise": (World(seed_sd=0.004, baseline_sd=0.001), full_grid, 3),
    "9 runs, the same noise, 360 examples": (World(seed_sd=0.004, baseline_sd=0.001, n_examples=360), nine, 3),
    "9 runs, 360 examples, half the seeds' noise": (World(seed_sd=0.002, run_sd=0.002, n_examples=360), nine, 3),
    "36 runs, 360 examples": (World(seed_sd=0.004, baseline_sd=0.001, n_examples=360), full_grid, 3),
    "9 runs, 360 examples, steep": (World(0.006, 0.006, 0.003, 360, slope=1.5), nine, 3),
    "9 runs, 10,000 examples": (World(seed_sd=0.004, baseline_sd=0.001, n_examples=10_000), nine, 3),
    "one seed, 360 examples, no other noise": (World(run_sd=0.0, n_examples=360), nine, 1),
}


def spread_coverage(repeats: int) -> dict[str, float]:
    """Coverage of max / min over four widths, for equal and for different true values."""
    result = {}
    for label, truth in (("equal", np.zeros(4)), ("different", np.array([0, 0.1, 0.2, 0.4]))):
        hits = []
        for repeat in range(repeats):
            rng = generator(repeat, "spread", label)
            samples = truth[:, None] + 0.05 * rng.standard_normal((4, 3))
            draws = [s.mean() + s.std(ddof=1) / math.sqrt(3) * rng.standard_t(2, 2000) for s in samples]
            _, low, high = spread_interval(samples.mean(axis=1), draws)
            hits.append(low <= np.ptp(truth) <= high)
        result[label] = 100 * float(np.mean(hits))
    return result


def main() -> None:
    """Print one line per setting."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"{'':52s} rmse%  bias%  first-passing bias%  cover%  width%  line%  s")
    for name, (world, design, n_seeds) in ROWS.items():
        start = time.process_time()
        r = simulate(world, design, n_seeds, repeats)
        seconds = time.process_time() - start
        print(
            f"{name:52s} {r['rmse']:5.2f} {r['bias']:+6.2f} {r['habit_bias']:+12.1f} {r['coverage']:14.1f}"
            f" {r['width']:7.1f} {r['line']:6.0f} {seconds:5.1f}"
        )
    print("max/min over four widths, coverage %:", spread_coverage(repeats))


if __name__ == "__main__":
    main()

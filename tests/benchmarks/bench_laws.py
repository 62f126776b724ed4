"""How often 90 % intervals of a law cover what was planted, and what a fit costs; run on request.

    python -m tests.benchmarks.bench_laws [n_tables]

Well-posed designs: seven budgets of seven sizes, and 60 runs spread evenly; noise 0.5 %.
The tests hold a short version. Times are process time on one thread.
"""

import platform
import sys
import time

import numpy as np
import scipy

from tests.planted import TRUTH, isoflops, planted
from workbench.laws import FORMS, fit_law

WANTED = TRUTH["additive"]
EXPONENT = WANTED["beta"] / (WANTED["alpha"] + WANTED["beta"])
NEW = {"N": [1e9, 1e10, 7e10], "D": [2e10, 2e11, 1.4e12]}
DESIGNS = {
    "7 budgets x 7 sizes": lambda seed: isoflops(0.005, seed),
    "60 runs, even": lambda seed: planted(n=60, noise=0.005, seed=seed),
}


def covered(design: str, seed: int) -> dict[str, bool]:
    """Say which intervals of one table's fit hold the truth."""
    law = fit_law(DESIGNS[design](seed), "additive", seed=seed)
    found = {name: low <= WANTED[name] <= high for name, (low, high) in law.intervals.items()}
    low, high = (law.draws.beta / (law.draws.alpha + law.draws.beta)).quantile([0.05, 0.95])
    seen, truth = law.predict(NEW), FORMS["additive"].predict(NEW, WANTED)
    within = (seen.low <= truth) & (truth <= seen.high)
    return (
        found
        | {"N_opt exponent": low <= EXPONENT <= high}
        | {f"law at N = {n:g}": w for n, w in zip(NEW["N"], within, strict=True)}
    )


def main(n_tables: int) -> None:
    """Print coverage and cost a design."""
    print(f"{platform.processor() or platform.machine()}, numpy {np.__version__}, scipy {scipy.__version__}")
    for design in DESIGNS:
        started = time.process_time()
        hits = [covered(design, seed) for seed in range(n_tables)]
        seconds = (time.process_time() - started) / n_tables
        print(f"\n{design}: {n_tables} tables, 200 resamples each, {seconds:.2f} s a fit")
        for name in hits[0]:
            share = float(np.mean([each[name] for each in hits]))
            print(f"  {name:16} {share:.3f} +- {np.sqrt(share * (1 - share) / n_tables):.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)

"""Where to place the runs: a grid, or a search that needs few."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from workbench.dimension import Estimate, Runs, intrinsic_dim, target_score
from workbench.errors import is_count, require

Pair = tuple[int, int]  # (d, seed)
Result = float | tuple[float, ArrayLike]  # score, or score and the boolean outcome of each test example
Train = Callable[[list[Pair]], Sequence[Result]]
Progress = Callable[[int, int, str], None]  # runs finished, runs expected in all, what happened

N_FIRST = 5  # runs of the first pass
N_EXTRA = 8  # most runs that bracketing may take
STEP = 1.12  # the further seeds run at the first seed's crossing divided and multiplied by this
GAP = 4.0  # the widest bracket, as a ratio of its ends, in which a line may be fitted


def _check_seeds(seeds: Sequence[int]) -> list[int]:
    """Return the seeds if there are some, integers, none twice."""
    ok = len(seeds) > 0 and all(is_count(s) for s in seeds) and len(set(seeds)) == len(seeds)
    require(ok, "seeds", "must be a non-empty list of different integers of at least 0", seeds)
    return [int(s) for s in seeds]


def _train(run: Train, pairs: list[Pair]) -> dict[Pair, Result]:
    """Return the result of every pair."""
    results = run(pairs)
    require(len(results) == len(pairs), "run", f"must return one result for each of {len(pairs)} runs", len(results))
    return dict(zip(pairs, results, strict=True))


def _table(results: dict[Pair, Result]) -> Runs:
    """Return finished runs as a table."""
    scores = [float(r[0] if isinstance(r, tuple) else r) for r in results.values()]
    correct = [np.asarray(r[1]) for r in results.values() if isinstance(r, tuple)]
    dims, seeds = np.array(list(results)).T
    return Runs(dims, seeds, np.array(scores), np.array(correct) if correct else None)


def grid(run: Train, dims: Sequence[int], seeds: Sequence[int]) -> Runs:
    """Return the runs of every d with every seed, seed by seed, trained in one call.

    Args:
        run: Trains a list of (d, seed) and returns for each its score, or its score and which test examples were right.
        dims: The d to run, integers of at least 1, none twice.
        seeds: The seeds, none twice.

    Raises:
        InputError: If an argument breaks its rule or ``run`` returns another number of results.
    """
    ok = len(dims) > 0 and all(is_count(d, 1) for d in dims) and len(set(dims)) == len(dims)
    require(ok, "dims", "must be a non-empty list of different integers of at least 1", dims)
    return _table(_train(run, [(int(d), seed) for seed in _check_seeds(seeds) for d in dims]))


def search(
    run: Train,
    low: int,
    high: int,
    seeds: Sequence[int],
    baseline: Runs,
    fraction: float = 0.9,
    *,
    progress: Progress = lambda done, expected, text: None,
) -> Runs:
    """Return runs placed where they tell most about the intrinsic dimension: 9 with 3 seeds, 2 more for each further.

    The first seed runs at 5 log-spaced d in one call. Where these do not bracket the crossing, d is doubled up to D or
    halved down to 1, and a bracket wider than 4 is bisected in log d, 8 runs at most: what is not bracketed then stays
    censored. The other seeds run at the crossing divided and multiplied by 1.12, in one call.

    Args:
        run: Trains a list of (d, seed) and returns for each its score, or its score and which test examples were right.
        low: Smallest d of the first pass, in 1..D.
        high: Largest d of the first pass, in low..D.
        seeds: The seeds, none twice; the first one does the bracketing.
        baseline: Runs of the full network, all at d = D.
        fraction: The threshold as a fraction of the baseline's mean score, in (0, 1].
        progress: Called after each batch with runs finished, runs expected in all, and a line of text.

    Raises:
        InputError: If an argument breaks its rule or ``run`` returns another number of results.
    """
    seeds, D = _check_seeds(seeds), int(baseline.dims[0])
    target_score(baseline, fraction)
    require(is_count(low, 1) and low <= D, "low", f"must be in 1..D={D}", low)
    require(is_count(high, low) and high <= D, "high", f"must be in low..D={D}", high)
    results: dict[Pair, Result] = {}

    def ask(dims: Sequence[int], seeds: Sequence[int], then: int, why: str) -> Estimate:
        """Run what has not been run yet; ``then`` runs are still to come."""
        new = [pair for seed in seeds for d in dict.fromkeys(dims) if (pair := (d, seed)) not in results]
        if new:
            results.update(_train(run, new))
            progress(len(results), len(results) + then, f"{why}: d = {', '.join(str(d) for d, _ in new)}")
        return intrinsic_dim(_table(results), baseline, fraction)

    first, others = seeds[:1], seeds[1:] or seeds
    estimate = ask([int(d) for d in np.geomspace(low, high, N_FIRST).round()], first, 2 * len(others), "first pass")
    for _ in range(N_EXTRA):
        d = _bracketing(estimate, [d for d, _ in results], D)
        if d is None:
            break
        estimate = ask([d], first, 2 * len(others), "bracketing")
    ask(_around(estimate, D), others, 0, "other seeds")
    return _table(results)


def _bracketing(now: Estimate, dims: list[int], D: int) -> int | None:
    """Return the d that would bracket the crossing better, or None when it is bracketed or cannot be."""
    if now.censored:
        d = min(2 * now.tested[1], D) if now.censored == "above" else max(now.tested[0] // 2, 1)
        return None if d in now.tested else d
    below, above = max(d for d in dims if d <= now.value), min(d for d in dims if d >= now.value)
    return round(math.sqrt(below * above)) if above > GAP * below else None


def _around(now: Estimate, D: int) -> list[int]:
    """Return the d on both sides of the crossing, or the last tested ones where it is censored."""
    low, high = now.tested if now.censored else (1, D)
    # Two different integers around it, even where 12 % is less than one.
    below = min(round(now.value / STEP), math.ceil(now.value) - 1)
    above = max(round(now.value * STEP), math.floor(now.value) + 1)
    return np.clip([below, above], low, high).tolist()

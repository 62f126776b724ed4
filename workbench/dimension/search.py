"""Where to place the runs: a grid, or a search that needs few; and the learning rate at each d."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from workbench.dimension.estimate import intrinsic_dim
from workbench.dimension.tables import Estimate, Runs, check_fraction, is_int
from workbench.errors import require

Pair = tuple[int, int]  # (d, seed)
Result = float | tuple[float, ArrayLike]  # score, or score and the boolean outcome of each test example
Train = Callable[[list[Pair]], Sequence[Result]]
Target = Literal["local"] | float
Progress = Callable[[int, int, str], None]  # runs finished, runs expected in all, what happened

STEP = 1.12  # the further seeds run at the first seed's crossing divided and multiplied by this
GAP = 4.0  # the widest bracket, as a ratio of its ends, in which a line may be fitted


def _check_seeds(seeds: Sequence[int]) -> list[int]:
    """Return the seeds if there are some, integers, none twice."""
    ok = len(seeds) > 0 and all(is_int(s) and s >= 0 for s in seeds)
    require(ok, "seeds", "must be a non-empty list of non-negative integers", seeds)
    require(len(set(seeds)) == len(seeds), "seeds", "must not repeat", seeds, "give every replicate its own seed")
    return [int(s) for s in seeds]


def _table(pairs: Sequence[Pair], results: Sequence[Result]) -> Runs:
    """Return finished runs as a table."""
    require(len(results) == len(pairs), "run", f"must return one result for each of {len(pairs)} runs", len(results))
    detailed = [isinstance(r, tuple) for r in results]
    require(len(set(detailed)) == 1, "run", "must return scores, or (score, correct) throughout", detailed)
    scores = [float(r[0] if isinstance(r, tuple) else r) for r in results]
    correct = np.array([np.asarray(r[1]) for r in results if isinstance(r, tuple)]) if detailed[0] else None
    dims, seeds = np.array(pairs).T
    return Runs(dims, seeds, np.array(scores), correct)


def grid(run: Train, dims: Sequence[int], seeds: Sequence[int]) -> Runs:
    """Run every d with every seed, in one call.

    Args:
        run: Trains a list of (d, seed) and returns for each its score, or its score and which test examples were right.
        dims: The d to run, integers of at least 1, none twice.
        seeds: The seeds, none twice.

    Returns:
        The runs, seed by seed.

    Raises:
        InputError: If a list is empty or repeats itself, a d is not an integer of at least 1, or ``run`` returns
            another number of results.
    """
    ok = len(dims) > 0 and all(is_int(d) and d >= 1 for d in dims) and len(set(dims)) == len(dims)
    require(ok, "dims", "must be a non-empty list of different integers of at least 1", dims)
    pairs = [(int(d), s) for s in _check_seeds(seeds) for d in dims]
    return _table(pairs, run(pairs))


class _Search:
    """The state of one search: the runs so far, and what the next ones should tell."""

    def __init__(self, run: Train, baseline: Runs, fraction: float, perfect: float | None, progress: Progress | None):
        self.run, self.baseline, self.fraction, self.perfect = run, baseline, fraction, perfect
        self.progress, self.expected = progress, 0
        self.runs: Runs | None = None
        self.done: set[Pair] = set()
        self.D = int(baseline.dims[0])

    def ask(self, pairs: list[Pair], why: str) -> None:
        """Run what has not been run yet."""
        pairs = [pair for pair in dict.fromkeys(pairs) if pair not in self.done]
        if pairs:
            new = _table(pairs, self.run(pairs))
            self.done.update(pairs)
            self.runs = new if self.runs is None else self.runs + new
            self.say(why + ": " + ", ".join(f"d={d} {s:.3f}" for d, s in zip(new.dims, new.scores, strict=True)))

    def say(self, text: str) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(len(self.done), max(len(self.done), self.expected), text)

    def estimate(self, target: Target) -> Estimate:
        """Return the estimate from the runs so far."""
        assert self.runs is not None
        return intrinsic_dim(self.runs, self.baseline, self.fraction, target, n_resamples=100, perfect=self.perfect)

    def next_dim(self, target: Target) -> int | None:
        """Return the d that would bracket a target better, or None when it is bracketed or cannot be."""
        now = self.estimate(target)
        least, most = now.tested
        if now.censored == "above":
            # A threshold above the baseline's own score is not to be looked for up to D.
            hopeful = now.threshold <= np.nanmean(self.baseline.scores)
            return min(2 * most, self.D) if hopeful and most < self.D else None
        if now.censored == "below":
            return max(least // 2, 1) if least > 1 else None
        assert self.runs is not None
        below, above = (
            self.runs.dims[self.runs.dims <= now.value].max(),
            self.runs.dims[self.runs.dims >= now.value].min(),
        )
        return round(math.sqrt(below * above)) if above > GAP * below else None

    def around(self, target: Target) -> tuple[int, int]:
        """Return the d on both sides of the crossing, or the last tested ones where it is censored."""
        now = self.estimate(target)
        low, high = now.tested if now.censored else (1, self.D)
        # Two different integers around it, even where 12 % is less than one.
        below = min(round(now.value / STEP), math.ceil(now.value) - 1)
        above = max(round(now.value * STEP), math.floor(now.value) + 1)
        return min(max(below, low), high), min(max(above, low), high)


def search(
    run: Train,
    low: int,
    high: int,
    seeds: Sequence[int],
    baseline: Runs,
    fraction: float = 0.9,
    *,
    n_first: int = 5,
    n_extra: int = 8,
    targets: Sequence[Target] = ("local",),
    perfect: float | None = 1.0,
    progress: Progress | None = None,
) -> Runs:
    """Place runs where they tell most about the intrinsic dimension: 9 in all with 3 seeds, 2 more for each further.

    The first seed runs at ``n_first`` log-spaced d in one call. Where these do not bracket a target, d is doubled up
    to D or halved down to 1, and a bracket wider than 4 is bisected in log d, ``n_extra`` runs at most: what is not
    bracketed then stays censored. The other seeds run at the crossing divided and multiplied by 1.12, in one call.

    Args:
        run: Trains a list of (d, seed) and returns for each its score, or its score and which test examples were right.
        low: Smallest d of the first pass, in 1..D.
        high: Largest d of the first pass, in low..D.
        seeds: The seeds, none twice; the first one does the bracketing.
        baseline: Runs of the full network, all at d = D.
        fraction: The local threshold as a fraction of the baseline's mean score, in (0, 1].
        n_first: Number of d in the first pass, at least 3.
        n_extra: Budget of runs, beyond the first pass, for bracketing.
        targets: Thresholds to resolve, "local" or absolute scores.
        perfect: The score of a faultless run; None for scores without one.
        progress: Called after each batch with runs finished, runs expected in all, and a line of text.

    Returns:
        All runs.

    Raises:
        InputError: If an argument breaks its rule or ``run`` returns another number of results.
    """
    seeds, first = _check_seeds(seeds), int(seeds[0])
    D = int(baseline.dims[0])
    check_fraction(fraction)
    require(is_int(low) and 1 <= low <= D, "low", f"must be in 1..D={D}", low)
    require(is_int(high) and low <= high <= D, "high", f"must be in low..D={D}", high)
    require(is_int(n_first) and n_first >= 3, "n_first", "must be an integer from 3", n_first)
    require(is_int(n_extra) and n_extra >= 0, "n_extra", "must be an integer from 0", n_extra)
    require(len(targets) > 0, "targets", "must be a non-empty list", targets, 'give ("local",)')
    state = _Search(run, baseline, fraction, perfect, progress)
    dims = dict.fromkeys(int(d) for d in np.geomspace(low, high, n_first).round())
    followers = seeds[1:] or seeds
    state.expected = len(dims) + 2 * len(targets) * len(followers)
    state.ask([(d, first) for d in dims], "first pass")
    for _ in range(n_extra):
        wanted = next((d for d in map(state.next_dim, targets) if d is not None), None)
        if wanted is None:
            break
        state.expected += 1
        state.ask([(wanted, first)], "bracketing")
    places = [d for target in targets for d in state.around(target)]
    state.ask([(d, seed) for seed in followers for d in places], "other seeds")
    assert state.runs is not None
    return state.runs

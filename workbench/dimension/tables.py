"""What goes in, a table of runs, and what comes out, an estimate."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.errors import require

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Runs:
    """A table of finished runs, one entry per (d, seed).

    Args:
        dims: Subspace dimension of each run, integers of at least 1, shape ``(n,)``.
        seeds: Seed of each run, shape ``(n,)``.
        scores: Score on the test split, larger is better, shape ``(n,)``; NaN marks a run that diverged.
        correct: Whether each test example was right, boolean, shape ``(n, n_examples)``; needs accuracies as scores.
    """

    dims: NDArray[np.int64]
    seeds: NDArray[np.int64]
    scores: Array
    correct: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        dims, seeds, scores = np.asarray(self.dims), np.asarray(self.seeds), np.asarray(self.scores, dtype=float)
        require(dims.ndim == 1 and dims.size > 0, "dims", "must be a non-empty list", self.dims)
        require(dims.dtype.kind in "iu" and dims.min() >= 1, "dims", "must be integers of at least 1", self.dims)
        require(seeds.dtype.kind in "iu" and seeds.shape == dims.shape, "seeds", f"must be {len(dims)} integers", seeds)
        require(scores.shape == dims.shape, "scores", f"must be {len(dims)} numbers", scores)
        require(not np.isinf(scores).any(), "scores", "must be finite, or NaN for a diverged run", scores)
        pairs = set(zip(dims.tolist(), seeds.tolist(), strict=True))
        require(len(pairs) == len(dims), "seeds", "must not repeat at one d", seeds, "give every run its own seed")
        for name, value in (("dims", dims), ("seeds", seeds), ("scores", scores)):
            object.__setattr__(self, name, value)
        if self.correct is not None:
            table = np.asarray(self.correct)
            shaped = table.ndim == 2 and table.dtype == bool and len(table) == len(dims) and table.shape[1] > 1
            got = table.dtype.name, table.shape
            require(shaped, "correct", f"must be boolean of shape ({len(dims)}, n_examples)", got)
            means = table.mean(axis=1)[self.alive]
            agrees = np.allclose(means, scores[self.alive], rtol=0, atol=1e-5)
            require(agrees, "correct", "must average to the scores", means, "leave it out unless score is accuracy")
            object.__setattr__(self, "correct", table)

    def __len__(self) -> int:
        return len(self.dims)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which runs did not diverge."""
        return ~np.isnan(self.scores)

    @property
    def n_diverged(self) -> int:
        """How many runs diverged."""
        return int(np.isnan(self.scores).sum())


@dataclass(frozen=True, eq=False)
class Estimate:
    """An intrinsic dimension: ``str`` gives "560 [541, 583]", or the bound alone, "> 1500".

    ``value`` is the largest (smallest) tested d when ``censored`` is "above" ("below"). An end of the interval that
    no run supports is ``inf`` or 0; both ends are None where nothing tells the spread. ``covers`` names what the
    interval covers, among "seeds", "baseline" (its seeds) and "examples". ``n_diverged`` counts the baseline's too.
    ``log_draws`` are draws of log d_int.
    """

    value: float
    low: float | None
    high: float | None
    threshold: float
    fraction: float | None
    level: float
    censored: Literal["above", "below"] | None
    method: Literal["line", "isotonic"]
    covers: tuple[str, ...]
    tested: tuple[int, int]
    n_diverged: int
    log_draws: Array | None = field(default=None, repr=False)

    def __str__(self) -> str:
        text, notes = {None: "", "above": "> ", "below": "<= "}[self.censored] + _figure(self.value), []
        if self.censored is None:
            if self.low is not None and self.high is not None:
                low = _figure(self.low) if self.low > 0 else f"< {self.tested[0]}"
                high = _figure(self.high) if math.isfinite(self.high) else f"> {self.tested[1]}"
                text += f" [{low}, {high}]"
            if "seeds" not in self.covers:
                notes.append("one seed: no interval" if self.low is None else "one seed: interval leaves seeds out")
        if self.n_diverged:
            notes.append(f"{self.n_diverged} diverged")
        return text + (f" ({'; '.join(notes)})" if notes else "")

    def record(self) -> dict[str, Any]:
        """Return what a JSON record keeps: all but the draws, an end that no run supports as None, the text beside."""
        table = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "log_draws"}
        ends = {name: table[name] if table[name] and math.isfinite(table[name]) else None for name in ("low", "high")}
        return table | ends | {"text": str(self)}


def _figure(value: float) -> str:
    """Print whole numbers from 100, three digits below."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

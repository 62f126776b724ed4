"""Pruning at several densities: what is left of the score, where it falls, and what a mask costs and saves."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from workbench import pruning, statistics
from workbench.errors import require
from workbench.layout import Point
from workbench.measures.outcomes import Plain, outcome, right
from workbench.objective import Supervised


def pruned(
    objective: Supervised,
    point: Point,
    score: str,
    densities: Sequence[float],
    *,
    split: str = "test",
    scored_on: Supervised | None = None,
    seed: int = 0,
) -> list[Plain]:
    """Prune a network by a score at several densities, without retraining.

    Args:
        objective: Left as it is.
        point: The network.
        score: See ``pruning.score``.
        densities: Kept shares of all weights.
        split: Where to test.
        scored_on: Whose training examples the score sees, and on which ``fit``, their mean loss, is measured; None for
            the objective's own.
        seed: Of ties and of random scores.

    Returns:
        ``outcome``, density and fit of each.
    """
    sample, free = scored_on or objective, pruning.prunable(objective.layout)
    scores, rows = pruning.score(score, sample, point.theta, seed), []
    for density in densities:
        mask = pruning.select(scores, density, prunable=free, layout=objective.layout, seed=seed)
        at = Point(point.theta.where(mask, 0.0), point.buffers)
        rows.append(outcome(objective.evaluate(at, split)) | {"density": density, "fit": sample.loss(at)})
    return rows


def critical_density(
    densities: Sequence[float], arms: Sequence[Sequence[Plain]], dense: Plain, drop: float = 0.01
) -> tuple[float, float, float]:
    """Return the density at which the score falls by ``drop`` below the dense network's, with its 95 % interval.

    Scores are regressed on log density, isotonic, the dense network at 1. The interval is where the curves of the
    scores' own interval ends cross: over test examples, paired with the dense network's, and over replicates.

    Args:
        densities: Of the arms.
        arms: Outcomes of the replicates at each density.
        dense: The dense network's outcome.
        drop: In units of the score.

    Returns:
        Value, low, high; value 0 where even the lowest density passes, nan ends where nothing tells the spread.

    Raises:
        InputError: If the arms are not one a density.

    Example:
        >>> rows = [[{"score": s, "right": None, "n": 0}] for s in (0.9, 0.88, 0.5)]
        >>> dense = {"score": 0.9, "right": None, "n": 0}
        >>> round(critical_density([0.5, 0.25, 0.1], rows, dense)[0], 3)  # midway from 0.5 to 0.25, in their logs
        0.354
    """
    require(len(densities) == len(arms) > 0, "arms", f"must be one a density, {len(densities)}", len(arms))
    x, gains, halves = [0.0], [drop], [0.0]
    for density, rows in zip(densities, arms, strict=True):
        x.append(float(np.log(density)))
        gains.append(float(np.mean([row["score"] for row in rows])) - dense["score"] + drop)
        halves.append(_half_width(rows, dense))
    curves = [np.array(gains) + sign * np.nan_to_num(halves) for sign in (0, 1, -1)]
    value, low, high = (float(np.exp(statistics.crossing_isotonic(x, curve, 0))) for curve in curves)
    high = max(high, min(densities))  # below the lowest one tested nothing is known
    return (value, np.nan, np.nan) if np.isnan(halves).any() else (value, low, high)


def _half_width(rows: Sequence[Plain], dense: Plain) -> float:
    """Return half the 95 % interval of the mean score less the dense network's; nan where nothing tells it."""
    scores, n = np.array([row["score"] for row in rows]), len(rows)
    seen, own = [each for row in rows if (each := right(row)) is not None], right(dense)
    of_seeds = float(stdtrit(n - 1, 0.975) * scores.std(ddof=1)) / n**0.5 if n > 1 else 0.0
    if own is None or len(seen) < n:
        return of_seeds if n > 1 else float("nan")
    of_examples = 1.96 * statistics.crossed_variance(np.stack(seen).astype(float), own[None].astype(float)) ** 0.5
    return float(np.hypot(of_seeds, of_examples))


def saved(objective: Supervised, point: Point, mask: Tensor, n_repeats: int = 5, batch_size: int = 256) -> Plain:
    """Count what a mask saves: by layers, in multiplications, in bytes of a file, and in seconds measured here.

    Args:
        objective: Left as it is.
        point: The network.
        mask: True = kept, shape ``(D,)``.
        n_repeats: Of the measurement of latency.
        batch_size: Training examples run at once.

    Returns:
        ``densities`` by layer, ``macs`` over those kept, ``bytes`` of the masked network's file and of the
        ``dense_bytes``, ``dense_seconds`` and ``sparse_seconds`` of each repeat, the layers that are ``faster`` sparse.
    """
    about = pruning.report(objective, mask, pruning.prunable(objective.layout))
    module = objective.module_at(Point(point.theta.where(mask, 0.0), point.buffers))
    x, _ = next(objective.splits["train"].chunks(min(batch_size, objective.chunk_size)))
    times = [pruning.latency(module, mask, x, n_repeats=9) for _ in range(n_repeats)]
    with TemporaryDirectory() as folder:
        masks = {"bytes": mask, "dense_bytes": torch.ones_like(mask)}
        sizes = {k: pruning.export(Path(folder, "x.npz"), objective.layout, point, m) for k, m in masks.items()}
    seconds = {k: [getattr(t, k) for t in times] for k in ("dense_seconds", "sparse_seconds")}
    return {"densities": about.densities, "macs": about.speed_up, "faster": times[-1].faster, **sizes, **seconds}

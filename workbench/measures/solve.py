"""Training inside random directions of what a mask keeps, and what comes out."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates import Composed, Coordinates, Entries, Masked, Subspace, projection
from workbench.layout import Point
from workbench.measures.local import walk
from workbench.measures.outcomes import Plain, outcome
from workbench.measures.thin import pruned
from workbench.objective import Supervised
from workbench.recipes import Recipe, matched_learning_rate
from workbench.training import History, train

Tick = Callable[[float], None]


def inside(theta_0: Tensor, d: int | None, seed: int, mask: Tensor | None = None) -> Coordinates:
    """Return d random directions of the entries that a mask keeps, or all of these; the others are zero and stay so.

    Args:
        theta_0: Where they start, shape ``(D,)``.
        d: How many, by a hashed projection; None for all that are kept.
        seed: Of the projection.
        mask: True = kept, shape ``(D,)``; None for all.

    Returns:
        Coordinates.

    Example:
        >>> within = inside(torch.ones(3), 1, 0, torch.tensor([True, False, True]))
        >>> within(torch.zeros(1)).tolist()
        [1.0, 0.0, 1.0]
    """
    if d is None:
        return Masked(theta_0, torch.ones_like(theta_0, dtype=torch.bool) if mask is None else mask)
    if mask is None:
        return Subspace(theta_0, projection("hashed", len(theta_0), d, seed, device=theta_0.device))
    kept = Entries(theta_0.where(mask, 0.0), mask)
    return Composed(kept, Subspace(kept.initial(), projection("hashed", kept.d, d, seed, device=theta_0.device)))


def solve(
    objective: Supervised,
    d: int | None,
    seed: int,
    recipe: Recipe,
    mask: Tensor | None = None,
    tick: Tick | None = None,
) -> tuple[Coordinates, History]:
    """Train from the objective's start inside d random directions of what a mask keeps, at the matched learning rate.

    Args:
        objective: Starts at ``theta_0``; left at what is found.
        d: As for ``inside``.
        seed: Of directions, minibatches and dropout.
        recipe: Its rate is that of all kept entries.
        mask: As for ``inside``.
        tick: Called with the fraction done.

    Returns:
        Coordinates and history.
    """
    coordinates = inside(objective.theta_0, d, seed, mask)
    n_kept = objective.D if mask is None else int(mask.sum())
    rate = recipe.lr if d is None else matched_learning_rate(d, n_kept, recipe.lr)
    return coordinates, train(objective, coordinates, replace(recipe, lr=rate), seed, eval_splits=(), progress=tick)


def trained(
    objective: Supervised,
    d: int | None,
    seed: int,
    recipe: Recipe,
    mask: Tensor | None = None,
    *,
    split: str = "test",
    densities: Sequence[float] = (),
    tick: Tick | None = None,
) -> Plain:
    """Train as ``solve`` does; test what comes out, the file it fits into, and how it takes pruning by magnitude.

    The file holds phi in half precision, the buffers and the seed, compressed. ``read`` is the score of what is read
    from it, the start being made anew from its own seed.

    Args:
        objective: Of a fresh network.
        d: As for ``inside``.
        seed: Replicate.
        recipe: How to train.
        mask: As for ``inside``.
        split: Where to test.
        densities: At which to prune what was found, without retraining.
        tick: Called with the fraction done.

    Returns:
        ``outcome``, d, seed, whether it ``diverged``, ``bytes`` of the file and ``read``, and ``pruned``, an outcome a
        density.
    """
    coordinates, history = solve(objective, d, seed, recipe, mask, tick)
    point, file, phi = history.point(coordinates), io.BytesIO(), history.phi.half()
    arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in history.buffers.items()}
    np.savez_compressed(file, phi=phi.cpu().numpy(), seed=np.array(seed), **arrays)
    read = Point(coordinates.push(phi.to(objective.theta), torch.empty_like(objective.theta)), history.buffers)
    found = outcome(objective.evaluate(point, split)) | {"d": coordinates.d if d is None else d, "seed": seed}
    found |= {"diverged": history.outcome == "diverged", "bytes": file.tell()}
    found |= {"read": objective.evaluate(read, split).metric}
    return found | {"pruned": pruned(objective, point, "magnitude", densities, split=split) if densities else []}


def retrained(
    objective: Supervised,
    mask: Tensor,
    seed: int,
    recipe: Recipe,
    *,
    split: str = "test",
    measured_on: Supervised | None = None,
    tick: Tick | None = None,
) -> Plain:
    """Prune the objective's start by a mask, train on under it and test; walk there from the dense network if asked.

    Args:
        objective: Of the trained network, at ``theta_0``; left at what is found.
        mask: True = kept, shape ``(D,)``.
        seed: Of the minibatches.
        recipe: Of the retraining.
        split: Where to test.
        measured_on: Where to measure the walks; None for none.
        tick: Called with the fraction done.

    Returns:
        ``outcome`` and seed; ``before`` and ``after``, the ``walk`` from the dense network to the pruned one without
        and with retraining.
    """
    dense = Point(objective.theta_0, objective.buffers_0)
    coordinates, history = solve(objective, None, seed, recipe, mask, tick)
    point, walks = history.point(coordinates), dict[str, Plain]()
    if measured_on is not None:
        ends = {"before": Point(dense.theta.where(mask, 0.0), dense.buffers), "after": point}
        walks = {name: walk(measured_on, dense, end) for name, end in ends.items()}
    return outcome(objective.evaluate(point, split)) | {"seed": seed} | walks


def apart(
    objectives: Iterable[Supervised], seeds: Sequence[int], recipe: Recipe, measured_on: Supervised, tick: Tick | None
) -> Plain:
    """Train two fresh networks and walk from one to the other.

    Args:
        objectives: Of the two; left at what is found. An iterator's are let go one by one.
        seeds: Of their minibatches.
        recipe: How to train.
        measured_on: Where to measure the walk.
        tick: Called with the fraction done of each.

    Returns:
        ``walk``.
    """

    def end(objective: Supervised, seed: int) -> Point:
        coordinates, history = solve(objective, None, seed, recipe, tick=tick)
        return history.point(coordinates)

    start, finish = map(end, objectives, seeds)
    return walk(measured_on, start, finish)

"""Rows of the tour's table: slices and ways between networks, features, degeneracy, memorisation."""

from collections.abc import Iterator

import numpy as np
import torch
import tour
from torch import Tensor

from workbench import merging, probes
from workbench.objective import Supervised
from workbench.seeds import generator

Numbers = tuple[str, str, float, float, float, float | None, float | None]


def slice_rows(objective: Supervised, start: Tensor, theta: Tensor) -> Iterator[Numbers]:
    """Measure along lines, on a plane, between networks; the exact values are plain losses."""
    spread = probes.directions(theta, objective.layout)
    grid = np.linspace(-1, 1, 5)
    seen = probes.plane(objective, theta, spread, grid)
    plain = [[objective.loss(theta + a * spread[0] + b * spread[1]) for b in grid] for a in grid]
    wrong = np.abs(seen.loss - plain).max()
    yield "plane", "highest loss of 5 x 5", seen.loss.max(), np.max(plain), wrong, None, seen.n_gradients
    way = probes.line(objective, start, theta - start, grid)
    plain = [objective.loss(start + t * (theta - start)) for t in grid]
    wrong = np.abs(way.loss - plain).max()
    yield "line", "highest loss of 5", way.loss.max(), np.max(plain), wrong, None, way.n_gradients
    hill = probes.barrier(objective, start, theta)
    losses = np.array([objective.loss(start.lerp(theta, t)) for t in hill.t.tolist()])
    right = (losses - (1 - hill.t) * losses[0] - hill.t * losses[-1]).max()
    yield "barrier", "from start to end", hill.height, right, abs(hill.height - right), None, hill.n_gradients
    parts = list(objective.layout.views(theta).values())
    order = generator(0, "shuffle").permutation(len(parts[0]))
    mixed = [parts[0][order], parts[1][order], parts[2][:, order], parts[3]]
    found = merging.alignment(objective, theta, torch.cat([each.flatten() for each in mixed]))
    missed = abs(found.similarity - 1)
    yield "alignment", "cosine with its shuffled self", found.similarity, 1.0, missed, None, found.n_gradients


def hidden(objective: Supervised, theta: Tensor) -> Tensor:
    """Return the hidden units' values on the training images, shape ``(n, width)``."""
    first, bias, *_ = objective.layout.views(theta).values()
    x, _ = next(objective.splits["train"].chunks(len(objective.splits["train"])))
    return torch.relu(x.flatten(1) @ first.T + bias)


def feature_rows(objective: Supervised, start: Tensor, theta: Tensor) -> Iterator[Numbers]:
    """Measure features, free directions and memorisation, each beside its definition."""
    a, b = (hidden(objective, each) for each in (start, theta))
    n = len(a)
    centre = np.eye(n) - 1 / n
    k, m = (centre @ (each @ each.T).numpy() @ centre for each in (a, b))
    right = float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))
    cka = probes.linear_cka(a, b).value
    yield "linear_cka", "hidden units, start and end", cka, right, abs(cka - right), None, None
    turn = torch.linalg.qr(torch.from_numpy(generator(0, "turn").standard_normal((b.shape[1],) * 2)))[0]
    cka = probes.linear_cka(b, 2 * b @ turn).value
    yield "linear_cka", "a rotated copy", cka, 1.0, abs(cka - 1), None, None
    x, y = next(objective.splits["train"].chunks(n))
    *_, weight, bias = objective.layout.views(theta).values()
    found, right = probes.neural_collapse(b, y, weight, bias).nc1, within_over_between(b.numpy(), y.numpy())
    yield "neural_collapse", "NC1", found, right, abs(found - right), None, None
    ranks = probes.degeneracy(objective, theta)
    slopes = (weight * (b > 0)[:, None]).flatten(0, 1)  # of the outputs in the hidden units, a row an output
    sizes, tops = (65 * len(weight.T), 10 * (b.shape[1] + 1)), ((x.flatten(1), slopes), (b, torch.eye(10)))
    free = sum(sizes) - sum(_rank(_with_ones(each)) * _rank(other) for each, other in tops)
    missed = abs(ranks.free - free)
    yield "degeneracy", "free directions", ranks.free, free, missed, None, ranks.n_gradients
    yield memorised()


def within_over_between(h: np.ndarray, y: np.ndarray) -> float:
    """Return ``tr(S_W pinv(S_B)) / C`` by its definition."""
    means = np.stack([h[y == c].mean(0) for c in range(y.max() + 1)])
    away, between = h - means[y], means - means.mean(0)
    within, between = away.T @ away / len(h), between.T @ between / len(means)
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / len(means))


def memorised(n: int = 60, n_runs: int = 400) -> Numbers:
    """Measure how far nearest-neighbour classifiers memorise some digits, for which chances are known.

    An image is its own nearest neighbour. Left out, it is labelled by its j-th neighbour with chance 2^-j, where each
    image is in a run's half with chance 1/2.

    Args:
        n: How many digits.
        n_runs: How many classifiers.

    Returns:
        A row: the image whose exact value is nearest to 1/2.
    """
    x, y = (np.asarray(each) for each in (tour.digits().train.x, tour.digits().train.y))
    x, y = x.reshape(len(x), -1)[:n].astype(float), y[:n]
    order = np.argsort(((x[:, None] - x[None]) ** 2).sum(2), axis=1, kind="stable")
    member = generator(0, "halves").random((n_runs, n)) < 0.5
    nearest = np.stack([order[i][np.argmax(member[:, order[i]], axis=1)] for i in range(n)], axis=1)
    found = probes.memorization(y[nearest] == y, member)
    chance = 0.5 ** np.arange(1, n)
    right = 1 - np.array([(chance * (y[order[i, 1:]] == y[i])).sum() for i in range(n)])
    i = int(np.abs(right - 0.5).argmin())  # chosen by the exact values
    value, stated = float(found.value[i]), 1.96 * float(found.standard_error[i])
    return "memorization", "by neighbours, one image", value, right[i], abs(value - right[i]), stated, None


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(len(x), 1)], 1)


def _rank(x: Tensor) -> int:
    return int(torch.linalg.matrix_rank(x, rtol=1e-6))

"""What the trials share: a source and a target task from one set of images, shifted copies, packing, intervals."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.coordinates import Full
from workbench.datasets import Dataset, Split, load
from workbench.errors import require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.seeds import generator
from workbench.statistics import crossed_variance, student_draws
from workbench.training import train

TURN, NOISE = 30.0, 0.3  # of the shifted images: degrees at most, standard deviation in units of the grey scale
SHIFTS = ("as they are", "rotated", "noisy")


class Tasks(NamedTuple):
    """Images of one seed; ``source`` and ``target`` share none.

    ``donor`` are the source's images as they are; ``shifted`` the test images as they are, rotated and noisy, one
    after the other.
    """

    source: Split
    donor: Split
    target: Split
    validation: Split
    test: Split
    shifted: Split


@functools.lru_cache(maxsize=4)
def data(dataset: str, n_validation: int | None = None) -> Dataset:
    """Load images once per process."""
    return load(dataset, n_validation=n_validation)


def tasks(dataset: str, n_source: int, n_target: int, n_validation: int, seed: int) -> Tasks:
    """Draw a source and a target task, disjoint, for one repeat."""
    images = data(dataset, n_validation)
    n, rng = len(images.train), generator(seed, "soups", "tasks")
    require(n_source + n_target <= n, "n_source", f"must be at most {n - n_target} beside n_target", n_source)
    order = torch.from_numpy(rng.permutation(n))
    target, source = order[:n_target], order[n_target : n_target + n_source]
    x, y = images.train.x, images.train.y
    test = images.test
    moved = [test.x, rotate(test.x, rng.uniform(-TURN, TURN, len(test))), noisy(test.x, rng)]
    shifted = Split(torch.cat(moved), test.y.repeat(len(moved)))
    donor, few = Split(x[source], y[source]), Split(x[target], y[target])
    return Tasks(Split(other_task(donor.x), donor.y), donor, few, images.validation, test, shifted)


def other_task(x: Tensor) -> Tensor:
    """Invert images and turn them by a quarter: edges and strokes stay useful, what a digit looks like does not."""
    return 1 - x.rot90(1, (2, 3))


def rotate(x: Tensor, degrees: Any, shift: Any = 0.0) -> Tensor:
    """Turn each image by an angle of its own, counted counterclockwise, and shift it by a share of its side."""
    angle = torch.as_tensor(np.broadcast_to(np.deg2rad(degrees), len(x)).copy())
    moved = torch.as_tensor(np.broadcast_to(2 * np.asarray(shift), (len(x), 2)).copy())  # the side is 2 long
    rows = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    grid = F.affine_grid(torch.cat([rows, moved[:, :, None]], 2).to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def noisy(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Add Gaussian noise and cut at black and white."""
    return (x + NOISE * torch.from_numpy(rng.standard_normal(tuple(x.shape))).to(x.dtype)).clamp(0, 1)


def fit(objective: Supervised, start: Tensor, recipe: Recipe, seed: int, **options: Any) -> Point:
    """Return where training from a theta ends; refuse a rate that makes it diverge."""
    c = Full(start)
    history = train(objective, c, recipe, seed, **options)
    require(history.outcome == "finished", "lr", "must not make training diverge", recipe.lr, "choose a smaller one")
    return history.point(c)


def recipe_of(n: int, epochs: int, batch_size: int, lr: float, decay: float = 1e-4, **changes: Any) -> Recipe:
    """Return SGD with momentum along a cosine for whole passes over n examples."""
    return Recipe(epochs * max(1, n // batch_size), lr, "sgd", batch_size=batch_size, weight_decay=decay, **changes)


def pack(right: np.ndarray) -> dict[str, Any]:
    """Turn bools into what JSON holds."""
    return {"n": len(right), "hex": np.packbits(np.asarray(right, dtype=bool)).tobytes().hex()}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """Return what was packed, as float64."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed["hex"]), np.uint8))[: packed["n"]].astype(float)


class Gain(NamedTuple):
    """A mean difference, its 95 % interval and each seed's own."""

    value: float
    interval: tuple[float, float]
    seeds: tuple[float, ...]


def paired(differences: Sequence[np.ndarray] | np.ndarray) -> Gain:
    """Return the mean of differences, shape ``(n_seeds, n_images)``, over seeds (Student's t) and images (normal)."""
    errors = np.asarray(differences)
    n, value = len(errors), float(errors.mean())
    own = tuple(float(each) for each in errors.mean(axis=1))
    if n == 1:
        return Gain(value, (math.nan, math.nan), own)
    draws = errors.mean(axis=1).std(ddof=1) / n**0.5 * student_draws(n - 1, 2000, generator(0, "soups", "seeds"))
    draws = draws + crossed_variance(errors) ** 0.5 * student_draws(0, 2000, generator(0, "soups", "images"))
    low, high = value + np.quantile(draws, [0.025, 0.975])
    return Gain(value, (float(low), float(high)), own)

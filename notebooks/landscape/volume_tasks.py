"""Tiny tasks, many on the same inputs: labels +1 and -1, and 0 where an input is no part of a task."""

import functools
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from volume_classes import HIDDEN, mlp

import workbench
from workbench.errors import require, require_choice
from workbench.seeds import generator

FAMILIES = ("parity", "teacher", "digits", "shuffled")
PAIRS = tuple(combinations(range(10), 2))


class Tasks(NamedTuple):
    """Inputs ``(n, ...)``, labels ``(n_tasks, n)`` as float32, and what each task is called.

    Every task of a set has as many examples as the others.
    """

    x: Tensor
    labels: Tensor
    names: tuple[str, ...]

    @property
    def n_examples(self) -> int:
        """Examples of each task."""
        return int(self.labels[0].abs().sum())


def tasks(family: str, d: int, n: int, n_tasks: int, seed: int) -> Tasks:
    """Return a family's tasks.

    Args:
        family: One of ``FAMILIES``.
        d: Dimension of the inputs of "parity" and "teacher".
        n: Examples of "teacher", images of each digit of "digits" and "shuffled".
        n_tasks: Teachers.
        seed: Chooses inputs, teachers, images and the order of shuffled pixels.

    Returns:
        parity: all corners of a cube; task k is the product of the first k coordinates. teacher: normal inputs; each
        label says whether a network drawn from the MLP's law is above its own median, so half of them are +1.
        digits: each of the 45 pairs of digits. shuffled: the same images with all pixels in one other order.

    Raises:
        InputError: If there is no such family.
    """
    require_choice("family", family, FAMILIES)
    if family == "parity":
        return parity(d)
    return teachers(d, n, n_tasks, seed) if family == "teacher" else digit_pairs(n, seed, family == "shuffled")


def parity(d: int) -> Tasks:
    """Return the parities of the first 1 to d of d signs, on all corners."""
    x = torch.tensor(list(product((-1.0, 1.0), repeat=d)))
    return Tasks(x, x.cumprod(1).T.contiguous(), tuple(f"first {k} of {d}" for k in range(1, d + 1)))


def teachers(d: int, n: int, n_tasks: int, seed: int) -> Tasks:
    """Return tasks that random networks of the MLP's law set, each cut at its median."""
    require(n % 2 == 0, "n_examples", "must be even", n, "half of a teacher's labels are +1")
    rng = generator(seed, "volume", "teacher", d)
    x = torch.from_numpy(rng.standard_normal((n, d)).astype(np.float32))
    law = mlp(x, HIDDEN)
    f = law.outputs(torch.from_numpy(rng.standard_normal((n_tasks, law.D)).astype(np.float32)))
    middle = f.sort(dim=1).values[:, [n // 2 - 1, n // 2]].mean(1, keepdim=True)
    return Tasks(x, torch.where(f > middle, 1.0, -1.0), tuple(f"teacher {i}" for i in range(n_tasks)))


def digit_pairs(n: int, seed: int, shuffled: bool) -> Tasks:
    """Return all pairs of digits, n images of each; every pixel has its mean over all images taken off."""
    x, y = images()
    rng = generator(seed, "volume", "images")
    chosen = np.concatenate([rng.permutation(np.flatnonzero(y == digit))[:n] for digit in range(10)])
    x, digit = x[chosen], torch.arange(10).repeat_interleave(n)
    if shuffled:
        order = torch.from_numpy(generator(seed, "volume", "pixels").permutation(64))
        x = x.flatten(1)[:, order].view(-1, 1, 8, 8)
    labels = torch.stack([(digit == a).float() - (digit == b).float() for a, b in PAIRS])
    return Tasks(x, labels, tuple(f"{a} or {b}" for a, b in PAIRS))


@functools.cache
def images() -> tuple[Tensor, np.ndarray]:
    """Return all images, each pixel's mean taken off and all divided by one standard deviation, and their digits."""
    data = workbench.load("digits")
    parts = (data.train, data.validation, data.test)
    x = torch.cat([part.x for part in parts])
    x = x - x.mean(0)
    return x / x.std(), np.concatenate([part.y.numpy() for part in parts])

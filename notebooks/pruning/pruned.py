"""What trials of pruning share: data and networks by name, widths of small ones, paired differences, packed arrays."""

import functools
import math
from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from workbench import models, pruning
from workbench.datasets import Dataset, Split, load
from workbench.datasets.downloads import contents
from workbench.datasets.sources import PLACES
from workbench.objective import Supervised
from workbench.seeds import generator
from workbench.statistics import crossed_variance, student_draws

TEXT, CONTEXT = "tinyshakespeare", 32  # 1,115,394 characters of Shakespeare; characters of a sequence
_CHECKSUM = PLACES[TEXT][0].files[0].parts[0].sha256
_HELD = {"validation": 250, "test": 500}  # sequences
_FACTORS = 400  # steps of a small network's width


@functools.lru_cache(maxsize=4)
def data(dataset: str, n_train: int | None = None) -> Dataset:
    """Load images, or the text as sequences of characters, once per process."""
    return _text() if dataset == TEXT else load(dataset, n_train=n_train)


def _text() -> Dataset:
    """Cut the text into sequences: nine tenths to train on, of the rest some to choose by and some to test."""
    letters, tokens = np.unique(contents(TEXT)["input.txt"], return_inverse=True)
    sequences = torch.from_numpy(tokens[: len(tokens) // (CONTEXT + 1) * (CONTEXT + 1)].reshape(-1, CONTEXT + 1))
    n = len(sequences) * 9 // 10
    parts = {"train": sequences[:n]}
    for name, size in _HELD.items():
        parts[name], n = sequences[n : n + size], n + size
    splits = {name: Split(part[:, :-1].contiguous(), part[:, 1:].contiguous()) for name, part in parts.items()}
    note = f"{len(parts['train']):,} training sequences of {CONTEXT} characters of tiny-shakespeare"
    return Dataset(TEXT, **splits, n_classes=len(letters), checksum=_CHECKSUM, note=note)


def build(network: str, images: Dataset, seed: int, factor: float = 1.0) -> nn.Module:
    """Return a network of a share of its usual widths.

    Args:
        network: ``"mlp"`` (300 and 100 units), ``"lenet"``, ``"cnn"`` (with BatchNorm), ``"transformer-L"`` of L
            blocks and width 64.
        images: Gives inputs and classes.
        seed: Initialisation.
        factor: Share of every hidden width, rounded, at least one unit.

    Returns:
        The network.
    """
    shape, n_classes = images.train.x.shape[1:], images.n_classes or 1
    if network == "mlp":
        return models.mlp([math.prod(shape), *_scaled(factor, 300, 100), n_classes], seed)
    if network == "lenet":
        return _lenet(shape[-1], shape[0], n_classes, seed, _scaled(factor, 6, 16, 120, 84))
    if network == "cnn":
        return models.small_cnn(n_classes, shape[0], *_scaled(factor, 16), seed)
    (heads,), n_layers = _scaled(factor, 16), int(network.removeprefix("transformer-"))
    return models.CharTransformer(n_classes, CONTEXT, 4 * heads, n_layers, seed=seed)


def _scaled(factor: float, *widths: int) -> list[int]:
    return [max(1, round(factor * width)) for width in widths]


def _lenet(side: int, n_channels: int, n_classes: int, seed: int, widths: list[int]) -> nn.Module:
    """Return ``models.lenet`` with other widths: its layers are replaced in place, so names and streams agree."""
    network = models.lenet(side, n_classes, n_channels, seed)
    kernel, padding = network[0].kernel_size, network[0].padding
    places = network[7].in_features // 16
    a, b, c, d = widths
    network[0], network[3] = (nn.Conv2d(i, o, kernel, padding=padding) for i, o in ((n_channels, a), (a, b)))
    network[7], network[9], network[11] = nn.Linear(b * places, c), nn.Linear(c, d), nn.Linear(d, n_classes)
    return models.initialise(network, seed)


@functools.lru_cache(maxsize=64)
def small_factor(network: str, dataset: str, goal: int) -> float:
    """Return the factor whose network comes nearest to a number of parameters."""

    def size(step: int) -> int:
        return sum(p.numel() for p in build(network, data(dataset), 0, step / _FACTORS).parameters())

    above = bisect_left(range(1, _FACTORS + 1), goal, key=size) + 1
    near = [step for step in (above - 1, above) if 1 <= step <= _FACTORS]
    return min(near, key=lambda step: abs(size(step) - goal)) / _FACTORS


def objective_of(network: str, dataset: str, n_train: int | None, seed: int, factor: float = 1.0) -> Supervised:
    """Return the loss of a network of one seed as a function of theta."""
    images = data(dataset, n_train)
    return Supervised(build(network, images, seed, factor), images.train, images.validation, images.test)


def prunable(objective: Supervised) -> torch.Tensor:
    """Mark the weights, and of a transformer its embeddings too, which are much of it."""
    return pruning.prunable(objective.layout, ("weight", "embedding"))


class Difference(NamedTuple):
    """An estimate, its standard error and its 95 % interval, over seeds and test examples."""

    value: float
    se: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high


def paired(a: np.ndarray, b: np.ndarray) -> Difference:
    """Return the mean of a - b, arrays of shape ``(n_seeds, n_examples)`` that share seeds and examples."""
    return _estimate(float((a - b).mean()), a - b)


def recovered(pruned: np.ndarray, arm: np.ndarray, full: np.ndarray) -> Difference:
    """Return the share of full retraining's gain in loss that an arm reaches, losses of shape ``(n_seeds, n)``.

    (pruned - arm) / (pruned - full), of means over seeds and examples; its error to first order. NaN without a gain.
    """
    gain = float((pruned - full).mean())
    if gain <= 0:
        return Difference(*[math.nan] * 4)
    share = float((pruned - arm).mean()) / gain
    return _estimate(share, ((pruned - arm) - share * (pruned - full)) / gain)


def _estimate(value: float, error: np.ndarray) -> Difference:
    """Give a value the noise of its errors, of each seed on each example: seeds by Student's t, examples normal."""
    n = len(error)
    if n == 1:
        return Difference(value, *[math.nan] * 3)
    seeds, examples = error.mean(axis=1).std(ddof=1) / n**0.5, crossed_variance(error) ** 0.5
    draws = seeds * student_draws(n - 1, 2000, generator(0, "pruned", "seeds"))
    draws = draws + examples * student_draws(0, 2000, generator(0, "pruned", "examples"))
    low, high = value + np.quantile(draws, [0.025, 0.975])
    return Difference(value, math.hypot(seeds, examples), float(low), float(high))


def scores(objective: Supervised, point: Any, split: str = "test") -> np.ndarray:
    """Return each example's score, larger = better: right or wrong, of a text minus its loss in nats."""
    right = objective.evaluate(point, split).correct
    return -objective.per_example_loss(point, split).numpy() if right is None else right


def pack(values: np.ndarray) -> dict[str, Any]:
    """Turn bools or floats into what JSON holds."""
    bits = values.dtype == bool
    held = np.packbits(values) if bits else values.astype("<f4")
    return {"n": len(values), "bits": bits, "hex": held.tobytes().hex()}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """Return what was packed, as float64."""
    raw = bytes.fromhex(packed["hex"])
    if packed["bits"]:
        return np.unpackbits(np.frombuffer(raw, np.uint8))[: packed["n"]].astype(float)
    return np.frombuffer(raw, "<f4").astype(float)

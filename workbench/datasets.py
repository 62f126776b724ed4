"""Read, verify, split and, for controls, spoil the data that the studies use.

Every split is deterministic. The test images are the official ones or a fixed stratified draw, the validation images
are carved from the training ones by a fixed stream, and a seed only ever chooses which training images are used and
how a control is drawn. Pixels of digits and of MNIST's kind are scaled to [0, 1] and left there; CIFAR-10 is
standardised per channel and tables per feature, by statistics of the training examples in use.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.arrays import Arrays, arrays, draw
from workbench.errors import DataError, require, require_choice
from workbench.seeds import generator

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10", "breast_cancer", "wine", "diabetes", "toy")
_IMAGES = ("digits", "mnist", "fashion_mnist", "cifar10")
_REGRESSION = ("diabetes", "toy")
_LABEL_NOISE = re.compile(r"label_noise:(\d+\.?\d*|\.\d+)")
_PUBLISHED = Path(__file__).resolve().parent.parent / "data" / "published"


@dataclass(frozen=True, eq=False)
class Split:
    """Examples ``x`` (float32, first axis the example) and targets ``y``, shape ``(n,)``: int64 classes or float32."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits and what they stand on.

    Attributes:
        name: The name it was loaded by.
        train: Examples to fit.
        validation: Examples to choose by, carved from the training ones.
        test: Examples to report on.
        n_classes: Number of classes; ``None`` for regression.
        checksum: SHA-256 of all arrays as loaded, before any choice of examples, scaling or control.
        note: In words, which examples a result stands on.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    n_classes: int | None
    checksum: str
    note: str


@dataclass(frozen=True)
class _Controls:
    """What to spoil."""

    permuted_pixels: bool = False
    random_labels: bool = False
    label_noise: float | None = None


def load(
    name: str,
    *,
    n_train: int | None = None,
    n_validation: int | None = None,
    seed: int = 0,
    controls: Sequence[str] = (),
    flatten: bool = False,
) -> Dataset:
    """Load a dataset, split, scaled and as tensors.

    ``digits``, ``breast_cancer``, ``wine`` and ``diabetes`` come with scikit-learn; ``mnist``, ``fashion_mnist`` and
    ``cifar10`` from the folder that ``WORKBENCH_DATA`` names, else from the cache, else from a mirror. ``toy`` is the
    regression of Li et al. with D = 1000: example k (1..10) is the indicator of the k-th group of 100 parameters and
    its target is k, so the sum of squared errors is the sum over k of (sum of group k - k)^2; its splits are one.

    Args:
        name: One of ``NAMES``.
        n_train: Training examples to use, drawn by ``seed`` with the classes in proportion; by default all that
            validation leaves.
        n_validation: Validation examples, a draw that no seed changes; by default a tenth of the training examples.
        seed: Chooses the subset and draws the controls; never the test or the validation examples.
        controls: ``"permuted_pixels"`` (one permutation of all pixels of an image, the same for all images),
            ``"random_labels"`` (all splits' labels drawn anew, uniformly), ``"label_noise:0.2"`` (that fraction of the
            training labels replaced by another class).
        flatten: Give images as vectors ``(n, pixels)`` instead of ``(n, channels, height, width)``.

    Returns:
        The dataset; its ``note`` says which examples it holds.

    Raises:
        InputError: If an argument breaks its rule or a control does not apply to the dataset.
        DataError: If data cannot be read, verified or downloaded.

    References:
        Li et al., "Measuring the Intrinsic Dimension of Objective Landscapes", 2018, section 2, arXiv:1804.08838.

    Example:
        >>> digits = load("digits", n_train=500)
        >>> len(digits.train), len(digits.validation), len(digits.test), tuple(digits.train.x.shape)
        (500, 144, 360, (500, 1, 8, 8))
    """
    require_choice("name", name, NAMES)
    generator(seed)  # refuses a bad seed before anything is read
    require(isinstance(flatten, bool), "flatten", "must be True or False", flatten)
    wanted = _parse(name, controls)
    if name == "toy":
        for argument, value in {"n_train": n_train, "n_validation": n_validation}.items():
            require(value is None, argument, "must be None for toy, whose ten examples are fixed", value)
        return _toy()
    raw = arrays(name)
    n_validation = max(1, round(len(raw.y) / 10)) if n_validation is None else n_validation
    _require_count("n_validation", n_validation, len(raw.y) - 1)
    held = draw(raw.y, n_validation, generator(0, "datasets", name, "validation"))
    kept = np.setdiff1d(np.arange(len(raw.y)), held, assume_unique=True)
    if n_train is not None:
        _require_count("n_train", n_train, len(kept))
        kept = kept[draw(raw.y[kept], n_train, generator(seed, "datasets", name, "subset"))]
    n_classes = None if name in _REGRESSION else int(raw.y.max()) + 1
    xs = _scale(name, raw.x[kept], raw.x[held], raw.x_test)
    ys = _targets(n_classes, raw.y[kept], raw.y[held], raw.y_test)
    if wanted.permuted_pixels:
        order = generator(seed, "datasets", name, "permuted_pixels").permutation(xs[0][0].size)
        xs = [np.take(x.reshape(len(x), -1), order, axis=1).reshape(x.shape) for x in xs]
    if n_classes is not None:
        ys = _spoil(name, n_classes, ys, wanted, seed)
    train, validation, test = (
        Split(torch.from_numpy(x.reshape(len(x), -1) if flatten else x), torch.from_numpy(y))
        for x, y in zip(xs, ys, strict=True)
    )
    note = f"{len(train):,} training, {len(validation):,} validation and {len(test):,} test examples of {raw.what}"
    note += f"; controls: {', '.join(controls)}" if controls else ""
    return Dataset(name, train, validation, test, n_classes, raw.checksum, note)


def published(name: str) -> list[dict[str, str | int]]:
    """Read a table of published figures, each with its place and source.

    Args:
        name: A file of ``data/published/`` without its ending, such as ``"li2018"``.

    Returns:
        One mapping from column to value per row; whole numbers as ``int``, all else as ``str``.

    Raises:
        InputError: If there is no such table.
        DataError: If the folder is not there, as after an installation without the repository.

    Example:
        >>> [row["d_int90"] for row in published("li2018") if row["network"] == "FC" and row["dataset"] == "MNIST"]
        [750, 750]
    """
    if not _PUBLISHED.is_dir():
        raise DataError(f"{_PUBLISHED} is missing; install from a clone of the repository: pip install -e .")
    require_choice("name", name, tuple(sorted(path.stem for path in _PUBLISHED.glob("*.csv"))))
    with (_PUBLISHED / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [
            {column: int(value) if value.isdecimal() else value for column, value in row.items()}
            for row in csv.DictReader(file)
        ]


def _parse(name: str, controls: Sequence[str]) -> _Controls:
    """Turn control strings into what to do, refusing all that is not exactly a control of this dataset."""
    rule = "must be a list of control strings"
    require(not isinstance(controls, str) and isinstance(controls, Sequence), "controls", rule, controls, "[] for none")
    wanted = _Controls()
    for control in controls:
        require(isinstance(control, str), "controls", rule, controls)
        noise = _LABEL_NOISE.fullmatch(control)
        if noise is None:
            require_choice("controls", control, ("permuted_pixels", "random_labels", "label_noise:<fraction>"))
            require(control != "label_noise:<fraction>", "controls", "must name a number", control, "label_noise:0.2")
        kind, value = ("label_noise", float(noise[1])) if noise else (control, True)
        require(0 < value <= 1, "controls", "must have a label-noise fraction in (0, 1]", control)
        require(getattr(wanted, kind) in {False, None}, "controls", "must name a control once", list(controls))
        wanted = replace(wanted, **{kind: value})  # type: ignore[arg-type]
    labels = wanted.random_labels or wanted.label_noise is not None
    rule = "must not change labels where targets are numbers"
    require(not (labels and name in _REGRESSION), "controls", rule, list(controls), "take a classification set")
    rule = "must not permute pixels where there are none"
    require(
        not wanted.permuted_pixels or name in _IMAGES, "controls", rule, list(controls), f"use {', '.join(_IMAGES)}"
    )
    both = wanted.random_labels and wanted.label_noise is not None
    require(not both, "controls", "must not add noise to random labels", list(controls), "choose one of the two")
    return wanted


def _require_count(name: str, value: object, most: int) -> None:
    """Raise unless a value is a whole number in 1..most."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(whole and 1 <= value <= most, name, f"must be a whole number in 1..{most:,}", value)  # type: ignore[operator]


def _toy() -> Dataset:
    """Ten equations in a thousand unknowns: the unknowns of group k sum to k."""
    x, y = np.kron(np.eye(10), np.ones(100)), np.arange(1.0, 11.0)
    raw = Arrays(x, y, x, y, "the toy regression with D = 1000 (train = validation = test: ten group sums)")
    split = Split(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32)))
    return Dataset("toy", split, split, split, None, raw.checksum, f"10 examples of {raw.what}")


def _scale(name: str, *xs: np.ndarray) -> list[np.ndarray]:
    """Turn pixels or features into float32, by statistics of the first array where any are used."""
    if name != "cifar10" and name in _IMAGES:
        return [x.astype(np.float32) / np.float32(16 if name == "digits" else 255) for x in xs]
    if name == "cifar10":  # by counts of each grey level: exact, and no copy in float64
        levels = np.arange(256.0)
        shares = np.stack([np.bincount(xs[0][:, c].ravel(), minlength=256) for c in range(3)]) / xs[0][:, 0].size
        mean = (shares @ levels).reshape(3, 1, 1)
        std = np.sqrt((shares * (levels - mean.reshape(3, 1)) ** 2).sum(1)).reshape(3, 1, 1)
    else:
        mean, std = xs[0].mean(0), xs[0].std(0)
    std = np.where(std > 0, std, 1.0)  # a constant feature stays 0
    if name == "cifar10":
        return [(x - mean.astype(np.float32)) / std.astype(np.float32) for x in xs]
    return [((x - mean) / std).astype(np.float32) for x in xs]


def _targets(n_classes: int | None, *ys: np.ndarray) -> list[np.ndarray]:
    """Turn labels into int64 and real targets into float32, standardised by the first array."""
    if n_classes is not None:
        return [y.astype(np.int64) for y in ys]
    std = ys[0].std() or 1.0
    return [((y - ys[0].mean()) / std).astype(np.float32) for y in ys]


def _spoil(name: str, n_classes: int, ys: list[np.ndarray], wanted: _Controls, seed: int) -> list[np.ndarray]:
    """Apply the label controls."""
    if wanted.random_labels:
        stream = generator(seed, "datasets", name, "random_labels")
        return [stream.integers(n_classes, size=len(y)) for y in ys]
    if wanted.label_noise is not None:
        stream = generator(seed, "datasets", name, "label_noise")
        hit = stream.permutation(len(ys[0]))[: round(wanted.label_noise * len(ys[0]))]
        ys[0][hit] = (ys[0][hit] + stream.integers(1, n_classes, size=len(hit))) % n_classes
    return ys

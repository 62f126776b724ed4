"""Read, verify and split the data that the studies use.

Pixels of digits and of MNIST's kind are scaled to [0, 1]; CIFAR-10 is standardised per channel and tables per feature,
by statistics of the training examples in use.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.datasets.arrays import draw, load_raw
from workbench.errors import DataError, is_count, require, require_choice
from workbench.seeds import generator

__all__ = ["NAMES", "Dataset", "Split", "load", "published"]

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10", "breast_cancer", "wine", "diabetes")
_IMAGES = ("digits", "mnist", "fashion_mnist", "cifar10")
_PUBLISHED = Path(__file__).resolve().parents[2] / "data" / "published"


@dataclass(frozen=True, eq=False)
class Split:
    """Examples ``x`` (float32, first axis the example) and targets ``y``, shape ``(n,)``: int64 classes or float32."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits and what they stand on."""

    name: str
    train: Split
    validation: Split  # to choose by; carved from the training examples
    test: Split
    n_classes: int | None  # None for regression
    checksum: str  # SHA-256 of all arrays as loaded, before any choice of examples or scaling
    note: str  # in words, which examples a result stands on


def load(
    name: str, *, n_train: int | None = None, n_validation: int | None = None, seed: int = 0, flatten: bool = False
) -> Dataset:
    """Load a dataset, split, scaled and as tensors.

    ``mnist``, ``fashion_mnist`` and ``cifar10`` come from the folder that ``WORKBENCH_DATA`` names, else from the
    cache, else from a mirror; the rest from scikit-learn.

    Args:
        name: One of ``NAMES``.
        n_train: Training examples to use, classes in proportion; by default all that validation leaves.
        n_validation: Validation examples, a draw that no seed changes; by default a tenth of the training examples.
        seed: Chooses the subset; never the test or the validation examples.
        flatten: Give images as vectors ``(n, pixels)`` instead of ``(n, channels, height, width)``.

    Returns:
        The dataset; its ``note`` says which examples it holds.

    Raises:
        InputError: If an argument breaks its rule.
        DataError: If data cannot be read, verified or downloaded.

    Example:
        >>> digits = load("digits", n_train=500)
        >>> len(digits.train), len(digits.validation), len(digits.test), tuple(digits.train.x.shape)
        (500, 144, 360, (500, 1, 8, 8))
    """
    require_choice("name", name, NAMES)
    generator(seed)  # refuses a bad seed before anything is read
    raw = load_raw(name)
    n_validation = max(1, round(len(raw.y) / 10)) if n_validation is None else n_validation
    _require_count("n_validation", n_validation, len(raw.y) - 1)
    held = draw(raw.y, n_validation, generator(0, "datasets", name, "validation"))
    kept = np.setdiff1d(np.arange(len(raw.y)), held, assume_unique=True)
    if n_train is not None:
        _require_count("n_train", n_train, len(kept))
        kept = kept[draw(raw.y[kept], n_train, generator(seed, "datasets", name, "subset"))]
    xs = _scale(name, raw.x[kept], raw.x[held], raw.x_test)
    ys = [raw.y[kept], raw.y[held], raw.y_test]
    n_classes = None if name == "diabetes" else int(raw.y.max()) + 1
    if n_classes is None:
        ys = _scale(name, *ys)
    train, validation, test = (
        Split(torch.from_numpy(x.reshape(len(x), -1) if flatten else x), torch.from_numpy(y))
        for x, y in zip(xs, ys, strict=True)
    )
    note = f"{len(train):,} training, {len(validation):,} validation and {len(test):,} test examples of {raw.what}"
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
        rows = list(csv.DictReader(file))
    return [{column: int(value) if value.isdecimal() else value for column, value in row.items()} for row in rows]


def _require_count(name: str, value: int, most: int) -> None:
    """Raise unless a value is a whole number in 1..most."""
    require(is_count(value, 1) and value <= most, name, f"must be a whole number in 1..{most:,}", value)


def _scale(name: str, *xs: np.ndarray) -> list[np.ndarray]:
    """Turn pixels, features or real targets into float32, by statistics of the first array where any are used."""
    if name == "cifar10":  # by counts of each grey level: exact, and no copy in float64
        levels = np.arange(256.0)
        shares = np.stack([np.bincount(xs[0][:, c].ravel(), minlength=256) for c in range(3)]) / xs[0][:, 0].size
        mean = (shares @ levels)[:, None]
        std = np.sqrt((shares * (levels - mean) ** 2).sum(1))
        mean, std = (values.reshape(3, 1, 1).astype(np.float32) for values in (mean, std))
    elif name in _IMAGES:
        mean, std = np.zeros(1, np.float32), np.full(1, 16 if name == "digits" else 255, np.float32)
    else:
        mean, std = np.atleast_1d(xs[0].mean(0)), np.atleast_1d(xs[0].std(0))
    std[std == 0] = 1  # a constant feature stays 0
    scaled = [np.subtract(x, mean, dtype=mean.dtype, order="C") for x in xs]
    for x in scaled:
        x /= std
    return [x.astype(np.float32, copy=False) for x in scaled]

"""The arrays of each dataset as loaded: what is training, what is test, and which examples these are."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workbench.downloads import contents
from workbench.seeds import generator


@dataclass(frozen=True)
class Arrays:
    """Inputs and targets of the training pool and of the test set, before any scaling.

    Attributes:
        x: Images, uint8 ``(n, channels, height, width)``, or a float64 table ``(n, features)``.
        y: Targets, shape ``(n,)``.
        x_test: As ``x``, of the test set.
        y_test: As ``y``, of the test set.
        what: The set and, if it is partial, which part, in words.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    what: str

    @property
    def checksum(self) -> str:
        """SHA-256 over type, shape and little-endian bytes of every array, the same on every machine."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, self.x_test, self.y_test):
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{array.dtype.newbyteorder('<').str}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def draw(y: np.ndarray, n: int, stream: np.random.Generator) -> np.ndarray:
    """Draw some of the examples; classes keep their shares to within one example.

    Args:
        y: Integer classes; or real targets, which are drawn without regard to their values.
        n: How many.
        stream: The randomness.

    Returns:
        Indices in rising order, shape ``(n,)``.

    Example:
        >>> y = np.array([0, 0, 0, 0, 1, 1])
        >>> y[draw(y, 3, generator(0))].tolist()
        [0, 0, 1]
    """
    order = stream.permutation(len(y))
    if not np.issubdtype(y.dtype, np.integer):
        return np.sort(order[:n])
    shares = n * np.bincount(y)  # in units of 1 / len(y): whole numbers, so no rounding depends on the machine
    quotas = shares // len(y)
    quotas[np.argsort(-(shares % len(y)), kind="stable")[: n - quotas.sum()]] += 1
    return np.sort(np.concatenate([order[y[order] == label][:quota] for label, quota in enumerate(quotas)]))


def arrays(name: str) -> Arrays:
    """Load a dataset's arrays, verified against their checksums where they come from files.

    Args:
        name: Any of ``workbench.datasets.NAMES`` but the toy.

    Returns:
        Training pool and test set.
    """
    return _LOADERS[name]() if name in _LOADERS else _from_sklearn(name)


def _from_sklearn(name: str) -> Arrays:
    """Take one of scikit-learn's sets; a fifth of it, drawn once and for all, is the test set."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    x, y, what = bunch.data, bunch.target, f"scikit-learn's {name}"
    if name == "digits":
        x, what = x.reshape(-1, 1, 8, 8).astype(np.uint8), "scikit-learn's handwritten digits"
    y = y.astype(np.float64 if name == "diabetes" else np.int64)
    test = draw(y, -(-len(y) // 5), generator(0, "datasets", name, "test"))
    train = np.setdiff1d(np.arange(len(y)), test, assume_unique=True)
    return Arrays(x[train], y[train], x[test], y[test], what)


def _idx_arrays(parts: dict[str, np.ndarray], what: str) -> Arrays:
    """Cut four IDX files, whose digests vouch for their headers of 16 and 8 bytes."""
    x, x_test = (parts[f"{kind}-images-idx3-ubyte"][16:].reshape(-1, 1, 28, 28) for kind in ("train", "t10k"))
    y, y_test = (parts[f"{kind}-labels-idx1-ubyte"][8:].astype(np.int64) for kind in ("train", "t10k"))
    return Arrays(x, y, x_test, y_test, what)


def _mnist() -> Arrays:
    """MNIST, whole."""
    return _idx_arrays(contents("mnist"), "MNIST")


def _fashion_mnist() -> Arrays:
    """Fashion-MNIST, whole or its first 3,615 training images, of which the last 615 then serve as test set."""
    parts = contents("fashion_mnist")
    if "x" not in parts:
        return _idx_arrays(parts, "Fashion-MNIST")
    x, y = parts["x"].reshape(-1, 1, 28, 28), parts["y"].astype(np.int64)
    what = "Fashion-MNIST's first 3,615 training images only (test: the last 615 of them, not the official test set)"
    return Arrays(x[:3000], y[:3000], x[3000:], y[3000:], what)


def _cifar10() -> Arrays:
    """CIFAR-10, whole from the records (label, red, green, blue) of the binary archive, or its subset."""
    parts = contents("cifar10")
    if "x_train" not in parts:
        batches = [parts[f"data_batch_{i}.bin"].reshape(-1, 3073) for i in range(1, 6)]
        pool, test = np.concatenate(batches), parts["test_batch.bin"].reshape(-1, 3073)
        x, x_test = (records[:, 1:].reshape(-1, 3, 32, 32) for records in (pool, test))
        return Arrays(x, pool[:, 0].astype(np.int64), x_test, test[:, 0].astype(np.int64), "CIFAR-10")
    images = {
        name: parts[f"x_{name}"].reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2) for name in ("train", "holdout", "test")
    }
    x = np.concatenate([images["train"], images["holdout"]])
    y = np.concatenate([parts["y_train"], parts["y_holdout"]]).astype(np.int64)
    what = (
        "a CIFAR-10 subset (of each class the first 500 and the last 100 official training images; test: the first "
        "1,000 official test images)"
    )
    return Arrays(x, y, np.ascontiguousarray(images["test"]), parts["y_test"].astype(np.int64), what)


_LOADERS: dict[str, Callable[[], Arrays]] = {"mnist": _mnist, "fashion_mnist": _fashion_mnist, "cifar10": _cifar10}

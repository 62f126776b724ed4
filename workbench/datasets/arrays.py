"""The arrays of each dataset as loaded: what is training, what is test, and which examples these are."""

import hashlib
from dataclasses import dataclass

import numpy as np

from workbench.datasets.downloads import contents
from workbench.seeds import generator


@dataclass(frozen=True)
class Arrays:
    """Training pool and test set before scaling: uint8 images ``(n, channels, height, width)`` or float64 tables."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    what: str  # the set and, if it is partial, which part

    @property
    def checksum(self) -> str:
        """SHA-256 over type, shape and little-endian bytes of every array, the same on every machine."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, self.x_test, self.y_test):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{little.dtype.newbyteorder('<').str}{little.shape}".encode())
            digest.update(little.data)
        return digest.hexdigest()


def draw(y: np.ndarray, n: int, stream: np.random.Generator) -> np.ndarray:
    """Draw n indices, in rising order; integer classes keep their shares to within one example."""
    order = stream.permutation(len(y))
    if not np.issubdtype(y.dtype, np.integer):
        return np.sort(order[:n])
    shares = n * np.bincount(y)  # in units of 1 / len(y): whole numbers, so no rounding depends on the machine
    quotas = shares // len(y)
    quotas[np.argsort(-(shares % len(y)), kind="stable")[: n - quotas.sum()]] += 1
    return np.sort(np.concatenate([order[y[order] == label][:quota] for label, quota in enumerate(quotas)]))


def load_raw(name: str) -> Arrays:
    """Load any dataset, verified against its checksums where it comes from files."""
    if name == "cifar10":
        return _cifar10()
    return _mnist(name) if name in {"mnist", "fashion_mnist"} else _from_sklearn(name)


def _from_sklearn(name: str) -> Arrays:
    """Take one of scikit-learn's sets; a fifth of it, drawn once and for all, is the test set."""
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    what = f"scikit-learn's {name}"
    if name == "digits":
        x, what = x.reshape(-1, 1, 8, 8).astype(np.uint8), "scikit-learn's handwritten digits"
    y = y.astype(np.float64 if name == "diabetes" else np.int64)
    test = draw(y, -(-len(y) // 5), generator(0, "datasets", name, "test"))
    train = np.setdiff1d(np.arange(len(y)), test, assume_unique=True)
    return Arrays(x[train], y[train], x[test], y[test], what)


def _mnist(name: str) -> Arrays:
    """Cut four IDX files, whose digests vouch for their headers of 16 and 8 bytes; or split Fashion-MNIST's part."""
    parts = contents(name)
    if "x" in parts:
        x, y = parts["x"].reshape(-1, 1, 28, 28), parts["y"].astype(np.int64)
        what = (
            "Fashion-MNIST's first 3,615 training images only (test: the last 615 of them, not the official test set)"
        )
        return Arrays(x[:3000], y[:3000], x[3000:], y[3000:], what)
    x, x_test = (parts[f"{kind}-images-idx3-ubyte"][16:].reshape(-1, 1, 28, 28) for kind in ("train", "t10k"))
    y, y_test = (parts[f"{kind}-labels-idx1-ubyte"][8:].astype(np.int64) for kind in ("train", "t10k"))
    return Arrays(x, y, x_test, y_test, "MNIST" if name == "mnist" else "Fashion-MNIST")


def _cifar10() -> Arrays:
    """CIFAR-10, whole from the records (label, red, green, blue) of the binary archive, or its subset."""
    parts = contents("cifar10")
    if "x_train" in parts:
        pool = np.concatenate([parts["x_train"], parts["x_holdout"]])
        x, x_test = (flat.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2) for flat in (pool, parts["x_test"]))
        y, y_test = np.concatenate([parts["y_train"], parts["y_holdout"]]), parts["y_test"]
        what = (
            "a CIFAR-10 subset (of each class the first 500 and the last 100 official training images; test: the "
            "first 1,000 official test images)"
        )
    else:
        pool = np.concatenate([parts[f"data_batch_{i}.bin"] for i in range(1, 6)]).reshape(-1, 3073)
        test = parts["test_batch.bin"].reshape(-1, 3073)
        x, x_test = (records[:, 1:].reshape(-1, 3, 32, 32) for records in (pool, test))
        y, y_test, what = pool[:, 0], test[:, 0], "CIFAR-10"
    return Arrays(x, y.astype(np.int64), x_test, y_test.astype(np.int64), what)

"""Splits, scaling, checksums and refusals of every dataset; published images where they can be had."""

import csv
import gzip
import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from workbench import datasets
from workbench.datasets import NAMES, Dataset, Split, arrays, load, published
from workbench.datasets.sources import PLACES
from workbench.errors import DataError, InputError
from workbench.laws.tables import ORIGINS

BUILT_IN = ("digits", "breast_cancer", "wine", "diabetes")
CLASSIFIED = ("digits", "breast_cancer", "wine")
published_images = pytest.mark.skipif(
    not os.environ.get("WORKBENCH_DATA"), reason="set WORKBENCH_DATA to a folder with MNIST, Fashion-MNIST and CIFAR-10"
)


def rows(*xs: Tensor) -> list[bytes]:
    return [row.numpy().tobytes() for x in xs for row in x]


def same(a: Split, b: Split) -> bool:
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y)


@pytest.mark.parametrize(
    ("name", "sizes", "shape", "n_classes", "checksum"),
    [
        ("digits", (1293, 144, 360), (1, 8, 8), 10, "c282cded91c2ef03"),
        ("breast_cancer", (409, 46, 114), (30,), 2, "e89ecbeaf156a294"),
        ("wine", (128, 14, 36), (13,), 3, "a9ab35ee2bb47efc"),
        ("diabetes", (318, 35, 89), (10,), None, "df278aec18a2aea3"),
    ],
)
def test_built_in_sets(
    name: str, sizes: tuple[int, ...], shape: tuple[int, ...], n_classes: int | None, checksum: str
) -> None:
    data = load(name)
    splits = (data.train, data.validation, data.test)
    assert (data.name, data.n_classes, tuple(map(len, splits))) == (name, n_classes, sizes)
    assert data.checksum.startswith(checksum), "the arrays, or their split, are no longer the same"
    assert f"{sizes[0]:,} training, {sizes[1]} validation and {sizes[2]} test examples of scikit-learn's" in data.note
    for split in splits:
        assert split.x.shape == (len(split), *shape)
        assert split.y.shape == (len(split),)
        assert split.x.dtype == torch.float32
        assert split.y.dtype == (torch.float32 if n_classes is None else torch.int64)


@pytest.mark.parametrize("name", BUILT_IN)
def test_splits_hold_every_example_once(name: str) -> None:
    raw = arrays.load_raw(name)
    count = len(raw.y) + len(raw.y_test)
    assert count == {"digits": 1797, "breast_cancer": 569, "wine": 178, "diabetes": 442}[name]
    # Unscaled, so that equal rows stay equal; inputs and targets together tell the examples of these sets apart.
    pairs = [
        np.concatenate([x.reshape(len(x), -1), y[:, None]], axis=1).astype(float)
        for x, y in ((raw.x, raw.y), (raw.x_test, raw.y_test))
    ]
    assert len({row.tobytes() for row in np.concatenate(pairs)}) == count
    data = load(name)
    assert len(data.train) + len(data.validation) + len(data.test) == count
    assert not set(rows(data.train.x, data.validation.x)) & set(rows(data.test.x))
    assert not set(rows(data.train.x)) & set(rows(data.validation.x))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_seed_changes_only_the_subset(name: str) -> None:
    whole = [load(name, seed=seed) for seed in (0, 1)]
    assert all(same(getattr(whole[0], s), getattr(whole[1], s)) for s in ("train", "validation", "test"))
    if name == "digits":  # nothing is scaled by statistics, so the splits can be compared bit by bit
        few, again, other = (load(name, n_train=100, seed=seed) for seed in (0, 0, 1))
        assert same(few.train, again.train)
        assert not same(few.train, other.train)
        for part in (few, other):
            assert same(part.validation, whole[0].validation)
            assert same(part.test, whole[0].test)
            assert set(rows(part.train.x)) <= set(rows(whole[0].train.x))
            assert len(set(rows(part.train.x))) == 100
            assert part.checksum == whole[0].checksum


@pytest.mark.parametrize("name", CLASSIFIED)
@pytest.mark.parametrize("n_train", [3, 50, 100])
def test_every_split_keeps_the_classes_in_proportion(name: str, n_train: int) -> None:
    raw = arrays.load_raw(name)
    share = np.bincount(np.concatenate([raw.y, raw.y_test])) / (len(raw.y) + len(raw.y_test))
    data = load(name, n_train=n_train, seed=3)
    for split in (data.train, data.validation, data.test):
        counts = np.bincount(split.y.numpy(), minlength=len(share))
        # Each of the nested draws rounds by less than one example.
        assert np.abs(counts - share * len(split)).max() < 2
    assert len(data.train) == n_train


def test_draw_is_stratified_exactly() -> None:
    y = np.repeat([0, 1, 2], [60, 30, 10])
    for n, seed in itertools.product((0, 10, 33, 100), range(3)):
        chosen = arrays.draw(y, n, np.random.default_rng(seed))
        assert len(np.unique(chosen)) == n
        assert np.abs(np.bincount(y[chosen], minlength=3) - n * np.array([0.6, 0.3, 0.1])).max() < 1
    assert np.bincount(y[arrays.draw(y, 10, np.random.default_rng(0))]).tolist() == [6, 3, 1]


def test_n_validation() -> None:
    data = load("digits", n_validation=400)
    assert (len(data.train), len(data.validation), len(data.test)) == (1037, 400, 360)
    assert same(data.test, load("digits").test)


def test_digits_are_pixels_over_16() -> None:
    x = torch.cat([part.x for part in (load("digits").train, load("digits").test)])
    assert (x.min(), x.max()) == (0, 1)
    assert torch.equal(x * 16, (x * 16).round())


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes"])
def test_tables_are_standardised_by_the_training_examples(name: str) -> None:
    data = load(name, n_train=100)
    x = data.train.x.double()
    torch.testing.assert_close(x.mean(0), torch.zeros(x.shape[1], dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(x.shape[1], dtype=torch.float64), atol=1e-6, rtol=0)
    assert data.test.x.mean(0).abs().max() > 1e-3, "the test examples have means of their own"
    if name == "diabetes":
        assert abs(float(data.train.y.mean())) < 1e-6
        assert float(data.train.y.std(correction=0)) == pytest.approx(1, abs=1e-6)


def test_a_constant_feature_becomes_zero() -> None:
    assert torch.isfinite(load("wine", n_train=1).test.x).all()
    assert not load("wine", n_train=1).train.x.any()


def test_flatten() -> None:
    image, vector = load("digits"), load("digits", flatten=True)
    assert vector.train.x.shape == (1293, 64)
    assert torch.equal(image.train.x.flatten(1), vector.train.x)
    assert load("wine", flatten=True).train.x.shape == (128, 13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnsit"}, "name must be one of digits, mnist"),
        ({"name": 3}, "name must be one of"),
        ({"name": "digits", "seed": -1}, "seed must be a non-negative integer, got -1"),
        ({"name": "digits", "seed": True}, "seed must be a non-negative integer, got True"),
        ({"name": "digits", "seed": 1.0}, "seed must be a non-negative integer, got 1.0"),
        ({"name": "digits", "n_train": 0}, r"n_train must be a whole number in 1\.\.1,293, got 0"),
        ({"name": "digits", "n_train": 1294}, r"n_train must be a whole number in 1\.\.1,293, got 1294"),
        ({"name": "digits", "n_train": True}, "n_train must be a whole number"),
        ({"name": "digits", "n_train": "100"}, "n_train must be a whole number in .* got '100'"),
        ({"name": "digits", "n_train": 10.0}, "n_train must be a whole number"),
        ({"name": "digits", "n_validation": 0}, r"n_validation must be a whole number in 1\.\.1,436, got 0"),
        ({"name": "digits", "n_validation": 1437}, r"n_validation must be a whole number in 1\.\.1,436"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(**arguments)  # type: ignore[arg-type]


def test_arguments_are_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_DATA", "nowhere")
    with pytest.raises(InputError):
        load("mnist", seed=-1)
    with pytest.raises(DataError, match="WORKBENCH_DATA must name a folder, got 'nowhere'"):
        load("mnist")


def test_load_takes_numpys_integers() -> None:
    assert isinstance(load("digits", n_train=np.int64(20)), Dataset)  # type: ignore[arg-type]


def images(monkeypatch: pytest.MonkeyPatch, name: str, parts: dict[str, np.ndarray]) -> Dataset:
    monkeypatch.setattr(arrays, "contents", lambda wanted: parts if wanted == name else {})
    return load(name)


def test_mnist_format(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    parts = {}
    for kind, n in (("train", 40), ("t10k", 10)):
        parts[f"{kind}-images-idx3-ubyte"] = rng.integers(0, 256, 16 + n * 784).astype(np.uint8)
        parts[f"{kind}-labels-idx1-ubyte"] = np.r_[np.full(8, 99), np.arange(n) % 10].astype(np.uint8)
    data = images(monkeypatch, "mnist", parts)
    assert data.test.y.tolist() == list(range(10))
    assert float(data.test.x[1, 0, 2, 3]) == np.float32(parts["t10k-images-idx3-ubyte"][16 + 784 + 2 * 28 + 3] / 255)
    assert data.note == "36 training, 4 validation and 10 test examples of MNIST"
    assert images(monkeypatch, "fashion_mnist", parts).note.endswith("of Fashion-MNIST")


def test_cifar_binary_format(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    parts = {f"{name}.bin": rng.integers(0, 256, (20, 3073)).astype(np.uint8) for name in ("test_batch",)}
    for i in range(1, 6):
        parts[f"data_batch_{i}.bin"] = rng.integers(0, 256, (20, 3073)).astype(np.uint8)
    for records in parts.values():
        records[:, 0] = np.arange(20) % 10
    raw = {name: records.reshape(-1) for name, records in parts.items()}
    data = images(monkeypatch, "cifar10", raw)
    assert data.note == "90 training, 10 validation and 20 test examples of CIFAR-10"
    x = data.train.x.double()
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.square().mean((0, 2, 3)), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert data.test.y.tolist() == [*range(10), *range(10)]
    assert all(split.x.is_contiguous() for split in (data.train, data.validation, data.test))
    green = torch.from_numpy(parts["test_batch.bin"][4, 1 + 1024 :][: 32 * 32].reshape(32, 32).astype(np.float32))
    ours = data.test.x[4, 1]  # standardised: the same image up to a shift and a factor
    assert float(torch.corrcoef(torch.stack([green.flatten(), ours.flatten()]))[0, 1]) == pytest.approx(1, abs=1e-6)


@published_images
def test_mnist() -> None:
    data = load("mnist")
    assert (len(data.train), len(data.validation), len(data.test)) == (54_000, 6_000, 10_000)
    assert data.train.x.shape == (54_000, 1, 28, 28)
    assert np.bincount(data.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    both = torch.cat([data.train.y, data.validation.y])
    assert np.bincount(both).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert (float(data.train.x.min()), float(data.train.x.max())) == (0, 1)
    assert float(torch.cat([data.train.x, data.validation.x]).double().mean()) == pytest.approx(0.1307, abs=5e-5)
    assert data.checksum.startswith("11de40ec28a7c150")


@published_images
def test_fashion_mnist() -> None:
    if (Path(os.environ["WORKBENCH_DATA"]) / PLACES["fashion_mnist"][0][0]).is_dir():
        pytest.skip("this data folder holds the whole set; the partial one is tested here")
    data = load("fashion_mnist")
    assert (len(data.train), len(data.validation), len(data.test)) == (2700, 300, 615)
    assert "first 3,615 training images only" in data.note
    assert "the last 615 of them, not the official test set" in data.note
    assert np.bincount(data.test.y).tolist() == [53, 73, 67, 63, 54, 57, 64, 64, 55, 65]
    assert data.checksum.startswith("66cbbf7ce0b5b7d2")


@published_images
def test_cifar10() -> None:
    if (Path(os.environ["WORKBENCH_DATA"]) / "cifar10" / PLACES["cifar10"][0][1][0].file).exists():
        pytest.skip("this data folder holds the whole set; the partial one is tested here")
    data = load("cifar10")
    assert (len(data.train), len(data.validation), len(data.test)) == (5400, 600, 1000)
    assert "the first 500 and the last 100" in data.note
    assert all(split.x.is_contiguous() for split in (data.train, data.validation, data.test))
    assert np.bincount(data.train.y).tolist() == [540] * 10
    assert data.test.y[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert data.train.x.double().square().mean((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert data.checksum.startswith("21e92b27184cb1e0")


@published_images
def test_a_spoilt_copy_of_mnist_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(Path(os.environ["WORKBENCH_DATA"]) / "mnist", tmp_path / "mnist")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    path = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.chmod(0o644)
    whole = path.read_bytes()
    labels = bytearray(gzip.decompress(whole))
    labels[100] ^= 1
    train = (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").read_bytes()
    for spoilt, reason in (
        (whole[:2000], "truncated or damaged"),
        (gzip.compress(labels), r"must hold .*-ubyte \(10,008 bytes, SHA-256 .*, got .*-ubyte \(10,008 bytes"),
        (train, r"got .*-ubyte \(10,009 bytes"),
    ):
        path.write_bytes(spoilt)
        with pytest.raises(DataError, match=rf"t10k-labels-idx1-ubyte\.gz.*{reason}.*unset WORKBENCH_DATA"):
            load("mnist")


def test_published_figures_have_place_and_source() -> None:
    table = published("li2018")
    assert len(table) == 24
    for row in table:
        assert set(row) == {"quantity", "dataset", "network", "D", "d_int90", "threshold", "place", "source"}
        assert all(value != "" for value in row.values())
        assert isinstance(row["D"], int)
        assert isinstance(row["d_int90"], int)
        assert row["d_int90"] < row["D"]
    lenet = [row["d_int90"] for row in table if (row["dataset"], row["network"]) == ("MNIST", "LeNet")]
    assert lenet == [275, 290], "the authors' table, then print"


def test_every_published_table_is_named_in_the_readme() -> None:
    folder = Path(datasets.__file__).parents[2] / "data"
    text = (folder / "README.md").read_text(encoding="utf-8")
    files = sorted((folder / "published").glob("*.csv"))
    assert files
    for path in files:
        assert f"published/{path.name}" in text
        with path.open(encoding="utf-8", newline="") as file:
            assert {"place", "source"} <= set(next(csv.reader(file)))


def test_published_refuses_other_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for bad in ("li2019", "../README", 3):
        with pytest.raises(InputError, match="name must be one of chinchilla, li2018"):
            published(bad)  # type: ignore[arg-type]
    monkeypatch.setattr(datasets, "_PUBLISHED", tmp_path / "none")
    with pytest.raises(DataError, match="install from a clone"):
        published("li2018")


def test_names() -> None:
    assert {*BUILT_IN, *PLACES} == {*NAMES, *ORIGINS, "tinyshakespeare"}

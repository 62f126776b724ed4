"""Spoilt data: exactly what was asked for, nothing else, and the given data untouched."""

import numpy as np
import pytest
import torch
from controls import spoil

from workbench.datasets import Split, load
from workbench.errors import InputError
from workbench.seeds import generator


def same(a: Split, b: Split) -> bool:
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y)


def test_permuted_pixels() -> None:
    plain, permuted, again, other = (
        spoil(load("digits"), controls, seed)
        for controls, seed in (((), 0), (["permuted_pixels"], 0), (["permuted_pixels"], 0), (["permuted_pixels"], 1))
    )
    # The permutation, found from the training images alone, must explain all splits.
    order = torch.from_numpy(generator(0, "datasets", "digits", "permuted_pixels").permutation(64))
    assert sorted(order.tolist()) == list(range(64))
    for name in ("train", "validation", "test"):
        before, after = getattr(plain, name), getattr(permuted, name)
        assert after.x.shape == before.x.shape
        assert torch.equal(after.x.flatten(1), before.x.flatten(1)[:, order])
        assert torch.equal(after.y, before.y)
        assert same(after, getattr(again, name))
    assert not torch.equal(permuted.train.x, plain.train.x)
    assert not torch.equal(permuted.train.x, other.train.x)
    assert permuted.checksum == plain.checksum
    assert permuted.note == plain.note + "; controls: permuted_pixels"


def test_random_labels() -> None:
    plain, random, other = (
        spoil(load("digits"), controls, seed)
        for controls, seed in (((), 0), (["random_labels"], 0), (["random_labels"], 1))
    )
    for name in ("train", "validation", "test"):
        before, after = getattr(plain, name), getattr(random, name)
        assert torch.equal(after.x, before.x)
        assert 0.04 < (after.y == before.y).double().mean() < 0.18, "agrees by chance: one in ten"
        counts = np.bincount(after.y.numpy(), minlength=10)
        expected = len(after) / 10
        assert ((counts - expected) ** 2 / expected).sum() < 27.9, "chi-squared with 9 degrees, p = 0.001"
    assert not torch.equal(random.train.y, other.train.y)
    assert random.train.y.dtype == torch.int64


@pytest.mark.parametrize(("name", "fraction"), [("digits", "0.2"), ("digits", "1"), ("breast_cancer", ".5")])
def test_label_noise_replaces_exactly_that_fraction(name: str, fraction: str) -> None:
    plain, noisy = load(name), spoil(load(name), [f"label_noise:{fraction}"])
    changed = noisy.train.y != plain.train.y
    assert int(changed.sum()) == round(float(fraction) * len(plain.train))
    assert torch.equal(noisy.train.x, plain.train.x)
    assert same(noisy.validation, plain.validation)
    assert same(noisy.test, plain.test)
    assert set(noisy.train.y.tolist()) == set(range(plain.n_classes or 0))
    if fraction == "0.2":  # every other class is as likely
        shift = (noisy.train.y - plain.train.y)[changed] % 10
        counts = np.bincount(shift.numpy(), minlength=10)
        assert counts[0] == 0
        assert ((counts[1:] - counts[1:].mean()) ** 2 / counts[1:].mean()).sum() < 26.1, "chi-squared, p = 0.001"


def test_controls_combine() -> None:
    both = spoil(load("digits"), ("permuted_pixels", "label_noise:0.1"))
    assert torch.equal(both.train.x, spoil(load("digits"), ["permuted_pixels"]).train.x)
    assert torch.equal(both.train.y, spoil(load("digits"), ["label_noise:0.1"]).train.y)


@pytest.mark.parametrize(
    ("name", "controls", "message"),
    [
        ("digits", "random_labels", "controls must be a list of control strings, got 'random_labels'"),
        ("digits", None, "controls must be a list of control strings, got None"),
        ("digits", [0.2], "controls must be one of .* got '0.2'; a fifth is label_noise:0.2"),
        ("digits", ["shuffled"], "controls must be one of permuted_pixels, random_labels, label"),
        ("digits", ["label_noise"], "controls must be one of"),
        ("digits", ["label_noise:<fraction>"], "controls must be one of"),
        ("digits", ["label_noise:nan"], "controls must be one of"),
        ("digits", ["label_noise:-0.1"], "controls must be one of"),
        ("digits", ["label_noise:0_1"], "controls must be one of"),
        ("digits", ["label_noise:0.2 "], "controls must be one of"),
        ("digits", ["label_noise:0"], r"controls must have a label-noise fraction in \(0, 1\]"),
        ("digits", ["label_noise:1.1"], r"fraction in \(0, 1\], got 'label_noise:1.1'"),
        ("digits", ["random_labels"] * 2, "controls must name a control once"),
        ("digits", ["label_noise:0.1", "label_noise:0.2"], "controls must name a control once"),
        ("digits", ["random_labels", "label_noise:0.2"], "controls must not add noise to random"),
        ("diabetes", ["random_labels"], "controls must not change labels where targets are num"),
        ("diabetes", ["label_noise:0.2"], "controls must not change labels where targets are num"),
        ("wine", ["permuted_pixels"], "controls must not permute pixels but of images"),
    ],
)
def test_controls_that_a_dataset_cannot_have_are_refused(name: str, controls: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        spoil(load(name), controls)  # type: ignore[arg-type]

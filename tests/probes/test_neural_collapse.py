"""Neural collapse: a simplex has none left; planted departures have known sizes."""

import numpy as np
import pytest
import torch

from workbench.errors import InputError
from workbench.probes import neural_collapse


def frame(n_classes=4, p=6):
    """Return a simplex frame turned at random in p dimensions, one row a class."""
    q = torch.linalg.qr(torch.randn(p, p, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    return (torch.eye(n_classes).double() - 1 / n_classes) @ q[:n_classes]


def test_a_simplex_has_collapsed():
    corners, y = frame(), torch.arange(4).repeat(5)
    found = neural_collapse(3 * corners[y] + 2, y, 0.5 * corners, -corners.sum(1))
    for name in ("nc1", "nc2_norm", "nc2_angle", "nc3", "nc4"):
        assert abs(getattr(found, name)) < 1e-12
    assert found.n_examples == 20


def test_spread_is_measured_against_an_explicit_pseudoinverse():
    corners, y = frame(), torch.arange(4).repeat(9)
    noise = 0.3 * torch.randn(36, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    h = (corners[y] * (1 + y[:, None]) + noise).numpy()
    means = np.stack([h[y.numpy() == c].mean(0) for c in range(4)])
    within = (h - means[y.numpy()]).T @ (h - means[y.numpy()]) / 36
    centred = means - means.mean(0)
    wanted = np.trace(within @ np.linalg.pinv(centred.T @ centred / 4, rcond=1e-8)) / 4
    found = neural_collapse(torch.from_numpy(h), y, corners)
    assert found.nc1 == pytest.approx(wanted, rel=1e-10)
    lengths = np.linalg.norm(centred, axis=1)
    assert found.nc2_norm == pytest.approx(lengths.std() / lengths.mean(), rel=1e-12)
    cosines = centred @ centred.T / np.outer(lengths, lengths)
    assert found.nc2_angle == pytest.approx(np.abs(cosines[~np.eye(4, dtype=bool)] + 1 / 3).mean(), rel=1e-12)


def test_a_classifier_the_other_way_round():
    corners, y = frame(), torch.arange(4).repeat(2)
    found = neural_collapse(corners[y], y, -corners)
    assert found.nc3 == pytest.approx(2)
    assert found.nc4 == 1


def test_bad_input_is_refused():
    corners, y = frame(), torch.arange(4)
    with pytest.raises(InputError, match="features, y, weight must fit"):
        neural_collapse(corners, y[:3], corners)
    with pytest.raises(InputError, match=r"y must hold every class of 0\.\.3 and no other, got \[0, 1, 2\]"):
        neural_collapse(corners, y.clamp(max=2), corners)
    with pytest.raises(InputError, match="features, weight must be finite"):
        neural_collapse(corners * float("nan"), y, corners)
    with pytest.raises(InputError, match="weight must have at least 2 classes, got 1"):
        neural_collapse(corners, y, corners[:1])

"""The spectral density: known spectra, moments, errors that cover."""

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from tests.probes.test_eigenpairs import quadratic
from tests.probes.test_landscape import NETWORKS, build, draw, maps
from workbench.errors import InputError
from workbench.probes import hessian, spectral_density

VALUES = np.concatenate([[100, 50, 20, -0.0], np.geomspace(0.01, 1, 296)])


def test_outliers_are_atoms_and_the_bulk_is_near():
    objective = quadratic(VALUES)
    found = spectral_density(objective, objective.theta_0, n_outliers=3, n_vectors=4, n_steps=10)
    assert found.n_outliers == 3
    np.testing.assert_allclose(found.support[-3:], [20, 50, 100], rtol=1e-4)
    np.testing.assert_allclose(found.weights[-3:], 1 / 300)
    assert found.weights.sum() == pytest.approx(1)
    assert found.support[-4] <= 1.01  # no copies
    assert wasserstein_distance(found.support, VALUES, found.weights) < 0.05 * VALUES.mean()
    assert abs(found.mean - VALUES.mean()) < 4 * found.mean_error
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=1e-3)
    assert (found.standard_error >= 0).all()
    assert found.to_frame().shape == (400, 3)
    with pytest.raises(InputError, match=r"n_outliers must be in 0\.\.d-1=299, got 300"):
        spectral_density(objective, objective.theta_0, n_outliers=300)


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_spectra_are_exact_in_every_coordinates(name):
    objective, point = build(name)
    for phi, chart in maps(objective, point):
        if len(phi) > 60:
            continue
        at = (phi, point.buffers)
        dense = hessian(objective, at, coordinates=chart).matrix
        found = spectral_density(objective, at, n_outliers=1, n_vectors=2, n_steps=len(phi), coordinates=chart)
        wanted = np.linalg.eigvalsh(dense)
        assert found.support[0] >= wanted[0] - 1e-6 * abs(wanted).max()
        assert found.support[-1] <= wanted[-1] + 1e-6 * abs(wanted).max()
        assert found.n_examples == len(objective.splits["train"])


def test_its_moments_are_those_of_the_start_vectors():
    """With steps for half of the moments of a two-point spectrum, any start vector's quadrature is exact."""
    objective = quadratic([1.0] * 30 + [3.0] * 30)
    found = spectral_density(objective, objective.theta_0, n_outliers=0, n_vectors=40, n_steps=2)
    np.testing.assert_allclose(np.unique(found.support.round(8)), [1, 3])
    assert abs(found.mean - 2) < 4 * found.mean_error


def test_a_point_without_a_loss_is_refused():
    objective, _ = build("mlp")
    with pytest.raises(InputError, match="point must have finite second derivatives"):
        spectral_density(objective, 1e200 * draw(1, 53))
    with pytest.raises(InputError, match="n_vectors must be at least 2, got 1"):
        spectral_density(objective, torch.zeros(53).double(), n_vectors=1)

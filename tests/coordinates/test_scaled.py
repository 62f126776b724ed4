"""Per-layer scales: what they multiply, what they cost, what they may be."""

import numpy as np
import pytest
import torch

from tests.references import projection_matrix
from workbench.coordinates import LayerScaled, projection
from workbench.errors import InputError

SIZES = [30, 5, 14]
THETA_0 = torch.randn(49, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["hashed", "fastfood"])
def test_against_the_formula(kind):
    coordinates = LayerScaled.of_dimension(THETA_0, SIZES, 10, 0, kind=kind)
    phi, g = torch.randn(10, dtype=torch.float64), torch.randn(49, dtype=torch.float64)
    P, z, scales = projection_matrix(coordinates.projection), phi[:7].numpy(), phi[7:].numpy()
    factor = np.repeat(1 + scales, SIZES)
    theta = coordinates.push(phi, torch.empty_like(THETA_0))
    np.testing.assert_allclose(theta, THETA_0.numpy() + factor * (P @ z), rtol=0, atol=1e-12)
    expected = [*(P.T @ (factor * g.numpy())), *np.add.reduceat(g.numpy() * (P @ z), [0, 30, 35])]
    np.testing.assert_allclose(coordinates.pull(phi, g, torch.empty_like(phi)), expected, rtol=0, atol=1e-12)


def test_scales_are_paid_for():
    coordinates = LayerScaled.of_dimension(THETA_0, SIZES, 10, 0, "replicate", 2)
    assert (coordinates.d, coordinates.projection.d) == (10, 7)
    other = LayerScaled.of_dimension(THETA_0, SIZES, 10, 0, "replicate", 3)
    assert not torch.equal(coordinates.projection.index, other.projection.index)


def test_scales_rest_at_the_start():
    coordinates = LayerScaled.of_dimension(THETA_0, SIZES, 10, 0)
    grad = coordinates.pull(coordinates.initial(), torch.ones_like(THETA_0), torch.empty(10, dtype=torch.float64))
    assert torch.count_nonzero(grad[7:]) == 0
    assert torch.count_nonzero(grad[:7]) > 0


@pytest.mark.parametrize("d", [3, 0, 53, True, 4.0])
def test_budget_is_checked(d):
    with pytest.raises(InputError, match=r"subspace_dim must be an integer in m\+1\.\.m\+D=4\.\.52, .* got"):
        LayerScaled.of_dimension(THETA_0, SIZES, d, 0)


@pytest.mark.parametrize("sizes", [[49, 0], [30, 5], [], [-1, 50], [48.0, 1]])
def test_sizes_are_checked(sizes):
    with pytest.raises(InputError, match="layout_sizes must be positive and add up to D=49, got"):
        LayerScaled(THETA_0, projection("hashed", 49, 4, 0, dtype=torch.float64), sizes)

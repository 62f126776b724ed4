"""H G Pi H B in blocks: norms, and the transform underneath."""

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard

from tests.references import memory_bytes, projection_matrix
from workbench.coordinates import projection
from workbench.coordinates.walsh_hadamard import walsh_hadamard


@pytest.mark.parametrize("n", [2**k for k in range(13)])
def test_walsh_hadamard(n):
    x = torch.randn(3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    expected = x.numpy() @ hadamard(n)
    found, spare = walsh_hadamard(x, torch.empty_like(x))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert found.data_ptr() != spare.data_ptr()


@pytest.mark.parametrize(("D", "d"), [(4096, 1), (4096, 16), (4096, 1000), (4096, 4096)])
def test_complete_blocks_have_unit_columns(D, d):
    P = projection("fastfood", D, d, 0, dtype=torch.float64)
    units = torch.eye(d, dtype=torch.float64)[:: max(1, d // 20)]
    norms = [P.apply(unit, torch.empty(D, dtype=torch.float64)).norm() for unit in units]
    np.testing.assert_allclose(norms, 1, rtol=0, atol=1e-12)


def test_cut_block_has_its_share_in_expectation():
    D, d, n = 300, 100, 128  # two complete blocks and 44 rows
    draws = [projection_matrix(projection("fastfood", D, d, seed)) for seed in range(60)]
    squares = [np.sum(matrix[2 * n :] ** 2, axis=0) for matrix in draws]
    spread = np.std(np.mean(squares, axis=1))
    assert np.mean(squares) == pytest.approx(44 / 300, abs=4 * spread / 60**0.5)
    assert np.std(squares) < 3 * 44**0.5 / D


def test_columns_are_nearly_orthogonal():
    matrix = projection_matrix(projection("fastfood", 8192, 64, 0))
    assert np.abs(matrix.T @ matrix - np.eye(64)).max() < 6 / 8192**0.5


def test_memory_does_not_grow_with_d():
    for d in (100, 1000, 10_000):
        rows = -(-50_000 // (n := 1 << (d - 1).bit_length())) * n
        assert memory_bytes(projection("fastfood", 50_000, d, 0)) == 24 * rows + 4 * n

"""Really sparse, no column empty, rows evenly likely."""

import numpy as np
import pytest
import torch

from tests.references import memory_bytes, projection_matrix
from workbench.coordinates import projection


@pytest.mark.parametrize(("D", "d"), [(1, 1), (3, 3), (1000, 10), (199_210, 100)])
def test_density_is_one_over_root_D(D, d):
    P = projection("sparse", D, d, 0)
    assert P.rows.numel() == P.values.numel() == d * round(D**0.5)
    assert memory_bytes(P) == 8 * P.rows.numel()
    assert (P.rows.diff(dim=1) > 0).all()  # distinct rows: no entry hides another
    assert (P.rows >= 0).all()
    assert (P.rows < D).all()


def test_rows_and_signs_are_evenly_likely():
    P = projection("sparse", 100, 100, 0)
    rows = np.concatenate([projection("sparse", 100, 100, seed).rows.numpy().ravel() for seed in range(50)])
    counts = np.bincount(rows, minlength=100)  # 500 each, sd about 21
    assert abs(counts - 500).max() < 6 * 21
    assert ((counts - 500) ** 2).mean() == pytest.approx(450, rel=0.6)
    assert abs((P.values > 0).double().mean() - 0.5) < 4 * 0.5 / 1000**0.5


def test_without_scipy():
    """Types that SciPy cannot read take the path of other devices."""
    P = projection("sparse", 1000, 20, 0, dtype=torch.bfloat16)
    assert P._transpose is None
    v, g = torch.randn(20, generator=torch.Generator().manual_seed(0)), torch.ones(1000)
    pushed = P.apply(v.bfloat16(), torch.empty(1000, dtype=torch.bfloat16)).double().numpy()
    pulled = P.adjoint(g.bfloat16(), torch.empty(20, dtype=torch.bfloat16)).double().numpy()
    np.testing.assert_allclose(pushed, projection_matrix(P) @ v.double().numpy(), atol=0.02)
    np.testing.assert_allclose(pulled, projection_matrix(P).sum(0), atol=0.02)

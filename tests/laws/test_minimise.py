"""Many small fits at once: against SciPy's, one by one."""

import numpy as np
import pytest
from scipy.optimize import nnls, rosen, rosen_der, rosen_hess

from workbench.laws.minimise import descend, nonnegative


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_nonnegative_agrees_with_scipy(k):
    rng = np.random.default_rng(k)
    a, y = rng.standard_normal((40, 9, k)), rng.standard_normal((40, 9))
    got = nonnegative(a.transpose(0, 2, 1) @ a, np.einsum("bnk,bn->bk", a, y))
    wanted = np.stack([nnls(one, other)[0] for one, other in zip(a, y, strict=True)])
    np.testing.assert_allclose(got, wanted, atol=1e-8)


def rosenbrock(points, rows):
    del rows
    found = [f(points.T).T if f is rosen else np.stack([f(p) for p in points]) for f in (rosen, rosen_der, rosen_hess)]
    return found[0], found[1], found[2] + 1e3 * np.eye(points.shape[1])


def test_descend_finds_each_minimum_from_each_start():
    starts = np.random.default_rng(0).uniform(-1.5, 1.5, (7, 2))
    points, values = descend(rosenbrock, starts, np.full(2, -5.0), np.full(2, 5.0))
    np.testing.assert_allclose(points, 1, atol=1e-5)
    assert values.max() < 1e-10


def test_descend_stays_within_bounds():
    points, values = descend(rosenbrock, np.array([[0.0, 0.2]]), np.array([-5.0, -5.0]), np.array([0.5, 5.0]))
    np.testing.assert_allclose(points, [[0.5, 0.25]], atol=1e-5)
    np.testing.assert_allclose(values, 0.25, atol=1e-8)

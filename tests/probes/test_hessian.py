"""The dense matrix against automatic differentiation."""

import numpy as np
import pytest
import torch

from tests.probes.test_landscape import build
from workbench.errors import InputError
from workbench.probes import hessian


def test_it_is_the_hessian():
    objective, point = build("mlp")
    found = hessian(objective, point)
    wanted = torch.autograd.functional.hessian(objective, point.theta)
    np.testing.assert_allclose(found.matrix, wanted, atol=1e-12)
    np.testing.assert_allclose(found.eigenvalues(), torch.linalg.eigvalsh(wanted).flip(0), atol=1e-12)
    assert found.error < 1e-12
    assert (found.n_gradients, found.n_examples, found.seed) == (54, 13, 0)


def test_too_many_coordinates_are_refused():
    objective, point = build("mlp")
    with pytest.raises(InputError, match=r"point must have at most max_dim=52 coordinates, got 53; use top_eigenpairs"):
        hessian(objective, point, max_dim=52)

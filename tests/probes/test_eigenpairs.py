"""Top eigenpairs: known spectra, dense references, bounds that hold, no ghosts."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.probes.test_landscape import NETWORKS, build, draw, maps, rescaled
from workbench.errors import InputError
from workbench.objective import Supervised
from workbench.probes import hessian, top_eigenpairs
from workbench.probes.lanczos import Lanczos


def quadratic(values):
    """Return an objective whose Hessian is diagonal with these eigenvalues."""
    scales = (torch.as_tensor(values, dtype=torch.float64) * len(values) / 2).sqrt()
    model = nn.Linear(len(values), 1, bias=False)
    return Supervised(model, (scales.diag(), torch.zeros(len(values), 1)), loss="squared_error", dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton", "empirical_fisher"])
def test_pairs_are_those_of_the_dense_matrix_in_every_coordinates(name, matrix):
    objective, point = build(name)
    for phi, chart in maps(objective, point):
        at = (phi, point.buffers)
        dense = hessian(objective, at, matrix=matrix, coordinates=chart, max_dim=2000)
        k = min(3, len(phi) - 1)
        for which, wanted in (("largest", dense.eigenvalues()), ("magnitude", None)):
            wanted = sorted(dense.eigenvalues(), key=abs, reverse=True) if wanted is None else wanted
            found = top_eigenpairs(objective, at, k, 1e-6, matrix=matrix, which=which, coordinates=chart)
            np.testing.assert_allclose(found.values, wanted[: len(found.values)], rtol=2e-6)
            left = found.vectors.numpy() @ dense.matrix - found.values[:, None] * found.vectors.numpy()
            assert (np.linalg.norm(left, axis=1) <= 1.01 * found.residuals + 1e-10 * abs(found.values[0])).all()
            assert (abs(found.values - wanted[: len(found.values)]) <= found.errors + 1e-12).all()
            assert (found.errors <= 1e-6 * abs(found.values)).all()
        assert found.n_examples == len(objective.splits["train"])


def test_equal_eigenvalues_are_all_found():
    found = top_eigenpairs(quadratic([5, 5, 5, 2, 2, 1, 1, 1]), torch.zeros(8).double(), k=5)
    np.testing.assert_allclose(found.values, [5, 5, 5, 2, 2])
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(5).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_are_no_ghosts_long_after_convergence(dtype):
    values = torch.cat([torch.tensor([1e4, 1e3, 1e2]), torch.linspace(0, 1, 397)]).to(dtype)
    run = Lanczos(lambda v: values * v, 200, values, seed=0)
    for _ in range(200):
        run.step()
    ritz, _, _ = run.spectrum()
    np.testing.assert_allclose(ritz[-3:], [1e2, 1e3, 1e4], rtol=1e-5)
    assert ritz[-4] < 1.01
    torch.testing.assert_close(run.basis @ run.basis.T, torch.eye(200).to(dtype), atol=1e-5, rtol=0)


def test_it_stops_as_soon_as_it_can_and_returns_nothing_uncertified():
    objective = quadratic([100.0, 50.0, *np.linspace(0, 1, 98)])
    early = top_eigenpairs(objective, objective.theta_0, 2)
    assert early.n_gradients < 15
    fewer = top_eigenpairs(objective, objective.theta_0, 10, max_products=12)
    assert 2 <= len(fewer.values) < fewer.n_asked == 10
    assert (fewer.errors <= 1e-4 * fewer.values).all()
    assert len(fewer.to_frame()) == len(fewer.values)
    with pytest.raises(InputError, match="tolerance must be reached within 2 products"):
        top_eigenpairs(objective, objective.theta_0, 1, 1e-12, max_products=2)


def test_rescaling_a_layer_moves_the_top_eigenvalue():
    objective, point = build("mlp")
    one, two = (top_eigenpairs(o, p, 1).values[0] for o, p in ((objective, point), rescaled(objective, point)))
    assert two > 2 * one


def test_bad_input_is_refused():
    objective, point = build("mlp")
    with pytest.raises(InputError, match=r"k must be in 1\.\.d=53, got 54"):
        top_eigenpairs(objective, point, 54)
    with pytest.raises(InputError, match="which must be one of largest, magnitude"):
        top_eigenpairs(objective, point, which="smallest")
    with pytest.raises(InputError, match="point must have finite second derivatives, got nan"):
        top_eigenpairs(objective, 1e200 * draw(1, 53), 1)

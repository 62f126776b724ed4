"""The trace: exact where it says so, else within its error of the dense matrix's."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.probes.test_landscape import build, classes, draw, maps
from workbench.errors import InputError
from workbench.models import initialise
from workbench.objective import Supervised
from workbench.probes import hessian, trace

IMAGES = (draw(1, 11, 2, 9, 7), classes(11, 3))
EXACT = {
    "mlp": lambda: build("mlp"),
    "line": lambda: build("line"),
    "batch_norm": lambda: build("batch_norm"),
    "unequal": lambda: at_start(
        nn.Conv2d(2, 3, (3, 2), stride=2, padding=(1, 0), dilation=(2, 1)),
        nn.LeakyReLU(0.1),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        nn.Linear(36, 4, bias=False),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Linear(4, 3),
    ),
    "places": lambda: at_start(nn.Flatten(2), nn.Linear(63, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)),
}


def at_start(*layers):
    objective = Supervised(nn.Sequential(*layers), IMAGES, dtype=torch.float64, chunk_size=4)
    return objective, objective.recalibrated(objective.theta_0 + 0.1 * draw(3, objective.D))


@pytest.mark.parametrize("name", EXACT)
def test_exact_traces_are_those_of_the_dense_matrices(name):
    torch.manual_seed(0)
    objective, point = EXACT[name]()
    found = trace(objective, point)
    assert (found.method, found.standard_error) == ("exact", 0)
    for matrix in ("hessian", "gauss_newton"):
        assert found.value == pytest.approx(hessian(objective, point, matrix=matrix).matrix.trace(), rel=1e-10)


class Sine(nn.Module):
    """Something that no list knows."""

    def forward(self, x):
        return x.sin()


LAYER = nn.Linear(6, 6)
OTHERS = {
    "unknown": nn.Sequential(nn.Linear(6, 20), Sine(), nn.Linear(20, 3)),
    "in place": nn.Sequential(nn.Linear(6, 20), nn.ReLU(inplace=True), nn.Linear(20, 3)),
    "shared": nn.Sequential(LAYER, nn.ReLU(), LAYER, nn.ReLU(), nn.Linear(6, 3), nn.Linear(3, 12), nn.Linear(12, 3)),
    "frozen": nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 6).requires_grad_(False), nn.Linear(6, 3)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_does_not_qualify_is_estimated(name):
    network = initialise(OTHERS[name], 0)  # not as torch drew it: one network in hundreds has an error of 4 of its own
    objective = Supervised(network, (draw(1, 13, 6), classes(13, 3)), dtype=torch.float64)
    found = [trace(objective, objective.theta_0, n_products=48, seed=seed) for seed in range(6)]
    wanted = hessian(objective, objective.theta_0).matrix.trace()
    assert {each.method for each in found} <= {"hutchinson", "hutch++"}
    z = np.array([(each.value - wanted) / each.standard_error for each in found])
    assert (z**2).mean() < 4
    assert abs(np.mean([each.value for each in found]) - wanted) < 0.2 * abs(wanted)


def test_every_coordinates_and_matrix():
    objective, point = build("mlp")
    for phi, chart in maps(objective, point):
        for matrix in ("hessian", "empirical_fisher"):
            found = trace(objective, phi, coordinates=chart, matrix=matrix)  # d <= n_products: unit vectors
            wanted = hessian(objective, phi, coordinates=chart, matrix=matrix).matrix.trace()
            assert found.value == pytest.approx(wanted, rel=1e-9, abs=1e-12)
            few = trace(objective, phi, coordinates=chart, matrix=matrix, exact=False, n_products=6)
            assert abs(few.value - wanted) <= 8 * few.standard_error + 1e-9


def test_few_outliers_make_hutch_plus_plus_the_better_one():
    x = torch.diag(torch.tensor([30.0] * 5 + [0.1] * 195, dtype=torch.float64))[:, torch.randperm(200)]
    objective = Supervised(
        nn.Linear(200, 1),
        (x @ torch.linalg.qr(draw(2, 200, 200)).Q, x[:, :1]),
        loss="squared_error",
        dtype=torch.float64,
    )
    found = trace(objective, objective.theta_0, exact=False, n_products=30)
    assert found.method == "hutch++"
    assert found.value == pytest.approx(trace(objective, objective.theta_0).value, rel=0.01)


def test_bad_input_is_refused():
    objective, point = build("mlp")
    with pytest.raises(InputError, match="n_products must be a multiple of 3, at least 6, got 7"):
        trace(objective, point, n_products=7)
    for exact in (True, False):
        with pytest.raises(InputError, match="point must have finite second derivatives, got nan"):
            trace(objective, 1e200 * draw(1, 53), exact=exact)

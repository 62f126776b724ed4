"""Degeneracy: networks with planted ranks and twins, counted against the rank of the dense Hessian."""

import pytest
import torch
from torch import nn

from tests.probes.test_landscape import build, draw
from workbench.errors import InputError
from workbench.objective import Supervised
from workbench.probes import degeneracy


def planted(inputs, rank, outputs, seed=0):
    """Return a linear layer that fits, on inputs of a lower rank."""
    x = draw(seed, 30, rank) @ draw(seed + 1, rank, inputs)
    layer = nn.Linear(inputs, outputs, bias=False)
    objective = Supervised(layer, (x, x @ draw(2, inputs, outputs)), loss="squared_error", dtype=torch.float64)
    return objective, draw(2, inputs, outputs).T.flatten()


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_planted_activation_rank_is_the_number_of_zero_eigenvalues(rank):
    objective, theta = planted(5, rank, 4)
    found = degeneracy(objective, theta)
    assert found.activation_rank.tolist() == [rank]
    assert found.gradient_rank.tolist() == [4]
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(objective, theta))
    assert found.free == 20 - 4 * rank == int((eigenvalues.abs() < 1e-9).sum())


def test_planted_gradient_rank_and_twins():
    x = draw(0, 50, 4)
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    objective = Supervised(net, (x, draw(1, 50, 3)), loss="squared_error", dtype=torch.float64)
    views = objective.layout.views(theta := draw(2, objective.D))
    views["0.weight"][3], views["0.bias"][3] = 2 * views["0.weight"][1], 2 * views["0.bias"][1]
    views["0.weight"][4], views["0.bias"][4] = 0, -1  # dead, and no twin of the dead
    views["2.weight"][:, 3] = 3 * views["2.weight"][:, 1]
    found = degeneracy(objective, theta)
    assert found.twins == (("0", 1, 3),)
    assert found.activation_rank.tolist() == [5, 4]  # a constant, two free units, one twin pair
    assert found.gradient_rank.tolist() == [3, 3]
    assert found.n_parameters.tolist() == [25, 18]
    assert found.free == 25 - 15 + 18 - 12
    assert found.to_frame().index.tolist() == ["0", "2"]
    assert found.n_gradients == 3


def test_bad_input_is_refused():
    objective, theta = planted(5, 2, 4)
    with pytest.raises(InputError, match="tolerance must be between 0 and 1, got 0"):
        degeneracy(objective, theta, tolerance=0)
    with pytest.raises(
        InputError,
        match=r"model must be of linear layers, each called once, no output changed in place, got \['Conv2d'",
    ):
        degeneracy(*build("batch_norm"))

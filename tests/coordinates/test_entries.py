"""Only some entries move: the others bit for bit not, and all of them as without the map."""

import pytest
import torch

from tests.coordinates.test_masked import every_optimizer, half, norm_net
from workbench.coordinates import Entries, Full
from workbench.errors import InputError
from workbench.pruning import prunable
from workbench.recipes import Recipe
from workbench.training import train


@every_optimizer
def test_biases_and_norms_move_and_the_pruned_rest_stays(options):
    objective = norm_net()
    free = prunable(objective.layout, roles=("bias", "norm"))
    theta_0 = objective.theta_0 * (half(objective) | free)
    coordinates = Entries(theta_0, free)
    assert coordinates.d == 12 + 8 + 8 + 8 + 3
    history = train(objective, coordinates, Recipe(50, 0.05, batch_size=16, **options), 0)
    theta = history.point(coordinates).theta
    assert torch.equal(theta[~free], theta_0[~free])
    assert (theta[free] != theta_0[free]).float().mean() > 0.9
    assert objective.loss(theta) < objective.loss(theta_0)


@every_optimizer
def test_all_entries_move_as_without_the_map(options):
    objective, recipe = norm_net(), Recipe(20, 0.01, batch_size=16, **options)
    everything = Entries(objective.theta_0, torch.ones(objective.D, dtype=torch.bool))
    found = [train(objective, each, recipe, 0).phi for each in (Full(objective.theta_0), everything)]
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("free", "message"),
    [
        (torch.ones(3, dtype=torch.bool), r"free must be a bool tensor of shape \(4,\), got \(torch.bool, \(3,\)\)"),
        (torch.tensor([0, 1, 2, 3]), r"free must be a bool tensor of shape \(4,\), got \(torch.int64, \(4,\)\)"),
        (torch.zeros(4, dtype=torch.bool), "free must mark at least one entry, got 0"),
    ],
)
def test_what_is_free_must_fit(free, message):
    with pytest.raises(InputError, match=message):
        Entries(torch.zeros(4), free)

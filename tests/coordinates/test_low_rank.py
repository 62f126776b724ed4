"""Low-rank changes under a mask: the formula, what moves, what never does."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.coordinates.test_masked import every_optimizer, half, norm_net
from workbench.coordinates import MaskedLowRank
from workbench.errors import InputError
from workbench.models import CharTransformer
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.training import train


def test_against_the_formula_with_a_convolution_as_a_matrix():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 3))
    objective = Supervised(model, (torch.randn(5, 2, 3, 3), torch.arange(5) % 3), dtype=torch.float64)
    mask = half(objective)
    coordinates = MaskedLowRank(objective.theta_0, mask, objective.layout, 2, 0)
    assert coordinates.d == (4 + 18) * 2 + (3 + 4) * 2 + 4 + 3
    phi = torch.randn(coordinates.d, dtype=torch.float64)
    parts = np.split(phi.numpy(), np.cumsum([8, 36, 6, 8]))
    expected = {name: view.numpy() for name, view in objective.layout.views(objective.theta_0 * mask).items()}
    masks = {name: view.numpy() for name, view in objective.layout.views(mask).items()}
    change = (parts[0].reshape(4, 2) @ parts[1].reshape(2, 18)).reshape(4, 2, 3, 3)
    expected["0.weight"] = expected["0.weight"] + masks["0.weight"] * change
    change = parts[2].reshape(3, 2) @ parts[3].reshape(2, 4)
    expected["2.weight"] = expected["2.weight"] + masks["2.weight"] * change
    expected |= {"0.bias": parts[4][:4], "2.bias": parts[4][4:]}
    theta = objective.layout.views(coordinates.push(phi, torch.empty_like(mask, dtype=torch.float64)))
    for name, value in expected.items():
        np.testing.assert_allclose(theta[name], value, rtol=0, atol=1e-13)


@every_optimizer
def test_pruned_weights_stay_zero_and_the_rest_learns(options):
    objective = norm_net()
    mask = half(objective) | torch.tensor([e.role != "weight" for e in objective.layout.entries for _ in range(e.size)])
    coordinates = MaskedLowRank(objective.theta_0, mask, objective.layout, 3, 0)
    history = train(objective, coordinates, Recipe(60, 0.01, batch_size=16, **options), 0)
    theta = history.point(coordinates).theta
    assert not theta[~mask].any()
    assert objective.loss(theta) < objective.loss(coordinates.theta_0)


def test_a_transformers_embeddings_stay_and_the_seed_draws_A():
    tokens = torch.randint(0, 9, (8, 7), generator=torch.Generator().manual_seed(0))
    objective = Supervised(CharTransformer(9, 6, 8, 1, 2), (tokens[:, :-1], tokens[:, 1:]))
    mask = torch.ones(objective.D, dtype=torch.bool)
    starts = [MaskedLowRank(objective.theta_0, mask, objective.layout, 2, seed) for seed in (0, 0, 1)]
    assert torch.equal(starts[0].initial(), starts[1].initial())
    assert not torch.equal(starts[0].initial(), starts[2].initial())
    theta = train(objective, starts[0], Recipe(3, 0.1), 0).point(starts[0]).theta
    for entry in objective.layout.entries:
        same = torch.equal(
            objective.layout.views(theta)[entry.name], objective.layout.views(objective.theta_0)[entry.name]
        )
        assert same == (entry.role == "embedding")


@pytest.mark.parametrize("rank", [0, 1.5, True])
def test_rank_is_checked(rank):
    objective = norm_net()
    mask = torch.ones(objective.D, dtype=torch.bool)
    with pytest.raises(InputError, match="rank must be a whole number, at least 1, got"):
        MaskedLowRank(objective.theta_0, mask, objective.layout, rank, 0)
    with pytest.raises(InputError, match=r"mask must be a bool tensor of shape \(231,\), got"):
        MaskedLowRank(objective.theta_0, mask[1:], objective.layout, 1, 0)

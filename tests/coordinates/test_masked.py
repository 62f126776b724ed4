"""Pruned entries stay exactly zero: under every optimizer, in memory, in a file; whatever the mask does meanwhile."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.coordinates import Full, Masked
from workbench.errors import InputError
from workbench.models import CharTransformer, initialise, mlp
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.training import train

OPTIMIZERS = [
    {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.05},
    {"optimizer": "adam", "weight_decay": 0.05},
    {"optimizer": "adamw", "weight_decay": 0.5},
]
every_optimizer = pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda options: options["optimizer"])


def norm_net(**options) -> Supervised:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=g)
    model = initialise(nn.Sequential(mlp([6, 12, 8]), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), 0)
    return Supervised(model, (x, x[:, :3].argmax(1)), **options)


def half(objective: Supervised, seed: int = 0, density: float = 0.5) -> torch.Tensor:
    """Draw a mask over every entry, biases and norms too: pruned BatchNorm scales are zero as well."""
    return torch.rand(objective.D, generator=torch.Generator().manual_seed(seed)) < density


class Watched(Masked):
    """Looks at phi, theta and moments after every step."""

    def after_step(self, phi, optimizer_state):
        super().after_step(phi, optimizer_state)
        theta = self.push(phi, torch.empty_like(phi))
        moments = [v for v in optimizer_state.values() if v is not None and v.shape == phi.shape]
        assert moments
        for values in (phi, theta, *moments):
            assert not values[~self.mask].any()
        assert theta[self.mask].any()


@every_optimizer
def test_pruned_entries_are_zero_after_each_of_1000_steps(options):
    objective = norm_net()
    coordinates = Watched(objective.theta_0, half(objective))
    history = train(objective, coordinates, Recipe(1000, 0.01, batch_size=16, **options), 0)
    assert history.n_steps == coordinates.state()["step"] == 1000
    assert not history.point(coordinates).theta[~coordinates.mask].any()
    assert objective.loss(history.phi) < objective.loss(coordinates.theta_0)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(OPTIMIZERS), st.integers(0, 99), st.floats(0.02, 0.98), st.floats(1e-4, 1.0))
def test_pruned_entries_are_zero_whatever_the_mask_and_rate(options, seed, density, lr):
    objective = norm_net()
    coordinates = Watched(objective.theta_0, half(objective, seed, density) | (torch.arange(objective.D) < 20))
    train(objective, coordinates, Recipe(8, lr, batch_size=16, **options), seed)


@every_optimizer
def test_kept_entries_move_as_those_of_a_masked_network_in_a_plain_loop(options):
    objective = norm_net(
        dtype=torch.float64
    )  # a bias before BatchNorm has rounding for a gradient, which Adam scales up
    mask, recipe = half(objective), Recipe(30, 0.01, batch_size=16, schedule="constant", **options)
    network = objective.module_at(objective.theta_0.where(mask, 0)).train()
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    given = {name: value for name, value in options.items() if name != "optimizer"}
    optimizer = kinds[options["optimizer"]](network.parameters(), 0.01, **given)
    masks, stream = objective.layout.views(mask), objective.minibatches(0, 16)
    for _ in range(30):
        x, y = objective.train_batch(next(stream))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        for name, parameter in network.named_parameters():
            parameter.grad.mul_(masks[name])
        optimizer.step()
    expected = torch.cat([p.detach().flatten() for p in network.parameters()])
    torch.testing.assert_close(train(objective, Masked(objective.theta_0, mask), recipe, 0).phi, expected)


@every_optimizer
def test_pruning_after_dense_training_revives_nothing(options):
    """A mask set in mid-training zeroes the moments that dense training left: a gradient mask alone does not."""

    class Late(Watched):
        def after_step(self, phi, optimizer_state):
            if self._step == 20:
                moments = [v for v in optimizer_state.values() if v is not None and v.shape == phi.shape]
                assert all(m[~late].any() for m in moments)
                self.set_mask(late, phi, optimizer_state)
            super().after_step(phi, optimizer_state)

    objective = norm_net()
    late = half(objective)
    coordinates = Late(objective.theta_0, torch.ones_like(late))
    for _ in range(2):  # the second training starts with the first mask again
        history = train(objective, coordinates, Recipe(60, 0.01, batch_size=16, **options), 0)
        assert not history.phi[~late].any()
        assert torch.equal(coordinates.mask, late)


def test_what_a_mask_drops_and_what_it_grows_has_no_past():
    before, after = (torch.tensor(m, dtype=torch.bool) for m in ([1, 1, 0, 0], [1, 0, 1, 0]))
    coordinates, phi = Masked(torch.ones(4), before), torch.full((4,), 5.0)
    state = {"exp_avg": torch.full((4,), 2.0), "step": torch.tensor(7.0), "momentum_buffer": None}
    coordinates.set_mask(after, phi, state)
    assert phi.tolist() == [5.0, 0.0, 0.0, 5.0]
    assert state["exp_avg"].tolist() == [2.0, 0.0, 0.0, 2.0]
    assert state["step"] == 7
    assert coordinates.push(phi, torch.empty(4)).tolist() == [5.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("net", ["norm", "transformer"])
def test_a_pruned_module_survives_deepcopy_save_and_load_with_its_names(tmp_path, net):
    if net == "norm":
        objective = norm_net()
    else:
        tokens = torch.randint(0, 9, (8, 7), generator=torch.Generator().manual_seed(0))
        objective = Supervised(CharTransformer(9, 6, 8, 1, 2), (tokens[:, :-1], tokens[:, 1:]))
    mask = half(objective)
    history = train(objective, Masked(objective.theta_0, mask), Recipe(20, 0.01, "adamw", weight_decay=0.1), 0)
    module = objective.module_at(history.point(Masked(objective.theta_0, mask)))
    path = tmp_path / "pruned.pt"
    torch.save(module.state_dict(), path)
    fresh = objective.module_at(objective.theta_0)
    fresh.load_state_dict(torch.load(path, weights_only=True))
    masks, names = objective.layout.views(mask), list(objective.model.state_dict())
    for other in (module, copy.deepcopy(module), fresh):
        assert list(other.state_dict()) == names
        for name, parameter in other.named_parameters():
            assert not parameter[~masks[name]].any()
            assert torch.equal(parameter, dict(module.named_parameters())[name])
    if net == "transformer":  # tied embeddings are one tensor: counted once, pruned together
        assert mask.shape == (sum(p.numel() for p in objective.model.parameters()),)
        assert module.head.weight is module.token.weight
        assert not any(entry.name == "head.weight" for entry in objective.layout.entries)


def test_a_full_mask_trains_as_no_mask_does():
    objective = norm_net()
    full = Masked(objective.theta_0, torch.ones(objective.D, dtype=torch.bool))
    recipe = Recipe(20, 0.01, batch_size=16)
    found = [train(objective, each, recipe, 0).phi for each in (Full(objective.theta_0), full)]
    assert torch.equal(*found)


@pytest.mark.parametrize("mask", [torch.ones(4), torch.ones(3, dtype=torch.bool), torch.ones(2, 2, dtype=torch.bool)])
def test_a_mask_must_fit(mask):
    with pytest.raises(InputError, match=r"mask must be a bool tensor of shape \(4,\), got"):
        Masked(torch.zeros(4), mask)
    masked = Masked(torch.zeros(4), torch.ones(4, dtype=torch.bool))
    with pytest.raises(InputError, match=r"mask must be a bool tensor of shape \(4,\), got"):
        masked.set_mask(mask, torch.zeros(4), {})

"""Smaller networks with equal outputs."""

import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.models import lenet, mlp, small_cnn
from workbench.objective import Supervised
from workbench.pruning import prunable, report, select_units, shrink
from workbench.pruning.scores import filters, taylor

KINDS = ("mlp", "lenet", "small_cnn")


def problem(kind, side=8):
    """Build a network whose biases, norms and running statistics have left their start."""
    networks = {"mlp": mlp([side * side, 30, 20, 3]), "lenet": lenet(side, 3), "small_cnn": small_cnn(3, width=4)}
    network = networks[kind]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer))
    return Supervised(network, (torch.randn(20, 1, side, side), torch.randint(0, 3, (20,))))


def inner(objective):
    """Mark all weights but the output layer's."""
    last = [e.name for e in objective.layout.entries if e.role == "weight"][-1]
    return prunable(objective.layout, skip=(last,))


def assert_equal_outputs(objective, theta, small):
    x, _ = objective.train_batch(None)
    with torch.no_grad():
        torch.testing.assert_close(small(x), objective.logits(theta, "train"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("score", [filters, taylor])
def test_a_smaller_network_gives_equal_outputs(kind, scope, score):
    objective = problem(kind)
    marked = inner(objective)
    mask = select_units(score(objective, objective.theta_0), 0.4, prunable=marked, layout=objective.layout, scope=scope)
    theta = objective.theta_0 * mask
    x, _ = objective.train_batch(torch.tensor([0]))
    small = shrink(objective.module_at(theta), x)
    assert_equal_outputs(objective, theta, small)
    twin = Supervised(small, objective.splits["train"])
    units = [e for e in objective.layout.entries if e.role == "weight"][:-1]
    left = [e.shape[0] for e in twin.layout.entries if e.role == "weight"][:-1]
    assert sum(left) == round(0.4 * sum(e.shape[0] for e in units))  # every pruned unit is gone
    if scope == "layer":
        assert all(abs(n - 0.4 * e.shape[0]) < 1 for n, e in zip(left, units, strict=True))
    for module in small:  # what the layers say of themselves is true
        if isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels)
        if isinstance(module, nn.BatchNorm2d):
            assert len(module.weight) == len(module.running_mean) == module.num_features
    # the multiply-accumulates that are left really are those of the smaller network
    every = torch.ones(twin.D, dtype=torch.bool)
    assert report(twin, every, prunable(twin.layout)).macs <= report(objective, mask, marked).macs_kept


def test_the_network_given_stays_as_it_is():
    objective = problem("small_cnn")
    module = objective.module_at(objective.theta_0 * (torch.rand(objective.D) < 0.1))
    before = [p.clone() for p in module.parameters()]
    shrink(module, torch.zeros(1, 1, 8, 8))
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))


def test_a_unit_without_inputs_moves_into_the_next_bias_and_may_free_others():
    objective = problem("mlp")
    theta = objective.theta_0.clone()
    views = objective.layout.views(theta)
    views["1.weight"][:7] = 0  # constants, relu(bias)
    views["3.weight"][0, 7:] = 0  # has inputs from constants alone
    views["5.weight"][:, 5] = 0  # leads nowhere
    small = shrink(objective.module_at(theta), torch.zeros(1, 1, 8, 8))
    assert (small[1].out_features, small[3].in_features, small[3].out_features, small[5].in_features) == (
        23,
        23,
        18,
        18,
    )
    assert_equal_outputs(objective, theta, small)


@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_is_made_where_a_constant_needs_one(bias):
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=bias))
    with torch.no_grad():
        network[0].weight[0], network[0].bias[0] = 0.0, 2.0
    small, x = shrink(network, torch.zeros(1, 4)), torch.randn(5, 4)
    assert small[0].out_features == 2
    torch.testing.assert_close(small(x), network(x))


def test_a_constant_stays_before_a_padded_convolution():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1))
    with torch.no_grad():
        network[0].weight[0] = 0.0
        for bias, left in ((0.5, 2), (-0.5, 1)):  # relu(-0.5) is zero
            network[0].bias[0] = bias
            small, x = shrink(network, torch.zeros(1, 1, 6, 6)), torch.randn(3, 1, 6, 6)
            assert small[0].out_channels == left
            torch.testing.assert_close(small(x), network(x))


def test_units_take_their_biases_and_norms_with_them():
    objective = problem("small_cnn")
    mask = select_units(
        filters(objective, objective.theta_0), 0.5, prunable=inner(objective), layout=objective.layout, scope="layer"
    )
    views = objective.layout.views(mask)
    for convolution, norm in ((0, 1), (4, 5), (8, 9)):
        kept = views[f"{convolution}.weight"].flatten(1).all(1)
        assert int(kept.sum()) == len(kept) // 2
        assert torch.equal(views[f"{convolution}.weight"].flatten(1).any(1), kept)
        assert torch.equal(views[f"{norm}.weight"], kept)
        assert torch.equal(views[f"{norm}.bias"], kept)
    assert views["13.weight"].all()
    assert views["13.bias"].all()


def test_no_layer_is_emptied():
    objective = problem("lenet")
    scores = filters(objective, objective.theta_0)
    objective.layout.views(scores)["3.weight"].mul_(1e-9)
    mask = select_units(scores, 0.1, prunable=inner(objective), layout=objective.layout)
    assert int(objective.layout.views(mask)["3.weight"].flatten(1).any(1).sum()) == 1
    theta = objective.theta_0.clone()
    objective.layout.views(theta)["7.weight"][:] = 0
    objective.layout.views(theta)["7.bias"][:] = 0
    with pytest.raises(InputError, match=r"model must keep a unit of layer 3, got 'none: nothing passes through"):
        shrink(objective.module_at(theta), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("part", [nn.LayerNorm(4), nn.Sequential(nn.Linear(4, 4)), nn.Conv2d(2, 2, 1, groups=2)])
def test_other_networks_are_refused_by_name(part):
    with pytest.raises(InputError, match=r"model must be a sequence of linear, convolution \(groups=1\), .*, got '1: "):
        shrink(nn.Sequential(nn.Linear(4, 4), part), torch.zeros(1, 4))


def test_units_of_parts_of_a_matrix_are_refused():
    objective = problem("mlp")
    scores, some = filters(objective, objective.theta_0), torch.arange(objective.D) < 5
    with pytest.raises(InputError, match=r"prunable must hold whole matrices or kernels, got 5"):
        select_units(scores, 0.5, prunable=some, layout=objective.layout)

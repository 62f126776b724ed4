"""The interaction basis: a change of coordinates that leaves the function, exact edges, degenerate directions gone."""

import numpy as np
import pytest
import torch
from interaction_basis import BASES, activations, bases, edges, kept_edges, outputs, sections
from torch import nn

from workbench.errors import InputError
from workbench.models import mlp
from workbench.seeds import generator


def inputs(n, d, rank=None, seed=0):
    rng = generator(seed, "test")
    return torch.from_numpy(rng.standard_normal((n, rank or d)) @ rng.standard_normal((rank or d, d)))


def everything(strengths):
    return [torch.ones_like(s, dtype=torch.bool) for s in strengths]


def linear(*weights):
    layers = [nn.Linear(len(w[0]), len(w), bias=False, dtype=torch.float64) for w in weights]
    for layer, w in zip(layers, weights, strict=True):
        layer.weight.data = torch.tensor(w, dtype=torch.float64)
    return sections(nn.Sequential(*layers))


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("rank", [6, 3])
def test_a_basis_leaves_the_function(kind, rank):
    network, x = mlp([6, 5, 4, 3], 1).double(), inputs(50, 6, rank)
    layers = sections(network)
    basis = bases(layers, x, kind)
    strengths = edges(layers, basis, x)
    assert torch.allclose(outputs(layers, basis, everything(strengths), x), network(x), atol=1e-9)
    sizes = {"neurons": 6, "components": rank, "interaction": min(rank, 5)}  # six inputs reach five units
    assert strengths[0].shape == (len(basis[1].to), sizes[kind])
    for each in basis:
        assert torch.allclose(each.to @ each.back, torch.eye(len(each.to), dtype=torch.float64), atol=1e-8)


def test_cutting_an_edge_between_neurons_is_cutting_a_weight():
    network, x = mlp([3, 4, 2], 2).double(), inputs(20, 3)
    layers = sections(network)
    basis = bases(layers, x, "neurons")
    masks = everything(edges(layers, basis, x))
    masks[0][1, 2] = False
    own = x.mean(0)[2] * network[1].weight[1, 2]
    with torch.no_grad():
        network[1].weight[1, 2] = 0
        network[1].bias[1] += own
    assert torch.allclose(outputs(layers, basis, masks, x), network(x))


def test_edges_of_a_linear_network_by_hand():
    x = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [1.0, -2.0], [-1.0, 2.0]], dtype=torch.float64)
    layers = linear([[3.0, -1.0], [0.0, 2.0]])
    (found,) = edges(layers, bases(layers, x, "neurons"), x)
    assert found.tolist() == pytest.approx(np.array([[3.0, 2.0], [0.0, 4.0]]))  # |W| times the inputs' deviations 1, 2


def test_integrated_gradients_by_hand():
    # relu(x - 1) at x = +-2 around the mean 0: from 0 to 2 the slope is 1 on half of the way, to -2 nowhere
    layer = nn.Linear(1, 1, dtype=torch.float64)
    layer.weight.data, layer.bias.data = torch.ones(1, 1).double(), -torch.ones(1).double()
    layers, x = sections(nn.Sequential(layer, nn.ReLU())), torch.tensor([[2.0], [-2.0]])
    (found,) = edges(layers, bases(layers, x, "neurons"), x, n_points=10)
    assert found.item() == pytest.approx(np.sqrt((0.5 * 2) ** 2 / 2))


def test_a_linear_network_is_diagonal_in_its_interaction_basis():
    rng = generator(3, "test")
    layers = linear(*(rng.standard_normal(shape).tolist() for shape in ((5, 6), (4, 5), (3, 4))))
    x = inputs(200, 6, seed=4)
    own, other = (edges(layers, bases(layers, x, kind), x) for kind in ("interaction", "components"))
    for strength in own:
        assert strength.shape == (3, 3)  # what does not reach the outputs is no direction
        assert strength.diagonal().min() > 1e-3
        assert torch.allclose(strength, torch.diag(strength.diagonal()), atol=1e-6 * strength.max())
    assert (other[0] > 1e-3 * other[0].max()).sum() > 20


def test_degenerate_directions_are_removed():
    network = mlp([6, 5, 4], 5).double()
    with torch.no_grad():
        network[3].weight[:, 4] = 0  # nothing reads the last unit
        network[1].weight[3], network[1].bias[3] = 2 * network[1].weight[2], 2 * network[1].bias[2]  # a copy
    x = inputs(100, 6, 4)
    sizes = {kind: [len(b.to) for b in bases(sections(network), x, kind)] for kind in BASES}
    assert sizes == {"neurons": [6, 5, 4], "components": [4, 4, 3], "interaction": [3, 3, 3]}


def test_the_strongest_edges_are_kept():
    strengths = [torch.tensor([[3.0, 4.0]]), torch.tensor([[60.0], [80.0]])]  # shares .6 .8 of each layer
    assert [m.tolist() for m in kept_edges(strengths, 2)] == [[[False, True]], [[False], [True]]]
    assert sum(int(m.sum()) for m in kept_edges(strengths, 3)) == 3


def test_other_networks_are_refused():
    with pytest.raises(InputError, match="network must be of Flatten, Linear and ReLU"):
        sections(nn.Sequential(nn.Linear(2, 2), nn.Tanh()))


def test_activations_are_the_networks():
    network, x = mlp([3, 4, 2], 0).double(), inputs(5, 3)
    found = activations(sections(network), x)
    assert torch.equal(found[1], network[:3](x))
    assert torch.allclose(found[2], network(x))

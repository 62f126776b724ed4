"""Alignment: a planted permutation is found whole, the function stays, statistics move along."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.layout import Point
from workbench.merging import alignment
from workbench.models import CharTransformer, lenet, mlp, small_cnn
from workbench.objective import Supervised
from workbench.probes import barrier


def draw(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def build(name, dtype=torch.float64):
    model, shape = {
        "mlp": lambda: (mlp([20, 30, 30, 10]), (20,)),
        "lenet": lambda: (lenet(12, 10), (1, 12, 12)),
        "small_cnn": lambda: (small_cnn(10, 1, 8), (1, 8, 8)),
        "batch_norm": lambda: (  # of inputs, of units in a row, and tensors in another order
            nn.Sequential(nn.BatchNorm1d(20), nn.Linear(20, 30), nn.BatchNorm1d(30), nn.Tanh(), nn.Linear(30, 10)),
            (20,),
        ),
    }[name]()
    objective = Supervised(model, (draw(1, 200, *shape), torch.arange(200) % 10), dtype=dtype)
    theta = objective.theta_0 + 0.05 * draw(2, objective.D).to(dtype)
    return objective, objective.recalibrated(theta)


def shuffled(objective, point, seed):
    """Reorder hidden units one layer after another by torch's own modules."""
    module, rng, orders = objective.module_at(point), np.random.default_rng(seed), []
    layers = [m for m in module if isinstance(m, nn.Linear | nn.Conv2d | nn.modules.batchnorm._BatchNorm)]
    weights = [i for i, m in enumerate(layers) if isinstance(m, nn.Linear | nn.Conv2d)]
    for i, j in itertools.pairwise(weights):
        order = rng.permutation(len(layers[i].weight))
        orders.append(order)
        for layer in layers[i:j]:
            for tensor in (*layer.parameters(), *layer.buffers()):
                if tensor.ndim:
                    tensor.data = tensor.data[order]
        into = layers[j].weight
        pixels = into.shape[1] // len(order)
        columns = (order[:, None] * pixels + np.arange(pixels)).ravel() if into.ndim == 2 else order
        into.data = into.data[:, columns]
    theta = torch.cat([p.detach().flatten() for p in module.parameters()])
    return Point(theta, {k: v.clone() for k, v in module.named_buffers()}), orders


@pytest.mark.parametrize("method", ["weights", "activations"])
@pytest.mark.parametrize("name", ["mlp", "lenet", "small_cnn", "batch_norm"])
def test_a_planted_permutation_is_found_whole(name, method):
    objective, point = build(name)
    for seed in range(3):
        other, orders = shuffled(objective, point, seed)
        found = alignment(objective, point, other, method=method)
        assert all(
            np.array_equal(order[p], np.arange(len(p))) for order, p in zip(orders, found.permutations, strict=True)
        )
        torch.testing.assert_close(found.point.theta, point.theta)
        for key, value in point.buffers.items():
            torch.testing.assert_close(found.point.buffers[key], value)
        assert found.similarity == pytest.approx(1)


@pytest.mark.parametrize("method", ["weights", "activations"])
@pytest.mark.parametrize("name", ["mlp", "lenet", "small_cnn", "batch_norm"])
def test_the_function_is_unchanged_and_the_networks_closer(name, method):
    objective, first = build(name, torch.float32)
    second = objective.recalibrated(draw(9, objective.D, dtype=torch.float32) * 0.3)
    found = alignment(objective, first, second, method=method)
    wanted, logits = objective.logits(second, "train"), objective.logits(found.point, "train")
    assert float((logits - wanted).abs().max() / wanted.abs().max()) < 1e-5
    assert found.residual < 1e-5
    if method == "weights":
        before = float(torch.cosine_similarity(first.theta, second.theta, dim=0))
        assert found.similarity > before + 0.01
    again = alignment(objective, first, second, method=method)
    assert torch.equal(again.point.theta, found.point.theta)


def test_units_are_read_before_a_nonlinearity_in_place():
    found = []
    for in_place in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(in_place), nn.Linear(8, 3))
        objective = Supervised(model, (draw(1, 50, 6), torch.arange(50) % 3), dtype=torch.float64)
        other = objective.theta_0 + draw(2, objective.D)
        found.append(alignment(objective, objective.theta_0, other, method="activations"))
    assert found[0].similarity == found[1].similarity
    for plain, in_place in zip(*(each.permutations for each in found), strict=True):
        np.testing.assert_array_equal(plain, in_place)


def test_the_barrier_that_order_alone_makes_is_gone():
    objective, point = build("small_cnn")
    other, _ = shuffled(objective, point, 0)
    wide = Point(3 * point.theta, point.buffers)
    apart = barrier(objective, wide, Point(3 * other.theta, other.buffers), n_points=5)
    found = alignment(objective, wide, Point(3 * other.theta, other.buffers))
    assert abs(barrier(objective, wide, found.point, n_points=5).loss.std()) < 1e-6
    assert apart.loss.std() > 1e-3


class Skip(nn.Module):
    """A residual network, whose units cannot be reordered layer by layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.a(x).relu()
        return self.c(h + self.b(h).relu())


def test_bad_input_is_refused():
    objective, point = build("mlp")
    with pytest.raises(InputError, match="method must be one of weights, activations, got 'units'"):
        alignment(objective, point, point, method="units")
    with pytest.raises(InputError, match="n_restarts must be a positive whole number, got 0"):
        alignment(objective, point, point, n_restarts=0)
    text = Supervised(CharTransformer(5, 4, 4, 1, 2), (torch.zeros(2, 4).long(), torch.zeros(2, 4).long()))
    with pytest.raises(InputError, match=r"model must be made of linear, convolution \(without groups\) and BatchNorm"):
        alignment(text, text.theta_0, text.theta_0)
    skip = Supervised(Skip(), (draw(0, 9, 4), torch.arange(9) % 3), dtype=torch.float64)
    with pytest.raises(
        InputError, match="model must be a sequence of layers whose units can be reordered, got 'output"
    ):
        alignment(skip, skip.theta_0, draw(1, skip.D))

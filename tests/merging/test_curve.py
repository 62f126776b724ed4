"""Curves: a circle of minima is followed where the segment crosses its middle; the network is left as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from workbench.coordinates import Subspace, projection
from workbench.errors import InputError
from workbench.layout import Point
from workbench.merging import Curve, curve
from workbench.models import mlp, small_cnn
from workbench.objective import Supervised
from workbench.probes import barrier


def ring():
    """Return an objective whose loss is (w^2 + v^2 - 1)^2."""
    data = torch.eye(2, dtype=torch.float64), torch.zeros(2)

    def loss(outputs, y):  # the outputs of both examples are w and v
        return (outputs.square().sum() - 1).square().expand(len(y))

    return Supervised(nn.Linear(2, 1, bias=False), data, loss=loss, metric="r2", dtype=torch.float64)


def draw(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("kind", "n_bends", "left"), [("bezier", 1, 0.01), ("bezier", 3, 0.002), ("polygonal", 3, 0.02)]
)
def test_a_circle_of_minima_is_followed(kind, n_bends, left):
    objective, ends = ring(), torch.eye(2, dtype=torch.float64)
    straight = barrier(objective, *ends)
    assert straight.height == pytest.approx(0.25)  # ((1/2)^2 + (1/2)^2 - 1)^2
    found = curve(objective, *ends, kind=kind, n_bends=n_bends, learning_rate=0.05, n_steps=600)
    assert barrier(objective, *ends, path=found).height < left
    assert torch.equal(found.points[[0, -1]], ends)
    assert found.losses.shape == (600,)
    assert found.n_gradients == 600


def test_one_bend_of_a_circle_is_where_the_mean_loss_is_least():
    objective, ends = ring(), torch.eye(2, dtype=torch.float64)
    found = curve(objective, *ends, learning_rate=0.05, n_steps=1500)

    def mean_loss(c):
        bend = Curve("bezier", torch.stack([ends[0], torch.tensor([c, c]).double(), ends[1]]), np.empty(0), 0, 0)
        return np.mean([float((bend(t).square().sum() - 1) ** 2) for t in np.linspace(0, 1, 201)])

    best = min(np.linspace(0.5, 1.5, 201), key=mean_loss)
    np.testing.assert_allclose(found.points[1].numpy(), best, atol=0.02)


def test_shapes_of_paths():
    points = draw(0, 3, 4)
    bezier, broken = (Curve(kind, points, np.empty(0), 0, 0) for kind in ("bezier", "polygonal"))
    for path in (bezier, broken):
        torch.testing.assert_close(path(0.0), points[0])
        torch.testing.assert_close(path(1.0), points[2])
    torch.testing.assert_close(bezier(0.3), 0.49 * points[0] + 0.42 * points[1] + 0.09 * points[2])
    torch.testing.assert_close(broken(0.25), (points[0] + points[1]) / 2)
    torch.testing.assert_close(broken(0.75), (points[1] + points[2]) / 2)


def test_the_network_and_the_generator_are_left_as_they_were():
    objective = Supervised(small_cnn(3, 1, 2), (draw(1, 20, 1, 5, 5), torch.arange(20) % 3), dtype=torch.float64)
    first = objective.recalibrated(objective.theta_0)
    before = {k: v.clone() for k, v in objective.model.state_dict().items()}
    rng, mode = torch.get_rng_state(), objective.model.training
    settings = {"n_steps": 5, "batch_size": 8, "seed": 3}
    found, again = (curve(objective, first, Point(draw(2, objective.D), {}), **settings) for _ in range(2))
    assert all(torch.equal(v, before[k]) for k, v in objective.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)
    assert objective.model.training == mode
    assert torch.equal(found.points, again.points)
    assert found.n_gradients == 5 * 8 / 20
    other = curve(objective, first, draw(2, objective.D), **{**settings, "seed": 4})
    assert not torch.equal(found.points, other.points)


def test_in_a_subspace_the_mean_loss_falls_as_well():
    objective = Supervised(mlp([3, 4, 2]), (draw(1, 20, 3), torch.arange(20) % 2), dtype=torch.float64)
    chart = Subspace(objective.theta_0, projection("hashed", objective.D, 5, 0, dtype=torch.float64))
    ends = draw(2, 2, 5)
    segment = [objective.loss(chart(ends[0].lerp(ends[1], s))) for s in np.linspace(0, 1, 21)]
    trained = curve(objective, *ends, coordinates=chart, n_steps=200, batch_size=None, learning_rate=0.05)
    path = np.linspace(0, 1, 21)
    assert np.mean([objective.loss(chart(trained(s))) for s in path]) < np.mean(segment)


def test_bad_input_is_refused():
    objective, ends = ring(), torch.eye(2, dtype=torch.float64)
    for settings, message in [
        ({"kind": "cubic"}, "kind must be one of bezier, polygonal, got 'cubic'"),
        ({"n_bends": 0}, "n_bends must be a positive whole number, got 0"),
        ({"n_steps": 1.5}, "n_steps must be a positive whole number, got 1.5"),
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
    ]:
        with pytest.raises(InputError, match=message):
            curve(objective, *ends, **settings)
    with pytest.raises(InputError, match=r"second must have the shape of first, \(2,\), got \(1,\)"):
        curve(objective, ends[0], ends[1, :1])

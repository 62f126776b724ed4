"""Lines and planes: parabolas and asymmetric functions exactly, every network against a loop of plain evaluations."""

import numpy as np
import pytest
import torch
from torch import nn

from workbench.coordinates import Subspace, projection
from workbench.errors import InputError
from workbench.layout import Point
from workbench.models import CharTransformer, lenet, mlp, small_cnn
from workbench.objective import Supervised
from workbench.probes import directions, line, plane


def draw(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def classes(n, n_classes, *shape):
    return torch.arange(n * (shape[0] if shape else 1)).view(n, *shape) * 7 % n_classes


class Residual(nn.Module):
    """A network that is no sequence, and whose layers do not stand in the order in which they are called."""

    def __init__(self):
        super().__init__()
        self.last, self.first, self.middle = nn.Linear(5, 3), nn.Linear(6, 5), nn.Linear(5, 5)

    def forward(self, x):
        h = self.first(x).relu()
        return self.last(h + self.middle(h).relu())


class Twice(nn.Module):
    """A network whose first layer is called twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(self.layer(self.layer(x).relu()))


class Sneaky(nn.Module):
    """A network that uses its first layer's matrix a second time, past the layer."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(nn.functional.linear(self.layer(x).relu(), self.layer.weight))


def build(name, dtype=torch.float64):
    model, x, y, loss = {
        "mlp": lambda: (mlp([6, 5, 3]), draw(1, 17, 6), classes(17, 3), "cross_entropy"),
        "regression": lambda: (mlp([6, 5, 2]), draw(1, 17, 6), draw(2, 17, 2), "squared_error"),
        "lenet": lambda: (lenet(9, 3), draw(1, 17, 1, 9, 9), classes(17, 3), "cross_entropy"),
        "batch_norm": lambda: (small_cnn(3, 1, 2), draw(1, 17, 1, 9, 9), classes(17, 3), "cross_entropy"),
        "transformer": lambda: (CharTransformer(5, 4, 4, 1, 2), classes(9, 5, 4), classes(9, 5, 4), "cross_entropy"),
        "residual": lambda: (Residual(), draw(1, 17, 6), classes(17, 3), "cross_entropy"),
        "twice": lambda: (Twice(), draw(1, 17, 6), classes(17, 3), "cross_entropy"),
        "sneaky": lambda: (Sneaky(), draw(1, 17, 6), classes(17, 3), "cross_entropy"),
    }[name]()
    test = x[:7], y[:7]
    objective = Supervised(model, (x, y), test=test, loss=loss, dtype=dtype, chunk_size=5)
    point = objective.recalibrated(objective.theta_0 + 0.3 * draw(3, objective.D).to(dtype))
    return objective, point


NETWORKS = ("mlp", "regression", "lenet", "batch_norm", "transformer", "residual", "twice", "sneaky")
A, B = [-1.0, 0.0, 0.7], [0.5, -2.0, 0.0, 1.0]  # neither symmetric nor sorted


def loop(objective, theta_of, buffers, stats, split="train"):
    """Evaluate each point of the grid by itself, in the package's plainest way."""
    found = np.empty((2, len(A), len(B)))
    for i, a in enumerate(A):
        for j, b in enumerate(B):
            there = objective.evaluate(Point(theta_of(a, b), buffers), split, stats)
            found[:, i, j] = there.loss, 1 - there.metric
    return found


@pytest.mark.parametrize("stats", ["stored", "recalibrated"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_plane_is_a_loop_of_plain_evaluations(name, stats):
    objective, point = build(name)
    v = 0.5 * draw(4, 2, objective.D)
    for split in ("train", "test"):
        found = plane(objective, point, v, A, B, batch_stats=stats, split=split)
        wanted = loop(objective, lambda a, b: point.theta + a * v[0] + b * v[1], point.buffers, stats, split)
        np.testing.assert_allclose([found.loss, found.error], wanted, rtol=1e-9, atol=1e-9)
    fast = found.n_gradients == pytest.approx(13 / 3)  # one point more, as a check
    assert fast == (name in {"mlp", "regression", "lenet"} or (name == "batch_norm" and stats == "stored"))


@pytest.mark.parametrize("name", ["mlp", "lenet", "batch_norm"])
def test_in_single_precision_to_a_millionth(name):
    objective, point = build(name, torch.float32)
    exact, _ = build(name)
    v = 0.2 * draw(4, 2, objective.D)
    found = plane(objective, point, v.float(), A, B, batch_stats="stored")
    buffers = {k: x.double() if x.is_floating_point() else x for k, x in point.buffers.items()}
    wanted = loop(exact, lambda a, b: point.theta.double() + a * v[0] + b * v[1], buffers, "stored")
    np.testing.assert_allclose(found.loss, wanted[0], rtol=1e-6)
    assert found.residual < 1e-6 * found.loss.max()  # up to 659, of which a float's last bit is 6e-5


@pytest.mark.parametrize("name", ["mlp", "batch_norm", "transformer"])
def test_in_a_subspace_and_on_a_curved_chart(name):
    objective, point = build(name)
    chart = Subspace(point.theta, projection("hashed", objective.D, 4, 0, dtype=torch.float64))
    for coordinates in (chart, lambda phi: chart(phi.square())):
        phi, v = draw(5, 4), draw(6, 2, 4)
        found = plane(objective, (phi, point.buffers), v, A, B, coordinates=coordinates, batch_stats="recalibrated")
        wanted = loop(objective, lambda a, b, c=coordinates: c(phi + a * v[0] + b * v[1]), {}, "recalibrated")  # noqa: B023
        np.testing.assert_allclose([found.loss, found.error], wanted, rtol=1e-9)


def test_a_line_of_a_quadratic_is_a_parabola_and_its_gradient_a_straight_line():
    x, y = draw(0, 30, 4), draw(1, 30, 1)
    objective = Supervised(nn.Linear(4, 1, bias=False), (x, y), loss="squared_error", dtype=torch.float64)
    theta, v, t = draw(2, 4), draw(3, 4), np.array([-2.0, -0.5, 0.0, 1.0, 3.0])
    found = line(objective, theta, v, t)
    H, g = 2 * x.T @ x / 30, 2 * x.T @ (x @ theta - y[:, 0]) / 30
    wanted = objective.loss(theta) + t * float(g @ v) + t**2 * float(v @ H @ v) / 2
    np.testing.assert_allclose(found.loss, wanted, rtol=1e-12)
    np.testing.assert_allclose(found.gradient_norm, [float((g + s * H @ v).norm()) for s in t], rtol=1e-12)
    assert found.n_gradients == pytest.approx(5 * 4 / 3)
    assert list(found.to_frame().columns) == ["t", "loss", "error", "gradient_norm"]


def test_gradient_norms_are_those_in_the_coordinates():
    objective, point = build("mlp")
    P = projection("hashed", objective.D, 4, 0, dtype=torch.float64)
    chart = Subspace(point.theta, P)
    found = plane(objective, torch.zeros(4).double(), torch.eye(4).double()[:2], [0.5], [1.0, -1.0],
                  coordinates=lambda phi: chart(phi.square()), gradient_norm=True)  # fmt: skip
    for value, b in zip(found.gradient_norm[0], (1.0, -1.0), strict=True):
        phi = torch.tensor([0.5, b, 0, 0], dtype=torch.float64, requires_grad=True)
        objective(chart(phi.square())).backward()
        assert value == pytest.approx(float(phi.grad.norm()), rel=1e-9)


def test_rows_stand_where_they_belong():
    data = torch.eye(2, dtype=torch.float64), torch.tensor([[1.0], [10.0]])
    skew = lambda outputs, y: outputs[:, 0] * y[:, 0]  # noqa: E731
    objective = Supervised(nn.Linear(2, 1, bias=False), data, loss=skew, metric="r2", dtype=torch.float64)
    a, b = np.linspace(-1, 1, 5), np.linspace(0, 3, 4)
    found = plane(objective, torch.zeros(2).double(), torch.eye(2).double(), a, b)
    np.testing.assert_allclose(found.loss, (a[:, None] + 10 * b) / 2, atol=1e-12)
    frame = found.to_frame()
    np.testing.assert_allclose(frame.loss, (frame.a + 10 * frame.b) / 2, atol=1e-12)


def test_nan_regions_stay_nan_and_infinite_ones_infinite():
    data = torch.eye(2), torch.zeros(2, 1)
    root = lambda outputs, y: outputs[:, 0].sqrt() + 0 / (outputs[:, 0] < 4)  # noqa: E731
    objective = Supervised(nn.Linear(2, 1, bias=False), data, loss=root, metric="r2")
    found = plane(objective, torch.zeros(2), torch.eye(2), [-1, 0, 1], [-1, 1])
    assert np.isnan(found.loss).tolist() == [[True, True], [True, False], [True, False]]
    assert np.isnan(found.error[np.isnan(found.loss)]).all()
    objective, point = build("mlp", torch.float32)
    far = plane(objective, point, directions(point.theta, objective.layout), [0, 1e30], [0.0])
    assert np.isfinite(far.loss[0, 0])
    assert not np.isfinite(far.loss[1, 0])


def test_pitfall_stored_statistics_inflate_a_slice():
    objective, point = build("batch_norm")
    v = directions(point.theta, objective.layout, n=1)[0]
    stored, recomputed = (line(objective, point, v, [0, 4], batch_stats=s) for s in ("stored", "recalibrated"))
    assert (stored.recalibrated, recomputed.recalibrated) == (False, True)
    assert stored.loss[0] == pytest.approx(recomputed.loss[0])
    assert stored.loss[1] > 2 * recomputed.loss[1]


def test_pitfall_biases_and_norms_change_a_slice_wildly():
    objective, point = build("batch_norm")
    point.theta[-20:] *= 10
    still, moving = (
        line(objective, point, directions(point.theta, objective.layout, n=1, roles=roles)[0], [3.0]).loss[0]
        for roles in (("weight",), ("weight", "bias", "norm"))
    )
    assert abs(moving - still) > 0.2 * still


def test_everything_is_left_as_it_was():
    objective, point = build("lenet")
    objective.model.train()
    theta, rng = objective.theta.clone(), torch.get_rng_state()
    plane(objective, point, draw(4, 2, objective.D), A, B)
    assert torch.equal(objective.theta, theta)
    assert torch.equal(torch.get_rng_state(), rng)
    assert objective.model.training
    assert not [m for m in objective.model.modules() if "forward" in vars(m)]


def test_bad_input_is_refused():
    objective, point = build("mlp")
    v = draw(0, 2, objective.D)
    for call, message in [
        (lambda: line(objective, point, v), r"directions must be finite, of shape \(1, 53\), got \(1, 2, 53\)"),
        (lambda: plane(objective, point, v[:, :3]), r"directions must be finite, of shape \(2, 53\), got \(2, 3\)"),
        (lambda: plane(objective, point, v.log()), "directions must be finite"),
        (lambda: plane(objective, point, v, [0, np.nan]), "coordinates must be lists of finite numbers"),
        (lambda: line(objective, point, v[0], []), "coordinates must be lists of finite numbers"),
        (lambda: line(objective, point, v[0], batch_stats="own"), "batch_stats must be one of stored, recalibrated"),
        (lambda: line(objective, point, v[0], split="validation"), "split must be one of train, test"),
    ]:
        with pytest.raises(InputError, match=message):
            call()

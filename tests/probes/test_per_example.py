"""Per-example gradients and tangent kernels: dense Jacobians in float64, planted coherence and noise."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.probes.test_landscape import NETWORKS, build, classes, draw, maps
from workbench.errors import InputError
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes import per_example, tangent_kernel


def jacobians(objective, point, chart):
    """Return dense Jacobians of losses, ``(n, d)``, and of outputs, ``(n C, d)``."""
    objective.set_buffers(point.buffers)
    phi, theta = chart
    x, y = objective.splits["train"].batch(None)
    objective.model.eval()

    def outputs(p):
        state = {**objective.layout.views(p if theta is None else theta(p)), **point.buffers}
        return torch.func.functional_call(objective.model, state, (x,))

    with sdpa_kernel(SDPBackend.MATH):
        G = torch.autograd.functional.jacobian(lambda p: objective.losses(outputs(p), y), phi)
        J = torch.autograd.functional.jacobian(outputs, phi)
    return G, J.reshape(-1, len(phi))


@pytest.mark.parametrize("name", [*NETWORKS, "lenet"])
def test_they_are_those_of_the_dense_jacobian(name):
    objective, point = build(name)
    for phi, chart in [(point.theta, None)] if name == "lenet" else maps(objective, point):
        at = dict(objective=objective, point=(phi, point.buffers), coordinates=chart)
        G, J = jacobians(objective, point, (phi, chart))
        n, found, kernel = len(G), per_example(**at), tangent_kernel(**at)
        torch.testing.assert_close(torch.from_numpy(found.squared_norms), G.square().sum(1), rtol=1e-9, atol=1e-13)
        assert found.mean_squared == pytest.approx(float(G.mean(0).square().sum()), rel=1e-8, abs=1e-20)
        torch.testing.assert_close(kernel.matrix.reshape(len(J), -1), J @ J.T, rtol=1e-9, atol=1e-11)
        path = "layers" if chart is None and name != "transformer" else "vmap"
        assert found.path == kernel.path == path
        assert found.n_gradients == (1 if path == "layers" else n)
        alone = per_example(**at, coherence=False)
        np.testing.assert_array_equal(alone.squared_norms, found.squared_norms)
        assert np.isnan([alone.mean_squared, alone.coherence, alone.noise_scale]).all()
        assert alone.n_gradients == (2 / 3 if path == "layers" else n)


@pytest.mark.parametrize(
    "changed", [nn.ReLU(inplace=True), nn.Sequential(nn.Unflatten(1, (8, 1)), nn.ELU(inplace=True), nn.Flatten())]
)
def test_layers_whose_outputs_are_changed_in_place_are_not_read(changed):
    model = nn.Sequential(nn.Linear(6, 8), changed, nn.Linear(8, 3))
    objective = Supervised(model, (draw(1, 13, 6), classes(13, 3)), dtype=torch.float64)
    point = Point(objective.theta_0, {})
    G, J = jacobians(objective, point, (point.theta, None))
    found, kernel = per_example(objective, point), tangent_kernel(objective, point)
    torch.testing.assert_close(torch.from_numpy(found.squared_norms), G.square().sum(1), rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(kernel.matrix.reshape(len(J), -1), J @ J.T, rtol=1e-9, atol=1e-11)
    assert found.path == kernel.path == "vmap"


def means(targets):
    """Return an objective whose example i has the gradient -2 targets[i] at zero."""
    x = torch.ones(len(targets), 1, dtype=torch.float64)
    model = nn.Linear(1, targets.shape[1], bias=False)
    objective = Supervised(model, (x, targets), loss="squared_error", dtype=torch.float64)
    return objective, torch.zeros(objective.D, dtype=torch.float64)


def test_coherence_of_equal_and_of_orthogonal_gradients():
    assert per_example(*means(torch.ones(5, 3).double())).coherence == pytest.approx(1)
    assert per_example(*means(torch.eye(5).double())).coherence == pytest.approx(1 / 5)
    assert np.isnan(per_example(*means(torch.zeros(5, 3).double())).coherence)


def test_noise_scale_of_a_planted_gaussian():
    found = per_example(*means(0.5 + draw(0, 4000, 8)))
    assert found.noise_scale == pytest.approx(8 / (8 * 0.25), rel=0.1)
    assert per_example(*means(torch.eye(5).double())).noise_scale == np.inf


class Twice(nn.Module):
    """A layer called twice, which no hook on one call can tell."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x).tanh())


class Asks(nn.Module):
    """A network whose path depends on its data, which ``vmap`` cannot run."""

    def __init__(self):
        super().__init__()
        self.layer = Twice()

    def forward(self, x):
        return torch.cat([self.layer(row[None]) * (2 if row.sum().item() > 0 else 1) for row in x])


@pytest.mark.parametrize(("model", "path"), [(Twice, "vmap"), (Asks, "loop")])
def test_networks_that_no_faster_path_fits(model, path):
    objective = Supervised(model(), (draw(0, 6, 4), torch.arange(6) % 4), dtype=torch.float64)
    G, J = jacobians(objective, Point(objective.theta_0, {}), (objective.theta_0, None))
    found, kernel = (probe(objective, objective.theta_0) for probe in (per_example, tangent_kernel))
    assert found.path == kernel.path == path
    assert (found.n_gradients, kernel.n_gradients) == (6, 24)
    np.testing.assert_allclose(found.squared_norms, G.square().sum(1), rtol=1e-9)
    torch.testing.assert_close(kernel.matrix.view(len(J), -1), J @ J.T)


def test_a_linear_network_is_lazy_and_scaling_keeps_the_alignment():
    objective, theta = means(draw(0, 5, 3))
    one, two = tangent_kernel(objective, theta), tangent_kernel(objective, theta + 1)
    assert one.change(two) == 0
    objective, point = build("mlp")
    one, two = (tangent_kernel(objective, scale * point.theta) for scale in (1, 2))
    assert one.change(two) > 0.1
    assert 0 < one.alignment(two) <= 1
    assert one.alignment(one) == pytest.approx(1)
    with pytest.raises(InputError, match=r"other must have shape \(13, 3, 13, 3\), got \(4, 3, 4, 3\)"):
        one.change(tangent_kernel(objective, point, n_examples=4))

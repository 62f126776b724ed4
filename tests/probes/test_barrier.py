"""Barriers: 0 in a convex basin, exact between two minima; statistics recomputed or not; intervals over networks."""

import numpy as np
import pytest
import torch
from torch import nn

from workbench.coordinates import Subspace, projection
from workbench.errors import InputError
from workbench.layout import Point
from workbench.models import small_cnn
from workbench.objective import Supervised
from workbench.probes import barrier, pairs_interval


def draw(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def classes(n, n_classes):
    return torch.arange(n) * 7 % n_classes


def convex():
    return Supervised(nn.Linear(4, 3), (draw(0, 40, 4), classes(40, 3)), dtype=torch.float64)


def batch_norm(n=60):
    objective = Supervised(small_cnn(3, 1, 2), (draw(1, n, 1, 5, 5), classes(n, 3)), dtype=torch.float64)
    ends = [objective.recalibrated(objective.theta_0 + 0.3 * draw(i, objective.D)) for i in (2, 3)]
    return objective, ends


def test_a_convex_basin_has_no_barrier():
    objective = convex()
    found = barrier(objective, draw(1, objective.D), draw(2, objective.D), n_points=11)
    assert found.height == 0
    assert (found.loss <= (1 - found.t) * found.loss[0] + found.t * found.loss[-1] + 1e-12).all()
    assert not found.recalibrated
    assert found.n_gradients == pytest.approx(11 / 3)
    assert found.to_frame().shape == (11, 3)


def test_each_value_is_that_of_a_plain_evaluation_with_statistics_recomputed():
    objective, (first, second) = batch_norm()
    found = barrier(objective, first, second, n_points=5)
    for t, loss, error in zip(found.t, found.loss, found.error, strict=True):
        wanted = objective.evaluate(first.theta.lerp(second.theta, t), "train", "recalibrated")
        assert loss == pytest.approx(wanted.loss, abs=1e-12)
        assert error == pytest.approx(1 - wanted.metric, abs=1e-12)
    assert found.recalibrated
    rise = found.loss - (1 - found.t) * found.loss[0] - found.t * found.loss[-1]
    assert found.height == pytest.approx(rise.max(), abs=1e-12)
    assert found.n_gradients == pytest.approx(10 / 3)


def test_stored_statistics_are_interpolated_and_inflate_a_barrier():
    objective, (first, second) = batch_norm()
    found, recomputed = (barrier(objective, first, second, batch_stats=kind) for kind in ("stored", "recalibrated"))
    middle = {k: (v + second.buffers[k]) / 2 for k, v in first.buffers.items()}
    wanted = objective.loss(Point((first.theta + second.theta) / 2, middle))
    assert found.loss[12] == pytest.approx(wanted, abs=1e-12)
    assert found.loss[[0, -1]] == pytest.approx([objective.loss(first), objective.loss(second)], abs=1e-12)
    assert not np.allclose(found.loss, recomputed.loss, rtol=0.01)


def test_statistics_of_another_point_inflate_the_loss():
    objective, (first, _) = (
        batch_norm()
    )  # a larger kernel before BatchNorm is the same network, with its own statistics
    scales = torch.cat([torch.full((e.size,), 5.0 if len(e.shape) == 4 else 1.0) for e in objective.layout.entries])
    second = first.theta * scales
    found, recomputed = (barrier(objective, first, second, batch_stats=kind) for kind in ("stored", "recalibrated"))
    assert recomputed.loss == pytest.approx(recomputed.loss[0], rel=1e-3)
    assert found.loss[-1] > 5 * recomputed.loss[-1]


def test_a_barriers_standard_error_is_its_spread_over_samples_of_examples():
    product = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))  # (w v x - y)^2
    x = draw(0, 4000, 1)
    objective = Supervised(product, (x, x + draw(1, 4000, 1)), loss="squared_error", dtype=torch.float64)
    ends = -torch.ones(2).double(), torch.ones(2).double()
    some = [barrier(objective, *ends, n_points=5, n_examples=200, seed=seed) for seed in range(30)]
    spread = np.std([b.height for b in some], ddof=1)
    assert 0.6 < spread / np.mean([b.standard_error for b in some]) < 1.5


def test_connected_says_when_it_cannot_tell():
    objective = convex()
    theta = draw(1, objective.D)
    found = barrier(objective, theta, theta, n_points=3)
    assert (found.error_height, found.error_standard_error) == (0, 0)
    assert found.connected() is True
    assert found.connected(margin=-1) is False
    assert found.connected(margin=0) is None


def test_a_path_through_infinity_has_no_finite_height():
    objective = convex()
    theta = draw(1, objective.D)
    found = barrier(objective, theta, theta, path=lambda t: theta / (0.5 - t) if t == 0.5 else theta, n_points=3)
    assert np.isnan(found.loss[1])
    assert np.isnan(found.height)
    assert np.isnan(found.error[1])


def test_in_a_subspace():
    objective = convex()
    chart = Subspace(objective.theta_0, projection("hashed", objective.D, 5, 0, dtype=torch.float64))
    ends = draw(1, 5), draw(2, 5)
    inside = barrier(objective, *ends, coordinates=chart)
    outside = barrier(objective, *(chart(end) for end in ends))
    assert inside.loss == pytest.approx(outside.loss, abs=1e-12)


def test_interval_over_networks_covers_the_mean_of_what_pairs_share():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):  # the barrier of i and j is a_i + a_j: means over pairs vary as 2 mean(a)
        a = rng.standard_normal(6)
        _, low, high = pairs_interval(a[:, None] + a)
        covered += low <= 0 <= high
    assert 0.92 < covered / 400 < 0.975


def test_bad_input_is_refused():
    objective = convex()
    theta = objective.theta_0
    for call, message in [
        (lambda: barrier(objective, theta, theta, n_points=2), "n_points must be a whole number of at least 3, got 2"),
        (lambda: barrier(objective, theta, theta.log()), "point must be a finite vector"),
        (lambda: barrier(objective, theta, theta[:3]), r"theta must have shape \(15,\), got \(3,\)"),
        (lambda: barrier(objective, theta, theta, batch_stats="batch"), "batch_stats must be one of stored, recal"),
        (lambda: pairs_interval([[0, 1], [1, 0]]), "heights must be the symmetric matrix of three or more networks"),
        (lambda: pairs_interval(np.zeros((3, 3)), 1), "level must be between 0 and 1, got 1"),
    ]:
        with pytest.raises(InputError, match=message):
            call()

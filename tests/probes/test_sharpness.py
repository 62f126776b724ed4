"""Sharpness: exact on quadratics, unmoved by rescaling where it says so."""

import numpy as np
import pytest
import torch

from tests.probes.test_eigenpairs import quadratic
from tests.probes.test_landscape import build, draw, maps, rescaled
from workbench.errors import InputError
from workbench.probes import sharpness, trace


def test_on_a_quadratic_both_are_known():
    values = [9.0, 4.0, 1.0, 0.5]
    objective, point = quadratic(values), torch.zeros(4).double()
    found = sharpness(objective, point, radius=0.3, n_draws=400, n_steps=30)
    assert found.worst_case == pytest.approx(0.09 * 9 / 2, rel=1e-3)
    assert found.worst_case <= 0.09 * 9 / 2 + 1e-12  # a lower bound
    assert found.worst_spread < 1e-3 * found.worst_case
    assert (np.diff(found.worst_after) >= 0).all()
    wanted = 0.09 / 4 * trace(objective, point).value / 2
    assert abs(found.average - wanted) < 4 * found.average_error < wanted


def test_adaptive_measures_stay_under_rescaling_and_plain_ones_move():
    objective, point = build("mlp")
    plain, adaptive = (
        [sharpness(o, p, radius=0.2, adaptive=way) for o, p in ((objective, point), rescaled(objective, point))]
        for way in (False, True)
    )
    assert adaptive[1].worst_case == pytest.approx(adaptive[0].worst_case, rel=1e-9)
    assert adaptive[1].average == pytest.approx(adaptive[0].average, rel=1e-9)
    assert plain[1].average > 2 * plain[0].average


def test_the_spread_is_what_hung_on_the_start():
    square, low, high = quadratic([2.0]), 0.0625, 0.5625  # (z + z^2)^2 at z = -1/2 and 1/2, the ends of the ball
    seen = set()
    for seed in range(8):
        found = sharpness(square, torch.zeros(1).double(), radius=0.5, coordinates=lambda z: z + z * z, seed=seed)
        assert found.worst_case == pytest.approx(found.worst_after[:, -1].max())
        seen.add((round(found.worst_case, 6), round(found.worst_spread, 6)))
    assert seen == {(low, 0.0), (high, 0.0), (high, high - low)}  # no bound: both starts may miss the higher end


def test_more_starts_leave_the_average_and_find_no_less():
    objective, point = build("mlp")
    few, many = (sharpness(objective, point, radius=1.0, n_starts=n, n_steps=5) for n in (2, 5))
    assert many.average == few.average
    assert many.worst_after.shape == (5, 5)
    assert np.array_equal(many.worst_after[-1], few.worst_after[-1])  # the first start is the last row
    assert many.n_gradients == pytest.approx(few.n_gradients + 3 * 5 * 4 / 3)


def test_every_coordinates():
    objective, point = build("batch_norm")
    for phi, chart in maps(objective, point):
        found = sharpness(objective, (phi, point.buffers), coordinates=chart, n_steps=4, n_draws=2)
        assert found.worst_case > 0
        assert found.n_gradients == pytest.approx(37 / 3)


def test_bad_input_is_refused():
    objective, point = build("mlp")
    with pytest.raises(InputError, match="radius must be positive, got 0"):
        sharpness(objective, point, radius=0)
    with pytest.raises(InputError, match="n_starts must be at least 2, got 1"):
        sharpness(objective, point, n_starts=1)
    with pytest.raises(InputError, match="point must have a finite loss, got nan"):
        sharpness(objective, 1e200 * draw(1, 53))

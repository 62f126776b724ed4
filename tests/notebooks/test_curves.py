import json

import numpy as np
import pytest
from curves import TRACES_PER_CURVE, accuracy_curve, accuracy_versus_dimension

from workbench.dimension import Runs, intrinsic_dim


def curve(name="MLP", **changes):
    return {
        "name": name,
        "dims": [10, 10, 100, 100],
        "scores": [0.2, 0.3, 0.9, 0.95],
        "seeds": [0, 1, 0, 1],
        "fit_dims": [10.0, 100.0],
        "fit_scores": [0.25, 0.925],
        "threshold": 0.85,
        "threshold_low": 0.84,
        "threshold_high": 0.86,
        "fraction": 0.9,
        "value": 70.0,
        "low": 60.0,
        "high": 85.0,
        "censored": None,
        "text": "70 [60, 85]",
    } | changes


def runs():
    dims = np.repeat([5, 10, 20, 50, 100, 200], 3)
    scores = 0.95 - 0.85 * np.exp(-dims / 40) + 0.005 * np.tile([-1, 0, 1], 6)
    baseline = Runs(np.full(3, 1000), np.arange(3), np.array([0.94, 0.95, 0.96]))
    return Runs(dims, np.tile([0, 1, 2], 6), scores), baseline


def test_accuracy_curve_holds_plain_numbers_of_the_estimate():
    table, baseline = runs()
    estimate = intrinsic_dim(table, baseline)
    collected = accuracy_curve("MLP", table, baseline, estimate)
    assert json.loads(json.dumps(collected))["scores"] == collected["scores"]
    assert collected["value"] == estimate.value
    assert collected["threshold_low"] < collected["threshold"] < collected["threshold_high"]
    assert np.all(np.diff(collected["fit_scores"]) >= 0)
    assert collected["fit_dims"] == pytest.approx([5, 10, 20, 50, 100, 200])


def test_an_absolute_threshold_has_no_band():
    table, baseline = runs()
    collected = accuracy_curve("MLP", table, baseline, intrinsic_dim(table, baseline, 0.9, 0.8))
    assert collected["threshold_low"] is None
    assert accuracy_versus_dimension([collected]).data[0].y == ()


def test_every_run_is_drawn_and_the_intervals_lie_below():
    figure = accuracy_versus_dimension([curve(), curve("LeNet", value=80.0)])
    assert len(figure.data) == 2 * TRACES_PER_CURVE
    _, threshold, fit, points, marker = figure.data[:TRACES_PER_CURVE]
    assert list(points.x) == [10, 10, 100, 100]
    assert list(points.y) == [0.2, 0.3, 0.9, 0.95]
    assert set(threshold.y) == {0.85}
    assert list(fit.y) == [0.25, 0.925]
    assert (marker.x, marker.y, marker.yaxis) == ((70.0,), (0,), "y2")
    assert (marker.error_x.array[0], marker.error_x.arrayminus[0]) == (15.0, 10.0)
    assert "70 [60, 85]" in points.name
    assert figure.data[-1].y == (1,)
    assert figure.layout.yaxis2.ticktext == ("MLP", "LeNet")
    assert figure.layout.yaxis2.domain[1] == figure.layout.yaxis.domain[0]


def test_an_end_that_no_run_supports_leaves_the_axis():
    bars = accuracy_versus_dimension([curve(high=None)]).data[4].error_x
    assert bars.arrayminus[0] == 10.0
    assert bars.array[0] > 1e6
    bars = accuracy_versus_dimension([curve(low=None, high=None)]).data[4].error_x
    assert bars.array[0] == bars.arrayminus[0] == 0


def test_the_note_names_the_threshold():
    def note(**changes):
        return accuracy_versus_dimension([curve(**changes)]).layout.title.subtitle.text

    assert "80 % of the network's own baseline" in note(fraction=0.8)
    assert "a score of 0.85" in note(fraction=None)


def test_a_diverged_run_is_seen():
    figure = accuracy_versus_dimension([curve(scores=[np.nan, 0.3, 0.9, 0.95])])
    points = figure.data[3]
    assert points.y[0] < 0.3
    assert points.y[0] >= figure.layout.yaxis.range[0]
    assert points.marker.symbol[0] != points.marker.symbol[1]
    assert "diverged" in points.text[0]
    assert "diverged" in figure.layout.title.subtitle.text


@pytest.mark.parametrize(("censored", "symbol"), [("above", "triangle-right"), ("below", "triangle-left")])
def test_a_bound_is_an_arrow(censored, symbol):
    marker = accuracy_versus_dimension([curve(censored=censored, low=None, high=None)]).data[4]
    assert marker.marker.symbol == symbol


def test_networks_differ_in_marker_and_colour():
    points = accuracy_versus_dimension([curve(str(i)) for i in range(7)]).data[3::TRACES_PER_CURVE]
    assert len({p.marker.symbol[0] for p in points}) == len({p.marker.color for p in points}) == 7


def test_moving_the_threshold_moves_no_axis():
    first = accuracy_versus_dimension([curve()])
    second = accuracy_versus_dimension([curve(threshold=0.5, value=30.0)])
    assert first.layout.xaxis == second.layout.xaxis
    assert first.layout.yaxis == second.layout.yaxis

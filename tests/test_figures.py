import json

import numpy as np
import plotly.graph_objects as go
import pytest

from workbench import figures
from workbench.dimension import Runs, intrinsic_dim
from workbench.errors import InputError
from workbench.figures.accuracy import TRACES_PER_CURVE
from workbench.figures.style import log_axis, spread


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
    collected = figures.accuracy_curve("MLP", table, baseline, estimate)
    assert json.loads(json.dumps(collected)) == collected
    assert collected["value"] == estimate.value
    assert collected["threshold_low"] < collected["threshold"] < collected["threshold_high"]
    assert np.all(np.diff(collected["fit_scores"]) >= 0)
    assert collected["fit_dims"] == pytest.approx([5, 10, 20, 50, 100, 200])


def test_an_absolute_threshold_has_no_band():
    table, baseline = runs()
    collected = figures.accuracy_curve("MLP", table, baseline, intrinsic_dim(table, baseline, 0.9, 0.8))
    assert collected["threshold_low"] is None
    assert figures.accuracy_versus_dimension([collected]).data[0].y == ()


def test_every_run_is_drawn_and_the_interval_lies_on_the_threshold():
    figure = figures.accuracy_versus_dimension([curve(), curve("LeNet", value=None)])
    assert len(figure.data) == 2 * TRACES_PER_CURVE
    _, threshold, fit, points, marker = figure.data[:TRACES_PER_CURVE]
    assert list(points.x) == [10, 10, 100, 100]
    assert list(points.y) == [0.2, 0.3, 0.9, 0.95]
    assert set(threshold.y) == {0.85}
    assert list(fit.y) == [0.25, 0.925]
    assert (marker.x[1], marker.y[1]) == (70.0, 0.85)
    assert (marker.error_x.array[1], marker.error_x.arrayminus[1]) == (15.0, 10.0)
    assert "70 [60, 85]" in points.name
    assert figure.data[-1].x == ()  # no value: no marker


def test_a_diverged_run_is_seen():
    figure = figures.accuracy_versus_dimension([curve(scores=[np.nan, 0.3, 0.9, 0.95])])
    points = figure.data[3]
    assert points.y[0] < 0.3
    assert points.y[0] >= figure.layout.yaxis.range[0]
    assert points.marker.symbol[0] != points.marker.symbol[1]
    assert "diverged" in points.text[0]
    assert "diverged" in figure.layout.title.subtitle.text


@pytest.mark.parametrize(("censored", "symbol"), [("above", "triangle-right"), ("below", "triangle-left")])
def test_a_bound_is_an_arrow(censored, symbol):
    marker = figures.accuracy_versus_dimension([curve(censored=censored, low=None, high=None)]).data[4]
    assert marker.marker.symbol == symbol


def test_networks_differ_in_marker_and_colour():
    points = figures.accuracy_versus_dimension([curve(str(i)) for i in range(7)]).data[3::TRACES_PER_CURVE]
    assert len({p.marker.symbol[0] for p in points}) == len({p.marker.color for p in points}) == 7


def test_moving_the_threshold_moves_no_axis():
    first = figures.accuracy_versus_dimension([curve()])
    second = figures.accuracy_versus_dimension([curve(threshold=0.5, value=30.0)])
    assert first.layout.xaxis == second.layout.xaxis
    assert first.layout.yaxis == second.layout.yaxis


def test_dimension_versus_parameters_shows_bounds_and_published_values():
    table = [
        {"name": "50", "group": "MLP", "D": 40_000, "value": 300, "low": 280, "high": 330},
        {"name": "200", "group": "MLP", "D": 200_000, "value": 1500, "censored": "above"},
        {"name": "LeNet", "group": "LeNet", "D": 44_426, "value": 150, "low": None, "high": None},
    ]
    figure = figures.dimension_versus_parameters(table, [{"name": "FC", "D": 199_210, "value": 750, "source": "table"}])
    line, mlp, lenet, published = figure.data
    assert list(line.x) == list(line.y)
    assert list(mlp.error_y.array) == [30, 0]
    assert mlp.marker.symbol == ("circle", "triangle-up")
    assert list(lenet.error_y.arrayminus) == [0]
    assert published.marker.symbol.endswith("open")
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_solved_fraction_counts_seeds():
    returns = [[100, 480, 500], [475, 480, 500]]
    figure = figures.solved_fraction([1, 2], returns, at_least=2, untrained=[9, 9, 10])
    solved, not_solved, bars = figure.data
    assert len(solved.x) == 5
    assert sorted(not_solved.y) == [9, 9, 10, 100]
    assert list(bars.y) == pytest.approx([2 / 3, 1])
    assert np.all(np.asarray(bars.y) + np.asarray(bars.error_y.array) <= 1 + 1e-12)


def test_toy_residual_draws_exact_zeros():
    figure = figures.toy_residual([9, 10], [[70.0, 75.0], [0.0, 1e-26]], solved_below=1e-6)
    assert figure.layout.yaxis.type == "log"
    assert min(figure.data[1].y) == 1e-32
    assert figure.layout.annotations[1].y == pytest.approx(-6)


def test_a_slider_changes_data_alone():
    drawn = [figures.accuracy_versus_dimension([curve(threshold=t)]) for t in (0.5, 0.85, 0.9)]
    joined = figures.slider_figure(drawn, ["a", "b", "c"], active=1)
    assert go.Figure(data=joined.data).to_json() == go.Figure(data=drawn[1].data).to_json()
    assert len(joined.frames) == 3
    assert joined.layout.sliders[0].active == 1
    for frame, step in zip(joined.frames, joined.layout.sliders[0].steps, strict=True):
        assert list(step.args[0]) == [frame.name]
        assert set(frame.layout.to_plotly_json()) <= {"title"}
    assert joined.frames[2].data[1].y == (0.9, 0.9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.accuracy_versus_dimension([]), "curves must hold at least one curve"),
        (lambda: figures.accuracy_versus_dimension([curve(dims=[])]), "curves must each hold at least one run"),
        (lambda: figures.dimension_versus_parameters([]), "table must hold at least one row"),
        (lambda: figures.solved_fraction([1, 2], [[1.0]]), r"returns must have shape \(2, n_seeds\)"),
        (lambda: figures.toy_residual([1], [1.0]), r"residuals must have shape \(1, n_seeds\)"),
        (lambda: figures.slider_figure([], []), "figures must hold at least one figure"),
        (
            lambda: figures.slider_figure([figures.toy_residual([1], [[1.0]])], ["a", "b"]),
            "labels must be 1, one per figure",
        ),
        (
            lambda: figures.slider_figure(
                [figures.accuracy_versus_dimension([curve()] * n) for n in (1, 2)], ["a", "b"]
            ),
            "must have the same number of traces",
        ),
        (lambda: figures.menu(figures.toy_residual([1], [[1.0]]), {"a": [True]}), "choices must hold 2 flags each"),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_log_axis_ticks_lie_inside():
    axis = log_axis((8, 1700))
    assert axis["ticktext"] == ["10", "20", "50", "100", "200", "500", "1,000"]
    assert spread(2).tolist() == [-0.25, 0.25]

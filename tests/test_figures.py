import json

import numpy as np
import plotly.graph_objects as go
import pytest

from workbench import figures
from workbench.dimension import Runs, intrinsic_dim
from workbench.errors import InputError
from workbench.figures.accuracy import TRACES_PER_CURVE
from workbench.figures.style import log_axis


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
    collected = figures.accuracy_curve("MLP", table, baseline, estimate)
    assert json.loads(json.dumps(collected))["scores"] == collected["scores"]
    assert collected["value"] == estimate.value
    assert collected["threshold_low"] < collected["threshold"] < collected["threshold_high"]
    assert np.all(np.diff(collected["fit_scores"]) >= 0)
    assert collected["fit_dims"] == pytest.approx([5, 10, 20, 50, 100, 200])


def test_an_absolute_threshold_has_no_band():
    table, baseline = runs()
    collected = figures.accuracy_curve("MLP", table, baseline, intrinsic_dim(table, baseline, 0.9, 0.8))
    assert collected["threshold_low"] is None
    assert figures.accuracy_versus_dimension([collected]).data[0].y == ()


def test_every_run_is_drawn_and_the_intervals_lie_below():
    figure = figures.accuracy_versus_dimension([curve(), curve("LeNet", value=80.0)])
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
    bars = figures.accuracy_versus_dimension([curve(high=None)]).data[4].error_x
    assert bars.arrayminus[0] == 10.0
    assert bars.array[0] > 1e6
    bars = figures.accuracy_versus_dimension([curve(low=None, high=None)]).data[4].error_x
    assert bars.array[0] == bars.arrayminus[0] == 0


def test_the_note_names_the_threshold():
    def note(**changes):
        return figures.accuracy_versus_dimension([curve(**changes)]).layout.title.subtitle.text

    assert "80 % of the network's own baseline" in note(fraction=0.8)
    assert "a score of 0.85" in note(fraction=None)


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


def row(name, D, value, group="MLP", **changes):
    return {
        "name": name, "group": group, "D": D, "value": value, "low": None, "high": None, "censored": None,
        "fraction": 0.9, "threshold": 0.85,
    } | changes  # fmt: skip


def test_dimension_versus_parameters_shows_bounds_and_published_values():
    table = [
        row("50", 40_000, 300, low=280, high=330),
        row("200", 200_000, 1500, censored="above"),
        row("LeNet", 44_426, 150, "LeNet"),
    ]
    printed = [{"name": "LeNet", "D": 44_426, "value": value, "source": "table"} for value in (275, 290)]
    figure = figures.dimension_versus_parameters(table, printed)
    line, mlp, lenet, published = figure.data
    assert list(line.x) == list(line.y)
    assert list(mlp.error_y.array) == [30, 0]
    assert mlp.marker.symbol == ("circle", "triangle-up")
    assert list(lenet.error_y.arrayminus) == [0]
    assert published.marker.symbol.endswith("open")
    assert [text.strip() for text in published.text] == ["", "LeNet"]  # two printed values, one name
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"


def test_names_of_networks_of_like_size_do_not_overlap():
    sizes = {"mlp-50": 6310, "mlp-100": 17_610, "mlp-200": 55_210, "mlp-400": 190_410, "lenet": 19_754}
    figure = figures.dimension_versus_parameters([row(name, D, 130) for name, D in sizes.items()])
    assert figure.data[1].textposition == (
        "middle right", "middle left", "middle right", "middle right", "middle right"
    )  # fmt: skip
    figure = figures.dimension_versus_parameters([row(str(D), D, 130) for D in (100, 101, 102)])
    assert set(figure.data[1].textposition) == {"middle left", "top center", "middle right"}


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
        (lambda: figures.dimension_versus_parameters([]), "table must hold at least one row"),
        (lambda: figures.slider_figure([], []), "figures must hold at least one figure"),
        (
            lambda: figures.slider_figure([figures.accuracy_versus_dimension([curve()])], ["a", "b"]),
            "labels must be 1, one per figure",
        ),
        (
            lambda: figures.slider_figure(
                [figures.accuracy_versus_dimension([curve()] * n) for n in (1, 2)], ["a", "b"]
            ),
            "must have the same number of traces",
        ),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_log_axis_ticks_lie_inside():
    axis = log_axis((8, 1700))
    assert axis["ticktext"] == ["10", "20", "50", "100", "200", "500", "1,000"]

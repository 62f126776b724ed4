import numpy as np
import plots
import pytest


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
    figure = plots.dimension_versus_parameters(table, printed)
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
    figure = plots.dimension_versus_parameters([row(name, D, 130) for name, D in sizes.items()])
    assert figure.data[1].textposition == (
        "middle right", "middle left", "middle right", "middle right", "middle right"
    )  # fmt: skip
    figure = plots.dimension_versus_parameters([row(str(D), D, 130) for D in (100, 101, 102)])
    assert set(figure.data[1].textposition) == {"middle left", "top center", "middle right"}


def test_solved_fraction_counts_seeds():
    returns = [[100, 480, 500], [475, 480, 500]]
    figure = plots.solved_fraction([1, 2], returns, at_least=2, untrained=[9, 9, 10])
    solved, not_solved, bars = figure.data
    assert len(solved.x) == 5
    assert sorted(not_solved.y) == [9, 9, 10, 100]
    assert list(bars.y) == pytest.approx([2 / 3, 1])
    assert np.all(np.asarray(bars.y) + np.asarray(bars.error_y.array) <= 1 + 1e-12)


def test_toy_residual_draws_exact_zeros():
    figure = plots.toy_residual([9, 10], [[70.0, 75.0], [0.0, 1e-26]], solved_below=1e-6)
    assert figure.layout.yaxis.type == "log"
    assert min(figure.data[1].y) == 1e-32
    assert figure.layout.annotations[1].y == pytest.approx(-6)


def test_seeds_do_not_hide_one_another():
    assert plots.spread(2).tolist() == [-0.25, 0.25]

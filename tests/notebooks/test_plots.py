import numpy as np
import plots
import pytest

from workbench.errors import InputError


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.solved_fraction([1, 2], [[1.0]]), r"returns must have shape \(2, n_seeds\)"),
        (lambda: plots.toy_residual([1], [1.0]), r"residuals must have shape \(1, n_seeds\)"),
    ],
)
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

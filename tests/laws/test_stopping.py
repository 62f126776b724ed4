"""The iterated stopping rule, against planted power laws."""

import re

import numpy as np
import pytest
from scipy.optimize import least_squares

from workbench.errors import InputError
from workbench.laws.stopping import functional_stopping

X = np.round(100 * 2 ** (np.arange(30) / 3))
NOISY = 0.05 + 2 * X**-0.4 + 0.003 * np.random.default_rng(0).standard_normal(len(X))


def test_a_planted_power_law_is_known_from_the_first_level():
    y = 0.05 + 2 * X**-0.4
    trace = functional_stopping(X, y, 0.01, horizon=X[-1])
    np.testing.assert_allclose(trace.asymptote, 0.05, rtol=1e-6)
    np.testing.assert_allclose(trace.estimate, y[-1], rtol=1e-6)
    np.testing.assert_allclose(trace.gap, y[4:] - y[-1], atol=1e-7)
    assert trace.prediction_level == 5
    assert trace.stop == 1 + np.argmax(y - y[-1] <= 0.01)
    beyond = functional_stopping(X, y, 0.01)
    np.testing.assert_allclose(beyond.estimate, 0.05, rtol=1e-6)
    assert beyond.stop is None  # the asymptote is farther than the last point
    assert trace.at(0.3 * X[-1]) == trace.estimate[(0.3 * X[-1] >= X).sum() - 5]
    assert np.isnan(trace.at(X[3]))
    assert list(trace.to_frame().columns) == ["x", "estimate", "gap", "asymptote"]


@pytest.mark.parametrize("anchored", [False, True])
def test_what_comes_later_changes_no_level(anchored):
    whole, part = (functional_stopping(X[:n], NOISY[:n], 0.01, horizon=X[-1], anchored=anchored) for n in (30, 18))
    np.testing.assert_allclose(whole.estimate[: len(part.estimate)], part.estimate, rtol=1e-6)


def test_units_and_order_change_nothing():
    y, order = 0.05 + 2 * X**-0.4, np.random.default_rng(1).permutation(len(X))
    one = functional_stopping(X, y, 0.01, horizon=X[-1])
    two = functional_stopping(5 * X[order], 100 * y[order], 1.0, horizon=5 * X[-1])
    assert one.stop == two.stop
    np.testing.assert_allclose(two.gap, 100 * one.gap, atol=1e-5)


def test_the_prediction_level_waits_for_a_possible_asymptote():
    y = np.r_[1 - 0.1 * np.arange(9), 0.2 + 0.5 * (X[9:] / X[9]) ** -2.0 - 0.3]  # straight down, then it bends
    trace = functional_stopping(X, y - y.min() + 0.1, 0.05)
    assert trace.asymptote[0] < 0
    assert trace.prediction_level > 5
    assert trace.stop is not None


def test_anchored_trends_are_fitted_to_the_asymptote_before_them_too():
    trace = functional_stopping(X, NOISY, 0.01, anchored=True)
    free = functional_stopping(X, NOISY, 0.01)
    first = trace.prediction_level - 5
    assert trace.prediction_level == free.prediction_level
    np.testing.assert_array_equal(trace.asymptote[: first + 1], free.asymptote[: first + 1])
    before = float(trace.asymptote[first])
    for n, found in zip(trace.levels[first + 1 :], trace.asymptote[first + 1 :], strict=True):
        x, y, anchor = X[:n], NOISY[:n], before

        def residuals(p):
            return np.r_[p[0] + p[1] * (x / x[-1]) ** -np.exp(p[2]) - y, p[0] - anchor]  # noqa: B023

        starts = ([y[-1] / 2, y[-1] / 2, log] for log in (-2.0, -1.0, 0.0))
        tight = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "x_scale": "jac", "max_nfev": 2000}
        best = min((least_squares(residuals, start, **tight) for start in starts), key=lambda fit: fit.cost)
        before = float(best.x[0])
        assert found == pytest.approx(before, abs=2e-6)


def test_anchors_change_nothing_on_a_planted_power_law_and_little_after_a_distorted_point():
    y = 0.05 + 2 * X**-0.4
    anchored = functional_stopping(X, y, 0.01, anchored=True)
    np.testing.assert_allclose(anchored.asymptote, 0.05, rtol=1e-6)
    moved = np.where(np.arange(len(X)) == 17, y + 0.05, y)
    away = [abs(functional_stopping(X, moved, 0.01, anchored=each).asymptote - 0.05).max() for each in (False, True)]
    assert away[1] < 0.7 * away[0]


def test_no_anchor_without_a_possible_asymptote():
    y = 10 - 0.3 * np.arange(30)
    both = [functional_stopping(X, y, 0.01, anchored=each) for each in (False, True)]
    assert both[1].prediction_level is None
    np.testing.assert_array_equal(both[0].asymptote, both[1].asymptote)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0}, "threshold must be positive, got 0"),
        ({"horizon": 10.0}, "horizon must not lie below the largest x"),
        ({"y": np.ones((2, 30))}, "y must be one curve"),
        ({"y": np.r_[np.nan, np.ones(29)]}, "y must be finite"),
        ({"floor": 2.0}, "y must not lie below low=2"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    arguments = {"x": X, "y": np.linspace(1, 0.5, 30), "threshold": 0.01} | change
    with pytest.raises(InputError, match=re.escape(message)):
        functional_stopping(**arguments)

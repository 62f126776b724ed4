"""Intervals and curves against exact answers."""

import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from workbench import statistics
from workbench.errors import InputError
from workbench.seeds import generator


def test_isotonic_matches_scikit_learn_with_ties_in_any_order():
    rng = generator(0, "isotonic")
    x, y = rng.integers(0, 12, 60).astype(float), rng.standard_normal(60)
    knots, fitted = statistics.isotonic(x, y)
    reference = IsotonicRegression().fit(x, y)
    np.testing.assert_allclose(fitted, reference.predict(knots), atol=1e-12)
    order = rng.permutation(60)
    np.testing.assert_allclose(statistics.isotonic(x[order], y[order])[1], fitted, atol=1e-12)


def test_crossing_of_a_plateau_is_its_start_and_censoring_is_infinite():
    x, y = [0.0, 1.0, 2.0, 3.0], [0.0, 0.5, 0.5, 1.0]
    crossings = statistics.crossing_isotonic(x, y, [-0.1, 0.0, 0.25, 0.5, 0.75, 1.0, 1.1])
    np.testing.assert_allclose(crossings, [-np.inf, 0.0, 0.5, 1.0, 2.5, 3.0, np.inf])


def test_crossing_rises_with_the_threshold():
    rng = generator(1, "crossing")
    x = np.log(rng.integers(1, 1000, 40))
    crossings = statistics.crossing_isotonic(x, x + rng.standard_normal(40), np.linspace(-3, 9, 200))
    # Compared, not subtracted: the difference of two infinities is NaN.
    assert (crossings[1:] >= crossings[:-1]).all()


def test_mean_interval_is_students():
    values = [1.0, 2.0, 4.0, 9.0]
    reference = stats.t.interval(0.9, 3, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(statistics.mean_interval(values, 0.9), [4.0, *reference])
    assert np.isnan(statistics.mean_interval([3.0])[1:]).all()


@pytest.mark.parametrize(("df", "reference"), [(2, stats.t(2)), (0, stats.norm)])
def test_student_draws_have_exact_quantiles(df, reference):
    draws = statistics.student_draws(df, 2000, generator(0, "t"))
    np.testing.assert_allclose(np.quantile(draws, [0.025, 0.5, 0.975]), reference.ppf([0.025, 0.5, 0.975]), atol=0.03)


def test_crossed_variance_takes_out_the_replicates_own_noise():
    rng = generator(3, "crossed")
    shared = rng.standard_normal(20_000)
    arms = [shared * scale + rng.standard_normal((3, 20_000)) for scale in (1.0, 0.4)]
    assert statistics.crossed_variance(*arms) * 20_000 == pytest.approx(0.36, rel=0.15)
    assert statistics.crossed_variance(arms[0][:1]) * 20_000 == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.mean_interval([]), "values must be a non-empty list"),
        (lambda: statistics.mean_interval([1.0], level=1.0), "level must be between 0 and 1"),
        (lambda: statistics.mean_interval([1.0, np.nan]), "values must be a non-empty list of numbers without NaN"),
        (lambda: statistics.isotonic([1.0], [1.0, 2.0]), "y must have the length of x=1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

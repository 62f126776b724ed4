"""Families of learning curves and their ensemble, against planted curves and scipy's optimum."""

import re

import numpy as np
import pytest
from scipy.optimize import least_squares

from workbench.errors import InputError
from workbench.laws.curve_fits import fit, place
from workbench.laws.curves import conformal_scale, extrapolate, fit_curve
from workbench.laws.families import FAMILIES

X = np.unique(np.round(16 * 2 ** (np.arange(40) / 8))).astype(float)
PLANTED = {
    "power": {"alpha": 0.3, "A": 2.0},
    "power_offset": {"alpha": 0.5, "A": 2.0, "c": 0.1},
    "exponential": {"tau": 120.0, "A": 0.5, "c": 0.2},
    "mmf": {"tau": 90.0, "d": 1.3, "A": 0.6, "c": 0.05},
    "weibull": {"tau": 200.0, "d": 0.7, "A": 0.6, "c": 0.08},
}
FORMULAS = {
    "power": lambda x, alpha, A: A * x**-alpha,
    "power_offset": lambda x, alpha, A, c: c + A * x**-alpha,
    "exponential": lambda x, tau, A, c: c + A * np.exp(-x / tau),
    "mmf": lambda x, tau, d, A, c: c + A / (1 + (x / tau) ** d),
    "weibull": lambda x, tau, d, A, c: c + A * np.exp(-((x / tau) ** d)),
}


def planted(name, x=X, noise=0.0, n=None, seed=0):
    y = FORMULAS[name](x, **PLANTED[name])
    drawn = np.random.default_rng(seed).standard_normal((n, len(x)) if n else len(x))
    return np.abs(y + noise * drawn)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_planted_curve_is_recovered(name):
    found = fit_curve(X, planted(name), name, hold_out=3)
    assert found.parameters == pytest.approx(PLANTED[name], rel=1e-9)
    np.testing.assert_allclose(found.held_out, 0, atol=1e-10)
    np.testing.assert_allclose(found.predict([5.0, 1e5]), FORMULAS[name](np.array([5.0, 1e5]), **PLANTED[name]))
    assert list(found.to_frame().index[:2]) == ["held-out error", FAMILIES[name].parameters[0]]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("source", ["power_offset", "mmf", "weibull"])
def test_no_start_of_scipy_finds_a_better_optimum(name, source):
    family, rng = FAMILIES[name], np.random.default_rng(1)
    curves = place(X, planted(source, noise=0.01)[None], 0.0)
    k = len(family.bounds)
    lower, upper = np.array(family.bounds).T
    box = np.r_[lower, [0.0] * (1 + family.offset)], np.r_[upper, [np.inf] * (1 + family.offset)]

    def residuals(theta):
        return theta[k] * family.shape(curves.u[0], theta[:k]) + theta[k + 1 :].sum() - curves.y[0]

    starts = [np.r_[rng.uniform(lower, upper), [1.0, 0.1][: 1 + family.offset]] for _ in range(10)]
    best = min(2 * least_squares(residuals, start, bounds=box, xtol=1e-12, ftol=1e-12).cost for start in starts)
    assert fit(curves, family).square[0] <= best * (1 + 1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_units_and_order_change_nothing(name):
    y, order = planted("mmf", noise=0.01), np.random.default_rng(2).permutation(len(X))
    plain, other = fit_curve(X, y, name), fit_curve(1000 * X[order], 7 * y[order], name)
    np.testing.assert_allclose(other.predict([5e5, 1e6]), 7 * plain.predict([500.0, 1000.0]), rtol=1e-6)
    if "tau" in plain.parameters:
        assert other.parameters["tau"] == pytest.approx(1000 * plain.parameters["tau"], rel=1e-4)
    one, two = extrapolate(X, y, [5000.0]), extrapolate(X[order] / 10, 7 * y[order], [500.0])
    for part in ("mean", "low", "high"):
        np.testing.assert_allclose(getattr(two, part), 7 * getattr(one, part), rtol=1e-5)


def test_many_curves_are_as_one_by_one():
    table = planted("weibull", noise=0.01, n=4)
    table[1, 20:] = np.nan  # the second was seen less far
    ends = np.array([[1e4], [1e3], [2e4], [1e4]])
    together = extrapolate(X, table, ends)
    for i, row in enumerate(table):
        seen = ~np.isnan(row)
        alone = extrapolate(X[seen], row[seen], ends[i])
        for part in ("mean", "low", "high"):
            # A fit ends where its value falls by 1e-13 no more, so its place is known to about the root of that.
            np.testing.assert_allclose(getattr(together, part)[i], getattr(alone, part), rtol=1e-5)
        assert {name: share[i] for name, share in together.weights.items()} == pytest.approx(alone.weights, abs=1e-5)


@pytest.mark.parametrize("name", ["power_offset", "exponential", "mmf"])
def test_the_true_family_has_the_weight_and_the_interval_covers(name):
    found = extrapolate(X, planted(name, noise=0.003, n=200), [2 * X[-1]], level=0.8)
    assert found.weights[name].mean() > 0.5
    assert sum(found.weights.values()) == pytest.approx(1.0)
    future = planted(name, np.array([2 * X[-1]]), 0.003, n=200, seed=5)
    assert 0.7 < ((found.low <= future) & (future <= found.high)).mean() < 0.95
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()


def test_bounds_hold():
    rising = np.linspace(0.1, 0.4, len(X))
    found = fit_curve(X, rising, "mmf")
    assert found.parameters["A"] == 0
    assert found.parameters["c"] == pytest.approx(rising.mean())
    steep = 1.0 - 0.15 * np.log2(X / X[0]).clip(max=6)
    assert fit_curve(X, steep, "power_offset").parameters["c"] == 0
    assert fit_curve(X, steep, "power_offset", low=-np.inf).parameters["c"] < 0
    flat = extrapolate(X, np.full(len(X), 0.3), [1e6])
    np.testing.assert_allclose([flat.mean[0], flat.low[0], flat.high[0]], 0.3, rtol=0.02)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2, 3, 4], [4, 3, 2, 1], "x must hold 5 different points or more, got 4"),
        ([1, 2, 3, 3, 3], [4, 3, 2, 1, 1], "x must hold 5 different points or more, got 3"),
        ([1, 2, 3, 4, 5], [4, 3, np.nan, 1, 1], "y must be finite"),
        ([1, 2, 3, 4, 5], [4, 3, np.inf, 1, 1], "y must be finite"),
        ([1, 2, 3, 4, 5], [4, 3, 2, 1, -1], "y must not lie below low=0, got np.float64(-1.0)"),
        ([0, 2, 3, 4, 5], [4, 3, 2, 1, 1], "x must be positive and finite"),
        ([1, 2, 3, 4], [4, 3, 2, 1, 1], "x must have the shape of y, (5,), got (4,)"),
    ],
)
def test_what_is_no_curve_is_refused(x, y, message):
    for call in (lambda: fit_curve(x, y, "mmf"), lambda: extrapolate(x, y, [10.0])):
        with pytest.raises(InputError, match=re.escape(message)):
            call()


def test_other_wrong_arguments_are_refused():
    y = planted("mmf")
    for message, call in (
        ("family must be one of power, ", lambda: fit_curve(X, y, "cubic")),
        ("hold_out must leave 5 points", lambda: fit_curve(X, y, "mmf", hold_out=len(X) - 4)),
        ("y must be one curve", lambda: fit_curve(X, y[None], "mmf")),
        ("families must not be empty", lambda: extrapolate(X, y, [1e5], families=())),
        ("families must hold one with few enough", lambda: extrapolate(X[:5], y[:5], [1e5], families=["mmf"])),
        ("x_new must be positive", lambda: extrapolate(X, y, [0.0])),
        ("level must be between 0 and 1", lambda: extrapolate(X, y, [1e5], level=1.0)),
        ("centre must lie within", lambda: conformal_scale([1.0], [0.0], [0.0], [1.0], 0.5)),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            call()


def test_a_conformal_factor_covers_new_curves():
    rng, covered = np.random.default_rng(3), []
    for _ in range(400):
        y = rng.standard_cauchy(50)
        scale = conformal_scale(y[:49], np.zeros(49), np.full(49, -1.0), np.full(49, 2.0), 0.8)
        covered.append(-scale <= y[49] <= 2 * scale)
    assert 0.75 < np.mean(covered) < 0.86
    assert conformal_scale([1.0], [0.0], [-1.0], [1.0], 0.8) == np.inf

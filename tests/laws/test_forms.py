"""Forms: values against formulas written out, the search's grid, what is missing named."""

import numpy as np
import pytest

from tests.planted import TRUTH, planted
from workbench.errors import InputError
from workbench.laws import FORMS, Range

FORMULAS = {
    "additive": lambda N, D, E, A, B, alpha, beta: E + A / N**alpha + B / D**beta,
    "power": lambda x, A, alpha: A / x**alpha,
    "power_offset": lambda x, E, A, alpha: E + A / x**alpha,
    "overtraining": lambda C, M, E, a, b, eta: E + (a * M**eta + b * M**-eta) * C**-eta,
    "lr_batch": lambda N, D, A, p, q: A * N**p * D**q,
    "isoflop": lambda N, C, E, A, kappa, gamma, a, ln_G: (
        E + A / C**gamma + kappa * np.log(N / (np.exp(ln_G) * C**a)) ** 2
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_form_is_its_formula(name):
    table = planted(name, n=5)
    variables = {each: table[each].to_numpy() for each in FORMS[name].variables}
    wanted = FORMULAS[name](**variables, **TRUTH[name])
    np.testing.assert_allclose(FORMS[name].predict(variables, TRUTH[name]), wanted, rtol=1e-12)


def test_filtering_halves_the_utility_of_data_every_tau_epochs():
    n, pool, tau, b = np.array([50.0, 100.0, 200.0, 350.0]), np.full(4, 100.0), 2.0, 0.3
    half = 0.5 ** (1 / tau)
    late = 100**-b * 2 ** (-b * half) * 1.5 ** (-b * half**2) * (3.5 / 3) ** (-b * half**3)
    wanted = 0.1 + 4 * np.array([50**-b, 100**-b, 100**-b * 2 ** (-b * half), late])
    got = FORMS["data_filtering"].predict({"n": n, "pool": pool}, {"d": 0.1, "a": 4.0, "b": b, "tau": tau})
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_parameters_may_be_arrays():
    form, n = FORMS["power"], np.array([1.0, 2.0, 4.0])
    got = form.predict({"x": n}, {"A": np.array([1.0, 3.0]), "alpha": np.array([1.0, 0.0])})
    np.testing.assert_allclose(got, [[1, 0.5, 0.25], [3, 3, 3]])


@pytest.mark.parametrize("name", FORMS)
def test_grid_stays_within_the_ranges(name):
    form, table = FORMS[name], planted(name, n=20)
    starts = form.starts({each: table[each].to_numpy() for each in form.variables})
    for values, (low, high, *_) in zip(starts.T, form.exponents.values(), strict=True):
        assert low * 0.999999 <= values.min() or low < 0
        assert values.max() <= high * 1.000001


def test_range_is_even_in_logarithms_unless_told():
    np.testing.assert_allclose(Range(0.1, 10, 3).values(), [0.1, 1, 10])
    np.testing.assert_allclose(Range(-1, 1, 3, logarithmic=False).values(), [-1, 0, 1])


def test_what_is_missing_is_named():
    with pytest.raises(InputError, match=r"^variables must hold N, D for additive, got \['N'\]; add what is missing$"):
        FORMS["additive"].predict({"N": [1.0]}, TRUTH["additive"])
    with pytest.raises(
        InputError, match=r"^parameters must hold A, alpha for power, got \['A'\]; add what is missing$"
    ):
        FORMS["power"].predict({"x": [1.0]}, {"A": 1.0})

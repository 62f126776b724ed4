"""What a fitted law tells: predictions, the best split of compute against formulas, the held-out error first."""

import numpy as np
import pytest

from tests.planted import TRUTH, isoflops, planted
from workbench.errors import InputError
from workbench.laws import FORMS, fit_law

COMPUTE = np.array([1e19, 1e21, 5.76e23])


def additive_best(c):
    t = TRUTH["additive"]
    total = t["alpha"] + t["beta"]
    g = (t["alpha"] * t["A"] / (t["beta"] * t["B"])) ** (1 / total)
    return g * (c / 6) ** (t["beta"] / total), t["beta"] / total


def overtraining_best(c):
    t = TRUTH["overtraining"]
    m = (t["b"] / t["a"]) ** (1 / (2 * t["eta"]))
    return np.sqrt(c / 6 / m), 0.5


def isoflop_best(c):
    return np.exp(TRUTH["isoflop"]["ln_G"]) * c ** TRUTH["isoflop"]["a"], TRUTH["isoflop"]["a"]


@pytest.mark.parametrize(
    ("form", "best"), [("additive", additive_best), ("overtraining", overtraining_best), ("isoflop", isoflop_best)]
)
def test_optimal_is_the_formulas_minimum(form, best):
    found = fit_law(planted(form), form, n_bootstrap=10).optimal(COMPUTE)
    size, exponent = best(COMPUTE)
    np.testing.assert_allclose(found.N, size, rtol=1e-4)
    np.testing.assert_allclose(found.D, COMPUTE / 6 / size, rtol=1e-4)
    np.testing.assert_allclose(found.tokens_per_parameter, COMPUTE / 6 / size**2, rtol=1e-4)
    np.testing.assert_allclose(found.exponent, exponent, atol=1e-4)
    split = {"N": size, "D": COMPUTE / 6 / size, "C": COMPUTE, "M": COMPUTE / 6 / size**2}
    np.testing.assert_allclose(found.loss, FORMS[form].predict(split, TRUTH[form]), rtol=1e-6)


def test_optimal_holds_in_any_units():
    runs = isoflops()[["N", "D", "loss"]]
    law = fit_law(runs.assign(N=runs.N / 1e6, D=runs.D / 1e9), "additive", n_bootstrap=0)
    found = law.optimal(1e21, flops=6e15).iloc[0]  # operations a million parameters and billion tokens
    np.testing.assert_allclose(found.N * 1e6, additive_best(1e21)[0], rtol=1e-4)
    assert np.isnan(found.N_low)


def test_optimal_interval_holds_the_truth_and_no_optimum_is_infinite():
    found = fit_law(isoflops(0.003), "additive").optimal(1e22).iloc[0]
    assert found.N_low < additive_best(1e22)[0] < found.N_high
    growing = planted().assign(loss=lambda t: 100 * t.N**-0.3 * t.D**-0.1)
    best = fit_law(growing, "lr_batch", n_bootstrap=0).optimal(1e22).iloc[0]
    assert np.isinf(best.N)
    assert best.D == 0


def test_a_table_of_compute_and_ratio_alone_has_an_optimum():
    law = fit_law(planted("overtraining")[["C", "M", "loss"]], "overtraining", n_bootstrap=0)
    np.testing.assert_allclose(law.optimal(1e21).N, overtraining_best(1e21)[0], rtol=1e-4)


def test_forms_without_a_split_have_no_optimum():
    law = fit_law(planted("power"), "power", n_bootstrap=0)
    rule = "form must predict from two of N, D, C and M to have an optimum, got 'power'; try additive"
    with pytest.raises(InputError, match=f"^{rule}$"):
        law.optimal(1e20)


def test_intervals_for_runs_are_wider_than_for_the_law():
    runs, new = isoflops(0.01), isoflops(0.01, seed=1)
    law = fit_law(runs, "additive")
    narrow, wide = law.predict(new), law.predict(new, run=True)
    assert (narrow.prediction == wide.prediction).all()
    assert (wide.low < narrow.low).all()
    assert 0.75 <= ((wide.low <= new.loss) & (new.loss <= wide.high)).mean() <= 1
    assert list(narrow.index) == list(new.index)


def test_the_table_says_the_held_out_error_first():
    shown = fit_law(isoflops(0.003), "additive", hold_out=7, n_bootstrap=20).to_frame()
    assert list(shown.index) == [
        "held-out error, mean",
        "held-out rows",
        "fitted error, mean",
        "fitted rows",
        *TRUTH["additive"],
    ]
    assert shown.value["held-out rows"] == 7
    assert (shown.low[-5:] < shown.value[-5:]).all()
    assert np.isnan(fit_law(isoflops(0.003), "additive", n_bootstrap=0).held_out_error)

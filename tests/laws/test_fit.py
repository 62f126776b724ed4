"""Fits: planted laws come back, intervals cover, what cannot be told is refused or named, the Chinchilla runs."""

import os
from functools import cache

import numpy as np
import pandas as pd
import pytest

from tests.planted import TRUTH, isoflops, planted
from workbench.errors import InputError
from workbench.laws import FORMS, Form, Range, fit_law
from workbench.laws.tables import table

ADDITIVE = TRUTH["additive"]
REPLICATION = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}
published = pytest.mark.skipif("WORKBENCH_DATA" not in os.environ, reason="needs the published tables: WORKBENCH_DATA")


@pytest.mark.parametrize("loss", ["huber", "squared"])
@pytest.mark.parametrize("form", FORMS)
def test_a_law_without_noise_comes_back_exactly(form, loss):
    law = fit_law(planted(form), form, loss=loss, n_bootstrap=0)
    assert law.parameters == pytest.approx(TRUTH[form], rel=1e-7)
    assert law.objective < 1e-20
    assert law.n == 49


@pytest.mark.parametrize("form", FORMS)
def test_a_noisy_law_lies_near_its_intervals(form):
    law = fit_law(planted(form, n=90, noise=0.003, seed=1), form, level=0.99)
    for name, (low, high) in law.intervals.items():
        assert low <= TRUTH[form][name] <= high, name
    assert law.warnings == () or all("identified" in each for each in law.warnings)


def test_nine_intervals_of_ten_cover_the_truth():
    wanted, hits = {**ADDITIVE, "exponent": ADDITIVE["beta"] / (ADDITIVE["alpha"] + ADDITIVE["beta"])}, []
    new = {"N": [7e10], "D": [1.4e12]}
    for seed in range(24):
        law = fit_law(isoflops(0.005, seed, 6, 6), "additive", n_bootstrap=80, seed=seed)
        draws = law.draws.assign(exponent=law.draws.beta / (law.draws.alpha + law.draws.beta))
        ends = draws.quantile([0.05, 0.95])
        seen = law.predict(new).iloc[0]
        truth = FORMS["additive"].predict(new, ADDITIVE)[0]
        hits.append(
            [ends[k].iloc[0] <= v <= ends[k].iloc[1] for k, v in wanted.items()] + [seen.low <= truth <= seen.high]
        )
    assert 0.85 <= np.mean(hits) <= 0.95  # over 1,000 tables, bench_laws.py


@pytest.mark.parametrize("scale", [{"N": 1e-6, "D": 1e-9, "loss": 1.0}, {"N": 3.7, "D": 1e3, "loss": 100.0}])
def test_units_change_coefficients_alone(scale):
    runs = isoflops(0.003)[["N", "D", "loss"]]
    law, other = (fit_law(each, "additive", hold_out=0.2, n_bootstrap=20) for each in (runs, runs * pd.Series(scale)))
    exponents = {name: law.parameters[name] for name in ("alpha", "beta")}
    assert {name: other.parameters[name] for name in exponents} == pytest.approx(exponents, rel=1e-5)
    assert other.parameters["E"] == pytest.approx(scale["loss"] * law.parameters["E"], rel=1e-5)
    factor = scale["loss"] * scale["N"] ** exponents["alpha"]
    assert other.parameters["A"] == pytest.approx(factor * law.parameters["A"], rel=1e-4)
    assert other.objective == pytest.approx(law.objective, rel=1e-9)
    np.testing.assert_allclose(other.held_out.error, law.held_out.error, atol=1e-6)
    assert other.intervals["alpha"] == pytest.approx(law.intervals["alpha"], rel=1e-3)


def test_the_order_of_the_rows_changes_nothing():
    runs = isoflops(0.003)
    law, other = (fit_law(each, "additive", n_bootstrap=20) for each in (runs, runs.sample(frac=1, random_state=1)))
    assert law.parameters == other.parameters
    pd.testing.assert_frame_equal(law.draws, other.draws)


def test_same_seed_same_intervals_other_seed_other():
    laws = [fit_law(isoflops(0.003), "additive", n_bootstrap=20, seed=seed) for seed in (0, 0, 1)]
    assert laws[0].intervals == laws[1].intervals != laws[2].intervals


def test_copies_of_a_run_are_not_runs_of_their_own():
    runs = isoflops(0.005)
    law, twice = (fit_law(each, "additive", n_bootstrap=100) for each in (runs, pd.concat([runs, runs, runs])))
    assert twice.parameters == pytest.approx(law.parameters, rel=1e-5)
    width, other = (np.ptp(each.intervals["alpha"]) for each in (law, twice))
    assert other == pytest.approx(width, rel=0.02)


def test_any_table_with_such_columns():
    runs = isoflops(0.003)
    wanted = fit_law(runs, "additive", n_bootstrap=0).parameters
    names = runs.rename(columns={"N": "params", "D": "tokens", "loss": "nats"}).assign(name="a", note=np.nan)
    given = {"params": names.params.round().astype(int), "tokens": names.tokens.round().astype("int64")}
    law = fit_law(
        names.assign(**given), "additive", target="nats", columns={"N": "params", "D": "tokens"}, n_bootstrap=0
    )
    assert law.parameters == pytest.approx(wanted, rel=1e-4)
    arrays = {name: runs[name].to_list() for name in ("N", "C", "loss")}  # D from C = 6 N D
    assert fit_law(arrays, "additive", n_bootstrap=0).parameters == pytest.approx(wanted, rel=1e-6)
    assert fit_law(runs[["N", "D", "loss"]], "overtraining", n_bootstrap=0).n == 49  # C and M from N and D


def test_a_form_of_ones_own():
    form = Form(
        "saturating", "top - k exp(-gamma x)", ("x",), ("top", "k"), {"gamma": Range(0.05, 5)},
        lambda v, e: (np.ones(1), -np.exp(-e["gamma"] * v["x"])),
    )  # fmt: skip
    x, truth = np.linspace(1, 6, 20), {"top": 0.9, "k": 0.7, "gamma": 0.8}
    runs = pd.DataFrame({"x": x, "error": form.predict({"x": x}, truth)})
    assert fit_law(runs, form, target="error", n_bootstrap=0).parameters == pytest.approx(truth, rel=1e-7)


@pytest.mark.parametrize(("hold_out", "n"), [(0.2, 14), (7, 7), (8, 14), ("mask", 10)])
def test_held_out_rows_have_most_compute_and_are_never_fitted(hold_out, n):
    runs = isoflops(0.003).set_index(pd.Index([f"run {i}" for i in range(49)]))
    mask = np.arange(49) < 10
    law = fit_law(runs, "additive", hold_out=mask if hold_out == "mask" else hold_out, n_bootstrap=20)
    assert (law.n, len(law.held_out)) == (49 - n, n)  # those of equal compute go together
    held = runs.loc[law.held_out.index]
    assert set(held.index) == set(runs.index[mask] if hold_out == "mask" else runs.nlargest(n, "C").index)
    np.testing.assert_allclose(law.held_out.error, law.held_out.prediction / held.loss - 1)
    assert law.held_out_error == pytest.approx(law.held_out.error.abs().mean())
    spoilt = runs.assign(loss=runs.loss.where(~runs.index.isin(held.index), 99.0))
    if hold_out != 0.2:
        assert fit_law(
            spoilt, "additive", hold_out=mask if hold_out == "mask" else hold_out, n_bootstrap=0
        ).parameters == (law.parameters)


RATIO = isoflops().assign(D=lambda t: 20 * t.N)
ONE_SIZE = isoflops().assign(N=1e9)
DISTINCT = "table must have more distinct rows than the 5 parameters E, A, B, alpha, beta of additive, got "
LINES = {
    "one size": (ONE_SIZE, r"N must have several values, got 1000000000.0; add runs or take a form without it"),
    "two points": (isoflops().iloc[:2], DISTINCT + "2; add runs or take a form with fewer"),
    "copies of five": (pd.concat([planted(n=5)] * 4), DISTINCT + "5; add runs or take a form with fewer"),
    "nan": (
        planted().assign(loss=lambda t: t.loss.where(t.index != 3)),
        r"loss must be positive and finite in every row, got nan in 1 of 49 rows \(3\); leave these rows out",
    ),
    "negative": (
        planted().assign(loss=lambda t: t.loss.where(t.index > 7, -1.0)),
        r"loss must be positive and finite in every row, got -1 in 8 of 49 rows \(0, 1, 2, 3, 4, ...\); "
        "leave these rows out",
    ),
    "infinite": (
        planted().assign(N=lambda t: t.N.where(t.index != 4, np.inf)),
        r"N must be positive and finite in every row, got inf in 1 of 49 rows \(4\); leave these rows out",
    ),
    "a word": (planted().assign(N="large"), r"N must be numbers, got 'large'"),
    "no rows": (planted().iloc[:0], r"table must have rows, got 0"),
    "no column": (
        planted()[["N", "loss"]],
        r"table must have a column 'D', got N, loss; name it: columns=\{'D': ...\}",
    ),
}


@pytest.mark.parametrize(("runs", "message"), LINES.values(), ids=LINES)
def test_tables_that_cannot_tell_are_refused(runs, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        fit_law(runs, "additive")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "cubic"}, "form must be one of additive, .*, got 'cubic'"),
        ({"loss": "l1"}, "loss must be one of huber, squared, got 'l1'"),
        ({"reduction": "max"}, "reduction must be one of sum, mean, got 'max'"),
        ({"delta": 0}, "delta must be positive, got 0; 1e-3 is usual"),
        ({"n_bootstrap": -1}, "n_bootstrap must be a whole number, 0 or more, got -1"),
        ({"level": 90}, r"level must be between 0 and 1, got 90; 0.95 is usual"),
        ({"hold_out": 49}, r"hold_out must be a share of the rows, a number in 1..48 or a mask, got 49"),
        ({"hold_out": [True]}, r"hold_out must be a mask of the 49 rows, got 'bool \(1,\)'"),
        ({"hold_out": np.ones(49, bool)}, r"hold_out must leave rows to fit and rows to predict, got 49"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        fit_law(planted(), **{"form": "additive", **arguments})


def test_what_a_design_leaves_open_is_said_by_name():
    rng = np.random.default_rng(0)
    line = RATIO.assign(loss=FORMS["additive"].predict(RATIO, ADDITIVE) * np.exp(0.003 * rng.standard_normal(49)))
    law = fit_law(line.drop(columns="C"), "additive", n_bootstrap=40)
    assert law.warnings[0] == "N and D: all rows lie on one line, D ~ N^1, and off it none is"
    assert set(law.unidentified) == {"alpha", "beta", "A", "B"}
    assert law.intervals["alpha"] == (-np.inf, np.inf)
    np.testing.assert_allclose(law.predict(line).prediction, line.loss, rtol=0.01)  # on the line all is well
    two = isoflops().assign(N=np.tile([1e8, 1e10], 25)[:49])
    two = two.assign(loss=FORMS["additive"].predict(two, ADDITIVE) * np.exp(0.003 * rng.standard_normal(49)))
    law = fit_law(two.drop(columns="C"), "additive", n_bootstrap=40)
    assert law.warnings[0] == "N: two values only, so its exponent rests on the form"
    assert {"alpha", "A"} <= set(law.unidentified)
    few = fit_law(planted(n=8, noise=0.003), "additive", n_bootstrap=40)
    assert "8 rows for 5 parameters: the intervals are too narrow" in few.warnings


def test_an_offset_that_is_not_there_is_zero():
    runs = pd.DataFrame({"x": np.geomspace(1, 1e4, 30)})
    law = fit_law(runs.assign(loss=5 * runs.x**-0.1), "power_offset", n_bootstrap=20)
    assert law.parameters == pytest.approx({"E": 0.0, "A": 5.0, "alpha": 0.1}, abs=1e-6)


def test_well_designed_tables_get_no_warning_of_the_design():
    law = fit_law(isoflops(0.003), "additive", n_bootstrap=100)
    assert law.unidentified == ()
    assert not [each for each in law.warnings if "line" in each or "two values" in each or "narrow" in each]


@cache
def chinchilla():
    runs = table("chinchilla_epoch")
    return runs, runs.loc[(runs.D / runs.N).sort_values().index[5:]]


@published
def test_chinchilla_is_refitted_as_published():
    law = fit_law(chinchilla()[1], "additive")
    assert law.n == 240
    assert law.parameters["alpha"] == pytest.approx(0.3478, abs=0.002)
    assert law.parameters["beta"] == pytest.approx(0.3658, abs=0.005)
    runs = chinchilla()[1]
    r = np.abs(np.log(FORMS["additive"].predict(runs, REPLICATION) / runs.loss))
    assert law.objective <= np.where(r < 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum()
    best = law.optimal(5.76e23).iloc[0]
    assert best.tokens_per_parameter_low < 20 < best.tokens_per_parameter_high
    assert "A, B: poorly identified, although the law itself is known within" in law.warnings[0]


@published
def test_the_mean_of_the_losses_stops_early():
    runs = chinchilla()[1]
    law, early = (fit_law(runs, "additive", reduction=each, n_bootstrap=0) for each in ("sum", "mean"))
    assert early.objective * early.n > 1.01 * law.objective
    assert abs(early.parameters["beta"] - 0.3658) > 0.005


@published
def test_five_runs_move_the_exponent_of_the_data():
    every, fewer = (fit_law(runs, "additive", n_bootstrap=0).parameters for runs in chinchilla())
    assert every["beta"] == pytest.approx(0.453, abs=0.001)
    assert every["alpha"] == pytest.approx(0.349, abs=0.001)
    assert every["beta"] - fewer["beta"] > 0.08

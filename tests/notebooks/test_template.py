"""The template's own module: the trial against its exact answer, the verdict that can fail, live work, exercises."""

import json
from functools import partial
from pathlib import Path

import _template as template
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from workbench import widgets
from workbench.exercises import WrongAnswer
from workbench.schema import read_schema
from workbench.study import Study
from workbench.sweeps import Sweep
from workbench.widgets import Stopped

NOTEBOOK = Path(template.__file__).with_suffix(".ipynb")


def costs(ratio: float, spread: float) -> pd.DataFrame:
    exact = template.exact_cost(100, 80)
    low, high = ((ratio + sign * spread) * exact for sign in (-1, 1))
    row = [80, 100, ratio * exact, low, high, 10, 0.8, exact]
    return pd.DataFrame([row], columns=["p", "n", "cost", "low", "high", "seeds", "guess", "exact"]).set_index("p")


SMALL = {"n_parameters": [2, 10], "noise": 1.0, "seeds": [0, 1, 2], "n_fits": 20}


def measure(sweep, *report, **changes):
    return template.measure(*report, sweep=sweep, **{"n_examples": 40, **SMALL, **changes})


def test_the_trial_meets_the_exact_answer():
    found = [template.excess_error(50, 20, 2.0, 400, seed)["excess"] for seed in range(5)]
    assert np.mean(found) / 4 == pytest.approx(20 / 29, rel=0.03)
    assert len(set(found)) == 5
    assert template.excess_error(50, 20, 2.0, 400, 0)["excess"] == found[0]


def test_a_fit_is_the_one_of_lstsq():
    rng = template.generator(3, "examples", 30, 4)
    x, y = rng.standard_normal((1, 30, 4)), 0.5 * rng.standard_normal((1, 30, 1))
    theta = np.linalg.lstsq(x[0], y[0], rcond=None)[0]
    assert template.excess_error(30, 4, 0.5, 1, 3)["excess"] == pytest.approx(float((theta**2).sum()))


def test_costs_are_in_units_of_the_noise_variance(tmp_path):
    sweep = Sweep(tmp_path, workers=1)
    tables = [measure(sweep, noise=noise) for noise in (1.0, 10.0)]
    assert list(tables[0].index) == [2, 10]
    assert tables[0].seeds.tolist() == [3, 3]
    assert (tables[0].low < tables[0].cost).all()
    assert (tables[0].cost < tables[0].high).all()
    assert tables[0].guess.tolist() == [2 / 40, 10 / 40]
    assert tables[0].exact.tolist() == [2 / 37, 10 / 29]
    pd.testing.assert_frame_equal(*tables)  # the same draws, ten times as large


def test_points_come_in_as_trials_end_and_a_stop_keeps_what_is_done(tmp_path):
    said = []

    def report(fraction, table):
        said.append((round(6 * fraction, 9), int(table.cost.notna().sum())))
        if len(said) == 6:  # after the first trial of the second p
            raise Stopped

    with pytest.raises(Stopped):
        measure(Sweep(tmp_path, workers=1), report)
    assert said == [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (4, 1)]
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == 4
    sweep = Sweep(tmp_path, workers=1)
    assert measure(sweep).notna().all(axis=None)
    assert len(sweep.keys) == len(set(tmp_path.iterdir())) == 6


def test_live_the_static_view_is_computed_anew(tmp_path):
    """The pattern of every study: it opens on the static view, its control changes what is computed."""
    sweep, parameter = Sweep(tmp_path, workers=1), read_schema(NOTEBOOK)["n_examples"]
    work = partial(template.measure, sweep=sweep, **SMALL)
    static = template.figure(work(n_examples=100))
    shown = widgets.compute(work, template.figure, work(n_examples=100), [parameter], live=True)
    first = go.Figure(shown.figure.data, shown.figure.layout)
    assert json.loads(first.to_json()) == json.loads(static.to_json())
    shown.controls["n_examples"].value = 200
    shown.start()
    shown.thread.join(60)
    assert shown.state == "finished"
    pd.testing.assert_frame_equal(shown.numbers, work(n_examples=200))
    assert "200 examples" in shown.figure.layout.title.text
    assert shown.figure.data[2].y == pytest.approx(work(n_examples=200).cost)


def test_the_figure_shows_measured_and_exact():
    figure = template.figure(costs(1.0, 0.1))
    guess, exact, measured = figure.data
    assert guess.y[-1] == pytest.approx(0.8)
    assert exact.y[-1] == measured.y[0] == pytest.approx(80 / 19)
    assert measured.error_y.array[0] == pytest.approx(8 / 19)


def test_the_largest_p_is_compared_with_the_guess():
    value, (low, high), n = template.largest(costs(1.0, 0.1), "guess")
    assert (value, low, high, n) == pytest.approx((100 / 19, 90 / 19, 110 / 19, 10))


@pytest.mark.parametrize(
    ("ratio", "spread", "verdict"),
    [(1.02, 0.05, "holds"), (1.3, 0.05, "fails"), (0.19, 0.01, "fails"), (1.05, 0.2, "inconclusive")],
)
def test_the_verdict_can_fail(tmp_path, monkeypatch, ratio, spread, verdict):
    (tmp_path / "template" / "run").mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path / "template" / "run"))
    study = Study("template", parameters={}, claims=template.CLAIMS, stages={"fits": 1}, dataset=None)
    template.judge(study, costs(ratio, spread))
    (finding,) = study.report().findings
    assert finding.verdict == verdict
    assert ("would decide" in finding.detail) == (verdict == "inconclusive")


def cell(name: str) -> str:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return "".join(next(each["source"] for each in cells if each["id"] == name))


def test_worked_solutions_are_right(capsys):
    names = {"n_examples": 60, "np": np}
    exec(cell("exercise-1") + "\n" + cell("exercise-2"), names)
    template.check_twice(names["p"], 60)
    assert template.exact_cost(60, names["p"]) == 2 * names["p"] / 60
    template.check_training_error(names["training_error"])
    assert capsys.readouterr().out.count("Right.") == 2


@pytest.mark.parametrize(
    ("p", "why"),
    [(None, "no answer yet"), (50, "one parameter less"), (99, "n - p - 1 is zero"), (12, "12 is too small. Solve")],
)
def test_a_wrong_p_is_explained(p, why):
    with pytest.raises(WrongAnswer, match=why):
        template.check_twice(p, 100)


def fitted(x, y):
    return np.linalg.lstsq(x, y, rcond=None)[0]


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x, y: None, "no answer yet"),
        (lambda x, y: ((y - x @ fitted(x, y)) ** 2).sum(), "this is the sum"),
        (lambda x, y: (fitted(x, y) ** 2).sum(), "the excess error on new examples"),
        (lambda x, y: (y**2).mean(), "the error of the truth"),
        (lambda x, y: 0.0, "0 is too small. Fit theta"),
    ],
)
def test_a_wrong_training_error_is_explained(function, why):
    with pytest.raises(WrongAnswer, match=why):
        template.check_training_error(function)

"""The template's own modules: the trial against its exact answer, the verdict that can fail."""

import json
from pathlib import Path

import _template as template
import numpy as np
import pandas as pd
import pytest

from workbench.study import Study
from workbench.sweeps import Sweep

NOTEBOOK = Path(template.__file__).with_suffix(".ipynb")


def costs(ratio: float, spread: float) -> pd.DataFrame:
    exact = template.exact_cost(100, 80)
    low, high = ((ratio + sign * spread) * exact for sign in (-1, 1))
    return pd.DataFrame(
        [[80, ratio * exact, low, high, 10, exact]], columns=["p", "cost", "low", "high", "seeds", "exact"]
    ).set_index("p")


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
    tables = [template.measure(sweep, 40, [2, 10], noise, [0, 1, 2], 20) for noise in (1.0, 10.0)]
    assert list(tables[0].index) == [2, 10]
    assert tables[0].seeds.tolist() == [3, 3]
    assert (tables[0].low < tables[0].cost).all()
    assert (tables[0].cost < tables[0].high).all()
    pd.testing.assert_frame_equal(*tables)  # the same draws, ten times as large


def test_the_figure_shows_measured_and_exact():
    figure = template.figure(costs(1.0, 0.1), 100)
    guess, exact, measured = figure.data
    assert guess.y[-1] == pytest.approx(0.8)
    assert exact.y[-1] == measured.y[0] == pytest.approx(80 / 19)
    assert measured.error_y.array[0] == pytest.approx(8 / 19)


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


def test_the_notebook_shows_every_part_of_a_study_in_order():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    ids = [cell["id"] for cell in cells]
    parts = ["title", "imports", "parameters", "prediction", "setup", "run", "figure", "explorer", "verdict", "reading"]
    assert [name for name in ids if name in parts] == parts
    words = sum(len("".join(cell["source"]).split()) for cell in cells if cell["cell_type"] == "markdown")
    code = [len(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert words <= 1200
    assert sum(code) <= 120
    assert max(code) <= 20
    title = "".join(cells[0]["source"])
    assert title.startswith("# Template: ")
    assert "**Source.**" in title
    assert "**Time.**" in title

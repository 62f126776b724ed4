"""Learning rates: bottoms of bowls, power laws, what advice costs, verdicts that can fail, figures, exercises."""

import os

import learning_rate
import lr_checks
import lr_explorer
import lr_figures
import lr_laws
import lr_runs
import numpy as np
import pandas as pd
import pytest
from lr_laws import Exponents, Surface
from scipy.stats import beta

from workbench.exercises import WrongAnswer
from workbench.study import Study

NEAR = 0.0025


def grids(noise=0.0, power=2.0, law=None):
    """Return runs of 12 grids around a law, each a bowl in logarithms."""
    law, rng, rows = law or Exponents((1.0, -0.75, 0.25), (2.0, 0.0, 0.5)), np.random.default_rng(0), []
    for n in (1e8, 2e8, 4e8, 8e8):
        for d in (1e9, 8e9, 64e9):
            at = np.array([law.predict("lr", n, d), law.predict("batch", n, d)])
            steps = np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 7), np.linspace(-1.5, 1.5, 7)), -1).reshape(-1, 2)
            loss = 2 + 0.02 * (np.abs(steps) ** power).sum(1) + noise * rng.standard_normal(len(steps))
            lr, batch = (at * np.exp(steps)).T
            rows.append(pd.DataFrame({"N": n, "D": d, "lr": lr, "batch": batch, "loss": loss}))
    return pd.concat(rows, ignore_index=True)


def test_optima_and_the_law_are_exact_without_noise():
    points = lr_laws.optima(grids(), NEAR)
    assert points[["lr", "batch"]].to_numpy() == pytest.approx(points[["lr_argmin", "batch_argmin"]].to_numpy())
    assert (points.n_runs == 49).all()
    law = lr_laws.fit(points, n_bootstrap=50)
    assert law.coefficients["lr"] == pytest.approx([1.0, -0.75, 0.25])
    assert law.coefficients["batch"] == pytest.approx([2.0, 0.0, 0.5], abs=1e-8)
    assert np.abs(law.draws["lr"] - law.coefficients["lr"]).max() < 1e-6
    assert law.predict("lr", 1e9, 1e10) == pytest.approx(np.e * 1e9**-0.75 * 1e10**0.25)


def test_t_is_that_of_least_squares():
    rng = np.random.default_rng(1)
    points = pd.DataFrame({"N": rng.uniform(1, 9, 20), "D": rng.uniform(1, 9, 20), "lr": rng.uniform(1, 2, 20)})
    points["batch"] = points.lr
    law = lr_laws.fit(points, n_bootstrap=10)
    x = np.column_stack([np.ones(20), np.log(points.N), np.log(points.D)])
    y = np.log(points.lr)
    c = np.linalg.solve(x.T @ x, x.T @ y)
    error = np.sqrt(((y - x @ c) ** 2).sum() / 17 * np.linalg.inv(x.T @ x).diagonal())
    assert law.t["lr"] == pytest.approx(c / error)


def test_the_bootstrap_covers():
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n, d = np.repeat([1.0, 2, 4, 8], 4), np.tile([10.0, 30, 90, 270], 4) * np.repeat([1, 2, 4, 8], 4)
        lr = n**-0.7 * d**0.3 * np.exp(0.1 * rng.standard_normal(16))
        law = lr_laws.fit(pd.DataFrame({"N": n, "D": d, "lr": lr, "batch": lr}), n_bootstrap=300, seed=seed)
        _, low, high = law.exponent("lr", "N")
        inside += low <= -0.7 <= high
    assert inside >= 48  # of 95 % intervals over 16 grids, somewhat narrow


def test_bowls():
    exact = lr_laws.bowls(grids())
    assert exact.r2.min() == pytest.approx(1)
    assert exact.convex.all()
    saddle = grids().assign(loss=lambda t: 90 + 0.02 * np.log(t.lr) ** 2 - 0.02 * np.log(t.batch) ** 2)
    assert not lr_laws.bowls(saddle).convex.any()
    assert lr_laws.bowls(grids(noise=0.05)).r2.max() < 0.9
    few = lr_laws.bowls(grids(), around=0.001).iloc[0]
    assert np.isnan(few.r2_near), "six coefficients tell nothing of six runs"
    assert not few.convex_near


def test_a_surface_is_linear_between_runs_and_the_nearest_run_beyond():
    grid = pd.DataFrame({"lr": [1, 1, np.e, np.e], "batch": [1, np.e, 1, np.e], "loss": [2.0, 2.2, 2.4, 2.6]})
    surface = Surface(grid)
    assert surface.regret(1, 1)[0] == 0
    assert surface.regret(np.exp(0.5), np.exp(0.25))[0] == pytest.approx(100 * (0.2 + 0.05) / 2)
    assert surface.regret(np.exp([-1.0, 5]), np.exp([-1.0, 5])) == pytest.approx([0, 30])
    assert surface.regret(np.exp(0.4), np.exp(0.6), nearest=True)[0] == pytest.approx(10)


def test_held_out_grids_are_not_seen():
    runs = grids(noise=1e-4)
    found = lr_laws.hold_out(runs, [8e8], near=NEAR, n_bootstrap=50)
    spoilt = runs.assign(lr=runs.lr.where(runs.N < 8e8, 10 * runs.lr))
    other = lr_laws.hold_out(spoilt, [8e8], near=NEAR, n_bootstrap=50)
    assert found.lr.tolist() == other.lr.tolist()
    assert (found.n_fitted == 9).all()
    assert found.regret.max() < 0.5 < other.regret.min()
    assert found.kept.max() > found.regret.max()
    left = lr_laws.leave_out(lambda fraction: None, runs, near=NEAR, n_bootstrap=20)
    assert left.N.tolist() == sorted(runs.groupby(["N", "D"]).first().reset_index().N)
    assert left.authors.isna().all()


def test_experts_take_the_size_they_are_given():
    runs = grids()
    law = lr_laws.fit(lr_laws.optima(runs, NEAR), n_bootstrap=10)
    moe = runs[runs.N == 8e8].assign(kind="a", N_active=1e8)
    assert lr_laws.experts(law, moe)["all"].max() < 1e-6
    assert lr_laws.experts(law, moe).active.min() > 1


def test_the_planted_law_is_found():
    runs = lr_runs.load("planted")
    assert (runs.name, len(runs.dense)) == ("planted", 12 * 63)
    law = lr_laws.fit(lr_laws.optima(runs.dense, NEAR))
    assert lr_runs.beside(law, runs).count("planted") == 4
    assert "outside" not in lr_runs.beside(law, runs)
    losses = lr_laws.predict_loss(lr_laws.optima(runs.dense, NEAR), 1, 20)
    assert losses.N.tolist() == [8e8] * 3
    assert losses.percent.abs().max() < 1


def judged(tmp_path, monkeypatch, runs, source="published"):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    data = lr_runs.Runs("steplaw" if source == "published" else "planted", "0", "made up", runs, runs, lr_runs.PLANTED)
    law = lr_laws.fit(lr_laws.optima(runs, NEAR), n_bootstrap=200)
    held = lr_laws.hold_out(runs, [runs.N.max()], near=NEAR, n_bootstrap=200)
    study = Study("x", parameters={}, claims=learning_rate.CLAIMS, stages={}, dataset=data)
    found = {each.claim.name: each for each in learning_rate.judge(study, lr_laws.bowls(runs), law, held)}
    assert [claim.name for claim in study.report().unjudged] == ["companion"]
    return found


def test_the_rules_can_hold_and_fail(tmp_path, monkeypatch):
    good = grids(noise=1e-4)
    assert {each.verdict for each in judged(tmp_path, monkeypatch, good).values()} == {"holds"}
    assert {each.verdict for each in judged(tmp_path, monkeypatch, good, "planted").values()} == {"illustration"}
    found = judged(tmp_path, monkeypatch, grids(noise=0.01))
    assert found["convex"].verdict == "fails"
    found = judged(tmp_path, monkeypatch, grids(law=Exponents((1.0, -0.75, 0.25), (2.0, 0.5, 0.5)), noise=1e-4))
    assert found["batch"].verdict == "fails"
    assert found["batch"].value > 2
    bent = good.assign(lr=good.lr * np.where(good.N == 8e8, 8.0, 1.0))
    assert judged(tmp_path, monkeypatch, bent)["optimum"].verdict == "fails"


def test_jeffreys():
    assert learning_rate.jeffreys(17, 17) == (pytest.approx(beta.ppf(0.025, 17.5, 0.5)), 1)
    assert learning_rate.jeffreys(0, 17)[0] == 0


def test_figures_and_the_live_refit():
    runs = grids(noise=1e-4)
    points = lr_laws.optima(runs, NEAR)
    law = lr_laws.fit(points, n_bootstrap=20)
    names = lr_figures.labels(points)
    assert names[-1] == "800M on 64B"
    assert {len(lr_figures.bowl_figure(runs, points, law, name).data) for name in names} == {4}
    assert len(lr_figures.law_figure(points, law).data) == 2 * 3 * 4
    table = lr_laws.sensitivity(runs, [0, NEAR], 20)
    authors = {(setting, size): 0.0 for setting in lr_laws.SETTINGS for size in lr_laws.SIZES}
    figure = lr_figures.exponent_figure(table, authors, "nobody")
    assert figure.layout.xaxis.ticktext == ("best run", "0.25 %")
    left = lr_laws.hold_out(runs, [8e8], near=NEAR, n_bootstrap=20)
    moe = lr_laws.experts(law, runs.assign(kind="a", N_active=1e8)[runs.N == 8e8])
    assert len(lr_figures.regret_figure(left, moe).data) == 7
    static = lr_explorer.explore_grids(runs, points, law, NEAR, live=False)
    assert len(static.layout.sliders[0].steps) == 12
    reports = []
    held = lr_explorer.refit(runs)(lambda fraction, found: reports.append(fraction), "100M", 1.0)
    assert (reports[-1], held.near, held.held.N.unique().tolist()) == (1.0, 0.01, [1e8])
    assert len(lr_explorer.draw(held).data) == len(lr_explorer.draw(held).data) == 7
    box = lr_explorer.explore_grids(runs, points, law, NEAR, live=True)
    assert box.children[1].controls["held_out"].value == "800M"


@pytest.mark.skipif(not os.environ.get("WORKBENCH_DATA"), reason="set WORKBENCH_DATA to a folder with the tables")
def test_on_the_published_runs():
    runs = lr_runs.load("published")
    assert runs.law.lr == pytest.approx((np.log(1.797), -0.7129, 0.3075), abs=1e-3)
    held = lr_laws.hold_out(runs.dense, sorted(runs.dense.N.unique())[-2:], near=NEAR, n_bootstrap=100)
    assert held.regret.max() < 0.21  # percent


def wrong(check, answer, *arguments):
    with pytest.raises(WrongAnswer) as caught:
        check(answer, *arguments)
    return str(caught.value)


def test_check_mean(capsys):
    def mean(settings, losses, near):
        return np.exp(np.log(settings[losses <= (1 + near) * losses.min()]).mean())

    lr_checks.check_mean(mean)
    assert capsys.readouterr().out.startswith("Right.")
    assert "arithmetic" in wrong(lr_checks.check_mean, lambda s, loss, n: s[loss <= (1 + n) * loss.min()].mean())
    assert "single best run" in wrong(lr_checks.check_mean, lambda s, loss, n: s[loss.argmin()])
    assert "all runs" in wrong(lr_checks.check_mean, lambda s, loss, n: np.exp(np.log(s).mean()))


def test_check_exponents(capsys):
    def exponents(n, d, y, columns=(1, 2)):
        x = np.column_stack([np.ones(len(n)), np.log(n), np.log(d)])
        return np.linalg.lstsq(x, np.log(y), rcond=None)[0][list(columns)]

    lr_checks.check_exponents(exponents)
    assert capsys.readouterr().out.startswith("Right.")
    assert "without the constant" in wrong(lr_checks.check_exponents, lambda *t: exponents(*t, (0, 1, 2)))
    assert "comes first" in wrong(lr_checks.check_exponents, lambda *t: exponents(*t, (2, 1)))


def test_check_ratio(capsys):
    lr_checks.check_ratio(10**-0.8, -0.8)
    assert capsys.readouterr().out.startswith("Right.")
    assert "sign" in wrong(lr_checks.check_ratio, 10**0.8, -0.8)
    assert "stands above" in wrong(lr_checks.check_ratio, -8.0, -0.8)

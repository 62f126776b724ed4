"""Mixtures: regressions, ranks and what chance does to them, verdicts that can fail, figures, exercises."""

import mix_checks
import mix_explorer
import mix_figures
import mix_models
import mix_runs
import mixtures
import numpy as np
import pandas as pd
import pytest
from mix_models import chosen, part, shares, spearman_draws
from mix_runs import TARGET
from scipy.stats import spearmanr

from workbench.exercises import WrongAnswer
from workbench.study import Study


@pytest.fixture(scope="module")
def runs():
    return mix_runs.load("planted").table


@pytest.fixture(scope="module")
def fits(runs):
    return mix_models.subsample(lambda part: None, runs, n_runs=[32, 256], n_repeats=2, target=TARGET)


def test_the_plant(runs):
    assert runs.groupby(["size", "split"]).size().to_dict() == {
        **{("1B", "test"): 64, ("1M", "test"): 96, ("1M", "train"): 256, ("60M", "test"): 96}
    }
    assert shares(runs).sum(1) == pytest.approx(np.ones(len(runs)))
    small = part(runs, "1M")
    assert np.abs(small[TARGET] - mix_runs.planted_loss(shares(small), 3, 4.0)).max() < 0.03
    assert (shares(small) == shares(part(runs, "60M"))).all()
    assert mix_runs.load("planted").checksum == mix_runs.load("planted").checksum


def test_a_linear_loss_is_found_exactly(runs):
    weights = np.arange(5.0)
    linear = runs.assign(**{TARGET: shares(runs) @ weights})
    for name in ("linear", "quadratic"):
        model = mix_models.fit(name, part(linear, "1M", "train"), TARGET)
        assert model.predict(shares(part(linear, "1B"))) == pytest.approx(shares(part(runs, "1B")) @ weights, abs=1e-2)


def test_the_plant_is_recovered(fits):
    whole = fits[fits.n_runs == 256].set_index("regressor")
    assert whole.spearman.min() > 0.95
    assert whole.spearman["boosting"] > 0.99
    assert whole["rank"]["boosting"] == 1
    assert fits.groupby("n_runs").size().to_dict() == {32: 6, 256: 3}, "all runs are one subset"


def test_only_small_training_runs_are_seen(runs):
    spoilt = runs.assign(**{TARGET: runs[TARGET].where(runs.split == "train", 1.0 * np.arange(len(runs)))})
    both = [
        mix_models.subsample(lambda part: None, each, n_runs=[64], n_repeats=1, target=TARGET)
        for each in (runs, spoilt)
    ]
    for one, other in zip(*(each.predicted for each in both), strict=True):
        assert (one == other).all()
    assert (both[0].spearman != both[1].spearman).all()


def test_chosen():
    assert chosen(np.array([3.0, 1, 2]), np.array([2.0, 3.0, 2.5])) == (3, pytest.approx(50))
    assert chosen(np.array([1.0, 3, 2]), np.array([2.0, 3.0, 2.5])) == (1, 0)


def test_spearman_draws_are_those_of_scipy():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(64)
    predicted = truth + 0.3 * rng.standard_normal((1, 64))
    draws = spearman_draws(predicted, truth)
    loop = []
    for _ in range(2000):
        rows = rng.integers(64, size=64)
        loop.append(spearmanr(predicted[0, rows], truth[rows]).statistic)
    assert draws.mean() == pytest.approx(np.mean(loop), abs=0.002)
    assert draws.std() == pytest.approx(np.std(loop), rel=0.08)
    three = spearman_draws(np.repeat(predicted, 3, axis=0), truth)
    assert three.std() == pytest.approx(draws.std(), rel=0.08), "equal subsets add nothing"


def test_ceilings_and_domains(runs):
    beside = mix_models.ceilings(runs, TARGET)
    assert ((beside.low <= beside.Spearman) & (beside.Spearman <= beside.high)).all()
    assert beside.n.tolist() == [64] * 5 + [96] * 2
    assert beside.Spearman.iloc[-1] > 0.99
    table = mix_models.domains(lambda part: None, runs, names=("linear",))
    assert len(table) == 2 * 2 * 3
    assert set(table.regressor) == {"linear", mix_models.ALONE}


def judged(tmp_path, monkeypatch, spearman=0.99, ranks=(1,) * 40, name="regmix"):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    rng = np.random.default_rng(0)
    truth, rows = 3 + rng.standard_normal(64), []
    for regressor in mix_models.REGRESSORS:
        for n, repeat in ((128, 0), (128, 1), (512, 0)):
            noise = np.sqrt(1 / spearman**2 - 1) * rng.standard_normal(64)
            predicted = truth + noise
            rank, regret = chosen(predicted, truth)
            found = {"spearman": spearmanr(predicted, truth).statistic, "rank": rank, "regret": regret}
            rows.append({"regressor": regressor, "n_runs": n, "repeat": repeat, **found, "predicted": predicted})
    data = mix_runs.Runs(name, "0", "made up", pd.DataFrame())
    study = Study("x", parameters={}, claims=mixtures.CLAIMS, stages={}, dataset=data)
    found = {each.claim.name: each for each in mixtures.judge(study, pd.DataFrame(rows), ranks, truth)}
    assert [claim.name for claim in study.report().unjudged] == ["companion"]
    return found


def test_the_rules_can_hold(tmp_path, monkeypatch):
    found = judged(tmp_path, monkeypatch)
    assert {each.verdict for each in found.values()} == {"holds"}
    assert found["part"].detail.startswith("128 runs, 2 subsets; linear 0.9")
    assert found["whole"].detail.startswith("512 runs, 1 subset; ")
    assert {each.verdict for each in judged(tmp_path, monkeypatch, name="planted").values()} == {"illustration"}


def test_the_rules_can_fail_and_stay_open(tmp_path, monkeypatch):
    found = judged(tmp_path, monkeypatch, spearman=0.3, ranks=(20,) * 40)
    assert (found["whole"].verdict, found["part"].verdict) == ("fails", "fails")
    open_ = judged(tmp_path, monkeypatch, ranks=(1,) * 30 + (9,) * 10)
    assert open_["choice"].verdict == "inconclusive"
    assert open_["choice"].interval == (1, 9)
    assert "75% of 40 resamples are" in open_["choice"].detail


def test_resamples_choose_on_their_own(runs):
    ticks = []
    ranks = mix_models.resample(ticks.append, runs, n_bootstrap=2, target=TARGET)
    assert len(ranks) == 2
    assert ticks == [0.5, 1]
    assert all(1 <= rank <= 64 for rank in ranks)


def test_a_moved_mixture_keeps_the_others_proportions(runs):
    at = np.array([0.0, 0.4, 1.0])
    mixture = mix_figures.moved(runs, "github", at)
    assert mixture.sum(1) == pytest.approx([1, 1, 1])
    assert mixture[:, 2].tolist() == at.tolist()
    assert mixture[0, 3] / mixture[0, 0] == pytest.approx(mixture[1, 3] / mixture[1, 0])
    assert mixture[2, [0, 1, 3, 4]] == pytest.approx([0] * 4)


def test_figures_and_the_live_fit(runs, fits):
    truth = part(runs, "1B")[TARGET].to_numpy()
    assert len(mix_figures.ranking_figure(fits, truth).data) == 9
    assert len(mix_figures.runs_figure(fits, 0.9, "pile_cc").data) == 7
    assert len(mix_figures.domain_figure(mix_models.domains(lambda part: None, runs)).data) == 12
    static = mix_explorer.explore_mixtures(runs, TARGET, live=False)
    assert [step.label for step in static.layout.sliders[0].steps]
    box = mix_explorer.explore_mixtures(runs, TARGET, live=True)
    assert box.children[1].controls["n_runs"].value == 256
    reports = []
    own = mix_explorer.refit(runs)(lambda fraction, own: reports.append(fraction), "linear", 64, "github")
    assert (reports[-1], own.n_runs, own.target, len(own.predicted)) == (1.0, 64, "loss_github", 64)
    assert "linear on 64 runs: Spearman 0." in mix_explorer.draw(own).layout.title.subtitle.text


def wrong(check, answer, *arguments):
    with pytest.raises(WrongAnswer) as caught:
        check(answer, *arguments)
    return str(caught.value)


def test_checks(capsys):
    mix_checks.check_spearman(lambda p, t: np.corrcoef(p.argsort().argsort(), t.argsort().argsort())[0, 1])
    mix_checks.check_rank(lambda p, t: 1 + (t < t[p.argmin()]).sum())
    mix_checks.check_products(170, 17)
    assert capsys.readouterr().out.count("Right.") == 3
    assert "Pearson's" in wrong(mix_checks.check_spearman, lambda p, t: np.corrcoef(p, t)[0, 1])
    assert "twice" in wrong(mix_checks.check_spearman, lambda p, t: np.corrcoef(p.argsort(), t.argsort())[0, 1])
    assert "from 1" in wrong(mix_checks.check_rank, lambda p, t: (t < t[p.argmin()]).sum())
    assert "its loss" in wrong(mix_checks.check_rank, lambda p, t: t[p.argmin()])
    assert "one product" in wrong(mix_checks.check_products, 17 + 17**2, 17)
    assert "shares themselves" in wrong(mix_checks.check_products, 153, 17)

"""The three regimes: a cell against exact answers, a trial, the plane's statistics, verdicts that can fail, answers."""

from dataclasses import replace

import numpy as np
import plane_checks
import plane_explorer
import plane_figures
import plane_trials
import planes
import pytest
import three_regimes
import torch
from scipy.stats import spearmanr

from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.objective import Supervised
from workbench.probes import linear_cka
from workbench.study import Study
from workbench.sweeps import Sweep

SMALL = {"dataset": "digits", "n_train": 100, "width": 2, "noise": 0.1, "batch_size": 50, "lr": 0.05, "n_epochs": 2}
TRIAL = SMALL | {"knob": "batch_size", "n_retrain_epochs": 1, "n_points": 3, "n_curvature": 40}


def plane(lmc=-0.2, seeds=6, images=50, noise=0.1, flip=True, dataset="digits"):
    """Return a plane of 6 temperatures and 5 densities whose errors turn from falling to rising, or never do."""
    slope = np.linspace(-1, 1, 5) if flip else np.ones(5)
    share = 0.5 + 0.08 * slope * (np.arange(6)[:, None] - 2.5)  # (temperatures, densities)
    wrong = np.arange(images) < (images * share)[..., None]
    noisy = np.broadcast_to(wrong, (seeds, *wrong.shape)).astype(float)
    shape = (seeds, 6, 5)
    connected = np.broadcast_to(np.where(slope < 0, lmc, 0.0), shape)
    return planes.Plane(
        dataset, "batch_size", noise, (256, 128, 64, 32, 16, 8), (0.05, 0.1, 0.2, 0.4, 0.8), tuple(range(seeds)), noisy,
        noisy[:, :, -1], connected, np.full(shape, 0.95), np.full(shape, 3.0), np.ones((*shape, 3)),
        np.ones((*shape, 80)),
    )  # fmt: skip


def judged(tmp_path, monkeypatch, **changes):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    made = plane(**changes)
    study = Study("three_regimes", parameters={}, claims=three_regimes.CLAIMS, stages={}, dataset=None)
    study.dataset = plane_trials.data(made.dataset) if made.dataset == "digits" else None
    return {finding.claim.name: finding for finding in three_regimes.judge(study, made)}


# --- a cell


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_a_cell_is_measured_as_it_says(kept):
    objective, rng = plane_trials.objective_of("digits", 100, 1, 0.0, 0), np.random.default_rng(0)
    before, free = objective.buffers(), plane_trials.pruning.prunable(objective.layout)
    mask = torch.from_numpy(rng.random(objective.D) < kept) | ~free
    a, b = objective.theta_0 * mask, 2 * objective.theta_0 * mask
    cell = plane_trials._measure(objective, [a, b], mask, 4, 40, free)
    assert all(torch.equal(before[name], value) for name, value in objective.buffers().items())
    wanted = [objective.loss(objective.recalibrated(torch.lerp(a, b, t)), "train") for t in np.linspace(0, 1, 4)]
    assert cell["losses"] == pytest.approx(wanted, abs=1e-6)  # statistics of the norms are those of each point
    assert cell["losses"][1] != pytest.approx(objective.loss(torch.lerp(a, b, 1 / 3), "train"), abs=1e-3)
    assert cell["lmc"] == pytest.approx((wanted[0] + wanted[-1]) / 2 - max(wanted), abs=1e-6)
    one, other = (objective.logits(each, "test", batch_stats="recalibrated").double() for each in (a, b))
    one, other = ((each - each.mean(0)) @ (each - each.mean(0)).T for each in (one, other))  # HSIC's form
    assert cell["cka"] == pytest.approx(float((one * other).sum() / (one.norm() * other.norm())))
    few = Supervised(objective.model, objective.splits["train"].batch(torch.arange(40)), dtype=torch.float64)
    found = []
    for buffers in (objective.recalibrated(a).buffers, before):
        few.set_buffers(buffers)
        hessian = torch.autograd.functional.hessian(few, a.double())[mask][:, mask]
        found.append(float(torch.linalg.eigvalsh(hessian)[-1]))
    assert cell["eigenvalue"] == pytest.approx(found[0], rel=1e-4)
    assert cell["eigenvalue"] != pytest.approx(found[1], rel=0.01)


def test_a_flat_segment_is_connected():
    assert plane_trials.connectivity([2.0, 0.5, 0.0, 0.5]) == -0.75
    assert plane_trials.connectivity([1.0, 1.0]) == 0


# --- trials


def test_an_exact_share_of_labels_is_another_class():
    labels = torch.arange(10).repeat(20)
    noisy = plane_trials.noisy_labels(labels, 10, 0.15, 3)
    assert int((noisy != labels).sum()) == 30
    assert 0 <= int(noisy.min()) <= int(noisy.max()) <= 9
    assert torch.equal(noisy, plane_trials.noisy_labels(labels, 10, 0.15, 3))
    assert not torch.equal(noisy, plane_trials.noisy_labels(labels, 10, 0.15, 4))
    assert torch.equal(labels, plane_trials.noisy_labels(labels, 10, 0.0, 3))


def test_noise_is_in_the_training_labels_alone():
    clean, noisy = (plane_trials.objective_of("digits", 100, 2, noise, 0) for noise in (0.0, 0.5))
    for split, changed in (("train", 50), ("validation", 0), ("test", 0)):
        a, b = (next(iter(each.splits[split].chunks(1000)))[1] for each in (clean, noisy))
        assert int((a != b).sum()) == changed


def test_the_knob_is_the_batch_or_the_epochs():
    made = plane_trials.dense_recipe(1000, "batch_size", 10, 5, 100, 0.1)
    assert (made.n_steps, made.batch_size, made.schedule, made.optimizer) == (500, 10, "constant", "sgd")
    made = plane_trials.dense_recipe(1000, "epochs", 3, 5, 100, 0.1)
    assert (made.n_steps, made.batch_size) == (30, 100)


def test_a_column_is_a_function_of_its_parameters():
    found = [plane_trials.train_column(**TRIAL, value=value, densities=[0.1, 1.0], seed=0) for value in (25, 25, 50)]
    assert found[0] == found[1]
    assert found[0]["cells"] != found[2]["cells"]
    free = 9 * 2 + 9 * 2 * 4 + 9 * 4 * 8 + 80
    for cell, density in zip(found[0]["cells"], (0.1, 1.0), strict=True):
        # each layer keeps its share, rounded down or up so that they add up
        assert sum(cell["histogram"]) == planes.pruning.allocation.kept_count(density, free)
        assert len(cell["losses"]) == 3
        assert cell["lmc"] == plane_trials.connectivity(cell["losses"])
        assert cell["losses"][0] != cell["losses"][-1]
        assert cell["eigenvalue"] > 0
        assert 0 <= cell["cka"] < 1
    with pytest.raises(InputError, match="lr must not make training diverge, got 1e\\+20; choose a smaller one"):
        plane_trials.train_column(**TRIAL | {"lr": 1e20}, value=25, densities=[0.1], seed=0)


def test_the_plane_is_sorted_from_cold_to_hot_and_from_sparse_to_dense(tmp_path):
    with Sweep(tmp_path, workers=1) as sweep:
        made = planes.measure_plane(sweep, [0, 1], [25, 50], [0.5, 0.1], **TRIAL)
        assert (made.temperatures, made.densities, made.seeds) == ((50, 25), (0.1, 0.5), (0, 1))
        assert made.wrong.shape == (2, 2, 2, 360)
        assert made.dense.shape == (2, 2, 360)
        assert made.losses.shape == (2, 2, 2, 3)
        cell = plane_trials.train_column(**TRIAL, value=25, densities=[0.1, 0.5], seed=1)["cells"][1]
        assert made.lmc[1, 1, 1] == cell["lmc"]
        right = [planes.unpack(each) for each in cell["right"]]
        assert made.wrong[1, 1, 1].tolist() == (1 - np.mean(right, axis=0)).tolist()
        rates = {name: value for name, value in SMALL.items() if name != "lr"} | {"seed": 0}
        assert planes.choose_rate(sweep, [1e20, 0.05, 1e-9], **rates) == 0.05
        small = {name: value for name, value in SMALL.items() if name != "width"}
        assert sorted(planes.measure_small(sweep, [0], 4, **small)) == pytest.approx([
            (9 + 18 + 72 + 40) / 1636, (18 + 72 + 288 + 80) / 1636, (27 + 162 + 648 + 120) / 1636
        ])  # fmt: skip


# --- statistics, regimes, verdicts


def test_the_rank_correlation_is_scipys():
    made, rng = plane(), np.random.default_rng(0)
    error = rng.random((6, 5)).round(1)
    wanted = [spearmanr(np.arange(6), error[:, k]).statistic for k in range(5)]
    assert made.spearman(error) == pytest.approx(wanted)
    assert made.spearman(np.ones((6, 5))).tolist() == [0] * 5


def test_draws_resample_seeds_and_images():
    rng, made = np.random.default_rng(0), plane(seeds=8, images=200)
    seeds, images = 0.2 * rng.standard_normal(8), rng.standard_normal(200)
    wrong = np.broadcast_to(seeds[:, None, None, None] + images, (8, 6, 5, 200))
    made = replace(made, wrong=wrong, lmc=np.broadcast_to(np.arange(8.0)[:, None, None], (8, 6, 5)))
    wanted = np.sqrt(seeds.var() / 8 + images.var() / 200)
    assert made.draws.error.std(axis=0) == pytest.approx(np.full((6, 5), wanted), rel=0.1)
    assert made.draws.error.mean(axis=0) == pytest.approx(made.error, abs=0.02)
    assert made.draws.lmc.std() == pytest.approx(np.arange(8).std() / 8**0.5, rel=0.1)


def test_regimes_effects_and_violations():
    found = three_regimes.regimes(np.array([-0.06, -0.05, 0.0, -1.0]), np.array([1.0, 0.89, 0.9, 0.0]))
    assert found.tolist() == [0, 1, 2, 0]
    error = np.array([[3.0, 1.0, 1.0], [2.0, 2.0, 2.0], [1.0, 3.0, 0.5]])
    assert three_regimes.effects(error).tolist() == [[-1, 1, 1], [-2, 2, -0.5], [-1, 1, -1.5]]
    assert three_regimes.violations(error) == 1  # best: hottest, coldest, hottest
    assert three_regimes.violations(error[:, :2]) == 0
    right = three_regimes.right_signs(error, np.array([[0, 1, 2]] * 3))
    assert right.tolist() == [[True, True, True], [True, True, False], [True, True, False]]


def test_borders_stand_between_unlike_cells():
    assert plane_figures.borders(np.array([[0, 0], [0, 0]])) == []
    assert plane_figures.borders(np.array([[0, 1]])) == [{"x0": 0.5, "x1": 0.5, "y0": -0.5, "y1": 0.5}]
    assert plane_figures.borders(np.array([[0], [2]])) == [{"x0": -0.5, "x1": 0.5, "y0": 0.5, "y1": 0.5}]


def test_a_plane_as_predicted_holds_and_one_that_is_not_fails(tmp_path, monkeypatch):
    found = judged(tmp_path, monkeypatch)
    assert {name: finding.verdict for name, finding in found.items()} == dict.fromkeys(found, "holds")
    assert found["low"].value == pytest.approx(-1)
    assert found["high"].value == pytest.approx(1)
    assert found["regimes"].value == 1
    assert "12 in I, 0 in II-A, 18 in II-B" in found["regimes"].detail
    found = judged(tmp_path, monkeypatch, flip=False)
    assert (found["low"].verdict, found["high"].verdict) == ("fails", "holds")
    found = judged(tmp_path, monkeypatch, lmc=0.0)  # all connected: the effect at low density is not predicted
    assert found["regimes"].verdict == "fails"
    assert found["regimes"].value == 0.5


@pytest.mark.parametrize(
    ("changes", "missing"), [({"seeds": 4}, "5 seeds"), ({"noise": 0.0}, "10 % label noise")], ids=["seeds", "noise"]
)
def test_what_the_rules_ask_for_must_be_met(tmp_path, monkeypatch, changes, missing):
    found = judged(tmp_path, monkeypatch, **changes)
    assert {finding.verdict for finding in found.values()} == {"inconclusive"}
    assert all(finding.detail.endswith(f"; the rule asks for {missing}") for finding in found.values())


def test_a_rule_that_two_densities_could_not_break_asks_for_five(tmp_path, monkeypatch):
    made, few = plane(), [0, 4]
    cut = {
        name: getattr(made, name)[:, :, few] for name in ("wrong", "lmc", "cka", "eigenvalue", "losses", "histogram")
    }
    made = replace(made, densities=(0.05, 0.8), **cut)
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    study = Study(
        "three_regimes", parameters={}, claims=three_regimes.CLAIMS, stages={}, dataset=plane_trials.data("digits")
    )
    assert {finding.verdict for finding in three_regimes.judge(study, made)} == {"inconclusive"}


def test_the_table_names_best_and_worst():
    table = three_regimes.density_table(plane())
    assert table.loc["5 %", "best, error %"].startswith("batch 8: ")
    assert table.loc["5 %", "worst, error %"].startswith("batch 256: ")
    assert table.loc["80 %", "best, error %"].startswith("batch 256: ")
    assert table.loc["5 %", "coldest to hottest"] == "I I I I I I"


# --- figures, explorer, exercises


def test_figures_draw_the_planes_numbers():
    made = plane()
    figure = plane_figures.phase_plane(made)
    assert [trace.type for trace in figure.data] == ["heatmap"] * 4
    assert np.array(figure.data[0].z) == pytest.approx(100 * made.error)
    assert [text.partition("<br>")[2] for text in figure.data[0].text[0]] == ["I", "I", "II-B", "II-B", "II-B"]
    assert len(figure.layout.shapes) == 4 * 6  # one border down, in each panel
    assert max(len(text) for trace in figure.data for text in trace.colorbar.ticktext) <= 6  # more meet the next panel
    figure = plane_figures.error_versus_density(made, {0.1: [0.5, 0.7]})
    assert [trace.name for trace in figure.data][:2] == ["best dense", "batch 256"]
    assert figure.data[-1].y[0] == pytest.approx(60)
    figure = plane_figures.effect_figure({"noise": made, "clean": plane(noise=0.0)})
    assert figure.data[0].y[0] == pytest.approx(-1)


def test_the_explorer_opens_on_a_density_and_a_cell_is_a_trial():
    made = plane()
    figure = plane_explorer.explore_plane(made, 0.05, {}, live=False)
    assert [step.label for step in figure.layout.sliders[0].steps] == ["0.05", "0.1", "0.2", "0.4", "0.8"]
    box = plane_explorer.explore_plane(made, 0.05, TRIAL, live=True)
    assert [*box.children[1].controls] == ["batch_size", "percent"]
    said = []
    run = plane_explorer.live_cell(TRIAL, 7)(lambda part, cell: said.append((part, cell)), 10, batch_size=25)
    assert run.name == "batch_size 25, density 10 %"
    assert run.cell == plane_trials.train_column(**TRIAL, value=25, densities=[0.1], seed=7)["cells"][0]
    assert len(run.steps) == len(said) - 1 == 8
    drawn = [plane_explorer.draw_cell(each) for each in (plane_explorer.OwnCell(), said[-1][1], run)]
    assert {len(figure.data) for figure in drawn} == {2}
    assert list(drawn[2].data[1].y) == run.cell["losses"]
    assert "Regime " in drawn[2].layout.title.subtitle.text


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda losses: max(losses) - (losses[0] + losses[-1]) / 2, "the sign is the other way round"),
        (lambda losses: losses[0] - max(losses), "take the mean of both ends"),
        (lambda losses: (losses[0] + losses[-1]) / 2 - losses[2], "The worst may stand anywhere"),
        (lambda losses: None, "There is no answer yet"),
    ],
)
def test_a_wrong_connectivity_is_told(function, said):
    with pytest.raises(WrongAnswer, match=said):
        plane_checks.check_connectivity(function)


def test_answers_are_checked(capsys):
    made = plane()
    plane_checks.check_connectivity(plane_trials.connectivity)
    plane_checks.check_regime("I", made, 0.05)
    plane_checks.check_regime("II-B", made, 0.8)
    plane_checks.check_similarity(lambda a, b: linear_cka(a, b).value)
    assert capsys.readouterr().out.count("Right.") == 5
    with pytest.raises(WrongAnswer, match="compare LMC with its threshold first"):
        plane_checks.check_regime("II-A", made, 0.05)
    with pytest.raises(WrongAnswer, match="centre the outputs first"):
        plane_checks.check_similarity(
            lambda a, b: float((a.T @ b).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm()))
        )

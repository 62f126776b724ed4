"""Soups and basins: tasks, the gap's formula and the toy against exact answers, trials, verdicts that can fail."""

from dataclasses import replace

import merge_trials
import numpy as np
import pytest
import soup_checks
import soup_explorer
import soup_figures
import soup_results
import soup_tasks
import soup_trials
import soups_and_basins
import torch
from torch import nn

from workbench.datasets import Split
from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.models import mlp
from workbench.objective import Supervised
from workbench.study import Study
from workbench.sweeps import Sweep

DRAWN = {"dataset": "digits", "n_source": 60, "n_target": 40, "n_validation": 50, "batch_size": 20}
DRAWN |= {"n_pretrain_epochs": 2}
TRIAL = DRAWN | {"width": 2, "learning_rates": [0.05], "weight_decays": [1e-4], "epochs": [2, 3], "n_points": 3}
MERGE = DRAWN | {"n_few": 20, "hidden": 5, "n_epochs": 2, "lr": 0.05, "n_fisher": 10, "n_lambdas": 3}
RUNS = soup_trials.settings([0.1, 0.01], [0.0, 1e-2], [5, 10])


def soups(gain=0.05, shared=0.5, apart=40.0, seeds=5, noise=0.0, dataset="digits"):
    """Return soups whose greedy one has more images right by a share, with barriers and a gap as told."""
    right = np.zeros((seeds, 2, 4, 3, 200))
    right[..., :100] = 1
    right[:, :, 2, :, : 100 + round(200 * gain)] = 1
    barrier = np.ones((seeds, 2, 120)) * np.array([shared, apart])[:, None]
    barrier[0] *= 1.01
    rng = np.random.default_rng(0)
    term = np.broadcast_to(np.linspace(0, 1, 120), barrier.shape)
    path = np.full((seeds, 2, 120, 3), 0.5)
    pairs = np.array([(i, j) for i in range(16) for j in range(i)])
    gap = term + noise * rng.standard_normal(barrier.shape)
    return soup_results.Soups(
        dataset, tuple(RUNS), tuple(range(seeds)), np.full((seeds, 2, 16, 3), 0.5), right, np.full((seeds, 2), 3),
        pairs, path, path, barrier, gap, term, np.full(seeds, 0.1), {},
    )  # fmt: skip


def merges(gain=0.1, seeds=6, toy=(5.0, 0.3)):
    """Return merges whose Fisher arm has more images right by a share, and distances as told."""
    right = {}
    for setting, copies in zip(merge_trials.SETTINGS, (1, 2, 1, 3), strict=True):
        arms = np.zeros((5, seeds, copies * 100))
        arms[..., : 50 * copies] = 1
        arms[1, :, : round((0.5 + gain) * 100 * copies)] = 1
        right[setting] = arms
    distances = np.array([[[each + 0.01 * seed for seed in range(seeds)] for each in (*toy, 0.1)]] * 2)
    return soup_results.Merges(
        tuple(range(seeds)), np.linspace(0, 1, 3), np.full((4, 5, seeds, 3), 0.5), np.full((4, 5, seeds), 0.5), right,
        np.full((4, seeds), 0.9), distances,
    )  # fmt: skip


def judged(tmp_path, monkeypatch, found=None, merged=None):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    images = soup_tasks.data("digits", 50)
    study = Study("soups_and_basins", parameters={}, claims=soups_and_basins.CLAIMS, stages={}, dataset=images)
    return {each.claim.name: each for each in soups_and_basins.judge(study, found or soups(), merged or merges())}


# --- tasks


def test_a_quarter_turn_is_exact_and_a_shift_moves_by_its_share():
    x = torch.rand(3, 1, 8, 8)
    assert torch.allclose(soup_tasks.rotate(x, 90), x.rot90(1, (2, 3)), atol=1e-5)
    assert torch.allclose(
        soup_tasks.rotate(x, [0, 90, 180])[1:], torch.stack([x[1].rot90(1, (1, 2)), x[2].rot90(2, (1, 2))]), atol=1e-5
    )
    moved = soup_tasks.rotate(x, 0, 1 / 8)
    assert torch.allclose(moved[..., :-1, :-1], x[..., 1:, 1:], atol=1e-5)
    assert torch.equal(
        soup_tasks.other_task(soup_tasks.other_task(x)), x.rot90(2, (2, 3)).mul(-1).add(1).mul(-1).add(1)
    )


def test_source_and_target_share_no_image():
    drawn = soup_tasks.tasks("digits", 700, 600, 50, 3)
    donor, target = ({tuple(row.flatten().tolist()) for row in split.x} for split in (drawn.donor, drawn.target))
    assert not donor & target
    assert torch.equal(drawn.source.x, soup_tasks.other_task(drawn.donor.x))
    assert torch.equal(drawn.source.y, drawn.donor.y)
    assert drawn.shifted.x.shape == (1080, 1, 8, 8)
    assert torch.equal(drawn.shifted.x[:360], drawn.test.x)
    assert torch.equal(drawn.shifted.y, drawn.test.y.repeat(3))
    assert not torch.equal(drawn.target.x, soup_tasks.tasks("digits", 700, 600, 50, 4).target.x)
    with pytest.raises(InputError, match="n_source must be at most 787 beside n_target, got 788"):
        soup_tasks.tasks("digits", 788, 600, 50, 0)


def test_packing_keeps_what_it_holds():
    right, theta = np.array([True, False, True] * 5), torch.randn(7)
    assert soup_tasks.unpack(soup_tasks.pack(right)).tolist() == right.astype(float).tolist()
    assert torch.equal(soup_trials.unpack_theta(soup_trials.pack_theta(theta)), theta)


def test_intervals_count_seeds_and_images():
    rng = np.random.default_rng(0)
    effects = 0.2 * rng.standard_normal((40, 1)) + rng.standard_normal(200)
    found = soup_tasks.paired(effects)
    assert found.value == pytest.approx(effects.mean())
    half = (found.interval[1] - found.interval[0]) / 2
    assert half == pytest.approx(1.97 * np.sqrt(0.04 / 40 + 1 / 200), rel=0.12)
    assert np.isnan(soup_tasks.paired(effects[:1]).interval).all()


# --- trials


def test_the_gap_of_a_linear_network_is_zero_and_predicted_so():
    x, y = torch.randn(50, 4, dtype=torch.float64), torch.randint(0, 3, (50,))
    objective = Supervised(mlp([4, 3]), (x, y), (x, y), (x, y), dtype=torch.float64)
    a, b = (torch.randn(objective.D, dtype=torch.float64) for _ in range(2))
    b = a + 0.05 * b
    logits = [objective.logits(theta) for theta in (a, b)]
    (pair,) = soup_trials.measure_pairs(objective, [a, b], logits, 11)
    assert pair["gap"] == pytest.approx(0, abs=1e-12)
    assert pair["term"] == pytest.approx(0, abs=1e-7)


def test_the_gap_of_near_networks_is_as_predicted():
    x, y = torch.randn(200, 4, dtype=torch.float64), torch.randint(0, 3, (200,))
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    objective = Supervised(network, (x, y), (x, y), (x, y), dtype=torch.float64)
    a = objective.theta_0
    thetas = [a, a + 0.02 * torch.randn(objective.D, dtype=torch.float64)]
    (pair,) = soup_trials.measure_pairs(objective, thetas, [objective.logits(theta) for theta in thetas], 11)
    assert pair["term"] == pytest.approx(pair["gap"], rel=0.05)
    assert pair["gap"] != 0


def test_augmentation_adds_moved_copies():
    split = Split(torch.rand(10, 1, 8, 8), torch.arange(10))
    made = soup_trials.augmented(split, 0)
    assert (len(made), torch.equal(made.x[:10], split.x)) == (40, True)
    assert torch.equal(made.y, split.y.repeat(4))
    assert not torch.allclose(made.x[10:20], split.x, atol=0.05)


def test_a_repeat_is_a_function_of_its_parameters(tmp_path):
    with Sweep(tmp_path, workers=1) as sweep:
        made = soup_results.measure_soups(sweep, [0, 1], **TRIAL)
    assert soup_trials.soup_repeat(**TRIAL, seed=1)["shared"]["singles"] == made.singles[1, 0].tolist()
    assert made.singles.shape == (2, 2, 4, 3)
    assert made.right.shape == (2, 2, 4, 3, 360)
    assert made.error.shape == (2, 2, 6, 3)
    assert made.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    best = made.right[:, :, 0].mean(axis=3)
    assert ((made.singles == best[:, :, None]).all(axis=3)).any(axis=2).all()  # the best single run is one of them
    ends = 1 - made.singles[0, 0, [0, 1], 0]
    assert made.error[0, 0, 0, [0, 2]] == pytest.approx(ends, abs=1e-6)
    assert not np.array_equal(made.singles[:, 0], made.singles[:, 1])
    table = soup_results.soup_table(made)
    assert table.loc[("shared", "uniform soup"), "runs averaged"] == "4"
    trial = soup_explorer.live_expert(made, TRIAL)
    said = []
    run = trial(lambda part, expert: said.append(expert), learning_rate=0.01, epochs=2)
    assert run.networks[0][0] == "yours"
    assert run.networks[1][1] == pytest.approx(made.right[0, 0, 1, 0].mean())
    assert run.networks[2][2] == pytest.approx(made.right[0, 0, 2, 1:].mean())
    assert len(run.steps) == 4 == len(said) - 1
    drawn = [soup_explorer.draw_expert(each) for each in (soup_explorer.OwnExpert(), said[-1], run)]
    assert {len(figure.data) for figure in drawn} == {3}
    assert ("keeps it" in drawn[2].layout.title.subtitle.text) == run.joined


def test_a_merge_runs_from_one_expert_to_the_other(tmp_path):
    with Sweep(tmp_path, workers=1) as sweep:
        made = soup_results.measure_merges(sweep, [0, 1], 4000, **MERGE)
    assert made.test.shape == (4, 5, 2, 3)
    assert (made.test[:, :, :, [0, -1]] == made.test[:, :1, :, [0, -1]]).all()  # the ends are the experts, in all arms
    assert (made.test[0, 0, :, 1] != made.test[0, 1, :, 1]).any()
    chosen = made.right["rotation"][0, 0].mean()
    place = int(np.flatnonzero(made.lambdas == made.chosen[1, 0, 0])[0])
    assert chosen == pytest.approx(made.test[1, 0, 0, place])
    assert made.right["rotation"].shape == (5, 2, 720)
    assert made.right["robustness"].shape == (5, 2, 1080)
    assert soup_results.merge_table(made).index.tolist() == list(merge_trials.SETTINGS)
    assert soup_results.toy_table(made).shape == (2, 4)


def test_experts_see_their_own_task():
    drawn = soup_tasks.tasks("digits", 60, 40, 50, 0)
    job = merge_trials.job_of("class split", drawn, 20)
    assert set(job.first.y.tolist()) | set(job.second.y.tolist()) == set(drawn.target.y.tolist())
    assert max(job.first.y.tolist()) < 5 <= min(job.second.y.tolist())
    job = merge_trials.job_of("rotation", drawn, 20)
    assert torch.equal(job.test.x[:360], soup_tasks.rotate(drawn.test.x, -30))
    job = merge_trials.job_of("donor", drawn, 20)
    assert (len(job.first), len(job.second), len(job.test)) == (20, 60, 360)
    assert merge_trials.job_of("robustness", drawn, 20).first is None


def test_fisher_weights_of_the_last_layer_leave_the_rest_plain():
    drawn = soup_tasks.tasks("digits", 60, 40, 50, 0)
    objective = Supervised(mlp([64, 5, 10]), drawn.target)
    made = merge_trials.fishers_of([objective] * 2, [objective.theta_0] * 2, 10, 0)
    head = made["last layer"][0]
    assert (head[: 65 * 5] == 1).all()
    assert torch.equal(head[65 * 5 :], made["Fisher"][0][65 * 5 :])


def test_logistic_regressions_one_feature_at_a_time_are_logits():
    rng = np.random.default_rng(0)
    x = np.eye(3)[rng.integers(0, 3, 300)]
    y = (rng.random(300) < 0.3).astype(float)
    shares = (x.T @ y) / x.sum(axis=0)
    theta = merge_trials.fit_logistic(x, y)
    assert theta == pytest.approx(np.log(shares / (1 - shares)))
    assert merge_trials.fisher_matrix(x, theta) == pytest.approx(np.diag(x.mean(axis=0) * shares * (1 - shares)))


def test_the_toy_merges_to_the_optimum_by_the_full_matrix():
    found = merge_trials.toy(4000, 6, 0)
    assert found["one at a time"]["Fisher merging"] == pytest.approx(found["one at a time"]["full Fisher"])
    assert found["one at a time"]["Fisher merging"] < found["one at a time"]["plain average"] / 5
    assert found["correlated"]["full Fisher"] < found["correlated"]["Fisher merging"] / 2


# --- verdicts


def test_what_the_sources_say_holds(tmp_path, monkeypatch):
    found = judged(tmp_path, monkeypatch)
    assert {name: each.verdict for name, each in found.items()} == dict.fromkeys(found, "holds")
    assert found["soup"].value == pytest.approx(5)
    assert found["gap"].value == pytest.approx(1)
    assert found["experts"].value == pytest.approx(10)
    assert "pairs a repeat, from 0.5 to 0.5 points" in found["basin"].detail


@pytest.mark.parametrize(
    ("name", "changes", "merged"),
    [
        ("soup", {"gain": -0.05}, {}),
        ("soup", {"gain": 0.0}, {}),
        ("shift", {"gain": -0.05}, {}),
        ("basin", {"shared": 3.0}, {}),
        ("apart", {"apart": 10.0}, {}),
        ("gap", {"noise": 5.0}, {}),
        ("experts", {}, {"gain": 0.0}),
        ("donor", {}, {"gain": -0.1}),
        ("toy", {}, {"toy": (5.0, 2.0)}),
        ("toy", {}, {"toy": (0.5, 0.3)}),
    ],
)
def test_every_claim_can_fail(tmp_path, monkeypatch, name, changes, merged):
    assert judged(tmp_path, monkeypatch, soups(**changes), merges(**merged))[name].verdict == "fails"


def test_mnist_asks_for_its_margins(tmp_path, monkeypatch):
    made = replace(soups(gain=0.005), dataset="mnist")
    made.right[1:3, 0, 2] = made.right[1:3, 0, 0]  # nothing gained in two of five repeats
    assert judged(tmp_path, monkeypatch, made)["soup"].verdict == "fails"
    assert "positive in 3 of 5 repeats" in judged(tmp_path, monkeypatch, made)["soup"].detail
    assert judged(tmp_path, monkeypatch, replace(soups(gain=0.05), dataset="mnist"))["shift"].verdict == "holds"


def test_what_the_rules_ask_for_must_be_met(tmp_path, monkeypatch):
    few = replace(soups(seeds=4), runs=tuple(RUNS[:8]))
    found = judged(tmp_path, monkeypatch, few, merges(seeds=4))
    assert {each.verdict for each in found.values()} == {"inconclusive"}
    assert found["soup"].detail.endswith("; the rule asks for 5 repeats and 16 fine-tunings")
    assert found["donor"].detail.endswith("; the rule asks for 5 seeds")


# --- figures, explorer, exercises


def test_figures_draw_the_numbers():
    made, merged = soups(), merges()
    figure = soup_figures.gain_figure(made)
    assert figure.data[5].x[0] == pytest.approx(5)  # the greedy soup's mean
    figure = soup_figures.barrier_figure(made)
    assert sum(trace.name is not None for trace in figure.data) == 2
    assert figure.data[12].y[0] == pytest.approx(50)
    figure = soup_figures.gap_figure(made)
    assert [trace.name for trace in figure.data] == ["as predicted", *(f"repeat {i}" for i in range(5))]
    figure = soup_figures.lambda_figure(merged)
    assert len(figure.data) == 12


def test_the_explorer_opens_in_the_middle():
    made, merged = soups(), merges()
    figure = soup_explorer.explore_soups(made, merged, TRIAL, live=False)
    assert [step.label for step in figure.layout.sliders[0].steps] == ["0.0", "0.5", "1.0"]
    box = soup_explorer.explore_soups(made, merged, TRIAL, live=True)
    assert [*box.children[1].controls] == ["learning_rate", "epochs"]


def test_answers_are_checked(capsys):
    made = soups()
    made.barrier[0, 1, :60] = 5

    def greedy(thetas, score, first=None):
        kept = sorted(range(len(thetas)), key=lambda i: -score(thetas[i])) if first is None else first
        soup = kept[:1]
        for i in kept[1:]:
            if score(thetas[[*soup, i]].mean(0)) >= score(thetas[soup].mean(0)):
                soup.append(i)
        return thetas[soup].mean(0)

    soup_checks.check_greedy(greedy)
    soup_checks.check_fisher(lambda a, b, F, G, t: ((1 - t) * F * a + t * G * b) / ((1 - t) * F + t * G))
    soup_checks.check_share((made.barrier[:, 1] > 20).mean(), made)
    assert capsys.readouterr().out.count("Right.") == 3
    for said, wrong in (
        ("this is the average of all", lambda thetas, score: thetas.mean(0)),
        ("as good is good enough", lambda thetas, score: thetas[3]),
    ):
        with pytest.raises(WrongAnswer, match=said):
            soup_checks.check_greedy(wrong)
    for said, wrong in (
        ("this is the plain average", lambda a, b, F, G, t: (1 - t) * a + t * b),
        ("lambda belongs to the second", lambda a, b, F, G, t: (t * F * a + (1 - t) * G * b) / (t * F + (1 - t) * G)),
    ):
        with pytest.raises(WrongAnswer, match=said):
            soup_checks.check_fisher(wrong)
    with pytest.raises(WrongAnswer, match="take the second one"):
        soup_checks.check_share((made.barrier > 20).mean(), made)


def test_the_authors_figures_have_their_gains():
    table = soup_results.published_table()
    assert table.loc["greedy soup"].tolist() == [81.03, 50.86, 0.64, 2.89]
    assert table.index.tolist() == ["best single", "uniform soup", "greedy soup"]

"""The study of pruning and retraining: networks of equal nonzeros, zeros that stay, tickets, verdicts, exercises."""

import dataclasses
import math
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pandas as pd
import prune_and_retrain as study
import prune_checks
import prune_figures
import pruned
import pytest
import retrain_few
import sparse_arms
import tickets
import torch
from mask_explorer import OwnRun, draw_run, explore_masks, live_run
from prune_and_retrain import CLAIMS
from published_pruning import beside_published
from savings import measure_savings

import workbench
from workbench import models
from workbench.datasets.sources import PLACES
from workbench.errors import DataError
from workbench.exercises import WrongAnswer
from workbench.sweeps import Sweep

SHORT = {"dataset": "digits", "n_train": 200, "n_steps": 20, "batch_size": 50}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    with Sweep(tmp_path_factory.mktemp("trials"), "serial") as each:
        yield each


@pytest.fixture(scope="module")
def runs(sweep):
    return sparse_arms.measure_arms(sweep, sparse_arms.cells_of(["mlp"], [4, 16], **SHORT), [0, 1], [1e-3, 4e-3])


def test_a_lenet_of_full_width_is_the_packages_own():
    ours, theirs = pruned.build("lenet", pruned.data("digits"), 3), models.lenet(8, 10, 1, 3)
    for (name, a), (other, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a, b)


@pytest.mark.parametrize("network", ["mlp", "lenet"])
@pytest.mark.parametrize("reduction", [2, 16])
def test_the_small_network_is_the_nearest_and_the_equal_bits_pay_for_the_index(network, reduction):
    D = sparse_arms.n_parameters(network, "digits")
    small, nonzeros, equal = sparse_arms.sizes(network, "digits", reduction)
    sizes = {step: sparse_arms.n_parameters(network, "digits", step / 400) for step in range(40, 401, 20)}
    assert abs(nonzeros - D / reduction) <= min(abs(n - D / reduction) for n in sizes.values())
    n_weights = int(pruned.prunable(pruned.objective_of(network, "digits", None, 0)).sum())
    bits = sparse_arms.n_parameters(network, "digits", equal) * 32
    assert bits == pytest.approx(32 * nonzeros + n_weights, rel=0.06)
    assert small < equal


def test_every_arm_ends_with_exactly_as_many_nonzeros(runs):
    for reduction, own in runs[runs.arm != "dense"].groupby("reduction"):
        kept = own.assign(kept=[r["n_kept"] for r in own.report]).groupby("arm").kept.unique()
        assert {len(each) for each in kept} == {1}
        _, nonzeros, _ = sparse_arms.sizes("mlp", "digits", reduction)
        assert {int(kept[arm][0]) for arm in kept.index if "bits" not in arm} == {nonzeros}
        assert kept["small dense, equal bits"][0] > nonzeros
    assert len(runs) == 2 * (1 + 2 * 5)
    assert runs[runs.arm == "dense"].iloc[0].inputs == [300] * 64


def test_the_rate_is_the_one_of_least_validation_loss(sweep, runs):
    first = runs[(runs.arm == "gradual") & (runs.reduction == 4)].iloc[0]
    cell = {**SHORT, "network": "mlp", "arm": "gradual", "reduction": 4, "seed": 0}
    losses = {lr: sparse_arms.train_arm(**cell, lr=lr)["validation"] for lr in (1e-3, 4e-3)}
    assert first.lr == min(losses, key=losses.get)
    assert first.validation == losses[first.lr]


def test_the_compression_table_counts_both_ratios(runs):
    row = sparse_arms.compression_table(runs).loc[("mlp", 16, "gradual")]
    D, (_, kept, _) = 50_610, sparse_arms.sizes("mlp", "digits", 16)
    assert row.compression == D / kept
    assert row["with index"] == 32 * D / (32 * kept + 50_200)
    assert row["theoretical speed-up"] == pytest.approx(50_200 / (kept - 410))
    dense = sparse_arms.compression_table(runs).loc[("mlp", 1, "dense")]
    assert (dense.compression, dense["with index"], dense.change) == (1, 1, 0)


def test_differences_are_paired_and_an_interval_covers_both_kinds_of_noise():
    a = np.array([[1.0, 0, 1, 1], [1, 1, 1, 0]])
    same = pruned.paired(a, a)
    assert same == (0, 0, 0, 0)
    other = pruned.paired(a, np.array([[0.0, 0, 1, 0], [1, 1, 0, 0]]))
    assert other.value == 0.375
    assert other.low < 0.375 < other.high
    assert math.isnan(pruned.paired(a[:1], a[:1]).low)


def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        seeds, examples = rng.normal(0, 0.05, (3, 1)), rng.normal(0, 1, (1, 200))
        noise = rng.normal(0, 0.3, (3, 200))
        hits += (d := pruned.paired(0.1 + seeds + examples + noise, np.zeros((3, 200)))).low <= 0.1 <= d.high
    assert 0.92 <= hits / 400 <= 0.995


def test_the_recovered_share_is_that_of_the_gain():
    full, none = np.zeros((3, 50)), np.ones((3, 50))
    assert pruned.recovered(none, 0.25 * none, full).value == 0.75
    assert math.isnan(pruned.recovered(full, none, none).value)


@pytest.mark.parametrize("values", [np.array([True, False, True]), np.array([0.5, -2.0])])
def test_what_is_packed_comes_back(values):
    assert pruned.unpack(pruned.pack(values)).tolist() == values.astype(float).tolist()


def test_a_text_that_cannot_be_had_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    (place,) = PLACES[pruned.TEXT]
    unreached = dataclasses.replace(place.files[0], urls=("http://127.0.0.1:9/input.txt",))  # nothing listens
    monkeypatch.setitem(PLACES, pruned.TEXT, (place._replace(files=(unreached,)),))
    pruned.data.cache_clear()
    with pytest.raises(DataError, match=r"input\.txt could not be downloaded: .*name in WORKBENCH_DATA a folder with"):
        pruned.data(pruned.TEXT)


@pytest.mark.parametrize(
    "arm",
    retrain_few.arms_of(
        workbench.Supervised(models.small_cnn(), (torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))).layout
    ),
)
def test_pruned_entries_stay_zero_in_every_retrained_arm(arm):
    objective = pruned.objective_of("cnn", "digits", 200, 0)
    mask = retrain_few._mask(objective, objective.theta_0.abs(), 0.7, 0)
    c = retrain_few._coordinates(arm, objective.theta_0.where(mask, 0), mask, objective.layout, 0)
    history = workbench.train(objective, c, workbench.Recipe(5, 1e-2, batch_size=50), 0)
    theta = history.point(c).theta
    assert not theta[~mask].any()
    moved = theta != objective.theta_0.where(mask, 0)
    roles = {"biases": {"bias"}, "norms": {"norm"}, "biases + norms": {"bias", "norm"}}.get(arm)
    held = [e.name for e in objective.layout.entries if roles and e.role not in roles]
    assert moved.any()
    assert not any(objective.layout.views(moved)[name].any() for name in held)


@pytest.fixture(scope="module")
def retrained(sweep):
    networks = [{**SHORT, "network": "cnn", "n_retrain_steps": 5, "sparsities": [0.8, 0.9]}]
    return retrain_few.measure_retraining(sweep, networks, [0, 1], [1e-3, 1e-2])


def test_every_arm_is_retrained_once_a_seed_at_its_own_rate(retrained):
    counts = retrained.groupby(["arm", "sparsity"]).size()
    assert set(counts) == {2}
    assert len(counts) == 1 + 2 * (2 + 6)
    trained = retrained[retrained.lr.notna()]
    assert set(trained.groupby(["arm", "sparsity"]).lr.nunique()) == {1}
    few = retrained[retrained.arm == "biases + norms"]
    assert (set(few.d), set(few.D)) == ({234}, {24_058})


@pytest.fixture(scope="module")
def lottery(sweep):
    return tickets.measure_tickets(sweep, [0, 1], dataset="digits", n_train=200, n_rounds=3, n_steps=20)


def test_three_rounds_leave_the_papers_share_and_controls_as_many(lottery):
    last = lottery[lottery["round"] == 3]
    assert set(last.arm) == {"ticket", "reinitialised", "shuffled"}
    assert last.kept.nunique() == 1
    hidden, output = 64 * 300 + 300 * 100, 1000
    assert last.kept.iloc[0] == pytest.approx((0.8**3 * hidden + 0.9**3 * output) / (hidden + output), abs=1e-4)
    assert (lottery[lottery["round"] == 0].kept == 1).all()


def test_the_step_of_least_validation_loss_is_kept():
    objective = SimpleNamespace(theta=0, evaluate=lambda *_: SimpleNamespace(correct=np.array([seen[-1]])))
    watch, seen = tickets.EarliestBest(objective), [True]
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (1, 0.5)):
        seen.append(step == 2)
        watch(0, {"step": step, "loss": loss, "metric": 0.0})
    assert [run["step"] for run in watch.runs] == [2, 1]
    assert [pruned.unpack(run["right"]).tolist() for run in watch.runs] == [[1], [0]]


def test_removing_units_leaves_the_products_asked_for():
    found = measure_savings([[20, 40, 30, 5]], [4], 8, 1).loc[("20-40-30-5", 0.25)]
    assert found["sparse, theoretical"] == pytest.approx(4, rel=0.01)
    assert found["smaller, theoretical"] == pytest.approx(4, rel=0.1)
    assert (found[["zeros, measured", "sparse, measured", "smaller, measured"]] > 0).all()


def test_published_tables_are_read_where_they_lie(runs, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    table = beside_published(sparse_arms.compression_table(runs))
    assert "ResNet-50 is left out" in capsys.readouterr().out
    assert table.loc["InceptionV3"].change.round(1).tolist() == [-0.1, -2.0, -3.5]
    assert len(table.loc["mlp"]) == 2


# --- verdicts --------------------------------------------------------------------------------------------------------


class Judge:
    """Keeps what a rule says, on data on which it decides."""

    def judge(self, name, **finding):
        return SimpleNamespace(name=name, **finding)


def made_up(scores, seeds=3):
    """Return runs of both networks: right shares by arm, the same images right in every seed but for a few."""
    rows = []
    for network in ("mlp", "lenet"):
        for arm, reduction in [("dense", 1), *((a, r) for r in (2, 4, 8, 16) for a in sparse_arms.ARMS)]:
            for seed in range(seeds):
                right = (np.arange(1000) < 1000 * scores.get(arm, 0.5) + seed).astype(float)
                rows.append({"network": network, "arm": arm, "reduction": reduction, "seed": seed, "scores": right})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("scores", "seeds", "dataset", "verdict"),
    [
        ({"dense": 0.95, "gradual": 0.949, "small dense": 0.8}, 3, "mnist", "holds"),
        ({"dense": 0.95, "gradual": 0.8, "small dense": 0.7}, 3, "mnist", "fails"),  # too dear
        ({"dense": 0.95, "gradual": 0.94, "small dense": 0.95}, 3, "digits", "fails"),  # nothing won
        ({"dense": 0.95, "gradual": 0.94, "small dense": 0.8}, 3, "mnist", "inconclusive"),  # at the margin
        ({"dense": 0.95, "gradual": 0.949, "small dense": 0.8}, 2, "mnist", "inconclusive"),  # too few seeds
    ],
)
def test_the_count_of_cells_and_the_cost_decide(scores, seeds, dataset, verdict):
    found = study.judge_nonzeros(Judge(), made_up(scores, seeds), dataset)
    assert found.verdict == verdict
    assert found.value == float(scores["gradual"] > scores["small dense"])


def losses(few, wanda, seeds=3, network="cnn", moved=200):
    arms = {"none": 2.0, "Wanda, not retrained": wanda, "all kept": 1.0, "biases + norms": few}
    noise = np.linspace(-0.1, 0.1, 100)
    return pd.DataFrame(
        {"network": network, "arm": arm, "sparsity": s, "seed": seed, "d": moved, "D": 20_000, "losses": mean + noise}
        for arm, mean in arms.items()
        for s in (0.5, 0.7, 0.8, 0.9)
        for seed in range(seeds)
    )


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        (losses(1.1, 1.5), "holds"),
        (losses(1.3, 1.5), "fails"),  # 70 % is enough at the higher sparsity alone
        (losses(1.1, 1.05), "fails"),  # Wanda is better
        (losses(1.1, 1.5, seeds=2), "inconclusive"),
        (losses(1.1, 1.5, moved=500), "inconclusive"),  # more than 2 % moved
    ],
)
def test_the_recovered_shares_and_wanda_decide(table, verdict):
    found = study.judge_few(Judge(), table, "few-images", "cnn")
    assert found.verdict == verdict
    assert found.unit == "of the gain at sparsity 90 %"


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ({0: 0.90, 3: 0.93, 7: 0.96, 15: 0.90, "control": 0.8}, "holds"),
        ({0: 0.90, 3: 0.93, 7: 0.91, 15: 0.90, "control": 0.8}, "fails"),
        ({0: 0.90, 3: 0.93, 7: 0.96, 15: 0.90, "control": 0.97}, "fails"),
        ({0: 0.90, 3: 0.93, 7: 0.96, 15: 0.93, "control": 0.8}, "fails"),
    ],
)
def test_the_shape_of_the_lottery_decides(accuracies, verdict):
    rows = [("ticket", k) for k in (0, 3, 7, 15)] + [(arm, 7) for arm in ("reinitialised", "shuffled")]
    table = pd.DataFrame(
        {"arm": arm, "round": k, "seed": seed, "right": (np.arange(1000) < 1000 * share).astype(float)}
        for arm, k in rows
        for share in [accuracies[k] if arm == "ticket" else accuracies["control"]]
        for seed in range(5)
    )
    assert study.judge_tickets(Judge(), table).verdict == verdict
    assert study.judge_tickets(Judge(), table[table.seed < 4]).verdict == "inconclusive"


def test_every_claim_names_its_data():
    assert [(claim.name, claim.datasets) for claim in CLAIMS][3] == ("tickets", ("mnist",))


# --- figures, explorer, exercises ------------------------------------------------------------------------------------


def test_every_point_says_what_it_is(runs, retrained, lottery):
    figures = [
        prune_figures.accuracy_versus_nonzeros(runs),
        prune_figures.loss_after_retraining(retrained),
        prune_figures.ticket_curves(lottery),
        prune_figures.mask_view(runs, (8, 8), sparse_arms.BINS, 4),
    ]
    for figure in figures:
        assert all(trace.hovertemplate for trace in figure.data)
    names = [trace.name for trace in figures[0].data]
    assert names == ["dense", *sparse_arms.ARMS]


def test_titles_of_three_panels_stay_apart_and_inside(runs, retrained):
    names = ["mlp", "lenet", "transformer-2"]
    three = [pd.concat([table.assign(network=name) for name in names]) for table in (runs, retrained)]
    draws = prune_figures.accuracy_versus_nonzeros, prune_figures.loss_after_retraining
    for figure in map(lambda draw, table: draw(table), draws, three):
        left, right = figure.layout.xaxis3.domain
        room = (right - left) * (960 - 80 - 30) + 2 * 30  # of a page, its margins; about 9 pixels a letter
        assert all(9 * len(figure.layout[f"xaxis{k}"].title.text) < room for k in ("", 2, 3))


def test_the_masks_follow_the_density(runs):
    figure = explore_masks(runs, 16, live=False)
    assert [step.label for step in figure.layout.sliders[0].steps] == ["1", "4", "16"]
    assert figure.layout.sliders[0].active == 2
    gradual = runs[(runs.arm == "gradual") & (runs.reduction == 16) & (runs.seed == 0)].iloc[0]
    assert figure.data[0].z.sum() == sum(gradual.inputs)
    box = explore_masks(runs, 16, live=True)
    assert isinstance(box, ipywidgets.VBox)
    slider, live = box.children[0].children
    slider.value = 1
    assert live.data[0].z.sum() == 64 * 300


def test_a_layer_that_is_nearly_emptied_is_seen(runs):
    layers = runs[(runs.arm == "gradual") & (runs.reduction == 16)].iloc[0].report["densities"]
    kept = dict.fromkeys(layers, 0.5) | {list(layers)[1]: 0.001}
    emptied = runs.assign(report=[report | {"densities": kept} for report in runs.report])
    drawn = prune_figures.mask_view(emptied, (8, 8), sparse_arms.BINS, 16)
    points, (low, _) = drawn.data[1], drawn.layout.yaxis2.range
    assert list(points.marker.symbol) == ["circle", "x", "circle"]
    assert list(points.customdata) == [0.5, 0.001, 0.5]
    assert min(points.y) > 10**low


def test_a_live_run_is_the_studys_own(sweep, runs):
    reports = []
    run = live_run(runs)(lambda fraction, each: reports.append(fraction), "gradual", 16)
    kept = runs[(runs.arm == "gradual") & (runs.reduction == 16) & (runs.seed == 0)].iloc[0]
    assert run.accuracy == kept.scores.mean()
    assert reports == [step / 20 for step in range(21)]
    assert f"{run.accuracy:.4f}" in draw_run(20, run).layout.title.subtitle.text
    assert "press Train" in draw_run(20, OwnRun()).layout.title.subtitle.text


def test_the_exercises_tell_right_from_wrong(capsys):
    D, n = 50_610, 50_200
    kept = round(D / 8)
    prune_checks.check_density((kept - D + n) / n, "digits")
    prune_checks.check_index(32 * D / (32 * kept + n), "digits")
    prune_checks.check_prune(right)
    assert capsys.readouterr().out.count("Right.") == 3


def right(theta, k, within):
    best = theta.abs().masked_fill(~within, -1).topk(k).indices
    return theta.new_zeros(len(theta), dtype=bool).index_fill(0, best, True)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: prune_checks.check_density(1 / 8, "digits"), "the biases stay"),
        (lambda: prune_checks.check_index(9, "digits"), "9 is too large"),
        (lambda: prune_checks.check_index(50_610 / 6326, "digits"), "this leaves the index out"),
        (lambda: prune_checks.check_prune(lambda t, k, w: t > t.sort().values[-k - 1]), "-3 has the largest magnitude"),
        (
            lambda: prune_checks.check_prune(lambda t, k, w: t.abs() >= t.abs().sort().values[-k]),
            "a threshold keeps ties",
        ),
        (lambda: prune_checks.check_prune(lambda t, k, w: right(t, k, w | True)), "Entry 1 was pruned before"),
        (lambda: prune_checks.check_prune(lambda t, k, w: t * right(t, k, w)), "tensor of bools"),
    ],
)
def test_a_wrong_answer_is_told_why(wrong, why):
    with pytest.raises(WrongAnswer) as refused:
        wrong()
    assert why in str(refused.value)

"""Sharing against pruning: trials of equal numbers, closed forms, equal products, verdicts that can fail, answers."""

import ipywidgets
import linear_sharing
import numpy as np
import pandas as pd
import pytest
import shared_arms
import sharing_checks
import sharing_figures
import sharing_vs_pruning as study
import torch
import wide_sparse
from mask_explorer import draw_run
from pruned import Difference, data, objective_of, pack, prunable, unpack
from shared_arms import ARMS, NAIVE, PRUNERS, SHARED, TICKETS
from sharing_explorer import explore_sharing, live_run

from workbench import pruning
from workbench.coordinates import Shared
from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.objective import Supervised
from workbench.study import Study
from workbench.sweeps import Sweep

SHORT = {"dataset": "digits", "n_train": 200, "n_steps": 20, "batch_size": 50}
WIDE = SHORT | {"width": 2, "n_steps": 10, "rates": [0.1], "seed": 0}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    with Sweep(tmp_path_factory.mktemp("trials"), "serial") as each:
        yield each


@pytest.fixture(scope="module")
def runs(sweep):
    cells = shared_arms.cells_of("mlp", [1, 20], [20], **SHORT)
    return shared_arms.measure_sharing(sweep, cells, {"mlp": [0, 1]}, [0.03, 0.1])


# --- sharing


def test_every_arm_keeps_as_many_numbers(runs):
    objective = objective_of("mlp", "digits", 200, 0)
    n = int(prunable(objective).sum())
    for arm in (*PRUNERS, TICKETS):
        assert set(runs[(runs.arm == arm) & (runs.compression == 20)].n_kept) == {round(n / 20)}
    for arm in (SHARED, NAIVE):
        assert set(runs[runs.arm == arm].n_kept) == {n}  # every weight is there
    shared = Shared(objective.theta_0, prunable(objective), round(n / 20), objective.layout, 0)
    assert shared.d == round(n / 20) + objective.D - n
    small = runs[(runs.arm == "small dense")].n_kept.iloc[0]
    assert small == pytest.approx(n / 20 + 410, rel=0.15)  # its own biases are few
    assert len(runs) == 2 * (3 + len(ARMS))


def test_at_compression_1_stable_sharing_is_the_dense_network(runs):
    arms = {arm: runs[(runs.arm == arm) & (runs.compression == 1)].sort_values("seed") for arm in ("dense", SHARED)}
    assert arms[SHARED].validation.tolist() == pytest.approx(arms["dense"].validation.tolist(), rel=1e-4)
    naive = runs[(runs.arm == NAIVE) & (runs.compression == 1)]
    assert not np.allclose(naive.validation, arms["dense"].validation, rtol=0.05)


@pytest.mark.parametrize("arm", PRUNERS)
def test_a_sparse_arm_ends_where_it_would_alone(runs, arm):
    watched = []
    row = runs[(runs.arm == arm) & (runs.compression == 20) & (runs.seed == 1)].iloc[0]
    alone = shared_arms.train_arms(
        **SHORT, network="mlp", compression=20, runs=[(arm, row.lr)], seed=1,
        watch=lambda _, found: watched.append(found["step"]),
    )[0]  # fmt: skip
    assert alone["validation"] == pytest.approx(row.validation, rel=1e-3)
    assert alone["densities"] == row.densities
    assert watched == list(range(1, 21))


def test_masks_are_the_scores_own():
    objective = objective_of("mlp", "digits", 200, 0)
    for arm in PRUNERS:
        mask = shared_arms.mask_of(arm, objective, 0.1, 0)
        assert int((mask & prunable(objective)).sum()) == 5020
    best = pruning.score("snip", objective, objective.theta_0)[prunable(objective)].topk(5020).values[-1]
    snip = shared_arms.mask_of("SNIP", objective, 0.1, 0) & prunable(objective)
    assert float(pruning.score("snip", objective, objective.theta_0)[snip].min()) == pytest.approx(
        float(best), rel=1e-4
    )


def test_grasp_scores_logits_over_its_temperature():
    objective = objective_of("mlp", "digits", 200, 0)
    cooled, theta = shared_arms._cooled(objective), objective.theta_0
    assert torch.allclose(200 * cooled.logits(theta, "train"), objective.logits(theta, "train"), atol=1e-4)
    cold = pruning.select(
        pruning.score("grasp", cooled, theta), 0.1, prunable=prunable(objective), layout=objective.layout
    )
    assert torch.equal(shared_arms.mask_of("GraSP", objective, 0.1, 0), cold)
    plain = pruning.score("grasp", objective, theta)
    assert not torch.equal(pruning.select(plain, 0.1, prunable=prunable(objective), layout=objective.layout), cold)


def test_the_rate_is_the_one_of_least_validation_loss(runs):
    for arm, own in runs[(runs.seed == 0) & (runs.compression == 20)].groupby("arm"):
        tried = [[arm, 0.03], [arm, 0.1]]
        both = shared_arms.train_arms(**SHORT, network="mlp", compression=20, runs=tried, seed=0)
        assert own.lr.iloc[0] == [0.03, 0.1][int(both[1]["validation"] < both[0]["validation"])]


def test_a_run_that_diverges_has_no_loss():
    found = shared_arms.train_arms(**SHORT, network="mlp", compression=2, runs=[("dense", 1e6)], seed=0)[0]
    assert found["validation"] is None
    assert sum(found["histogram"]) == 50_200


# --- linear models


def test_the_closed_form_is_textbook_for_the_whole_model_and_the_mean_over_hashes():
    rng = np.random.default_rng(0)
    beta, eye = np.ones(100) / 10, np.eye(100)
    assert linear_sharing.exact_error(beta, eye, eye, 400) == pytest.approx(399 / 299)
    found = [
        linear_sharing.exact_error(beta, eye, linear_sharing.design_of(arm, beta, 10, rng), 400)
        for arm in ("hashed", "pruned at random") for _ in range(300)
    ]  # fmt: skip
    assert np.mean(found[:300]) == pytest.approx(linear_sharing.isotropic_error(10), rel=0.01)
    assert np.mean(found[300:]) == pytest.approx(linear_sharing.isotropic_error(10), rel=1e-9)  # equal coefficients
    design = linear_sharing.design_of("hashed", beta, 30, rng)
    assert sorted(np.abs(design).sum(0).tolist()) == [3.0] * 20 + [4.0] * 10
    assert np.abs(design).sum(1).tolist() == [1.0] * 100


def test_pruning_by_magnitude_keeps_the_largest():
    beta = np.array([0.1, -3.0, 0.2, 2.0])
    design = linear_sharing.design_of("pruned by magnitude", beta, 2, np.random.default_rng(0))
    assert design.T.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert linear_sharing.exact_error(beta, np.eye(4), design, 100) == pytest.approx(1.05 * 99 / 97)


def test_simulation_meets_the_closed_form(sweep):
    table = linear_sharing.measure_linear(sweep, [2, 50], [0, 1, 2], 30)
    assert len(table) == 2 * 2 * 3
    assert table.ratio.tolist() == pytest.approx([1] * 12, abs=0.03)


# --- wider and sparser


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("member", ["wide", "parallel"])
@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_products_are_equal_in_every_layer(network, member, sparsity):
    images = data("digits", 100)
    dense, sparse = (
        Supervised(wide_sparse.network_of(network, each, sparsity, images, 2, 0), images.train)
        for each in ("dense", member)
    )
    mask = wide_sparse.equal_mask(sparse, dense, 0)
    reports = [
        pruning.report(each, kept, pruning.prunable(each.layout))
        for each, kept in ((dense, torch.ones(dense.D, dtype=torch.bool)), (sparse, mask))
    ]
    assert reports[0].macs_kept == reports[1].macs_kept
    assert reports[1].macs > 1.3 * reports[0].macs


def test_branches_and_scales_keep_the_second_moment():
    torch.manual_seed(0)
    gauss = [torch.nn.Sequential(torch.nn.Linear(400, 3000, bias=False), torch.nn.ReLU()) for _ in range(4)]
    for branch in gauss:
        torch.nn.init.normal_(branch[0].weight, std=400**-0.5)
    x = torch.randn(50, 400)
    one, four = (wide_sparse.Branches(gauss[:n])(x).detach().square().mean() for n in (1, 4))
    assert float(one) == pytest.approx(0.5, rel=0.05)
    assert float(four) == pytest.approx(0.5, rel=0.05)
    images = data("digits", 100)
    objective = Supervised(wide_sparse.network_of("mlp", "wide", 0.75, images, 2, 0), images.train)
    base = Supervised(wide_sparse.network_of("mlp", "dense", 0.0, images, 2, 0), images.train)
    mask = wide_sparse.equal_mask(objective, base, 0)
    scaled, entry = wide_sparse.scaled_start(objective, mask), objective.layout.entries[2]  # hidden to hidden, 1/4 kept
    here = slice(entry.offset, entry.offset + entry.size)
    assert torch.allclose(scaled[here], 2 * objective.theta_0[here])


def test_branches_must_be_whole():
    with pytest.raises(InputError, match=r"sparsity must make 1 / \(1 - sparsity\) a whole number, got 0.6"):
        wide_sparse.network_of("mlp", "parallel", 0.6, data("digits", 100), 2, 0)


def test_wide_runs_share_products_and_the_dense_networks_rate(sweep):
    fixed = {name: value for name, value in WIDE.items() if name not in ("rates", "seed")} | {"network": "mlp"}
    table = wide_sparse.measure_wide(sweep, [fixed], [0.5], {"mlp": [0, 1]}, [1e-4, 0.1])
    assert set(table.lr) == {0.1}
    assert set(table[table["mask"] != wide_sparse.CONTROL].macs) == {50_200}
    assert set(table[table["mask"] == wide_sparse.CONTROL].macs) == {64 * 424 + 424 * 141 + 1410}
    assert table.groupby(["member", "mask"]).size().tolist() == [2] * 8
    static, moved = (table[(table.member == "wide") & (table["mask"] == m)].validation for m in ("static", "RigL"))
    assert static.tolist() != moved.tolist()
    figure = sharing_figures.gains(table)
    assert len(figure.data) == 7
    shown = study.wide_table(table)
    assert shown.loc[("mlp", "dense", 0.0, "dense"), "over dense"] == ""


# --- verdicts


def told(network, arm, compression, accuracy, seeds=3, images=4000, **more):
    """Return rows of one arm, right on the first images."""
    right = (np.arange(images) < round(accuracy * images)).astype(float)
    row = {"network": network, "arm": arm, "compression": compression, "accuracy": accuracy, "right": right, **more}
    return [row | {"seed": seed} for seed in range(seeds)]


def made(shared=0.9, pruner=0.9, ticket=0.8, dense=0.9, **more):
    rows = told("mlp", "dense", 1, dense, **more) + told("mlp", NAIVE, 1, dense - 0.2, **more)
    for network, wanted in study.COMPRESSIONS.items():
        for c in wanted:
            rows += told(network, SHARED, c, shared, **more)
            rows += [row for arm in PRUNERS for row in told(network, arm, c, pruner, **more)] if c > 1 else []
            rows += told(network, TICKETS, c, ticket, **more) if c >= 50 else []
    return pd.DataFrame(rows)


@pytest.fixture
def judge(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))

    def verdicts(dataset="digits", **changes):
        each = Study("sharing_vs_pruning", parameters={}, claims=study.CLAIMS, stages={}, dataset=data("digits"))
        found = study.judge_sharing(each, made(**changes), dataset)
        return [finding.verdict for finding in found]

    return verdicts


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ["holds", "holds", "holds"]),
        ({"pruner": 0.95}, ["fails", "holds", "holds"]),
        ({"ticket": 0.92}, ["holds", "fails", "holds"]),
        ({"dense": 0.86}, ["holds", "holds", "fails"]),
        ({"seeds": 2}, ["inconclusive"] * 3),
        ({"pruner": 0.915, "images": 200}, ["inconclusive", "holds", "holds"]),
    ],
    ids=["as claimed", "pruners", "tickets", "dense", "seeds", "noise"],
)
def test_claims_on_sharing_can_fail(judge, changes, wanted):
    assert judge(**changes) == wanted


def test_the_digits_have_their_own_margin(judge):
    assert judge(pruner=0.91, dense=0.9)[0] == "holds"
    assert judge("mnist", pruner=0.91)[0] == "fails"


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [("hhiff", "holds"), ("hiiff", "inconclusive"), ("hifff", "inconclusive"), ("hffff", "fails")],
)
def test_a_count_is_decided_once_the_rest_cannot_change_it(verdicts, wanted):
    names = {"h": "holds", "i": "inconclusive", "f": "fails"}
    assert study.count_verdict([names[v] for v in verdicts], 2) == wanted


@pytest.mark.parametrize(
    ("value", "low", "high", "wanted"),
    [
        (0.006, 0.001, 0.011, "holds"),
        (0.006, -0.001, 0.013, "inconclusive"),
        (0.004, 0.002, 0.006, "inconclusive"),
        (0.003, 0.002, 0.004, "fails"),
        (-0.01, -0.02, 0.0, "fails"),
        (float("nan"), float("nan"), float("nan"), "inconclusive"),
    ],
)
def test_a_gain_is_judged_by_value_and_interval(value, low, high, wanted):
    assert study.gain_verdict(Difference(value, 0.001, low, high)) == wanted


def wide_rows(moving=0.92, static=0.9, dense=0.9):
    rows = []
    for network in study.WIDE_SEEDS:
        more = {"seeds": 5, "validation_accuracy": 0.9, "macs": 1}
        rows += [r | {"member": "dense", "sparsity": 0.0, "mask": "dense"} for r in told(network, "", 1, dense, **more)]
        for sparsity in study.SPARSITIES:
            for mask, accuracy in (("static", static), ("RigL", moving - 0.2 * (sparsity != 0.75))):
                own = more | {"validation_accuracy": accuracy}
                rows += [
                    r | {"member": "wide", "sparsity": sparsity, "mask": mask}
                    for r in told(network, "", 1, accuracy, **own)
                ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({}, "holds"), ({"static": 0.95}, "fails"), ({"dense": 0.919}, "fails"), ({"moving": 0.85}, "fails")],
)
def test_the_claim_on_wide_networks_can_fail(tmp_path, monkeypatch, changes, wanted):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    each = Study("sharing_vs_pruning", parameters={}, claims=study.CLAIMS, stages={}, dataset=None)
    each.dataset = data("digits").__class__(**vars(data("digits")) | {"name": "mnist"})
    found = study.judge_wide(each, wide_rows(**changes))
    assert found.verdict == wanted
    assert "wide at 75 %" in found.detail


def test_the_closed_forms_claim_can_fail(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    each = Study("sharing_vs_pruning", parameters={}, claims=study.CLAIMS, stages={}, dataset=None)
    columns = ["arm", "compression", "ratio", "low", "high", "seeds"]
    good, bad = ["hashed", 2, 1.0, 0.98, 1.02, 5], ["pruned at random", 5, 1.2, 1.1, 1.3, 5]
    assert study.judge_linear(each, pd.DataFrame([good], columns=columns)).verdict == "holds"
    found = study.judge_linear(each, pd.DataFrame([good, bad], columns=columns))
    assert (found.verdict, found.value) == ("fails", 1.2)


# --- figures, explorer, answers


def test_figures_and_explorer_draw_the_runs(runs, sweep):
    figure = sharing_figures.error_versus_compression(runs)
    assert [trace.name for trace in figure.data] == ["dense", *ARMS]
    assert list(figure.data[1].x) == [1, 20]
    accuracy = runs[(runs.arm == SHARED) & (runs.compression == 20)].accuracy.mean()
    assert figure.data[1].y[1] == pytest.approx(100 - 100 * accuracy)
    linear = sharing_figures.linear_errors(linear_sharing.measure_linear(sweep, [2, 50], [0, 1, 2], 30))
    assert len(linear.data) == 12
    page = explore_sharing(runs, 20, live=False)
    assert [step.label for step in page.layout.sliders[0].steps] == ["1", "20"]
    snip = runs[(runs.arm == "SNIP") & (runs.seed == 0)].iloc[0]
    assert page.data[0].z.sum() == sum(snip.inputs)
    box = explore_sharing(runs, 20, live=True)
    assert isinstance(box, ipywidgets.VBox)
    box.children[0].children[0].value = 1
    assert box.children[0].children[1].data[0].z.sum() == 64 * 300
    table = study.sharing_table(runs)
    assert table.loc[("mlp", 1), "over tickets"] == ""
    assert table.loc[("mlp", 1), "best pruner"] == "dense"
    assert table.loc[("mlp", 20), "seeds"] == 2


def test_a_live_run_is_the_studys_own(runs):
    reports = []
    run = live_run(runs)(lambda fraction, _: reports.append(fraction), SHARED, 20)
    kept = runs[(runs.arm == SHARED) & (runs.compression == 20) & (runs.seed == 0)].iloc[0]
    assert run.accuracy == kept.accuracy
    assert reports == [step / 20 for step in range(21)]
    assert f"{run.accuracy:.4f}" in draw_run(20, run).layout.title.subtitle.text


def gradient(g, home, sign, n):
    return g.new_zeros(n).index_add(0, home, sign * g)


def last(g, home, sign, n):
    found = g.new_zeros(n)
    found[home] = sign * g
    return found


def test_the_exercises_tell_right_from_wrong(capsys):
    sharing_checks.check_gradient(gradient)
    sharing_checks.check_sparsity(0.75)
    sharing_checks.check_error(1.9 * 399 / 389, 10)
    assert capsys.readouterr().out.count("Right.") == 3


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: sharing_checks.check_gradient(lambda g, h, s, n: gradient(g, h, s * s, n)), "the signs are missing"),
        (lambda: sharing_checks.check_gradient(last), "only the last reader"),
        (lambda: sharing_checks.check_gradient(lambda g, h, s, n: s * g), r"the gradient has shape (5,)"),
        (lambda: sharing_checks.check_sparsity(0.5), "it has four times the weights"),
        (lambda: sharing_checks.check_error(1.9, 10), "fitting them to n examples costs a factor more"),
        (lambda: sharing_checks.check_error(1.1 * 399 / 389, 10), "is what the numbers catch"),
    ],
)
def test_a_wrong_answer_is_told_why(wrong, why):
    with pytest.raises(WrongAnswer) as refused:
        wrong()
    assert why in str(refused.value)


def test_what_was_right_is_packed():
    right = np.array([True, False, True])
    assert unpack(pack(right)).tolist() == [1, 0, 1]

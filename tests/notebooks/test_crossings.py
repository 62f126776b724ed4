"""Crossings: exact answers on quadratics and planted tables, trials, verdicts that can fail, figures, exercises."""

import crossing_checks as checks
import crossing_curvature as curvature
import crossing_dimensions as pruned
import crossing_explorer as explorer
import crossing_figures as figures
import crossing_maps as maps
import crossing_tables as tables
import crossing_trials as trials
import crossing_verdicts as verdicts
import numpy as np
import pandas as pd
import pytest
import torch
from crossings import CLAIMS

from workbench import probes
from workbench.coordinates import Subspace
from workbench.exercises import WrongAnswer
from workbench.objective import Supervised
from workbench.study import Study

SMALL = {"dataset": "digits", "n_train": 150, "width": 6, "n_steps": 20}
TICKET = SMALL | {"lr": 2e-3}


def quadratic(D=8, n=40):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((n, D)) * np.linspace(0.2, 2, D)).float()
    return Supervised(torch.nn.Linear(D, 1, bias=False), (x, torch.zeros(n, 1)), loss="squared_error"), 2 * x.T @ x / n


def test_a_network_inside_a_subspace_is_the_network_there():
    objective = trials.objective_of("digits", 150, 6, 0)
    inside = Subspace(objective.theta_0, maps.rotated(objective.D, 5, 0))
    within = Supervised(maps.Inside(objective, inside), objective.train_batch(None))
    phi = torch.arange(5.0)
    assert within.D == 5
    assert within.loss(phi) == pytest.approx(objective.loss(inside(phi)), rel=1e-6)
    assert torch.allclose(
        within.gradient(phi), inside.pull(phi, objective.gradient(inside(phi)), torch.empty(5)), rtol=1e-4, atol=1e-6
    )


def test_rotated_subspaces_are_orthonormal_and_contain_what_they_must():
    through = torch.linalg.qr(torch.randn(9, 2, generator=torch.Generator().manual_seed(0))).Q.T
    P = maps.rotated(9, 4, 0, through=through).columns
    assert torch.allclose(P @ P.T, torch.eye(4), atol=1e-6)
    assert torch.allclose(through @ P.T @ P, through, atol=1e-5)
    other = maps.rotated(9, 4, 1).columns
    assert not torch.allclose(P, other)
    inside = Subspace(torch.zeros(9), maps.Columns(P))
    phi = torch.arange(4.0)
    assert torch.allclose(inside.push(phi, torch.empty(9)), inside(phi))
    assert torch.allclose(inside.pull(phi, torch.arange(9.0), torch.empty(4)), P @ torch.arange(9.0))


def test_the_projected_curvature_of_a_quadratic_is_exact():
    objective, H = quadratic()
    whole, total = maps.rotated(8, 8, 0).columns, 0.0
    for rows in (whole[:3], whole[3:]):
        inside = Subspace(objective.theta_0, maps.Columns(rows))
        found = probes.hessian(objective, inside.initial(), coordinates=inside).eigenvalues()
        assert found == pytest.approx(torch.linalg.eigvalsh(rows @ H @ rows.T).flip(0).numpy(), rel=1e-4)
        total += found.sum()
    assert total == pytest.approx(float(H.trace()), rel=1e-5)  # what one subspace lacks, the others have


def test_the_top_eigenvalue_is_the_line_of_the_planted_spectrum():
    D, values = 600, torch.cat([torch.tensor([12.0, 8, 6, 5, 3]), torch.linspace(0.2, 0, 595)])
    for d in (60, 150, 300):
        tops = []
        for seed in range(4):
            P = maps.rotated(D, d, seed).columns
            tops.append(float(torch.linalg.eigvalsh((P * values) @ P.T)[-1]))
        assert np.mean(tops) == pytest.approx(maps.predicted_top(values[:20], float(values.sum()), D, d), rel=0.12)
    assert maps.predicted_top(values[:20], float(values.sum()), D, D) == pytest.approx(12)


def test_the_count_is_the_learning_coefficient_of_a_quadratic():
    _, H = quadratic()
    P, heat, prior = maps.rotated(8, 4, 0).columns.double(), 5.0, 2.0
    inside = P @ H.double() @ P.T
    covariance = torch.linalg.inv(heat * inside + prior * torch.eye(4))  # of phi under exp(-heat L - prior/2 |phi|^2)
    expected = heat * float((inside @ covariance).trace()) / 2
    h = torch.linalg.eigvalsh(inside).numpy()
    assert curvature.soft_count(h, heat, prior) == pytest.approx(expected)
    assert curvature.soft_count(np.array([1e9, 0.0, -1e-9]), 1.0) == pytest.approx(0.5)


def test_a_coefficient_trial_says_why_it_is_refused():
    found = curvature.coefficient_trial(**SMALL, d=3, n_examples=40, n_draws=8, seed=0)
    assert (found["value"] is None) == (found["refused"] is not None)
    assert 0 < found["count"] < 1.5
    assert len(found["r_hat"]) == 3


def test_tickets_and_their_controls():
    asked = TICKET | {"density": 0.25, "seed": 0}
    objective, start, mask = pruned.ticket("magnitude", **asked)
    _, same, shuffled = pruned.ticket("shuffled", **asked)
    _, other, again = pruned.ticket("another start", **asked)
    assert torch.equal(start, objective.theta_0)
    assert torch.equal(same, start)
    assert torch.equal(again, mask)
    assert not torch.equal(other, start)
    assert not torch.equal(shuffled, mask)
    for a, b in zip(objective.layout.views(mask).values(), objective.layout.views(shuffled).values(), strict=True):
        assert a.sum() == b.sum()
    weights = 64 * 6 + 6 * 10
    assert int(mask.sum()) == weights // 4 + 16


def test_a_dimension_trial_trains_what_fits():
    found = pruned.dimension_trial("magnitude", **TICKET, density=0.1, dims=[5, 20, 500], seed=0)
    assert (found["kept"], found["dims"], found["alive"]) == (44 + 16, [0, 5, 20], [True] * 3)
    assert [len(trials.unpack(each)) for each in found["right"]] == [360] * 3
    right = np.array([True, False, True] * 5)
    assert (trials.unpack(trials.pack(right)) == right).all()


def test_barriers_of_unpruned_ends_vanish():
    found = trials.barrier_trial(**SMALL, n_retrain_steps=5, densities=[1.0, 0.2], seed=0)
    heights = {(row["arm"], row["density"]): row["height"] for row in found["rows"]}
    assert heights["pruned", 1.0] == pytest.approx(0, abs=1e-12)
    assert heights["from the start", 1.0] == pytest.approx(0, abs=1e-6)  # the same training again
    assert found["control"]["height"] > 0
    assert len(heights) == 8


def test_the_whole_space_prunes_as_direct_training_does():
    found = trials.further_trial(**SMALL, parts=[4, 1], seed=0)
    assert [(row["part"], row["d"]) for row in found["rows"]] == [(0, 460), (4, 115), (1, 460)]
    direct, _, same = (np.stack([trials.unpack(each) for each in row["right"]]) for row in found["rows"])
    assert direct.shape == (25, 360)
    assert abs(direct[0].mean() - same[0].mean()) < 0.15  # hashed at d = D permutes and signs the weights alone


def test_a_curvature_trial_meets_the_identity_roughly():
    found = curvature.curvature_trial(**SMALL, dims=[5, 40], n_rotations=2, n_examples=60, seed=0)
    assert found["method"] == "exact"
    by_arm = pd.DataFrame(found["rows"]).groupby(["arm", "d"])["sum"].mean()
    assert by_arm["random", 40] == pytest.approx(40 / found["D"] * found["trace"], rel=0.4)
    through = [row for row in found["rows"] if row["arm"] == "through"]
    assert [row["d"] for row in through] == [40]
    assert through[0]["top"] == pytest.approx(found["values"][0], rel=1e-2)


def planted(factors=(0.7, 1.0, 1.0), base=60.0, n_seeds=5, n_images=400, densities=(1.0, 0.5, 0.25, 0.125), drop=0.0):
    """Make trainings whose error is 0.1 crossing / d: accuracy is 0.9 of the dense network's 1.0 at the crossing."""
    rows, order = [], np.random.default_rng(0).permutation((np.arange(n_images) + 0.5) / n_images)
    for seed in range(n_seeds):
        for k, density in enumerate(densities):
            for kind, factor in zip(pruned.KINDS if density < 1 else pruned.KINDS[:1], factors, strict=False):
                crossing = base * np.exp(0.05 * (seed - 2)) * factor**k
                for d in (0, 6, 10, 17, 29, 49, 83, 140):
                    accuracy = 1 - drop * k if d == 0 else 1 - 0.1 * crossing / d if d > crossing / 8 else 0.2
                    right = order < accuracy
                    row = {"kind": kind, "density": density, "seed": seed, "kept": 500, "start": 0.1, "d": d}
                    rows.append(row | {"right": right, "accuracy": right.mean()})
    return pd.DataFrame(rows)


def test_planted_dimensions_come_out():
    rows = planted()
    assert tables.seed_dims(rows, "magnitude", 1) == pytest.approx(60 * np.exp(0.05 * np.arange(-2, 3)), rel=0.05)
    assert tables.seed_dims(rows, "magnitude", 0.25) == pytest.approx(29.4 * np.exp(0.05 * np.arange(-2, 3)), rel=0.06)
    densities = tables.kept_accuracy(rows, 0.02)
    assert densities == [1.0, 0.5, 0.25, 0.125]
    assert tables.kept_accuracy(planted(drop=0.008), 0.02) == [1.0, 0.5, 0.25]
    factor, low, high, n = tables.over_examples(lambda keep: tables.halving(rows, "magnitude", densities, keep), 400)
    assert n == 5
    assert low < factor < high
    assert factor == pytest.approx(0.7, rel=0.03)
    ratio = tables.over_examples(lambda keep: tables.log_ratio(rows, "magnitude", "shuffled", 0.125, keep), 400)
    assert ratio[0] == pytest.approx(0.343, rel=0.06)
    table = tables.dimension_table(rows)
    assert table.loc[("dense", 1.0), "kept"] == 500
    assert len(table) == 1 + 3 * 3


def test_a_dimension_out_of_reach_is_missing():
    rows = planted(base=900.0)
    assert np.isnan(tables.seed_dims(rows, "shuffled", 0.5)).all()
    assert tables.over_examples(lambda keep: tables.halving(rows, "shuffled", [1.0, 0.5], keep), 400)[3] == 0


def further_table(shift=2.0, n_seeds=5, n=500):
    """Accuracy 1 down to a density, then falling; the subspace's solution falls at ``shift`` times the density."""
    order, rows = (np.arange(n) + 0.5) / n, []
    for seed in range(n_seeds):
        for part, at in ((0, 0.1), (8, 0.1 * shift)):
            accuracy = [min(1.0, 1 + 0.1 * np.log(c / at / (1 + 0.02 * seed))) for c in trials.CUTS]
            right = np.array([order < a for a in accuracy])
            rows.append({"seed": seed, "part": part, "d": 100, "right": right})
    return pd.DataFrame(rows)


def test_the_density_of_the_fall():
    rows = further_table()
    assert np.exp(tables.fallen(rows, 0, 0.03)) == pytest.approx(
        0.1 * np.exp(-0.3) * (1 + 0.02 * np.arange(5)), rel=0.05
    )
    assert np.exp(tables.fallen(rows, 8, 0.03) - tables.fallen(rows, 0, 0.03)) == pytest.approx(
        2 * np.ones(5), rel=0.08
    )


def chain_table(leaves=64.0, predicted=64.0, n_seeds=5):
    rows = []
    for seed in range(n_seeds):
        for d in (16, 64, 256):
            at, by = (d / 2 * (1 - 0.1 * np.log(d / 16) / np.log(x / 16)) for x in (leaves, predicted))
            row = {"seed": seed, "d": d, "count": by, "refused": None, "r_hat": [1.0] * 3, "interval": [0.0, 1.0]}
            rows.append(row | {"value": at * (1 + 1e-4 * seed)})
    return pd.DataFrame(rows)


def test_where_coefficients_leave_half_of_d():
    left = tables.leaving(chain_table(80.0), 0.9)
    assert left["count"].to_numpy() == pytest.approx(64, rel=1e-6)
    assert left.value.to_numpy() == pytest.approx(80, rel=0.02)
    refused = chain_table()
    refused.loc[(refused.seed == 1) & (refused.d > 16), "value"] = np.nan
    assert np.isnan(tables.leaving(refused, 0.9).loc[1, "value"])


def curvature_table(factor=1.0, top=1.0, through=1.0, n_seeds=5):
    rows = []
    for seed in range(n_seeds):
        for d in (4, 16, 64, 128, 512):
            row = {"seed": seed, "D": 1000, "whole": 9.0, "d": d, "predicted": 2.0, "share": 1.0, "sum": 1.0 * d}
            rows += [row | {"arm": "random", "share": factor + 0.01 * seed * r, "top": 2 * top} for r in (-1, 1)]
            rows.append(row | {"arm": "through", "top": 9.0 * through})
    return pd.DataFrame(rows)


def wall_table(ratio=0.02, n_seeds=5):
    rows = []
    for seed in range(n_seeds):
        common = {"seed": seed, "error_height": 0.0, "loss": 0.1, "accuracy": 0.9, "path": [0.0]}
        rows.append(common | {"arm": "control", "density": np.nan, "height": 1.0 + 0.1 * seed})
        rows += [common | {"arm": name, "density": 0.125, "height": ratio} for name in figures.ARMS]
    return pd.DataFrame(rows)


JUDGES = {
    "falls": (verdicts.judge_dimensions, planted, ("digits",)),
    "trace": (verdicts.judge_curvature, curvature_table, ()),
    "half": (verdicts.judge_coefficients, chain_table, ()),
    "barrier": (verdicts.judge_barriers, wall_table, ()),
    "further": (verdicts.judge_further, further_table, ("digits",)),
}
JUDGES |= {"shuffled": JUDGES["falls"], "start": JUDGES["falls"], "top": JUDGES["trace"], "leaves": JUDGES["half"]}


def made_study(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    return Study("x", parameters={}, claims=CLAIMS, stages={}, dataset=trials.images("digits", 150))


def judged(tmp_path, monkeypatch, name, **given):
    judge, table, more = JUDGES[name]
    found = judge(made_study(tmp_path, monkeypatch), table(**given), *more)
    return {each.claim.name: each for each in (found if isinstance(found, list) else [found])}[name]


def test_the_rules_can_hold(tmp_path, monkeypatch):
    tables_ = planted(), curvature_table(), chain_table(), wall_table(), further_table()
    found = verdicts.judge(made_study(tmp_path, monkeypatch), "digits", *tables_)
    said = {each.claim.name: each for each in found}
    assert {name: each.verdict for name, each in said.items()} == dict.fromkeys([c.name for c in CLAIMS], "holds")
    assert said["falls"].value == pytest.approx(0.7, rel=0.03)
    assert said["barrier"].detail.startswith("control 1.200 nats; other arms: pruned 0.01")
    assert said["half"].detail.endswith("0 of 15 refused")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("falls", {"factors": (1.1, 1.0, 1.0)}),
        ("shuffled", {"factors": (0.7, 0.7, 1.0)}),
        ("start", {"factors": (0.7, 1.0, 0.7)}),
        ("trace", {"factor": 1.3}),
        ("top", {"top": 1.4}),
        ("half", {"leaves": 8.0}),
        ("leaves", {"leaves": 150.0}),
        ("barrier", {"ratio": 0.5}),
        ("further", {"shift": 1.0}),
    ],
)
def test_the_rules_can_fail(tmp_path, monkeypatch, name, given):
    assert judged(tmp_path, monkeypatch, name, **given).verdict == "fails"


@pytest.mark.parametrize(
    ("name", "given", "why"),
    [
        ("falls", {"n_seeds": 3}, "asks for at least 4"),
        ("falls", {"drop": 0.015}, "accuracy stays at 2 densities, the rule asks for 3"),
        ("trace", {"n_seeds": 3}, "asks for at least 4"),
        ("top", {"through": 0.9}, "the control misses"),
        ("half", {"n_seeds": 3}, "no tested d"),
        ("barrier", {"n_seeds": 3}, "asks for at least 4"),
        ("further", {"n_seeds": 3}, "asks for at least 4"),
    ],
)
def test_too_little_decides_nothing(tmp_path, monkeypatch, name, given, why):
    found = judged(tmp_path, monkeypatch, name, **given)
    assert found.verdict == "inconclusive"
    assert why in found.detail


def test_without_chains_their_claims_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "judge_dimensions", lambda *_: [])
    tables_ = planted(n_seeds=1), curvature_table(), chain_table()[:0], wall_table(), further_table()
    found = verdicts.judge(made_study(tmp_path, monkeypatch), "digits", *tables_)
    assert [each.claim.name for each in found] == ["trace", "top", "barrier", "further"]


def test_figures_show_what_was_measured():
    rows, chains = planted(), chain_table()
    chains.loc[chains.d == 256, "value"] = np.nan
    drawn = figures.dimension_figure(rows)
    assert len(drawn.data) == 9
    assert drawn.data[1].y[-1] == pytest.approx(60 * 0.343, rel=0.05)
    curved = figures.curvature_figure(curvature_table().assign(share=1.0))
    assert len(curved.data) == 7
    assert list(curved.data[0].y[:2]) == pytest.approx([4 / 1000] * 2)  # d / D where the share is one
    assert "5 at d = 256" in figures.coefficient_figure(chains).layout.title.subtitle.text
    assert figures.barrier_figure(wall_table()).data[1].y[0] == pytest.approx(0.02)
    assert [trace.name for trace in figures.further_figure(further_table()).data[1::2]] == [
        "trained directly",
        "d = D/8 = 100",
    ]
    counts = {len(figures.section_figure(rows, x, d).data) for x in (1.0, 0.125) for d in (6, 140)}
    assert counts == {14}


def test_the_explorer_opens_on_an_eighth(monkeypatch):
    drawn = explorer.explore(planted(), TICKET, live=False)
    assert "density 0.125" in drawn.layout.title.subtitle.text
    assert [step.label for step in drawn.layout.sliders[0].steps] == ["0.125", "0.25", "0.5", "1.0"]
    box = explorer.explore(planted(), TICKET, live=True)
    density, d, figure, own = box.children
    monkeypatch.setattr(explorer.tables, "arm", None)  # a move only draws
    density.value, d.value = 0.5, 49
    assert "density 0.5. Right: d = 49" in figure.layout.title.subtitle.text
    assert [*own.controls] == ["mask", "percent", "subspace_dim"]


def test_the_readers_training_streams():
    seen = []
    work = explorer.live_run(TICKET)
    found = work(lambda part, run: seen.append((part, run)), mask="shuffled", percent=10, subspace_dim=500)
    assert found.steps == tuple(range(1, 21))
    assert seen[-1][0] == 1
    assert "shuffled, density 10 %: d = 60 of 60 kept entries.<br>Test accuracy 0." in found.said
    assert {len(explorer.draw_run(0.8, run).data) for _, run in seen} == {2}


def test_answers_are_checked(capsys):
    checks.check_inside(lambda H, P: np.linalg.eigvalsh(P.T @ H @ P)[::-1])
    checks.check_steps(lambda density, d: np.exp(np.polyfit(-np.log2(density), np.log(d), 1)[0]))
    checks.check_soft(lambda h, heat, prior: (heat * h / (heat * h + prior)).sum() / 2)
    assert capsys.readouterr().out.count("Right.") == 3
    for said, check, wrong in (
        ("the largest first", checks.check_inside, lambda H, P: np.linalg.eigvalsh(P.T @ H @ P)),
        ("upside down", checks.check_steps, lambda x, d: np.exp(np.polyfit(np.log2(x), np.log(d), 1)[0])),
        ("n beta is missing", checks.check_soft, lambda h, heat, prior: (h / (h + prior)).sum() / 2),
    ):
        with pytest.raises(WrongAnswer, match=said):
            check(wrong)

"""Degeneracy: planted networks against their exact Hessians, trials, verdicts that can fail, figures, exercises."""

import degeneracy_and_volume as study_module
import degenerate_checks as checks
import degenerate_edges as cut
import degenerate_explorer as explorer
import degenerate_figures as figures
import degenerate_planted as planted
import degenerate_trials as trials
import numpy as np
import pandas as pd
import pytest
import torch
from degenerate_planted import Design, Group

from workbench import probes
from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.models import mlp
from workbench.objective import Supervised
from workbench.study import Study

SMALL = {"n_examples": 40, "width": 4, "n_steps": 60, "n_draws": 20, "seed": 0}


@pytest.mark.parametrize("plant", planted.PLANTS)
def test_the_planted_count_is_the_hessians(plant):
    found = planted.planted_trial(plant, "small", 300, 5)
    assert found["predicted"] == found["zeros"]
    assert found["D"] == len(found["values"]) == 145
    assert found["by_rank"] < found["zeros"]  # ranks alone see no scales
    assert max(map(abs, found["values"][-found["zeros"] :])) < 1e-13  # a wide gap around ZERO
    assert found["values"][-found["zeros"] - 1] > 1e-7


def test_the_count_by_hand():
    """Two inputs, three units of which two are twins, one output: the twins are one linear map of rank 1."""
    free = Design(2, 2, ((Group("single", 1),),), 1, bias=False)
    assert (free.n_parameters, free.free) == (3, 1)  # the unit's scale
    twins = Design(3, 3, ((Group("twins", 2), Group("single", 1)),), 4, bias=False)
    assert (twins.n_parameters, twins.free) == (21, 2**2 + 1)
    unread = Design(3, 2, ((Group("unread", 1),),), 4, bias=True)
    assert (unread.n_parameters, unread.free) == (4 + 8, 4)  # its incoming weights and bias, nothing else
    copies = Design(3, 3, ((Group("copies", 3),),), 4, bias=False)
    assert (copies.n_parameters, copies.free) == (21, 21 - (3 * 3 + 1 * 4 - 1 * 3))


def test_planted_units_are_what_they_are_called():
    plan = planted.design("all", "small")
    objective = planted.build(plan, 200, 0)
    x, _ = objective.train_batch(None)
    first, last = objective.model[0], objective.model[-1]
    fires = first(x) > 0
    assert torch.linalg.matrix_rank(x) == plan.input_rank == 6
    assert torch.equal(fires[:, 0], fires[:, 1])  # copies
    assert torch.allclose(1.5 * first.weight[0], first.weight[1])
    assert not last.weight[:, 2].any()  # unread
    assert torch.equal(fires[:, 3], fires[:, 4])  # merged
    assert torch.allclose(1.5 * last.weight[:, 3], last.weight[:, 4])
    assert (fires[:, [5]] == fires[:, 5:8]).all()  # twins
    assert torch.linalg.matrix_rank(last.weight[:, 5:8]) == 3
    assert objective.loss(objective.theta_0) == 0


def test_no_room_is_said():
    with pytest.raises(InputError, match="width must have room for the planted groups, got 1"):
        planted.filled((Group("twins", 2),), 1)
    with pytest.raises(InputError, match="n_examples must be at most"):
        planted.build(Design(8, 8, (tuple(Group("twins", 8) for _ in range(60)),), 8, bias=False), 50, 0)


def test_modular_addition_has_all_pairs():
    x, y = trials.examples("addition", 0)
    assert x.shape == (49, 14)
    a, b, c = x[:, :7].argmax(1), x[:, 7:].argmax(1), y.argmax(1)
    assert torch.equal((a + b) % 7, c)
    assert len(set(zip(a.tolist(), b.tolist(), strict=True))) == 49


def test_a_count_trial_says_what_the_probes_say():
    found = trials.count_trial("addition", decay=0.0, **SMALL)
    objective, theta = trials.trained("addition", 40, 4, 0.0, 60, 0)
    assert found["D"] == objective.D == 14 * 4 + 4 + 4 * 7 + 7
    assert found["effective"]["0.01"] == probes.degeneracy(objective, theta, tolerance=1e-2).effective.sum()
    assert np.shape(found["trace"]) == (4, 20)
    assert (found["value"] is None) == bool(found["refused"])
    assert trials.behavioural(objective, theta).loss(theta) == 0


def test_the_soft_count_of_a_line_is_its_hessians():
    x = torch.diag(torch.tensor([3.0, 1e-3])).repeat(10, 1)
    line = Supervised(torch.nn.Linear(2, 1, bias=False), (x, torch.zeros(20, 1)), loss="squared_error")
    h = np.linalg.eigvalsh(probes.hessian(line, line.theta_0).matrix)
    counted = trials.soft_count(probes.degeneracy(line, line.theta_0))
    # one output: the gradients' only singular value is sqrt(n), so that h = 2 s_a^2 n / n^2
    assert counted == pytest.approx((h / (h + trials.PRIOR / trials.HEAT)).sum(), rel=1e-5)


def test_two_modules_are_fitted_inside_the_mask():
    x, y = trials.two_modules(60, 0)
    assert torch.allclose(y.var(0, correction=0), torch.ones(2))
    objective = Supervised(mlp([6, 8, 2], 0), (x, y), loss="squared_error")
    mask = trials.modular_mask(objective)
    assert int(mask.sum()) == 6 * 8 // 2 + 8 + 8 * 2 // 2 + 2
    theta = trials.fitted(objective, objective.theta_0, mask, 30, 0.2)
    assert not theta[~mask].any()
    first, moved = x.clone(), x.clone()
    moved[:, 3:] += 1  # the other module's inputs
    with objective.visit(theta):
        assert torch.equal(objective.model(first)[:, 0], objective.model(moved)[:, 0])
        assert not torch.allclose(objective.model(first)[:, 1], objective.model(moved)[:, 1])
    assert objective.loss(theta) < objective.loss(objective.theta_0 * mask)


def test_fewest_edges():
    kept, curve = cut.fewest(lambda n: 1.0 if n >= 137 else 2.0, 1000, 1.05)
    assert kept == 137
    assert curve[-1] == (1000, 1.0)
    assert cut.fewest(lambda n: 1.0 if n in range(20, 40) or n >= 300 else 2.0, 1000, 1.05)[0] == 300
    assert cut.fewest(lambda n: 2.0, 1000, 1.05)[0] == 1000


def judged(tmp_path, monkeypatch, n=20, **changes):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    rng, tables = np.random.default_rng(0), {}
    tables["planted"] = pd.DataFrame({"predicted": [100] * 45, "zeros": [100] * 45})
    counted = pd.DataFrame({"D": range(n), "width": [8] * n, "effective": range(n), "soft": 1.0 * np.arange(n)})
    counted["value"] = counted.effective + 0.1 * rng.standard_normal(n)
    tables["counted"] = pd.concat([counted.assign(task=task) for task in ("addition", "digits")])
    tables["pairs"] = pd.DataFrame({"modular": 1 + 0.1 * rng.random(n), "dense": 2.0})
    edges = pd.DataFrame({"neurons": 300.0, "components": 200 + rng.random(n), "interaction": 100.0})
    tables["edges"] = pd.concat([edges.assign(task=task) for task in ("addition", "digits")])
    for name, change in changes.items():
        tables[name] = change(tables[name])
    study = Study("x", parameters={}, claims=study_module.CLAIMS, stages={}, dataset=trials.images())
    return {each.claim.name: each for each in study_module.judge(study, **tables)}


def test_the_rules_can_hold(tmp_path, monkeypatch):
    found = judged(tmp_path, monkeypatch)
    assert {each.verdict for each in found.values()} == {"holds"}
    assert found["planted"].detail == "range over the networks; 45 of 45 counts exact, 45 within 2 %"
    assert found["edges_digits"].value == pytest.approx(0.4988, abs=1e-3)
    assert found["modules"].detail.startswith("lower in 20 of 20; 0 pairs missing; dense less modular +0.9")


@pytest.mark.parametrize(
    ("name", "table", "change"),
    [
        ("planted", "planted", lambda t: t.assign(zeros=[103] + [100] * 44)),
        ("addition", "counted", lambda t: t.assign(value=-t.value)),
        ("modules", "pairs", lambda t: t.assign(modular=3.0)),
        ("edges_addition", "edges", lambda t: t.assign(interaction=190.0)),
    ],
)
def test_the_rules_can_fail(tmp_path, monkeypatch, name, table, change):
    assert judged(tmp_path, monkeypatch, **{table: change})[name].verdict == "fails"


@pytest.mark.parametrize(
    ("name", "table", "change"),
    [
        ("planted", "planted", lambda t: t[:44]),
        ("digits", "counted", lambda t: t.assign(value=t.value.where(t.effective < 17))),
        ("modules", "pairs", lambda t: t.assign(dense=t.dense.where(t.index < 9))),
        ("edges_digits", "edges", lambda t: t[t.index < 9]),
    ],
)
def test_too_few_decide_nothing(tmp_path, monkeypatch, name, table, change):
    found = judged(tmp_path, monkeypatch, **{table: change})[name]
    assert found.verdict == "inconclusive"
    assert "the rule asks for at least" in found.detail


def test_intervals():
    value, low, high = study_module.spearman(np.arange(30), np.arange(30) ** 3)
    assert (value, low, high) == pytest.approx((1, 1, 1))
    assert np.isnan(study_module.spearman(np.ones(9), np.arange(9))).all()
    assert study_module.jeffreys(10, 10) == pytest.approx((1, 0.7828, 1), abs=1e-4)
    assert study_module.jeffreys(5, 10) == pytest.approx((0.5, 0.2235, 0.7765), abs=1e-4)
    assert study_module.jeffreys(0, 10)[1] == 0


def networks(plants=planted.PLANTS):
    values = [1.0, 1e-3, 1e-5, 1e-17, 0.0]
    rows = [
        {"plant": plant, "size": size, "seed": 0, "D": 5, "predicted": 2, "zeros": 2, "by_rank": 1, "values": values}
        for plant in plants
        for size in planted.SIZES
    ]
    return pd.DataFrame(rows)


def test_predicted_zeros_begin_where_the_spectrum_falls():
    figure = figures.spectrum_view(networks(), "twins")
    spectrum, edge = figure.data[:2]
    assert spectrum.x[2] < edge.x[0] < spectrum.x[3]
    assert spectrum.y[3:] == pytest.approx([1e-17, 1e-18])
    assert "small 2 predicted, 2 found; deep 2 predicted" in figure.layout.title.subtitle.text
    drawn = figures.planted_figure(networks())
    assert [trace.y[0] for trace in drawn.data[1:3]] == [2, 1]


def test_refused_networks_are_left_out_and_counted():
    row = {"decay": 0.0, "width": 8, "seed": 0, "accuracy": 1.0, "trace": [[1.0, 2.0]] * 4, "effective": 9}
    kept = row | {"value": 3.0, "interval": [2.0, 5.0], "refused": None, "r_hat": [1.0, 1.0, 1.0]}
    lost = row | {
        "value": np.nan,
        "interval": None,
        "refused": "R-hat 1.2 is above 1.1: more",
        "r_hat": [1.2, 1.0, 1.0],
    }
    counted = pd.DataFrame([each | {"task": task} for task in trials.TASKS for each in (kept, lost)])
    pairs = pd.DataFrame({"seed": [0, 1], "modular": [1.0, np.nan], "dense": [2.0, 2.0]})
    figure = figures.coefficients(counted, pairs)
    assert [len(trace.x) for trace in figure.data] == [1, 1, 2, 1]
    assert figure.data[0].error_y.array == (2.0,)
    assert "Modular addition 1, Digits 1 of 2 each,<br>1 of 2 pairs" in figure.layout.title.subtitle.text
    chains = figures.chains(counted)
    assert len(chains.data) == 8
    assert "Left: R-hat 1.00, kept. Right: R-hat 1.20, refused." in chains.layout.title.subtitle.text


def test_curves_of_cut_edges_are_means_over_seeds():
    each = {kind: {"kept": 5, "total": 100, "curve": [[1, 9.0], [100, 1.0]]} for kind in cut.BASES}
    found = [{"task": task, "seed": seed, "loss": 1.0 + seed, **each} for task in cut.TASKS for seed in (0, 1)]
    drawn = figures.edges_figure(found)
    assert len(drawn.data) == 12
    assert drawn.data[1].y[-1] == pytest.approx((1 + 1 / 2) / 2)


def test_the_reader_plants_and_stops():
    seen = []
    found = explorer.plant(lambda part, numbers: seen.append((part, numbers)), width=8, input_rank=5, twins=2,
                           copies=1, unread=1)  # fmt: skip
    free = 8 * (7 - 5) + 2**2 + 5 * 1 + 5  # no input shows; twins; single units; an unread unit's other weights
    assert found.design.free == free
    assert [zeros for _, zeros in found.found] == [free] * 5
    assert [part for part, _ in seen] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    traces = {len(explorer.draw(numbers).data) for _, numbers in seen}
    assert traces == {6}


def test_the_explorer_opens_on_all():
    figure = explorer.explore_planted(networks(), live=False)
    assert figure.layout.title.text == "Planted: all"
    assert [step.label for step in figure.layout.sliders[0].steps] == sorted(planted.PLANTS)
    box = explorer.explore_planted(networks(), live=True)
    assert [*box.children[1].controls] == ["width", "input_rank", "twins", "copies", "unread"]


def test_answers_are_checked(capsys):
    def free(inputs, rank, outputs, sizes):
        plan = Design(inputs, rank, (tuple(Group("twins", s) for s in sizes),), outputs, bias=False)
        return plan.free

    checks.check_free(free)
    checks.check_coefficient(lambda trace, loss, n, beta: n * beta * (trace.mean() - loss))
    assert capsys.readouterr().out.count("Right.") == 2
    for said, wrong in (
        ("twins are missing", lambda inputs, rank, outputs, sizes: sum(sizes) * (inputs - rank + 1)),
        ("along directions that no input has", lambda inputs, rank, outputs, sizes: sum(s * s for s in sizes)),
    ):
        with pytest.raises(WrongAnswer, match=said):
            checks.check_free(wrong)
    for said, wrong in (
        ("n is missing", lambda trace, loss, n, beta: beta * (trace.mean() - loss)),
        ("take the loss at the point off", lambda trace, loss, n, beta: n * beta * trace.mean()),
    ):
        with pytest.raises(WrongAnswer, match=said):
            checks.check_coefficient(wrong)

"""The first notebook: its trial, its share with an interval, the verdict that can fail, the live run, the checks."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import start_here as study
import torch

import workbench
from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.schema import read_schema
from workbench.statistics import mean_interval
from workbench.widgets import compute

NOTEBOOK = Path(study.__file__).with_suffix(".ipynb")
STEPS = 80


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A tiny sweep, kept."""
    return study.measure(workbench.Sweep(tmp_path_factory.mktemp("trials"), workers=1), [8, 24], [0, 1], STEPS)


def made_up(shares: dict[int, float], n_seeds: int = 5, n_images: int = 400) -> pd.DataFrame:
    """Runs whose accuracy is 0.95 of the whole network's times a share, a little different for each seed."""
    rng, rows = np.random.default_rng(0), []
    difficulty = rng.random(n_images)
    for d, share in shares.items():
        for seed in range(n_seeds):
            right = (difficulty + 0.02 * rng.standard_normal(n_images) < 0.95 * share).astype(np.uint8)
            rows.append({
                "d": d,
                "seed": seed,
                "accuracy": right.mean(),
                "right": right,
                "steps": [1],
                "validation": [0.5],
            })
    return pd.DataFrame(rows)


# --- the trial -------------------------------------------------------------------------------------------------------


def test_the_whole_network_and_a_tenth_are_always_among_the_runs(runs):
    assert runs.groupby("d").seed.apply(list).to_dict() == {d: [0, 1] for d in (8, 24, 241, 2410)}
    assert runs.right.map(len).eq(360).all()
    assert runs.right.map(np.mean).tolist() == pytest.approx(runs.accuracy.tolist())
    assert runs.steps.tolist() == [list(range(2, STEPS + 1, 2))] * 8
    assert runs.accuracy[runs.d == 2410].min() > 0.5


def test_replicates_differ_and_the_same_one_does_not(runs):
    again = study.train_once(24, 0, STEPS)
    first, second = (run for _, run in runs[runs.d == 24].iterrows())
    assert again["accuracy"] == first.accuracy
    assert again["validation"] == first.validation != second.validation


def test_a_trial_is_the_run_that_the_notebook_shows():
    objective = study.objective_of(0)
    subspace = workbench.Subspace(objective.theta_0, workbench.projection("dense", objective.D, 241, 0))
    recipe = workbench.Recipe(STEPS, workbench.matched_learning_rate(241, objective.D), batch_size=64)
    history = workbench.train(objective, subspace, recipe, 0)
    assert objective.evaluate(history.point(subspace)).metric == study.train_once(241, 0, STEPS)["accuracy"]


def test_nothing_is_chosen_on_the_test_images(monkeypatch):
    images = study.digits()
    scrambled = workbench.datasets.Split(images.test.x.flip(0), images.test.y.roll(7))
    before = study.train_once(24, 0, STEPS)
    monkeypatch.setattr(study, "digits", lambda: replace(images, test=scrambled))
    after = study.train_once(24, 0, STEPS)
    assert after["validation"] == before["validation"]
    assert after["accuracy"] != before["accuracy"]


def test_a_run_that_diverged_has_none_right(monkeypatch):
    monkeypatch.setattr(workbench, "matched_learning_rate", lambda d, D: 1e30)
    assert study.train_once(24, 0, STEPS)["accuracy"] == 0


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_that_tell_nothing_are_refused(tmp_path, seeds):
    with pytest.raises(InputError, match=r"^seeds must be at least one, each once, got \["):
        study.measure(workbench.Sweep(tmp_path, workers=1), [8], seeds, STEPS)


# --- the share and its interval --------------------------------------------------------------------------------------


def test_a_share_is_a_ratio_of_means_and_the_whole_network_is_one():
    table = study.shares(made_up({8: 0.5, 100: 1.0}))
    assert table.share[8] == pytest.approx(table.accuracy[8] / table.accuracy[100])
    assert table.loc[100, ["share", "low", "high"]].tolist() == [1, 1, 1]
    assert table.low[8] < table.share[8] < table.high[8]
    assert table.seeds.tolist() == [5, 5]


def test_without_luck_of_images_the_interval_is_students():
    few, whole = (np.array(each)[:, None] * np.ones(10) for each in ([0.5, 0.7, 0.6, 0.8], [0.9, 1.0, 0.9, 1.0]))
    share, low, high = study.share_interval(few, whole)
    mean, *ends = mean_interval((few - share * whole)[:, 0] / whole.mean())
    assert mean == pytest.approx(0, abs=1e-12)
    assert [low - share, high - share] == pytest.approx(ends, rel=1e-2)  # as far as 2,000 draws tell


def test_without_luck_of_seeds_the_interval_is_normal():
    right = np.tile(np.arange(400) % 5 > 0, (4, 1)).astype(float)  # all seeds agree: 0.8 of the images
    share, low, high = study.share_interval(right, np.ones((4, 400)))
    assert share == pytest.approx(0.8)
    half = 1.96 * (0.8 * 0.2 / 399) ** 0.5
    assert [share - low, high - share] == pytest.approx([half, half], rel=1e-2)


def test_luck_that_both_arms_share_cancels():
    image = np.random.default_rng(0).random(400)
    few, whole = (np.tile(image < level, (4, 1)).astype(float) for level in (0.9, 0.95))
    other = np.tile(np.roll(image < 0.95, 200), (4, 1)).astype(float)
    (_, low, high), (_, apart, wide) = (study.share_interval(few, arm) for arm in (whole, other))
    assert high - low < 0.7 * (wide - apart)


def test_the_interval_covers_seeds_and_images():
    """The share of whole populations lies in 95 % of the intervals from a few seeds and images of them."""
    rng, hits, n = np.random.default_rng(1), 0, 400
    for _ in range(n):
        image = rng.normal(size=200)  # how hard each is, for both arms
        draws = [
            image + offset + 0.3 * rng.normal(size=(5, 1)) + 0.5 * rng.normal(size=(5, 200)) for offset in (1.0, 2.0)
        ]
        _, low, high = study.share_interval(*((arm > 0).astype(float) for arm in draws))
        hits += low <= POPULATION <= high
    assert 0.92 <= hits / n <= 0.99


def normal_cdf(x: float) -> float:
    return float(torch.special.ndtr(torch.tensor(x, dtype=torch.float64)))


POPULATION = normal_cdf(1 / (1 + 0.3**2 + 0.5**2) ** 0.5) / normal_cdf(2 / (1 + 0.3**2 + 0.5**2) ** 0.5)


def test_one_seed_tells_no_spread():
    table = study.shares(made_up({8: 0.5, 100: 1.0}, n_seeds=1))
    assert table[["sd", "low", "high"]].isna().all(axis=None)


# --- the verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "seeds", "steps", "verdict", "detail"),
    [
        (0.97, 5, 4000, "holds", "d = 241 of D = 2,410"),
        (0.80, 5, 4000, "fails", "d = 241 of D = 2,410"),
        (0.905, 5, 4000, "inconclusive", "seeds would decide"),
        (0.97, 4, 4000, "inconclusive", "the rule asks for 5 seeds of 4,000 steps"),
        (0.97, 5, 3999, "inconclusive", "the rule asks for 5 seeds of 4,000 steps"),
        (0.80, 1, 4000, "inconclusive", "the rule asks for 5 seeds of 4,000 steps"),
    ],
)
def test_the_verdict_can_fail(tmp_path, monkeypatch, share, seeds, steps, verdict, detail):
    (tmp_path / "start_here" / "run").mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path / "start_here" / "run"))
    kept = workbench.Study("start_here", parameters={}, claims=study.CLAIMS, stages={"x": 1}, dataset=study.digits())
    table = study.shares(made_up({241: share, 2410: 1.0}, n_seeds=seeds))
    finding = study.judge(kept, table, steps)
    assert finding.verdict == verdict
    assert detail in finding.detail
    assert finding.n == seeds
    assert finding.value == table.share[241]


def test_the_notebook_prints_the_rules_of_the_claims():
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]}
    assert [f"| {claim.sentence} | {claim.rule} |" in cells["prediction"] for claim in study.CLAIMS] == [True] * 3
    default = {parameter.name: parameter.default for parameter in read_schema(NOTEBOOK).parameters}
    assert len(default["seeds"]) >= study.N_SEEDS
    assert default["n_steps"] >= study.N_STEPS


# --- the figure and the live run -------------------------------------------------------------------------------------


def test_a_live_run_at_a_kept_dimension_ends_where_the_kept_one_did(runs):
    said = []
    last = study.live_run(runs, STEPS)(lambda fraction, view: said.append((fraction, view)), d=24)
    kept = study.View.of(runs, 24)
    assert (last.steps, last.validation, last.accuracy) == (kept.steps, kept.validation, kept.accuracy)
    assert study.draw(last) == study.draw(kept)
    assert [fraction for fraction, _ in said] == pytest.approx([step / STEPS for step in kept.steps])
    assert [len(view.steps) for _, view in said] == list(range(1, len(kept.steps) + 1))  # the curve grows
    assert all(view.accuracy is None for _, view in said)  # and the test images wait for the end


def test_a_report_that_raises_stops_the_run(runs):
    class Enough(BaseException):
        pass

    said = []

    def report(fraction, view):
        said.append(view)
        if len(said) == 3:
            raise Enough

    with pytest.raises(Enough):
        study.live_run(runs, STEPS)(report, d=24)
    assert len(said) == 3


def test_the_live_explorer_trains_streams_and_ends_beside_the_kept_runs(runs):
    d = read_schema(NOTEBOOK)["d"]
    opened = study.View.of(runs, 241)
    live = compute(study.live_run(runs, STEPS), study.draw, opened, [d], label="Train", live=True)
    assert go.Figure(data=live.figure.data).to_json() == go.Figure(data=study.draw(opened).data).to_json()
    live.controls["d"].value = 8
    live.start()
    live.thread.join(60)
    assert live.state == "finished", live.status.value
    assert live.numbers.accuracy == study.View.of(runs, 8).accuracy
    diamond, curve = live.figure.data[-2:]
    assert (list(diamond.x), list(diamond.y)) == ([8], [live.numbers.accuracy])
    assert list(curve.y) == runs[runs.d == 8].iloc[0].validation


def test_batch_shows_the_kept_runs_on_a_slider_that_opens_on_the_static_figure(runs):
    views = {str(d): study.View.of(runs, d) for d in (8, 24, 241, 2410)}
    opened = views["241"]
    figure = compute(None, study.draw, opened, [read_schema(NOTEBOOK)["d"]], views=views, live=False)
    slider = figure.layout.sliders[0]
    assert [step.label for step in slider.steps] == ["8", "24", "241", "2410"]
    assert slider.active == 2
    assert figure.data == study.draw(opened).data
    assert len({frame.data[-2].y for frame in figure.frames}) == 4


def test_the_explorer_opens_on_the_run_of_the_static_figure(tmp_path):
    """At any d, also one that no profile lists; the default is the prediction's."""
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]}
    schema, shown = read_schema(NOTEBOOK), []
    names = {"start_here": study, "replace": replace, "schema": schema, "sweep": workbench.Sweep(tmp_path, workers=1)}
    names |= {"subspace_dims": [8], "seeds": [0], "n_steps": STEPS, "d": 24, "tenth": 241}
    names |= {"study": SimpleNamespace(stage=lambda _: nullcontext()), "masks": None, "trained": torch.zeros(1)}
    names |= {"start_here_mask": SimpleNamespace(explore=lambda *_: None), "weights": slice(None)}
    names |= {"widgets": SimpleNamespace(compute=lambda *a, **more: shown.append(compute(*a, **more, live=True)))}
    for name in ("runs", "table", "figure", "explorer"):
        exec(cells[name], names)
    (live,) = shown
    assert live.controls["d"].value == names["view"].d == live.figure.data[-2].x[0] == 24
    assert schema["d"].default == study.objective_of(0).D // 10


def test_every_point_says_what_it_is_and_every_axis_its_unit(runs):
    figure = study.draw(study.View.of(runs, 24))
    for trace in figure.data:
        assert trace.hovertemplate or trace.hoverinfo == "skip", trace.name
    titles = [figure.layout[axis].title.text for axis in ("xaxis", "yaxis", "xaxis2", "yaxis2")]
    assert titles == [
        "Numbers trained, d (log scale)",
        "Test accuracy (fraction of 360 images)",
        "Step (minibatches of 64 images)",
        "Validation accuracy (fraction of 144 images)",
    ]
    assert "90 % of it" in [trace.name for trace in figure.data]
    assert "1,000" in figure.layout.xaxis.ticktext
    assert figure.layout.xaxis2.tickformat == ","
    points = next(trace for trace in figure.data if trace.name == "d = 24")
    first = runs[runs.d == 24].iloc[0]
    assert points.text[0] == f"seed 0: {first.right.sum()} of 360 test images right"


# --- exercises -------------------------------------------------------------------------------------------------------


def test_the_share_of_the_smallest_dimension_is_told_from_what_students_take_for_it(capsys):
    runs = made_up({24: 0.45, 241: 0.92, 2410: 1.0})
    few, tenth, whole = (runs.accuracy[runs.d == d] for d in (24, 241, 2410))
    study.check_share(few.mean() / whole.mean(), runs)
    study.check_share(few.sum() / whole.sum(), runs)  # the same, where every d has as many seeds
    assert capsys.readouterr().out == "Right. With d = 24 in place of 241 the rule would say: fails.\n" * 2
    slips = {
        few.mean(): "This is the accuracy itself; divide it by the whole network's.",
        whole.mean() / few.mean(): "Turn it round: this is the whole network's accuracy over the subspace's.",
        few.sum() / whole.mean(): "This divides a sum over the seeds by a mean; take the mean of both.",
        100 * few.mean() / whole.mean(): "This is in percent; the table and the rule use a fraction.",
        few.iloc[0] / whole.iloc[0]: "This is the first seed's; take the mean over all seeds.",
        few.max() / whole.max(): "These are the best seeds; take the mean over all seeds.",
        1 - few.mean() / whole.mean(): "This is the share that is lost; the share that is reached is asked for.",
        24 / 2410: "This is the share of the dimensions; the share of the accuracy is asked for.",
        tenth.mean() / whole.mean(): "This is d = 241; the smallest d is 24.",
        0.123: "0.123 is too small. Take the mean of accuracy where d is 24 and divide it by the mean where d is 2410.",
    }
    for answer, why in slips.items():
        with pytest.raises(WrongAnswer) as wrong:
            study.check_share(answer, runs)
        assert str(wrong.value) == why


def test_theta_is_told_from_what_students_take_for_it(capsys):
    objective = study.objective_of(0)
    subspace = workbench.Subspace(objective.theta_0, workbench.projection("dense", objective.D, 241, 0))
    phi = torch.linspace(-1, 1, 241)
    theta_0, P = objective.theta_0, subspace.projection.columns.T
    for right in (theta_0 + P @ phi, (P * phi).sum(1) + theta_0, subspace(phi)):
        study.check_theta(right, subspace, phi)
    assert capsys.readouterr().out == "Right. 241 numbers have set all 2,410.\n" * 3
    wrong_by_a_little = (theta_0 + P @ phi).clone()
    wrong_by_a_little[7] += 0.01
    slips = [
        (P @ phi, "This is P phi alone: without theta_0 the network would start with all its weights at zero."),
        (theta_0, "This is theta_0: phi did not move it."),
        (theta_0 - P @ phi, "P phi is to be added, not subtracted."),
        (phi, "This is phi, 241 numbers; theta has 2,410."),
        (theta_0 + P.sum(1), "Value 1 of 2410: "),
        (wrong_by_a_little, "Value 8 of 2410: "),
        (None, "There is no answer yet"),
        (3.0, "The answer must be 2410 values, got 3. "),
    ]
    for answer, why in slips:
        with pytest.raises(WrongAnswer) as wrong:
            study.check_theta(answer, subspace, phi)
        assert str(wrong.value).startswith(why)

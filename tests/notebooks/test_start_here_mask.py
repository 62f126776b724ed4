"""The first notebook's mask: its trial, table, verdict that can fail, figure, slider, and the check of an exercise."""

import json
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import start_here
import start_here_mask as study
import torch

import workbench
from workbench import pruning
from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.sources import source_files

NOTEBOOK = Path(start_here.__file__).with_suffix(".ipynb")
STEPS, KEPT = 80, {0.02: 47, 0.05: 118, 0.1: 237, 0.2: 474, 0.5: 1184}
WEIGHTS = np.linspace(-1, 2, 2368)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A tiny sweep, kept."""
    return study.measure(workbench.Sweep(tmp_path_factory.mktemp("trials"), workers=1), [0, 1], STEPS)


def made_up(share: float, n_seeds: int = 5, n_images: int = 400) -> pd.DataFrame:
    """Runs at density 0.1 whose accuracy after retraining is a share of the whole network's, which has all right."""
    rng, rows = np.random.default_rng(0), []
    difficulty = rng.permutation(n_images) / n_images
    for seed in range(n_seeds):
        luck = difficulty + 0.02 * rng.standard_normal(n_images)
        arms = {"magnitude": (share / 2, share), "random": (0.1, share / 4)}
        for score, (before, after) in arms.items():
            right = {"whole": luck < 2, "before": luck < before, "after": luck < after}
            row = {"seed": seed, "score": score, "density": 0.1, "kept": 237}
            rows.append(row | {name: bits.astype(np.uint8) for name, bits in right.items()})
    return pd.DataFrame(rows)


# --- the trial -------------------------------------------------------------------------------------------------------


def test_every_density_keeps_as_many_weights_by_magnitude_as_at_random(runs):
    assert sorted(KEPT) == list(study.DENSITIES)
    for (_, score), each in runs.groupby(["seed", "score"]):
        assert dict(zip(each.density, each.kept, strict=True)) == KEPT, score
    assert runs.groupby("score").seed.apply(lambda seeds: sorted(set(seeds))).to_dict() == {
        "magnitude": [0, 1],
        "random": [0, 1],
    }
    assert {len(bits) for name in ("whole", "before", "after") for bits in runs[name]} == {360}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_whole_network_is_that_of_the_subspaces(runs, seed):
    same = start_here.unpack(start_here.train_once(None, seed, STEPS)["right"])
    assert all(np.array_equal(bits, same) for bits in runs.whole[runs.seed == seed])


def test_a_trial_is_the_run_that_the_notebook_shows(runs, capsys):
    """And there pruned weights stay at zero, biases do not, and the largest weights are those that stayed."""
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]}
    objective = start_here.objective_of(0)
    names = {"workbench": workbench, "pruning": pruning, "objective": objective, "n_steps": STEPS}
    exec("from dataclasses import replace\n" + cells["mask"], names)
    (run,) = runs[(runs.seed == 0) & (runs.score == "magnitude") & (runs.density == 0.1)].itertuples()
    found = [objective.evaluate(names[name], "test").metric for name in ("trained", "retrained")]
    assert found == pytest.approx([run.whole.mean(), run.after.mean()], abs=1e-9)
    assert objective.evaluate(names["masked"].initial(), "test").metric == pytest.approx(run.before.mean())
    mask, weights, trained, retrained = (names[name] for name in ("mask", "weights", "trained", "retrained"))
    assert [line.split(":")[1].split()[0] for line in capsys.readouterr().out.splitlines()] == ["2,368", "237", "237"]
    assert torch.equal(retrained[~mask], torch.zeros(2368 - 237))
    assert (retrained[~weights] != trained[~weights]).any()
    assert trained[mask & weights].abs().min() >= trained[~mask].abs().max()


def test_the_control_keeps_other_weights(runs):
    chosen, control = (runs[runs.score == score].before.map(np.mean).mean() for score in study.SCORES)
    assert control < chosen


def test_a_retraining_that_diverged_has_none_right(monkeypatch):
    train_group = workbench.train_group

    def diverging(*given, **more):
        histories = train_group(*given, **more)
        histories[0].outcome = "diverged"
        return histories

    monkeypatch.setattr(workbench, "train_group", diverging)
    arms = study.prune_once(0, STEPS, [0.5])["arms"]
    assert [start_here.unpack(arm["after"]).any() for arm in arms] == [False, True]


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_that_tell_nothing_are_refused(tmp_path, seeds):
    with pytest.raises(InputError, match=r"^seeds must be at least one, each once, got \["):
        study.measure(workbench.Sweep(tmp_path, workers=1), seeds, STEPS)


def test_a_change_of_the_module_makes_the_notebooks_results_stale_and_not_the_subspaces():
    assert {"start_here", "start_here_mask"} <= source_files(NOTEBOOK).keys()
    assert {"start_here", "workbench.pruning.allocation"} <= source_files(study.__file__).keys()
    assert "start_here_mask" not in source_files(start_here.__file__)


# --- table and verdict -----------------------------------------------------------------------------------------------


def test_the_table_is_of_means(runs):
    table, own = study.shares(runs), runs[runs.density == 0.2]
    means = own.assign(**{name: own[name].map(np.mean) for name in ("whole", "before", "after")})
    chosen, control = (means[means.score == score] for score in study.SCORES)
    row = table.loc[0.2]
    expected = [474, chosen.before.mean(), chosen.after.mean(), chosen.after.std(), control.after.mean()]
    assert row[["kept", "before", "after", "sd", "random"]].tolist() == pytest.approx(expected)
    assert row.share == pytest.approx(chosen.after.mean() / chosen.whole.mean())
    assert row.low < row.share < row.high
    assert table.index.tolist() == list(KEPT)


def test_one_seed_tells_no_spread():
    assert study.shares(made_up(0.9, n_seeds=1))[["sd", "low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("share", "seeds", "steps", "verdict", "detail"),
    [
        (0.97, 5, 4000, "holds", "density 0.1, 237 weights"),
        (0.80, 5, 4000, "fails", "density 0.1, 237 weights"),
        (0.905, 5, 4000, "inconclusive", "seeds would decide"),
        (0.97, 4, 4000, "inconclusive", "the rule asks for 5 seeds of 4,000 steps"),
        (0.97, 5, 3999, "inconclusive", "the rule asks for 5 seeds of 4,000 steps"),
    ],
)
def test_the_verdict_can_fail(tmp_path, monkeypatch, share, seeds, steps, verdict, detail):
    (tmp_path / "start_here" / "run").mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path / "start_here" / "run"))
    images = start_here.digits()
    kept = workbench.Study("start_here", parameters={}, claims=start_here.CLAIMS, stages={"x": 1}, dataset=images)
    finding = study.judge(kept, study.shares(made_up(share, seeds)), steps)
    assert (finding.claim.name, finding.verdict, finding.n) == ("pruned", verdict, seeds)
    assert detail in finding.detail
    assert finding.value == pytest.approx(share, abs=0.02)


# --- the figure and its slider ---------------------------------------------------------------------------------------


def test_the_figure_shows_what_a_density_keeps(runs):
    figure = study.draw(runs, WEIGHTS, 0.2)
    kept, pruned = figure.data[-2:]
    assert [sum(kept.y), sum(pruned.y)] == [474, 2368 - 474]
    assert min(abs(x) for x, n in zip(kept.x, kept.y, strict=True) if n) >= max(
        abs(x) for x, n in zip(pruned.x, pruned.y, strict=True) if n
    )  # but for the bin at the edge
    (diamond,) = (trace for trace in figure.data if trace.name == "looked at: density 0.2")
    assert (*diamond.x, *diamond.y) == (0.2, study.shares(runs).after[0.2])
    assert "Density 0.2 keeps 474 of 2,368 weights" in figure.layout.title.subtitle.text


def test_every_point_says_what_it_is_and_every_axis_its_unit(runs):
    figure = study.draw(runs, WEIGHTS)
    for trace in figure.data:
        assert trace.hovertemplate or trace.hoverinfo == "skip", trace.name
    assert [figure.layout[axis].title.text for axis in ("xaxis", "yaxis", "xaxis2", "yaxis2")] == [
        "Density, share of weights kept (log scale)",
        "Test accuracy (fraction of 360 images)",
        "Weight after training",
        "Number of weights",
    ]
    points = {trace.name: trace for trace in figure.data[:-2] if trace.mode == "markers"}
    assert {f"{score}, {when}" for score in study.SCORES for when in ("before", "after")} < points.keys()
    assert "seed 1, 237 weights, after retraining" in points["random, after"].text
    assert "whole network" in [trace.name for trace in figure.data]


def test_the_slider_redraws_beside_the_other_explorer(runs, monkeypatch):
    trainer = ipywidgets.VBox()
    box = study.explore(runs, WEIGHTS, trainer, live=True)
    masks, other = box.children
    assert other is trainer
    slider, figure = masks.children
    assert (slider.value, slider.options) == (0.1, study.DENSITIES)
    monkeypatch.setattr(study, "shares", None)  # a move only draws
    slider.value = 0.5
    assert sum(figure.data[-2].y) == 1184


def test_a_page_shows_both_with_sliders_of_their_own(runs, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    trainer = object()
    assert study.explore(runs, WEIGHTS, trainer, live=False) is trainer
    (figure,) = shown
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps] == ["0.02", "0.05", "0.1", "0.2", "0.5"]
    assert figure.data == study.draw(runs, WEIGHTS).data


# --- the exercise ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (10, "This is of the weights alone; the biases are never pruned."),
        (1775 / 173, "The biases are kept too; they belong to what is left."),
        (1730 / 218, "The network has biases before it is pruned, too."),
        (218 / 1775, "Turn it round: this is the share that is left."),
        (218, "This is how many are left; divide all parameters by it."),
        (2410 / (237 + 42), "This is the network above; this one has two hidden layers."),
        (5, "5 is too small. A layer from a to b units has a * b weights and b biases; a tenth of the weights and all"),
        (None, "There is no answer yet"),
    ],
)
def test_a_wrong_compression_is_told_why(answer, why):
    with pytest.raises(WrongAnswer) as wrong:
        study.check_compression(answer)
    assert str(wrong.value).startswith(why)


def test_a_right_compression_is_told_so(capsys):
    for answer in (1775 / 218, 8.14):
        study.check_compression(answer)
    assert capsys.readouterr().out == "Right. 1,775 parameters become 173 weights and 45 biases.\n" * 2

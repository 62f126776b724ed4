"""The first study's explorer: in batch, moved by hand, and with a run of the reader's own."""

import threading

import ipywidgets
import measure
import numpy as np
import plotly.graph_objects as go
import pytest
import replicate
from curves import TRACES_PER_CURVE, accuracy_versus_dimension, curves_at
from explorer import ALL, STOPS, OwnRun, choices, draw_runs, draw_training, explore_runs, live_run

from workbench.dimension import Runs
from workbench.sweeps import Sweep
from workbench.widgets import Live, Stopped, is_live

SETTINGS = {
    "dataset": "digits", "n_train": 300, "widths": [10, 20], "projection": "hashed", "compared_projections": [],
    "subspace_dims": [10, 100], "design": "search", "seeds": [0, 1], "fraction": 0.9, "learning_rate": "rule",
    "n_epochs": 10, "batch_size": 50, "n_toy_seeds": 1, "cartpole_dims": [4], "cartpole_seeds": [0], "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def settings():
    return measure.Settings(**SETTINGS)


@pytest.fixture(scope="module")
def measured(settings):
    """Made-up runs of every network, each with its own learning rate."""
    found = []
    for i, arm in enumerate(settings.main):
        dims, seeds = np.repeat([5, 10, 20, 50, 100, 200], 3), np.tile([0, 1, 2], 6)
        scores = 0.95 - 0.85 * np.exp(-dims / (30 + 10 * i)) + 0.005 * np.tile([-1, 0, 1], 6)
        runs, baseline = Runs(dims, seeds, scores), Runs(np.full(3, 1000), np.arange(3), np.array([0.94, 0.95, 0.96]))
        estimates = measure.both_thresholds(runs, baseline)
        found.append(measure.Measured(arm, 1000, runs, baseline, *estimates, (1.0, (1.0, 3.0, 1 / 3)[i]), 0.0))
    return found


def drawn_at(measured, fraction):
    return accuracy_versus_dimension(curves_at(measured, fraction))


def same(shown, expected):
    """Compare traces as they are drawn; a trace without points is as good as none."""
    for trace, other in zip(shown, expected, strict=True):
        left, right = (go.Figure(go.Scatter(t.to_plotly_json() | {"uid": None})).to_json() for t in (trace, other))
        assert left == right


def test_batch_gets_a_plain_figure_that_opens_on_the_static_view(measured, monkeypatch):
    monkeypatch.setenv("WORKBENCH_BATCH", "1")
    assert not is_live()
    figure = explore_runs(measured, measure.Settings(**SETTINGS | {"fraction": 0.55}))
    assert type(figure) is go.Figure
    stops = sorted({0.55, *STOPS})
    assert [step.label for step in figure.layout.sliders[0].steps] == [f"{stop:g}" for stop in stops]
    assert figure.layout.sliders[0].active == 1
    same(figure.data, drawn_at(measured, 0.55).data)


def test_the_menu_chooses_one_network(measured, settings):
    figure = explore_runs(measured, settings, live=False)
    buttons = figure.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == [ALL, "mlp-10", "mlp-20", "lenet"]
    visible = buttons[2].args[0]["visible"]
    assert [i for i, flag in enumerate(visible) if flag] == list(range(TRACES_PER_CURVE, 2 * TRACES_PER_CURVE))


@pytest.fixture
def live(measured, settings):
    box = explore_runs(measured, settings, live=True)
    assert isinstance(box, ipywidgets.VBox)
    (threshold, shown), figure, trainer = box.children[0].children, *box.children[1:]
    assert isinstance(trainer, Live)
    yield threshold, shown, figure, trainer
    trainer.stop()
    end(trainer)


def end(trainer):
    if trainer.thread:
        trainer.thread.join(60)
        assert not trainer.thread.is_alive()


def test_live_opens_on_the_static_view_and_moves_with_its_controls(measured, live):
    threshold, shown, figure, _ = live
    *traces, own = figure.data
    same(traces, drawn_at(measured, 0.9).data)
    assert (own.x, own.showlegend) == ((), False)
    threshold.value = 0.7
    same(figure.data[:-1], drawn_at(measured, 0.7).data)
    assert "70 %" in figure.layout.title.subtitle.text
    shown.value = "mlp-20"
    seen = [trace.legendgroup for trace in figure.data[:-1] if trace.visible in {None, True}]
    assert seen == ["mlp-20"] * TRACES_PER_CURVE
    threshold.value = 0.8
    assert seen == [trace.legendgroup for trace in figure.data[:-1] if trace.visible in {None, True}]
    threshold.value, shown.value = 0.9, ALL
    same(figure.data[:-1], drawn_at(measured, 0.9).data)


def test_a_live_run_ends_as_the_recorded_trial_did(tmp_path, settings, measured, live):
    """Bit for bit, with the network's own learning rate, in a thread beside this one."""
    chosen = measured[1]
    trial = measure.trial_parameters(chosen.arm, settings) | {"jobs": [[24, 3.0]], "seed": 1}
    recorded = Sweep(tmp_path, "serial").map(replicate.train_replicate, [trial])[0].result
    seen = []
    assert replicate.train_replicate(**trial, watch=lambda k, evaluation: seen.append(evaluation)) == recorded
    assert [e["step"] for e in seen] == list(range(1, 61))
    *_, figure, trainer = live
    trainer.controls["network"].value, trainer.controls["seed"].value = "mlp-20", 1
    trainer.controls["d"].value = next(d for d in trainer.controls["d"].options if d >= 24)
    assert trainer.controls["d"].value == 24
    trainer.start()
    end(trainer)
    run = trainer.numbers
    assert (trainer.state, run.network, run.d, run.seed, run.outcome) == ("finished", "mlp-20", 24, 1, "finished")
    assert run.accuracy == recorded["runs"][0]["score"]
    assert run.validation == tuple(e["metric"] for e in seen)
    star = figure.data[-1]
    assert (star.x, star.y, star.text) == ((24,), (run.accuracy,), ("mlp-20, d = 24, seed 1",))
    assert star.showlegend
    assert f"{run.accuracy:.4f}" in trainer.figure.layout.title.subtitle.text


def test_a_live_run_can_be_stopped_and_leaves_no_star(live):
    *_, figure, trainer = live
    begun, go_on = threading.Event(), threading.Event()

    def work(report, **values):
        report(0.0, OwnRun(**values))
        begun.set()
        go_on.wait(30)
        return measured_work(report, **values)

    measured_work, trainer.work = trainer.work, work
    trainer.start()
    assert begun.wait(30)
    trainer.stop()
    go_on.set()
    end(trainer)
    assert trainer.state == "stopped"
    assert figure.data[-1].x == ()


def test_a_stop_is_heard_at_the_next_evaluation(measured, settings):
    reports = []

    def report(fraction, run):
        reports.append((fraction, len(run.steps)))
        if len(reports) == 4:
            raise Stopped

    with pytest.raises(Stopped):
        live_run(measured, settings)(report, network="lenet", d=10, seed=0)
    assert reports == [(0.0, 0), (1 / 60, 1), (2 / 60, 2), (3 / 60, 3)]


def test_stars_are_those_of_the_networks_shown_and_widen_the_axes(measured):
    own = [OwnRun("mlp-10", 1500, 7, outcome="finished", accuracy=0.1), OwnRun("lenet", 20, 0, outcome="diverged")]
    figure, without = draw_runs(measured, 0.9, own, ALL), draw_runs(measured, 0.9, [], ALL)
    assert figure.data[-1].x == (1500,)
    assert figure.layout.xaxis.range[1] > np.log10(1500) > without.layout.xaxis.range[1]
    assert figure.layout.yaxis.range[0] < 0.1 < without.layout.yaxis.range[0]
    assert draw_runs(measured, 0.9, own, "mlp-20").data[-1].x == ()
    assert draw_runs(measured, 0.9, own, "mlp-10").data[-1].x == (1500,)


def test_the_training_figure_says_how_a_run_stands(settings):
    draw = draw_training(settings)
    run = OwnRun("mlp-10", 20, 3, (5, 10), (0.4, 0.6))
    assert draw(run).data[0].y == (0.4, 0.6)
    assert draw(run).layout.title.text == "Your run: mlp-10, d = 20, seed 3"
    assert "press Train" in draw(OwnRun("", 0, 0)).layout.title.subtitle.text
    ended = draw(OwnRun("mlp-10", 20, 3, outcome="diverged"))
    assert "It diverged, so it has no test accuracy." in ended.layout.title.subtitle.text
    assert len({len(draw(each).data) for each in (run, OwnRun("", 0, 0))}) == 1


def test_the_choices_hold_every_d_of_the_study_and_a_seed_of_ones_own(settings):
    network, d, seed = choices(settings)
    assert {10, 100} <= set(d.kind.__args__)
    assert list(d.kind.__args__) == sorted(set(d.kind.__args__))
    assert d.default == 31  # the middle of 10 and 100 on a log scale
    assert (network.default, seed.default) == ("mlp-20", 2)

"""Controls without a browser: what their values are, and what is refused."""

import json
import threading
from dataclasses import dataclass

import ipywidgets
import plotly.graph_objects as go
import pytest

from workbench import errors, schema, widgets
from workbench.widgets import controls

CELL = """
from typing import Annotated, Literal
from annotated_types import Ge, Gt, Le, Lt, MinLen
n: Annotated[int, Gt(2), Lt(30)] = 10  # images
rate: Annotated[float, Gt(0), Le(1)] = 0.5
small: Annotated[float, Gt(0), Le(1)] = 1e-4
fixed: Annotated[int, Ge(3), Le(3)] = 3
many: Annotated[int, Ge(1)] = 60
quick: bool = False
dataset: Literal["digits", "mnist"] = "digits"
d: Literal[10, 30, 100] = 30
dims: Annotated[list[int], MinLen(2)] = [10, 25]
names: list[str] = ["a", "b: c"]
shape: tuple[int, ...] = (50, 100)
optional: int | None = None
label: str = "5"
"""


@pytest.fixture
def study(tmp_path):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": CELL}
    path = tmp_path / "demo.ipynb"
    path.write_text(json.dumps({"cells": [cell]}))
    return schema.read_schema(path)


def test_every_type_gets_its_control_standing_at_the_default(study):
    made = {parameter.name: widgets.control(parameter) for parameter in study.parameters}
    kinds = {name: type(control) for name, control in made.items()}
    text = dict.fromkeys(
        ["small", "fixed", "many", "dims", "names", "shape", "optional", "label"], controls.TextControl
    )
    assert (
        kinds
        == {
            "n": ipywidgets.IntSlider,
            "rate": ipywidgets.FloatSlider,
            "quick": ipywidgets.Checkbox,
            "dataset": ipywidgets.ToggleButtons,
            "d": ipywidgets.SelectionSlider,
        }
        | text
    )
    for parameter in study.parameters:
        assert made[parameter.name].value == parameter.default
        assert type(made[parameter.name].value) is type(parameter.default)
    assert (made["n"].description, made["n"].tooltip) == ("n", "images")


def test_a_slider_stops_only_where_the_parameter_may(study):
    n, rate = widgets.control(study["n"]), widgets.control(study["rate"])
    assert (n.min, n.max) == (3, 29)
    assert (rate.min, rate.max, rate.step) == (pytest.approx(0.01), 1.0, pytest.approx(0.01))
    for name, end in (("n", n.min), ("n", n.max), ("rate", rate.min), ("rate", rate.max)):
        assert study[name].check(end, "end") == end


@pytest.mark.parametrize("name", ["small", "many", "dims", "names", "shape", "optional", "label"])
def test_what_a_text_shows_reads_back_as_its_value(study, name):
    control = widgets.control(study[name])
    shown = control.text.value
    control.text.value = ""
    control.text.value = shown
    assert control.value == study[name].default
    assert control.refusal.value == ""


def test_a_text_is_read_by_the_declared_type(study):
    dims, label = widgets.control(study["dims"]), widgets.control(study["label"])
    dims.text.value, label.text.value = "1, 2, 3", "7"
    assert dims.value == [1, 2, 3]
    assert label.value == "7"


def test_a_refusal_is_shown_and_the_last_good_value_kept(study):
    many = widgets.control(study["many"])
    seen = []
    many.observe(lambda change: seen.append(change["new"]), names="value")
    many.text.value = "<b>0</b>"
    assert "many must be Annotated[int, Ge(1)]" in many.refusal.value
    assert "<b>0" not in many.refusal.value
    assert many.value == 60
    many.text.value = "80"
    assert (many.value, many.refusal.value, seen) == (80, "", [80])


def draw(n):
    return go.Figure({"x": [0, n], "y": [0, 1], "name": f"{n}"}, layout={"title": {"text": f"n = {n}"}})


def test_in_batch_a_plain_figure_opens_at_the_value(study, monkeypatch):
    monkeypatch.setenv("WORKBENCH_BATCH", "1")
    figure = widgets.explore(draw, study["n"], 10, [5, 20])
    assert type(figure) is go.Figure
    assert [step.label for step in figure.layout.sliders[0].steps] == ["5", "10", "20"]
    assert figure.data[0].x == (0, 10)
    assert [frame.data[0].x for frame in figure.frames] == [(0, 5), (0, 10), (0, 20)]


def test_live_the_figure_follows_its_control(study):
    control, figure = widgets.explore(draw, study["n"], 10, [5, 20], live=True).children
    assert tuple(figure.data[0].x) == (0, 10)
    figure.data[0].visible = "legendonly"
    control.value = 25
    assert tuple(figure.data[0].x) == (0, 25)
    assert figure.data[0].name == "25"
    assert figure.layout.title.text == "n = 25"
    assert figure.data[0].visible == "legendonly"  # a reader's choice survives


def test_stops_are_drawn_before_the_control_moves(study):
    drawn = []
    control, figure = widgets.explore(lambda n: drawn.append(n) or draw(n), study["n"], 10, [5, 20], live=True).children
    assert sorted(drawn) == [5, 10, 20]
    control.value = 20
    control.value = 5
    assert (len(drawn), figure.data[0].name) == (3, "5")
    control.value = 25
    assert (drawn[3:], figure.data[0].name) == ([25], "25")


def test_outside_a_notebook_nothing_is_live(monkeypatch):
    monkeypatch.delenv("WORKBENCH_BATCH", raising=False)
    assert not widgets.is_live()


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(**options):
    return widgets.predict("demo", "How many?", live=True, **options)


def test_a_prediction_is_kept_and_shown_beside_the_result(project, capsys):
    ask(unit="steps").control.text.value = "42"
    again = ask(unit="steps")  # as after a restart of the kernel
    assert again.control.text.value == "42"
    assert again.status.value == "kept, given before the result was first shown"
    again.beside(40.0, (38.0, 41.0), 5)
    assert capsys.readouterr().out == (
        "You predicted 42 steps before the result was first shown:\n"
        "outside the interval, 1.05 times what was measured.\n"
        "Measured 40 steps [38, 41] (n = 5).\n"
    )


def test_an_answer_given_after_the_result_is_told_beside_the_last_before_it(project, capsys):
    first = ask()
    first.control.text.value = "1"
    first.beside(2.0)
    capsys.readouterr()
    first.control.text.value = "2"
    assert first.status.value == "kept, given after the result was first shown"
    ask().beside(2.0)
    assert capsys.readouterr().out == (
        "You predicted 1 before the result was first shown:\n0.5 times what was measured.\n"
        "You predicted 2 after the result was first shown:\n1 times what was measured.\nMeasured 2.\n"
    )


def test_what_is_no_answer_is_refused_and_not_kept(project, capsys):
    asked = ask()
    asked.control.text.value = "many"
    assert ">Your prediction must be a number, got &#x27;many&#x27;</span>" in asked.control.refusal.value
    assert not asked.path.exists()
    asked.beside(2.0)
    assert capsys.readouterr().out == "You made no prediction.\nMeasured 2.\n"
    with pytest.raises(errors.InputError, match=r"^study must be a name, not a path"):
        widgets.predict("../demo", "How many?")


def test_a_choice_is_a_button_none_pressed_at_first(project, capsys):
    asked = ask(choices=("fewer", "more"))
    assert (type(asked.control), asked.control.value) == (ipywidgets.ToggleButtons, None)
    asked.control.value = "more"
    assert ask(choices=("fewer", "more")).control.value == "more"
    assert ask(choices=("less", "equal")).control.value is None  # the notebook asks for something else by now
    asked.beside("fewer")
    assert capsys.readouterr().out == (
        "You predicted more before the result was first shown:\nnot as it came out.\nMeasured fewer.\n"
    )


def test_predictions_that_cannot_be_read_are_set_aside(project):
    path = project / "runs" / "demo" / "predictions.json"
    path.parent.mkdir(parents=True)
    path.write_text('[{"question": 1}]')
    asked = ask()
    assert "predictions.json could not be read" in asked.status.value
    asked.control.text.value = "3"
    assert path.with_suffix(".unreadable.json").read_text() == '[{"question": 1}]'
    assert ask().control.text.value == "3"


def test_in_batch_nothing_is_asked_and_no_file_touched(project, capsys):
    asked = widgets.predict("demo", "How many?", live=False)
    assert asked._repr_mimebundle_() == {
        "text/plain": "How many? Your prediction is asked for here when the notebook runs live, as in JupyterLab."
    }
    asked.beside(2.0, (1.0, 3.0), 4)
    assert capsys.readouterr().out == "Measured 2 [1, 3] (n = 4).\n"
    assert not (project / "runs").exists()


def count_up(report, n):
    for i in range(n):
        report((i + 1) / n, i + 1)
    return n


def live(work, study):
    return widgets.Live(work, draw, 1, [study["n"]])


def test_a_live_run_draws_what_it_found(study):
    shown = live(count_up, study)
    shown.start()
    shown.thread.join(10)
    assert (shown.state, shown.numbers, shown.bar.value) == ("finished", 10, 1.0)
    assert shown.status.value == "n = 10: finished"
    assert tuple(shown.figure.data[0].x) == (0, 10)


def test_starting_one_live_run_stops_another_and_stop_stops_it(study):
    going = [threading.Event(), threading.Event()]

    def endless(i):
        def work(report, n):
            while True:
                going[i].set()
                report(0.5, n)

        return work

    first, second = live(endless(0), study), live(endless(1), study)
    first.start()
    assert going[0].wait(10)
    second.start()
    first.thread.join(10)
    assert (first.state, first.status.value) == ("stopped", "n = 10: stopped at 50 %")
    assert going[1].wait(10)
    second.stop()
    second.thread.join(10)
    assert (second.state, second.numbers) == ("stopped", 10)


def test_a_work_that_fails_says_so_and_can_be_started_again(study, caplog):
    broken = [True]

    def work(report, n):
        if broken:
            raise ValueError("<b>no</b>")
        return n

    shown = live(work, study)
    shown.start()
    shown.thread.join(10)
    assert shown.state == "failed"
    assert "n = 10: failed at 0 %: ValueError: &lt;b&gt;no&lt;/b&gt;" in shown.status.value
    assert [record.message for record in caplog.records] == ["the work of a live figure failed"]
    broken.clear()
    shown.start()
    shown.thread.join(10)
    assert shown.state == "finished"


def test_a_stream_keeps_a_training_curve_and_reports_it():
    @dataclass(frozen=True)
    class Run:
        name: str
        steps: tuple[int, ...] = ()
        validation: tuple[float, ...] = ()

    said = []
    stream = widgets.Stream(Run("mine"), said.append)
    stream(0, {"step": 10, "metric": 0.5, "loss": 2.0})
    stream(0, {"step": 20, "metric": 0.7, "loss": 1.0})
    assert said == [Run("mine", (10,), (0.5,)), Run("mine", (10, 20), (0.5, 0.7))]
    assert stream.run is said[1]

"""Controls without a browser: what their values are, and what is refused."""

import json

import ipywidgets
import plotly.graph_objects as go
import pytest

from workbench import schema, widgets

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
    text = dict.fromkeys(["small", "fixed", "many", "dims", "names", "shape", "optional", "label"], widgets.TextControl)
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


def test_outside_a_notebook_nothing_is_live(monkeypatch):
    monkeypatch.delenv("WORKBENCH_BATCH", raising=False)
    assert not widgets.is_live()

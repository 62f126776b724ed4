import ipywidgets
import numpy as np
import plotly.graph_objects as go
from curves import STOPS, TRACES_PER_CURVE, accuracy_curve, accuracy_versus_dimension, explore_runs

from workbench.dimension import Runs, intrinsic_dim
from workbench.widgets import is_live


def tables():
    dims = np.repeat([5, 10, 20, 50, 100, 200], 3)
    for i in range(6):
        scores = 0.95 - 0.85 * np.exp(-dims / (30 + 10 * i)) + 0.005 * np.tile([-1, 0, 1], 6)
        baseline = Runs(np.full(3, 1000), np.arange(3), np.array([0.94, 0.95, 0.96]))
        yield f"width {i}", Runs(dims, np.tile([0, 1, 2], 6), scores), baseline


def curves_at(fraction):
    return [accuracy_curve(name, r, b, intrinsic_dim(r, b, fraction)) for name, r, b in tables()]


def drawn_at(fraction):
    return accuracy_versus_dimension(curves_at(fraction))


def test_batch_gets_a_plain_figure_that_opens_on_the_static_view(monkeypatch):
    monkeypatch.setenv("WORKBENCH_BATCH", "1")
    assert not is_live()
    figure = explore_runs(curves_at, fraction=0.55)
    assert type(figure) is go.Figure
    assert [step.label for step in figure.layout.sliders[0].steps] == [
        "0.5",
        "0.55",
        *(f"{stop:g}" for stop in STOPS[1:]),
    ]
    assert figure.layout.sliders[0].active == 1
    assert go.Figure(data=figure.data).to_json() == go.Figure(data=drawn_at(0.55).data).to_json()


def test_the_menu_chooses_one_network():
    figure = explore_runs(curves_at, live=False)
    buttons = figure.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == ["all", *(f"width {i}" for i in range(6))]
    visible = buttons[2].args[0]["visible"]
    assert [i for i, flag in enumerate(visible) if flag] == list(range(TRACES_PER_CURVE, 2 * TRACES_PER_CURVE))


def test_live_opens_on_the_static_view_and_moves_with_the_slider():
    box = explore_runs(curves_at, live=True)
    assert isinstance(box, ipywidgets.VBox)
    controls, widget = box.children
    slider, network = controls.children
    assert go.Figure(data=widget.data).to_json() == go.Figure(data=drawn_at(0.9).data).to_json()
    slider.value = 0.7
    expected = drawn_at(0.7)
    for shown, new in zip(widget.data, expected.data, strict=True):
        assert shown.name == new.name
        assert np.array_equal(np.asarray(shown.x, dtype=float), np.asarray(new.x, dtype=float))
        assert np.array_equal(np.asarray(shown.y, dtype=float), np.asarray(new.y, dtype=float))
        assert shown.error_x == new.error_x
    assert "70 %" in widget.layout.title.subtitle.text
    network.value = "width 3"
    assert [trace.legendgroup for trace in widget.data if trace.visible] == ["width 3"] * TRACES_PER_CURVE
    slider.value = 0.8
    assert sum(bool(trace.visible) for trace in widget.data) == TRACES_PER_CURVE  # the choice survives a move

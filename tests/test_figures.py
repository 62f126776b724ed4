import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from workbench import figures
from workbench.errors import InputError
from workbench.figures.live import LiveFigure
from workbench.figures.style import again, finish, log_axis, panels


def drawn(*heights):
    return go.Figure([{"x": [0, 1], "y": [0, height]} for height in heights])


def test_a_slider_changes_data_alone():
    views = [drawn(1), drawn(2), drawn(3)]
    joined = figures.slider_figure(views, ["a", "b", "c"], prefix="height: ", active=1)
    assert joined.data[0].y == (0, 2)
    assert joined.layout.sliders[0].active == 1
    assert joined.layout.sliders[0].currentvalue.prefix == "height: "
    for frame, step, height in zip(joined.frames, joined.layout.sliders[0].steps, (1, 2, 3), strict=True):
        assert list(step.args[0]) == [frame.name]
        assert frame.data[0].y == (0, height)
        assert set(frame.layout.to_plotly_json()) <= {"title"}


def test_figures_that_differ_in_more_than_data_are_refused():
    with pytest.raises(InputError, match="must have the same number of traces"):
        figures.slider_figure([drawn(1), drawn(1, 2)], ["a", "b"])


def test_panels_are_those_of_plotly_and_each_time_anew():
    arrangement = {"subplot_titles": ["a", "b"], "column_widths": [0.3, 0.7], "specs": [[{}, {"secondary_y": True}]]}
    ours, theirs = (
        finish(make(1, 2, **arrangement), "title", "note")
        .add_scatter(y=[1, 2], row=1, col=2, secondary_y=True)
        .update_xaxes(title="d", row=1, col=2)
        for make in (panels, make_subplots)
    )
    assert ours == theirs
    empty = panels(1, 2, **arrangement)
    assert (len(empty.data), empty.layout.xaxis2.title.text) == (0, None)
    for wrong in (lambda: empty.add_scatter(z=[1]), lambda: empty.update_xaxes(tilte="d")):
        with pytest.raises(ValueError, match=r"Did you mean|Invalid property"):
            wrong()


def test_a_figure_drawn_again_leaves_the_first_alone():
    scene = panels(1, 2).add_scatter(y=np.array([1.0, 2.0]), row=1, col=1).update_xaxes(title="x", row=1, col=2)
    first, more = go.Figure(scene), again(scene)
    assert more == first
    assert isinstance(more._data[0]["y"], np.ndarray)  # a live figure tells by arrays what has changed
    more._data[0]["y"][0] = 5
    finish(more.add_bar(y=[3], row=1, col=2).update_xaxes(title="d", row=1, col=2), "title", "note")
    assert scene == first
    assert (more.data[1].xaxis, more.layout.xaxis2.title.text) == ("x2", "d")
    with pytest.raises(ValueError, match="Invalid property"):
        more.add_scatter(z=[1])


def test_log_axis_ticks_lie_inside():
    axis = log_axis((8, 1700))
    assert axis["ticktext"] == ["10", "20", "50", "100", "200", "500", "1,000"]


def test_a_page_loaded_again_is_told_what_was_drawn_last():
    live = LiveFigure(drawn(1, 1))
    live.follow(drawn(2, 3).update_traces(x=np.array([0.0, 1.0])))
    told = live.get_state()["_widget_data"]
    assert [trace["y"] for trace in told] == [[0, 2], [0, 3]]
    assert [trace["uid"] for trace in told] == [trace.uid for trace in live.data]


def test_a_figure_that_is_changed_and_shown_again_is_followed():
    figure = drawn(1)
    live = LiveFigure(figure)
    for height in (2, 3):
        figure.data[0].y = [0, height]
        live.follow(figure)
        assert live.data[0].y == (0, height)


def test_a_redraw_is_one_message_of_what_changed(monkeypatch):
    live, sent = LiveFigure(drawn(1, 1)), []
    monkeypatch.setattr(live.comm, "send", lambda data, **_: sent.append(data["state"]))
    live.follow(drawn(1, 2))
    message, over = sent
    assert over == {"_py2js_update": None}
    assert list(message) == ["_py2js_update"]
    told = message["_py2js_update"]
    assert (told["style_traces"], told["style_data"], told["layout_data"]) == ([1], {"y": [[0, 2]]}, {})


def test_plotly_is_sent_when_asked_for_and_stands_in_no_state(monkeypatch):
    live, sent = LiveFigure(drawn(1)), []
    assert all(len(str(value)) < 100_000 for value in live.get_state().values())
    monkeypatch.setattr(live, "send", sent.append)
    live._handle_custom_msg({"ask": "plotly"}, [])
    assert [list(message) for message in sent] == [["plotly"]]
    assert len(sent[0]["plotly"]) > 1_000_000


def test_figures_offer_no_upload():
    assert "sendChartToCloud" in finish(drawn(1), "title", "note").layout.template.layout.modebar.remove
    assert LiveFigure(drawn(1))._config == {"responsive": True, "displaylogo": False}

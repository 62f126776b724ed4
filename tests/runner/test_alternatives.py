"""What stands for a figure: its text, and tables of the very numbers it draws."""

import json
import math
import re

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from tests.stored import code, curves, plotly_data, stored_run
from workbench.figures import Figure, slider_figure
from workbench.runner.alternatives import caption, label, tables
from workbench.runner.pages import write_page


def listed(figure: go.Figure) -> list[list[list[str]]]:
    """Return the tables of a figure as a page has it, heads first; all of it must be listed."""
    found, others = tables(Figure(json.loads(figure.to_json()), skip_invalid=True))
    assert others == []
    return [[list(table), *table.values.tolist()] for table in found]


def test_the_text_says_title_axes_traces_writing_and_stops():
    figure = curves()
    figure.update_layout(title={"text": "<b>Loss</b> of d", "subtitle": {"text": "Line: mean.<br>Band: 95 %."}})
    figure.update_xaxes(title="d (log scale)").update_yaxes(title="Loss (nats)")
    figure.add_annotation(text="solved &lt; 1")
    assert caption(figure) == "Loss of d. Line: mean. Band: 95 %."
    assert caption(go.Figure(layout_title_text="How many?")) == "How many?"
    assert label(figure) == (
        "Loss of d. Line: mean. Band: 95 %. x: d (log scale). y: Loss (nats). Shown: curve. Written in it: solved < 1. "
        "Slider: k. Its stops: zero; one; two."
    )
    assert label(go.Figure()) == ""


def test_numbers_of_a_trace_packed_or_not():
    x, y = np.array([1, 2, 3]), [0.123456789, 2e-9, None]
    figure = go.Figure(go.Scatter(x=x, y=y, name="runs"), {"xaxis": {"title": "d"}, "yaxis": {"title": "loss"}})
    assert "bdata" in figure.to_json()
    rows = [["trace", "x: d", "y: loss"], ["runs", "1", "0.123457"], ["runs", "2", "2e-09"], ["runs", "3", "None"]]
    assert listed(figure) == [rows]
    wide = [199210.0, 1e15, 1e300, math.pi]
    assert [row[1] for row in listed(go.Figure(go.Bar(x=list("abcd"), y=wide)))[0]] == ["x", "a", "b", "c", "d"]
    assert [row[2] for row in listed(go.Figure(go.Bar(x=list("abcd"), y=wide)))[0]] == [
        "y", "199210", "1e+15", "1e+300", "3.14159",
    ]  # fmt: skip


def test_each_panel_has_a_table_of_its_own():
    figure = make_subplots(1, 2).add_scatter(x=[1], y=[2], name="a", row=1, col=1)
    figure.add_scatter(x=[3], y=[4], name="a", row=1, col=2).add_scatter(x=[5], y=[6], row=1, col=1)
    figure.update_xaxes(title="step", row=1, col=2)
    assert listed(figure) == [
        [["trace", "x", "y"], ["a", "1", "2"], ["trace 3", "5", "6"]],
        [["trace", "x: step", "y"], ["a", "3", "4"]],
    ]


def test_error_bars_are_intervals():
    bar = {"array": [1, 1e9, 0], "arrayminus": [0.5, 1, 0]}
    figure = go.Figure(go.Scatter(x=["p", "q", "r"], y=[2, 3, 4], error_y=bar), {"yaxis": {"range": [0, 10]}})
    wanted = ["y interval", "[1.5, 3]", "[2, beyond the axis]", ""]
    assert [row[3] for row in listed(figure)[0]] == wanted
    figure.update_layout(yaxis={"type": "log", "range": [0, 1]})  # 1 to 10
    assert [row[3] for row in listed(figure)[0]] == wanted
    figure = go.Figure(go.Scatter(x=[10], y=[0], error_x={"array": [1]}))
    assert listed(figure)[0] == [["trace", "x", "x interval", "y"], ["trace 1", "10", "[9, 11]", "0"]]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"hovertext": ["<b>$5</b>", "b"]}, ["$5", "b"]),
        ({"text": ["a", "b"], "hovertemplate": "d = %{x:,}<br>%{text}<extra></extra>"}, ["d = 1, a", "d = 2, b"]),
        ({"customdata": [7, 8], "hovertemplate": "$x is %{customdata:.1f}"}, ["$x is 7", "$x is 8"]),
        ({"name": "a", "hovertemplate": "<i>%{fullData.name}</i>: %{y:.3f}"}, ["a : 3", "a : 4"]),
        ({"text": "level"}, None),
    ],
)
def test_what_the_pointer_would_be_told_is_listed(said, wanted):
    (table,) = listed(go.Figure(go.Scatter(x=[1, 2], y=[3, 4], **said)))
    assert table[0] == ["trace", "x", "y", *["hover text"] * bool(wanted)]
    assert not wanted or [row[3] for row in table[1:]] == wanted


def test_a_slider_lists_every_stop_and_what_all_share_once():
    (table,) = listed(curves())
    rows = [[f"{name}", "curve", f"{x}", f"{y}"] for k, name in enumerate(("zero", "one", "two"))
            for x, y in zip(range(3), (0, k, 3), strict=True)]  # fmt: skip
    assert table == [["stop", "trace", "x", "y"], *rows]
    both = [go.Figure([go.Scatter(x=[0], y=[5], name="level"), go.Scatter(x=[0], y=[k])]) for k in range(2)]
    (table,) = listed(slider_figure(both, ["p", "q"]))
    assert table[1:] == [["all", "level", "0", "5"], ["p", "trace 2", "0", "0"], ["q", "trace 2", "0", "1"]]


def test_a_heat_map_lists_its_cells():
    figure = go.Figure(layout={"xaxis": {"title": "density"}, "yaxis": {"title": "batch"}})
    said = {"text": [["a", "b"], ["c", "d"]], "hovertemplate": "%{z:.1f} in %{text}<extra></extra>"}
    z, bar = np.array([[1.0, 2.5], [3.0, np.nan]]), {"title": {"text": "Error (%)"}}
    figure.add_heatmap(x=["5 %", "80 %"], y=[16, 32], z=z, name="plane", colorbar=bar, **said)
    assert "bdata" in figure.to_json()
    assert listed(figure) == [
        [
            ["trace", "x: density", "y: batch", "z: Error (%)", "hover text"],
            ["plane", "5 %", "16", "1", "1 in a"],
            ["plane", "80 %", "16", "2.5", "2.5 in b"],
            ["plane", "5 %", "32", "3", "3 in c"],
            ["plane", "80 %", "32", "nan", "nan in d"],
        ]
    ]
    assert listed(go.Figure(go.Heatmap(z=[[7, 8]])))[0][1:] == [["trace 1", "0", "0", "7"], ["trace 1", "1", "0", "8"]]
    for torn in ({"z": [[1, 2], [3]]}, {"z": [[1, 2]], "x": [0]}, {"z": [[1, 2]], "text": [["a"]]}, {"z": [1]}, {}):
        assert tables(go.Figure({"data": [{"type": "heatmap", **torn}]}, skip_invalid=True)) == (
            [],
            ["trace 1 (heatmap)"],
        )


def test_traces_of_no_kind_of_ours_are_named():
    figure = go.Figure([go.Pie(labels=["a"], values=[1], name="cake"), go.Scatter(x=[1], y=[2])])
    figure.add_contour(z=[[1, 2]]).add_scatter(x=[1, 2], y=[3], text=["a"], name="short")
    figure.add_scatter(y={"dtype": "f8", "bdata": "!!"}, name="torn").add_scatter(y={"dtype": "O", "bdata": "AA=="})
    figure.add_scatter(x=["a"], y=["b"], error_y={"array": [1]}, name="words").add_scatter(x=[], y=[], name="none")
    found, others = tables(figure)
    assert [table.values.tolist() for table in found] == [[["trace 2", "1", "2"]]]
    assert others == [
        "cake (pie)", "trace 3 (contour)", "short (scatter)", "torn (scatter)", "trace 6 (scatter)", "words (scatter)",
    ]  # fmt: skip


JUNK = [
    3, None, "x", [], [3], {}, {"data": 3}, {"data": {"x": 1}}, {"data": [[]]}, {"layout": [1], "data": [None]},
    {"data": [{"type": "<script>"}]}, {"data": [{"x": {"a": 1}, "y": 3, "name": {"b": []}}]},
    {"data": [{"x": [[1]], "y": [{}], "xaxis": "x99"}]}, {"data": [{"y": [1], "xaxis": 5, "error_y": 3}]},
    {"data": [{"y": [1]}], "frames": [{"data": [{"y": [2]}], "traces": 3, "name": ["n"]}, 4, {"traces": [{}, "0"]}]},
    {"layout": {"sliders": [{"steps": [{"args": [[["0"]], 1]}, 3]}, "s"], "title": [], "annotations": [{"text": 3}]}},
    {"data": [{"y": [1], "error_y": {"array": [1]}}], "layout": {"yaxis": {"type": "log", "range": [0, 1e9]}}},
    {"data": [{"y": [1], "text": ["t"], "hovertemplate": ["a", 3]}]},
    {"data": [{"x": [1], "y": [10**400], "text": ["{0.__class__} ${x.y} %{x"]}]},
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_no_strangers_json_breaks_a_page(tmp_path, junk):
    run = stored_run(
        tmp_path, cells=[code("first_cell"), code("f", {"application/vnd.plotly.v1+json": junk}), code("last_cell")]
    )
    page = run.folder / "page.html"
    write_page(run.folder / "executed.ipynb", page, library=tmp_path / "plotly.min.js", record=run.record)
    text = page.read_text(encoding="utf-8")
    assert (
        text.count("<figure>") == text.count("</figure>") == text.count("<summary>Numbers of figure 1</summary>") == 1
    )
    assert text.index("first_cell") < text.index("<figure>") < text.index("last_cell")
    assert "<script>" not in text


def test_text_of_a_strangers_figure_is_escaped_everywhere(tmp_path):
    bad = '</td></script><script>x()</script>"><img src=x onerror=x()> {{ 7 * 7 }}'
    figure = go.Figure(go.Scatter(x=[bad], y=[1], name=bad, text=[bad]), {"title": bad, "xaxis": {"title": bad}})
    run = stored_run(tmp_path, cells=[code("f", plotly_data(figure.add_annotation(text=bad).add_pie(name=bad)))])
    page = run.folder / "page.html"
    write_page(run.folder / "executed.ipynb", page, library=tmp_path / "plotly.min.js", record=run.record)
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"<script\b", text)) == 3  # the library, ours, the data
    assert "<img" not in text
    assert "{{ 7 * 7 }}" in text
    assert text.count("&lt;/td&gt;&lt;/script&gt;&lt;script&gt;x()") >= 7


def test_a_long_table_says_what_it_leaves_out(tmp_path):
    run = stored_run(
        tmp_path, cells=[code("f", plotly_data(go.Figure(go.Scatter(y=list(range(20_001)), x=["a"] * 20_001))))]
    )
    page = run.folder / "page.html"
    write_page(run.folder / "executed.ipynb", page, library=tmp_path / "plotly.min.js", record=run.record)
    text = page.read_text(encoding="utf-8")
    assert "<p>Of 20,001 rows the first 20,000 are listed.</p>" in text
    assert "<td>19999" in text
    assert "<td>20000" not in text

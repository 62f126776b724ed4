"""Palette, page and axes that all figures share."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

# Okabe and Ito (2008), "Color universal design", without the yellow, which is faint on white.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY, INK = "#CC79A7", "#E69F00", "#56B4E9", "#222222"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)
SYMBOLS = ("circle", "square", "triangle-up", "cross", "triangle-down", "pentagon", "hexagon")
GREY, FAINT = "#555555", "#E3E3E3"


_LINES = {"showline": True, "linecolor": GREY, "ticks": "outside", "gridcolor": FAINT, "zeroline": False}
# With the margins automatic no label leaves the figure: to look for one would cost each redraw some milliseconds.
_AXIS = _LINES | {"automargin": True, "ticklabeloverflow": "allow", "title": {"standoff": 15}}
# A template of what is needed alone: plotly's own has every kind of trace, and each figure pays for it in milliseconds.
LOOK = go.layout.Template(
    layout={
        "title": {"x": 0.02, "y": 0.97, "yanchor": "top", "subtitle": {"font": {"size": 13, "color": GREY}}},
        "font": {"size": 14, "color": INK, "family": "Helvetica, Arial, sans-serif"},
        "paper_bgcolor": "white", "plot_bgcolor": "white", "margin": {"l": 80, "r": 30, "t": 110, "b": 70},
        "hovermode": "closest", "hoverlabel": {"font": {"size": 13}, "align": "left"}, "autotypenumbers": "strict",
        "modebar": {"remove": ["sendChartToCloud", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]},
        "xaxis": _AXIS, "yaxis": _AXIS,
    }
)  # fmt: skip


def panels(rows: int, cols: int, **arrangement: Any) -> go.Figure:
    """Return an empty figure of several panels, as `plotly.subplots.make_subplots`, with the common look."""
    return again(_arranged(json.dumps({"rows": rows, "cols": cols} | arrangement)))


@cache  # it takes longer than drawing what goes in
def _arranged(arrangement: str) -> go.Figure:
    """Return a figure of panels."""
    return make_subplots(**json.loads(arrangement)).update_layout(template=LOOK)


def again(figure: go.Figure) -> go.Figure:
    """Return a copy that takes more: a redraw need not draw, nor check, what no control changes."""
    its = {"_grid_ref": figure._grid_ref, "_grid_str": figure._grid_str}
    figure = go.Figure({"data": figure._data, "layout": figure._layout} | its, _validate=False)  # copies both
    figure._validate = figure.layout._validate = True  # of what goes in
    return figure


def finish(figure: go.Figure, title: str, note: str, height: int = 500) -> go.Figure:
    """Give a figure its title, a note that says what the marks are, and the common look."""
    layout = figure.layout
    checks, layout._validate = layout._validate, False  # as plotly sets its own: checking it takes half of a redraw
    layout.template = LOOK
    layout._validate, layout.height, layout.title = checks, height, {"text": title, "subtitle": {"text": note}}
    return figure


def log_axis(span: Sequence[float]) -> dict[str, Any]:
    """Return the settings of a log axis; ticks 1, 2, 5 where the span is short, else powers of ten."""
    low, high = float(np.log10(span[0])), float(np.log10(span[1]))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    ticks = [s * 10**e for e in range(int(np.floor(low)), int(np.ceil(high)) + 1) for s in steps]
    inside = [tick for tick in ticks if span[0] <= tick <= span[1]]
    return {"type": "log", "range": [low, high], "tickvals": inside, "ticktext": [f"{tick:,}" for tick in inside]}

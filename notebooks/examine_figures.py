"""Figures of an examination: numbers in, plotly out; where a panel is empty it says why."""

from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.examine import Examination
from workbench.figures.style import BLUE, COLOURS, GREEN, GREY, INK, SYMBOLS, VERMILION, finish, log_axis, panels
from workbench.measures.asked import DENSITIES

_LEFT, _RIGHT = {"row": 1, "col": 1}, {"row": 1, "col": 2}
_LEGEND = {"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"}
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def _panels(found: Examination, items: Sequence[str], note: str, between: float = 0.14) -> tuple[go.Figure, str]:
    """Return two empty panels, and the note with what was refused."""
    refused = [item for item in items if item in found.refused or item not in found.answers]
    figure = panels(1, 2, horizontal_spacing=between)
    figure.update_layout(legend=_LEGEND)
    return figure, note + (f"<br>Not measured: {', '.join(refused)}; the table says why." if refused else "")


def broken(text: str, width: int = 36) -> str:
    """Return a text in lines that fit into half a figure."""
    return "<br>".join(map(escape, wrap(text, width)))


def _empty(figure: go.Figure, found: Examination, items: Sequence[str], where: dict[str, int]) -> None:
    """Say in a panel that shows nothing why that is, in place of ticks that nothing stands on."""
    said = {item: "answered without a finite number" for item in found.answers}
    said |= {item: f"refused: {why}" for item, why in found.refused.items()}
    text = "<br><br>".join(broken(f"{item} {said.get(item, 'not measured yet')}") for item in items)
    look = {"showarrow": False, "font": {"size": 13, "color": GREY}, "xref": "x domain", "yref": "y domain"}
    figure.add_annotation(text=text, x=0.5, y=0.5, **look, **where)
    bare = {"showticklabels": False, "ticks": "", "showgrid": False, "type": "linear"}
    figure.update_xaxes(**bare, **where)
    figure.update_yaxes(**bare, **where)


def _log(*values: Any) -> dict[str, Any]:
    """Return the settings of a log axis with room for numbers, those that are positive and finite."""
    known = np.concatenate([np.ravel(np.asarray(each, dtype=float)) for each in values])
    known = known[np.isfinite(known) & (known > 0)]
    if not len(known):
        return {"type": "log"}
    room = max(1.3, (10 * known.min() / known.max()) ** 0.5)  # at least a decade: it holds three ticks or more
    return log_axis((known.min() / room, known.max() * room))


def short(layers: Sequence[str], most: int = 20) -> list[str]:
    """Return layers' names without what all begin with and the role that ends them; long ones without their middle."""
    names = [name.removesuffix(".weight") for name in layers]
    while len({name.partition(".")[0] for name in names}) == 1 and all("." in name for name in names):
        names = [name.partition(".")[2] for name in names]
    return [name if len(name) <= most else f"{name[: most // 2]}…{name[1 - most // 2 :]}" for name in names]


def _line(figure: go.Figure, x: Any, y: Any, name: str, i: int, where: dict[str, int], said: str, **more: Any) -> None:
    """Add a curve with markers that tells its numbers."""
    look = {"color": COLOURS[i % len(COLOURS)], "dash": _DASHES[i % len(_DASHES)], "width": 2}
    figure.add_scatter(
        x=x, y=y, name=name, mode="lines+markers", line=look, hovertemplate=f"{name}, {said}<extra></extra>",
        marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8}, **more, **where,
    )  # fmt: skip


def needs(found: Examination) -> go.Figure:
    """Draw the score against the dimension of the subspace, and the file of each solution against it."""
    note = "Markers are runs of fresh networks, the solid line is their mean with all parameters trained.<br>"
    figure, note = _panels(found, ["dimension"], note + "Dashed: 90 % of it. Right: the file of each run, read back.")
    metric, details = found.subject.objective.metric_name, found.details.get("dimension", {})
    rows = pd.DataFrame(details.get("runs", []), columns=["d", "seed", "score", "bytes", "read"])
    whole = float(np.mean([run["score"] for run in details["whole"]])) if details else np.nan
    span = [1, found.subject.objective.D]
    levels = (("all trained", whole, "solid"), ("90 % of it", 0.9 * whole, "dash")) if details else ()
    for name, level, dash in levels:
        said = f"{name}: %{{y:.3f}}<extra></extra>"
        look = {"color": INK, "dash": dash, "width": 1.5}
        figure.add_scatter(x=span, y=[level] * 2, name=name, mode="lines", line=look, hovertemplate=said, **_LEFT)
    for i, (seed, each) in enumerate(rows.groupby("seed")):
        marker = {"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9}
        said = f"seed {seed}, d = %{{x:,}}<br>"
        for y, where, what in ((each.score, _LEFT, f"{metric} %{{y:.3f}}"), (each.bytes, _RIGHT, "%{y:,} bytes")):
            figure.add_scatter(
                x=each.d, y=y, mode="markers", name=f"seed {seed}", legendgroup=str(seed), marker=marker,
                showlegend=where is _LEFT, hovertemplate=f"{said}{what}<extra></extra>", **where,
            )  # fmt: skip
    figure.update_xaxes(title="Dimension of the subspace, d (log scale)", **_log(rows.d, span))
    figure.update_yaxes(title=f"Test score ({metric})", **_LEFT)
    figure.update_yaxes(title="Its file (bytes, log scale)", **_log(rows.bytes), **_RIGHT)
    for where in () if details else (_LEFT, _RIGHT):
        _empty(figure, found, ["dimension"], where)
    return finish(figure, f"How many of {span[1]:,} parameters does it need?", note, height=520)


def goes(found: Examination) -> go.Figure:
    """Draw the score against density by every score, and what is left of each layer."""
    note = "Left: the network given, pruned at once, and (retrained) trained on under the mask, mean of seeds.<br>"
    figure, note = _panels(found, ["scores", "retraining", "saved"], note + "Right: what stays of each layer.", 0.3)
    rows, metric = found.details.get("scores", {}).get("rows", {}), found.subject.objective.metric_name
    said = "density %{x:.3g}: %{y:.3f}"
    for i, (name, each) in enumerate(rows.items()):
        _line(figure, [row["density"] for row in each], [row["score"] for row in each], name, i, _LEFT, said)
    for i, (name, arms) in enumerate(found.details.get("retraining", {}).items(), len(rows)):
        means = [float(np.mean([run["score"] for run in arm])) for arm in arms]
        _line(figure, list(DENSITIES), means, f"{name}, retrained", i, _LEFT, said)
    level = found.subject.given["score"] - 0.01
    bar = {"line": {"color": GREY, "dash": "dash", "width": 1.5}, "mode": "lines"}
    said = "one point below the network given: %{y:.3f}<extra></extra>"
    if drawn := bool(figure.data):
        figure.add_scatter(x=[0.01, 1], y=[level] * 2, name="one point less", hovertemplate=said, **bar, **_LEFT)
    layers = found.details.get("saved", {}).get("densities", {})
    figure.add_bar(
        x=[*layers.values()], y=[*range(len(layers))], orientation="h", marker={"color": BLUE}, name="kept share",
        text=[*layers], textposition="none", hovertemplate="%{text}: %{x:.3f} of its weights stay<extra></extra>",
        showlegend=False, **_RIGHT,
    )  # fmt: skip
    names, each = short([*layers]), max(1, -(-len(layers) // 15))  # more labels would overlap
    ticks = {"tickvals": [*range(0, len(names), each)], "ticktext": names[::each], "tickfont": {"size": 12}}
    figure.update_xaxes(title="Kept share of the weights (log scale)", type="log", **_LEFT)
    figure.update_yaxes(title=f"Test score ({metric})", **_LEFT)
    figure.update_xaxes(title="Kept share of the layer", range=[0, 1.02], **_RIGHT)
    figure.update_yaxes(title="Layer", autorange="reversed", **ticks, **_RIGHT)
    if not drawn:
        _empty(figure, found, ["scores", "retraining"], _LEFT)
    if not layers:
        _empty(figure, found, ["saved"], _RIGHT)
    return finish(figure, "How many of the weights can go?", note, height=560)


def shape(found: Examination) -> go.Figure:
    """Draw the eigenvalues' density and the barrier between two seeds."""
    note = "Left: how the Hessian's eigenvalues are spread, smoothed.<br>Right: the error on the way between two seeds."
    figure, note = _panels(found, ["spectrum", "barrier"], note)
    spread, way = found.details.get("spectrum", {}), found.details.get("barrier", {})
    density = np.array(spread.get("density", []), dtype=float)
    density = np.where(density > 1e-9, density, np.nan)  # a floor would look like a value
    said = "eigenvalue %{x:.3g}: density %{y:.3g}<extra></extra>"
    figure.add_scatter(
        x=spread.get("grid", []), y=density, mode="lines", line={"color": BLUE}, name="density", hovertemplate=said,
        **_LEFT,
    )  # fmt: skip
    _line(figure, way.get("t", []), way.get("error", []), "error between", 1, _RIGHT, "t = %{x:.2f}: %{y:.3f}")
    figure.update_xaxes(title="Eigenvalue (loss per squared unit of theta)", **_LEFT)
    figure.update_yaxes(title="Density (log scale)", type="log", exponentformat="power", **_LEFT)
    figure.update_xaxes(title="Way from one network to the other, t", **_RIGHT)
    figure.update_yaxes(title="Error on the training sample", rangemode="tozero", **_RIGHT)
    for item, seen, where in (("spectrum", spread, _LEFT), ("barrier", way, _RIGHT)):
        if not seen:
            _empty(figure, found, [item], where)
    return finish(figure, "What shape is the loss?", note, height=500)


def plane(found: Examination) -> go.Figure:
    """Draw the plane, with the trajectory where there is one."""
    seen, figure = found.details.get("plane", {}), go.Figure()
    at = np.array(seen.get("at", []), dtype=float).reshape(-1, 2)
    loss = np.array(seen.get("loss", [[np.nan]]), dtype=float).T
    said = "a = %{x:.2f}, b = %{y:.2f}<br>log10 of the loss %{z:.2f}<extra></extra>"
    figure.add_heatmap(
        x=seen.get("a", [0]), y=seen.get("b", [0]), z=np.log10(np.maximum(loss, 1e-12)), colorscale="Cividis",
        colorbar={"title": {"text": "log10 loss"}}, hovertemplate=said, name="loss", showscale=bool(seen),
    )  # fmt: skip
    figure.add_scatter(
        x=at[:, 0], y=at[:, 1], mode="lines+markers", name="trajectory", line={"color": VERMILION, "width": 2},
        marker={"size": 9, "color": "white", "line": {"color": VERMILION, "width": 2}},
        text=[f"point {i} of {len(at)}" for i in range(1, len(at) + 1)],
        hovertemplate="%{text} of the trajectory<br>a = %{x:.2f}, b = %{y:.2f}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="First direction, a")
    figure.update_yaxes(title="Second direction, b")
    held = f"the line is the trajectory, {100 * sum(seen.get('explained', ())):.0f} % of its variance lie in the plane"
    note = f"Training loss on a plane; {held if len(at) else 'its directions are random'}."
    if not seen:
        note = "Not measured: plane."
        _empty(figure, found, ["plane"], {})
    return finish(figure, "The loss on a plane through the network", note, height=520)


def crossings(found: Examination) -> go.Figure:
    """Draw the pruned network's dimension against density, and curvature inside subspaces against d."""
    note = "Left: d for 90 % of the dense networks' score and its 95 % interval, as far as runs support it.<br>"
    figure, note = _panels(
        found,
        ["pruned_dimension", "inside"],
        note + "Right: curvature inside random subspaces; dotted: d / D of the trace.",
    )
    answers = [each for each in found.answers.get("pruned_dimension", []) if np.isfinite(each.value)]
    high = [each.high - each.value if np.isfinite(each.high) else 0 for each in answers]
    low = [each.value - each.low if np.isfinite(each.low) else 0 for each in answers]
    figure.add_scatter(
        x=[float(each.quantity.rpartition(" ")[2]) for each in answers], y=[each.value for each in answers],
        error_y={"array": high, "arrayminus": low}, mode="lines+markers", name="dimension", line={"color": BLUE},
        marker={"size": 9}, hovertemplate="density %{x:.3g}: d = %{y:.3g}<extra></extra>", **_LEFT,
    )  # fmt: skip
    inside, D = found.details.get("inside", {"inside": []}), found.subject.objective.D
    d = [each["d"] for each in inside["inside"]]
    _line(figure, d, [each["trace"] for each in inside["inside"]], "trace inside", 0, _RIGHT, "d = %{x}: %{y:.3g}")
    tops = [each["values"][0] for each in inside["inside"]]
    _line(figure, d, tops, "top eigenvalue inside", 1, _RIGHT, "d = %{x}: %{y:.3g}")
    share = [each / D * inside["whole"]["trace"] for each in d]
    figure.add_scatter(
        x=d, y=share, mode="lines", name="d / D of the trace", line={"color": GREEN, "dash": "dot"},
        hovertemplate="d / D of the whole trace, d = %{x}: %{y:.3g}<extra></extra>", **_RIGHT,
    )  # fmt: skip
    densities = [float(each.quantity.rpartition(" ")[2]) for each in answers]
    ends = [end for each in answers for end in (each.low, each.value, each.high)]
    figure.update_xaxes(title="Density of the mask (log scale)", **_log(densities), **_LEFT)
    figure.update_yaxes(title="Dimensions needed (log scale)", **_log(ends), **_LEFT)
    figure.update_xaxes(title="Dimension of the subspace, d (log scale)", **_log(d), **_RIGHT)
    curved = [each["trace"] for each in inside["inside"]]
    figure.update_yaxes(title="Loss per unit squared (log scale)", **_log(curved, tops, share), **_RIGHT)
    for item, seen, where in (("pruned_dimension", answers, _LEFT), ("inside", d, _RIGHT)):
        if not seen:
            _empty(figure, found, [item], where)
    return finish(figure, "Pruned, and inside subspaces", note, height=520)

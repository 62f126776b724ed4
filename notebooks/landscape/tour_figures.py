"""The tour's figures: spectrum, maps, ways between networks, chains, and the explorer's view."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy.interpolate import RegularGridInterpolator
from tour import N_CLASSES, n_outliers
from tour_planes import Spot, View

from workbench.figures.style import (
    BLUE,
    COLOURS,
    GREY,
    INK,
    ORANGE,
    SYMBOLS,
    VERMILION,
    again,
    finish,
    log_axis,
    panels,
)

_WARM = [[0, "white"], [1, ORANGE]]
_AXES = {
    "trajectory": ("First principal direction (Euclidean, in theta)", "Second principal direction (same unit)"),
    "filter": ("First random direction (1 = filters' norms)", "Second random direction (same unit)"),
    "eigenvectors": ("Top eigenvector (Euclidean, in theta)", "Second eigenvector (same unit)"),
}
NAMES = {"trajectory": "plane of the training", "filter": "two random filter-normalised directions"}
NAMES |= {"eigenvectors": "two top eigenvectors of the Hessian"}


def spectrum(shown: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw the estimated spectral density beside the exact one, and each seed's first eigenvalues.

    Args:
        shown: Of the curvature's part of the table: grid, density, width, exact values.
        looks: Of each seed's network.

    Returns:
        Two panels.
    """
    figure, left, right = panels(1, 2, horizontal_spacing=0.14), {"row": 1, "col": 1}, {"row": 1, "col": 2}
    grid, values = np.array(shown["grid"]), np.array(shown["values"])
    bells = np.exp(-0.5 * ((grid[:, None] - values) / shown["width"]) ** 2).sum(1)
    exact = bells / (shown["width"] * np.sqrt(2 * np.pi) * len(values))
    for name, y, look in (
        ("exact", exact, {"color": INK, "width": 4}),
        ("estimated", shown["density"], {"color": VERMILION, "dash": "dash"}),
    ):
        hover = f"{name} density at %{{x:.3f}}: %{{y:.3g}}<extra></extra>"
        figure.add_scatter(
            x=grid, y=np.maximum(y, 1e-9), mode="lines", line=look, name=name, hovertemplate=hover, **left
        )
    for i, one in enumerate(looks):
        k = n_outliers(one["values"])
        figure.add_scatter(
            x=np.arange(1, len(one["values"]) + 1), y=one["values"], mode="lines+markers", name=f"seed {one['seed']}",
            line={"color": COLOURS[i % len(COLOURS)], "width": 1}, **right,
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": [10] * k + [5] * (len(one["values"]) - k)},
            hovertemplate=f"seed {one['seed']}, eigenvalue %{{x}}: %{{y:.3g}}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=N_CLASSES + 0.5, line={"color": INK, "dash": "dot"}, row=1, col=2)
    figure.update_xaxes(title="Eigenvalue (nats per squared unit of theta)", **left)
    figure.update_yaxes(title="Density (log)", **log_axis((1e-4, 2 * max(exact.max(), 1e-3))), **left)
    figure.update_xaxes(title="Rank", **right)
    tops = np.concatenate([one["values"] for one in looks])
    figure.update_yaxes(title="Eigenvalue (log)", **log_axis((max(tops.min(), 1e-4) / 1.5, 1.5 * tops.max())), **right)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    note = "Left: one network, all eigenvalues, each a small bell. Right: the first of every seed's; large markers<br>"
    note += f"stand before the largest relative fall, the dotted line behind the {N_CLASSES}th."
    return finish(figure, "The Hessian's spectrum: a bulk at zero, and outliers", note, height=540)


def maps(views: Mapping[str, View]) -> go.Figure:
    """Draw the loss on two planes as maps, with the way that training took.

    Args:
        views: Planes by kind, "trajectory" and "filter" among them.

    Returns:
        Two panels.
    """
    figure = panels(1, 2, horizontal_spacing=0.24)
    for col, (kind, bar) in enumerate({"trajectory": 0.4, "filter": 1.0}.items(), 1):
        _add_map(figure, views[kind], {"row": 1, "col": col}, bar)
    first = views["trajectory"].explained or (np.nan, np.nan)
    note = f"Training loss; line: the training's projection, to the diamond. Left: {NAMES['trajectory']},<br>"
    note += f"which holds {100 * sum(first):.0f} % of the trajectory's variance. Right: {NAMES['filter']}."
    return finish(figure, "The loss on two planes through one network", note, height=520)


def _add_map(figure: go.Figure, view: View, where: dict[str, int], bar: float = 1.0) -> None:
    """Add the loss as a contour map, the trajectory and the trained network: three traces."""
    z, (x, y) = np.log10(np.maximum(view.seen.loss.T, 1e-12)), view.seen.axes
    ticks = [e for e in range(-6, 7) if np.nanmin(z) <= e <= np.nanmax(z)]
    figure.add_contour(
        x=x, y=y, z=z, customdata=view.seen.loss.T, colorscale=_WARM, name="loss", **where,
        contours={"coloring": "heatmap"}, line={"width": 0.5, "color": INK},
        colorbar={"title": {"text": "nats"}, "x": bar, "thickness": 12, "tickvals": ticks,
                  "ticktext": [f"{10.0**e:g}" for e in ticks]},
        hovertemplate="a = %{x:.2f}, b = %{y:.2f}<br>loss %{customdata:.3g} nats<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=view.at[:, 0], y=view.at[:, 1], mode="lines+markers", name="training", showlegend=False, **where,
        line={"color": BLUE, "width": 2}, marker={"size": 4}, hovertemplate="a moment of the training<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[0], y=[0], mode="markers", name="trained", showlegend=False, **where,
        hovertemplate="the trained network<extra></extra>",
        marker={"color": BLUE, "size": 12, "symbol": "diamond", "line": {"color": INK, "width": 1}},
    )  # fmt: skip
    for update, title, axis in zip(
        (figure.update_xaxes, figure.update_yaxes), _AXES[view.kind], view.seen.axes, strict=True
    ):
        update(title=title, range=[axis[0], axis[-1]], **where)


def surface(view: View, n_rows: int = 21) -> go.Figure:
    """Draw the loss over a plane as a surface, its rows from back to front, with the way that training took.

    In oblique projection: to the right and up is away, up the logarithm of the loss. Rows hide what is behind them. It
    needs no WebGL, and prints.

    Args:
        view: The plane; the training's projection lies within it.
        n_rows: Lines of the surface, at least 2.

    Returns:
        The figure; its axes have no scale, hover says the numbers.
    """
    (x, y), z = view.seen.axes, np.log10(np.maximum(view.seen.loss.T, 1e-12))
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    back = y[-1] if np.nanmean(z[0]) <= np.nanmean(z[-1]) else y[0]  # the higher side, which would hide the other

    def drawn(a: Any, b: Any, height: Any) -> tuple[Any, Any]:
        away = 1 - abs(b - back) / (y[-1] - y[0])
        return (a - x[0]) / (x[-1] - x[0]) + 0.4 * away, 0.8 * away + 0.6 * (height - low) / max(high - low, 1e-12)

    figure, rows = go.Figure(), np.linspace(0, len(y) - 1, n_rows).round().astype(int)
    for j in rows if back == y[0] else rows[::-1]:
        floor = drawn(x[[0, -1]], y[j], np.full(2, low))
        figure.add_scatter(x=floor[0], y=floor[1], mode="lines", line={"width": 0}, hoverinfo="skip", showlegend=False)
        figure.add_scatter(
            x=drawn(x, y[j], z[j])[0], y=drawn(x, y[j], z[j])[1], mode="lines", name=f"b = {y[j]:.2f}",
            fill="tonexty", fillcolor="rgb(255, 244, 222)", line={"color": ORANGE, "width": 1.5}, showlegend=False,
            customdata=[f"a = {a:.2f}, b = {y[j]:.2f}: loss {10**h:.3g} nats" for a, h in zip(x, z[j], strict=True)],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    heights = RegularGridInterpolator((x, y), z.T)(view.at)
    across, up = drawn(*view.at.T, heights)
    figure.add_scatter(
        x=across, y=up, mode="lines+markers", line={"color": BLUE, "width": 2}, name="training", showlegend=False,
        marker={"size": [4] * (len(up) - 1) + [12], "symbol": ["circle"] * (len(up) - 1) + ["diamond"], "opacity": 1},
        customdata=[f"a moment of the training, below it {10**h:.3g} nats" for h in heights],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    front = y[0] if back == y[-1] else y[-1]
    right, height = drawn(x[-1], y.mean(), low)
    figure.add_annotation(
        text=f"b, away, {front:.1f} to {back:.1f}:<br>{_AXES[view.kind][1]}", x=right, y=height, showarrow=False,
        align="left", xanchor="left", xshift=20,
    )  # fmt: skip
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False, "showline": False, "ticks": ""}
    figure.update_xaxes(title=f"a, to the right, {x[0]:.1f} to {x[-1]:.1f}: {_AXES[view.kind][0]}", **bare)
    figure.update_yaxes(title=f"Training loss, {10**low:.2g} to {10**high:.2g} nats (log)", **bare)
    note = (
        "The first of the planes above; rows hide what is behind them. Line: the training's projection, to the diamond."
    )
    return finish(figure, "The plane of the training as a surface", note, height=480)


def ways(joins: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw the training loss along three ways between pairs of networks, thin a pair, thick their mean."""
    figure = go.Figure()
    said = {"straight": "straight line", "aligned": "straight line, units aligned", "curved": "trained curve"}
    for i, (key, name) in enumerate(said.items()):
        losses = np.array([each[key]["loss"] for each in joins])
        for one, loss in zip(joins, losses, strict=True):
            figure.add_scatter(
                x=one[key]["t"], y=loss, mode="lines", line={"color": COLOURS[i], "width": 0.8}, opacity=0.6,
                showlegend=False, hovertemplate=f"{name}, pair {one['seed']}: %{{y:.3g}} nats<extra></extra>",
            )  # fmt: skip
        figure.add_scatter(
            x=joins[0][key]["t"], y=losses.mean(0), mode="lines+markers", name=name,
            line={"color": COLOURS[i], "width": 3},
            marker={"symbol": SYMBOLS[i], "size": 6}, hovertemplate=f"{name}, mean: %{{y:.3g}} nats<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Part of the way from one network to the other")
    figure.update_yaxes(title="Training loss (nats)", rangemode="tozero")
    return finish(
        figure, "Three ways between two networks", f"{len(joins)} pairs of independently trained networks.", height=460
    )


def chains(shown: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Draw the losses that the learning coefficient's chains visit, where its value is known and for the network."""
    figure = panels(1, 2, horizontal_spacing=0.14)
    for col, (name, found) in enumerate(shown.items(), 1):
        for i, losses in enumerate(found["trace"][:4]):
            figure.add_scatter(
                y=np.array(losses) - found["loss"], mode="lines", line={"color": COLOURS[i], "width": 1},
                hovertemplate=f"{name}, chain {i + 1}, proposal %{{x}}: %{{y:.3g}}<extra></extra>",
                showlegend=False, row=1, col=col,
            )  # fmt: skip
        figure.update_xaxes(title="Proposal after burning in", row=1, col=col)
        figure.update_yaxes(title="Loss above the point's" + (" (nats)" if col == 2 else ""), row=1, col=col)
    known, own = shown.values()
    said = (f"Left: 5-3-5 linear, true value 8: {_estimate(known)}.", f"Right: the network: {_estimate(own)}.")
    note = "<br>".join(line for each in said for line in wrap(each, 100))  # a refusal may give several reasons
    return finish(figure, "Chains of the learning coefficient, four of each", note, height=420)


def _estimate(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return f"refused, {found['refused']}" if found["refused"] else f"{found['value']:.1f} [{low:.1f}, {high:.1f}]"


def scene(view: View, picture: np.ndarray) -> go.Figure:
    """Draw what is the same at every point of a plane: its map, and the digits, as ``shown_digits`` returns them."""
    specs: list[list[Any]] = [[{"rowspan": 2}, {}], [None, {}]]
    figure = panels(
        2,
        2,
        specs=specs,
        column_widths=[0.54, 0.46],
        row_heights=[0.4, 0.6],
        horizontal_spacing=0.25,
        vertical_spacing=0.2,
    )
    _add_map(figure, view, {"row": 1, "col": 1}, 0.43)
    figure.add_heatmap(
        z=picture[::-1], colorscale=[[0, "white"], [1, INK]], showscale=False, hoverinfo="skip", row=1, col=2
    )
    figure.update_xaxes(
        title="Six test images, taken for",
        showticklabels=False,
        ticks="",
        showgrid=False,
        row=1,
        col=2,
    )
    figure.update_yaxes(title="Image", range=[-4, 8], showticklabels=False, ticks="", showgrid=False, row=1, col=2)
    figure.update_xaxes(title="Direction in the plane", row=2, col=2)
    figure.update_yaxes(title="Curvature of the loss", row=2, col=2)
    # margins that no plane's labels exceed: where one did, plotly would draw all twice
    return finish(figure.update_layout(margin_l=90), f"A point: {NAMES[view.kind]}", "", height=540)


def spot(scene: go.Figure, a: float, b: float, seen: Spot, truth: Sequence[int]) -> go.Figure:
    """Draw a point into a scene, the digits' guesses there, and the curvatures; always the same traces."""
    figure = again(scene)
    words = [f"{guess}{'' if guess == right else ' ✗'}" for (guess, _), right in zip(seen.guesses, truth, strict=True)]
    said = [
        f"taken for {guess} with {100 * p:.0f} %, is {right}"
        for (guess, p), right in zip(seen.guesses, truth, strict=True)
    ]
    figure.add_scatter(
        x=[9 * i + 3.5 for i in range(len(truth))], y=[-2.2] * len(truth), mode="text", text=words, hovertext=said,
        hovertemplate="%{hovertext}<extra></extra>", showlegend=False, row=1, col=2,
    )  # fmt: skip
    figure.add_bar(
        x=["flattest", "steepest"], y=list(seen.curvatures), marker={"color": [GREY, VERMILION]}, showlegend=False,
        row=2, col=2,
        hovertemplate="%{x} direction: curvature %{y:.3g}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[a], y=[b], mode="markers", name="point", showlegend=False, row=1, col=1,
        marker={"color": VERMILION, "size": 16, "symbol": "cross", "line": {"color": INK, "width": 1}},
        hovertemplate=f"here: loss {seen.loss:.3g} nats, {100 * seen.error:.1f} % wrong<extra></extra>",
    )  # fmt: skip
    note = f"At a = {a:.2f}, b = {b:.2f}: training loss {seen.loss:.3g} nats, "
    note += f"{100 * seen.error:.1f} % of training images wrong."
    return figure.update_layout(title_subtitle_text=note)

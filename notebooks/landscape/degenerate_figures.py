"""Figures of degeneracy: spectra with predicted zeros, counts beside learning coefficients, chains, edges cut."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from degenerate_edges import MORE
from degenerate_planted import PLANTS, SIZES, ZERO
from degenerate_trials import TASKS
from interaction_basis import BASES

from workbench.figures.style import COLOURS, GREEN, GREY, INK, SYMBOLS, finish, log_axis, panels

_NAMES = {"addition": "Modular addition", "digits": "Digits"}
_BASIS = {"neurons": "neurons", "components": "principal components", "interaction": "interaction basis"}
_FLOOR = 1e-18
_DEEP = log_axis([_FLOOR / 2, 3]) | {"tickvals": [10.0**-e for e in range(0, 19, 3)]}
_DEEP |= {"ticktext": [f"{tick:g}" for tick in _DEEP["tickvals"]]}


def planted_figure(planted: pd.DataFrame) -> go.Figure:
    """Draw predicted against counted free directions of every planted network."""
    figure = go.Figure()
    span = [0.7 * planted.zeros.min(), 1.4 * planted.zeros.max()]
    figure.add_scatter(x=span, y=span, mode="lines", name="equal", line={"color": INK, "width": 1}, hoverinfo="skip")
    for i, plant in enumerate(PLANTS):
        for column, shape in (("predicted", SYMBOLS[i]), ("by_rank", f"{SYMBOLS[i]}-open")):
            rows = planted[(planted.plant == plant) & (planted[column] > 0)]
            figure.add_scatter(
                x=rows.zeros, y=rows[column], mode="markers", name=plant, legendgroup=plant,
                showlegend=column == "predicted", marker={"color": COLOURS[i], "symbol": shape, "size": 10},
                customdata=rows[["size", "seed", "D"]],
                hovertemplate=f"{plant}, %{{customdata[0]}}, seed %{{customdata[1]}}, D = %{{customdata[2]}}"
                "<br>%{x} zero eigenvalues, %{y} counted<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="Eigenvalues of the Hessian that are zero (log)", **log_axis(span))
    low = min(span[0], 0.7 * planted.by_rank[planted.by_rank > 0].min())
    figure.update_yaxes(title="Free directions counted (log)", **log_axis([low, span[1]]))
    note = f"{len(planted)} networks: {', '.join(SIZES)}. Full: predicted from the construction. Open: by ranks of<br>"
    note += "activations and gradients alone (none where nothing or only twins are planted)."
    return finish(figure, "Free directions of planted networks", note, height=520)


def spectra(shown: Mapping[str, tuple[Sequence[float], int]], title: str, note: str) -> go.Figure:
    """Draw Hessians' spectra and where their zeros are predicted to begin.

    Args:
        shown: By name, at most three: eigenvalues over the largest, and the number of predicted zeros.
        title: Of the figure.
        note: Below it.

    Returns:
        A figure with two traces a spectrum.
    """
    figure = go.Figure()
    for i, (name, (values, free)) in enumerate(shown.items()):
        sizes = np.maximum(np.sort(np.abs(np.asarray(values)))[::-1], _FLOOR)
        figure.add_scatter(
            x=100 * np.arange(1, len(sizes) + 1) / len(sizes), y=sizes, mode="lines+markers", name=name,
            line={"color": COLOURS[i], "width": 1}, marker={"size": 4, "symbol": SYMBOLS[i]},
            hovertemplate=f"{name}, first %{{x:.1f}} %: %{{y:.2g}} of the largest<extra></extra>",
        )  # fmt: skip
        edge = 100 * (1 - (free - 0.5) / len(sizes))
        figure.add_scatter(
            x=[edge, edge], y=[_FLOOR, 1], mode="lines", name="zeros predicted from here", showlegend=i == 0,
            line={"color": COLOURS[i], "width": 2, "dash": "dot"},
            hovertemplate=f"{name}: {free} predicted<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=ZERO, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_xaxes(title="Part of the eigenvalues, the largest first (%)", range=[0, 101])
    figure.update_yaxes(title="Size over the largest (log)", **_DEEP)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    return finish(figure, title, note, height=520)


def spectrum_view(planted: pd.DataFrame, plant: str) -> go.Figure:
    """Draw the spectra of one plant in every size, first seed; always the same traces."""
    rows = planted[(planted.plant == plant) & (planted.seed == planted.seed.min())]
    shown = {f"{row.size_}, D = {row.D:,}": (row.values_, row.predicted) for row in _rows(rows)}
    said = "; ".join(f"{row.size_} {row.predicted} predicted, {row.zeros} found" for row in _rows(rows))
    note = f"Below the dashed line an eigenvalue counts as zero.<br>{said}."
    return spectra(shown, f"Planted: {plant}", note)


def _rows(rows: pd.DataFrame) -> list[Any]:
    """Return rows whose names no method of theirs hides."""
    return list(rows.rename(columns={"size": "size_", "values": "values_"}).itertuples())


def coefficients(counted: pd.DataFrame, pairs: pd.DataFrame) -> go.Figure:
    """Draw learning coefficients against effective parameters, and of two modules against one network."""
    titles = [*(_NAMES[task] for task in TASKS), "Two modules or one"]
    figure = panels(1, 3, subplot_titles=titles, horizontal_spacing=0.1)
    decays = sorted(counted.decay.unique())
    for col, task in enumerate(TASKS, 1):
        for i, decay in enumerate(decays):
            rows = counted[(counted.task == task) & (counted.decay == decay) & counted.value.notna()]
            ends = np.array([*rows.interval]).reshape(-1, 2)
            figure.add_scatter(
                x=rows.effective, y=rows.value, mode="markers", name=f"decay {decay:g}", legendgroup=f"{decay:g}",
                showlegend=col == 1, marker={"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 9}, row=1, col=col,
                error_y={"array": ends[:, 1] - rows.value, "arrayminus": rows.value - ends[:, 0], "thickness": 1,
                         "width": 2},
                customdata=rows[["width", "seed", "accuracy"]],
                hovertemplate="%{customdata[0]} units, seed %{customdata[1]}, accuracy %{customdata[2]:.2f}"
                "<br>%{x} effective, lambda %{y:.1f}<extra></extra>",
            )  # fmt: skip
        figure.update_xaxes(title="Effective parameters (by ranks)", row=1, col=col)
        figure.update_yaxes(title="Learning coefficient", row=1, col=col)
    kept = pairs.dropna(subset=["modular", "dense"])
    both = np.concatenate([kept.modular, kept.dense])
    span = [0.95 * both.min(), 1.05 * both.max()] if len(both) else [0.0, 1.0]
    figure.add_scatter(
        x=span, y=span, mode="lines", line={"color": INK, "width": 1}, name="equal", hoverinfo="skip", row=1, col=3
    )
    figure.add_scatter(
        x=kept.dense, y=kept.modular, mode="markers", name="a pair", row=1, col=3,
        marker={"color": GREEN, "symbol": "diamond", "size": 9}, customdata=kept[["seed"]],
        hovertemplate="pair %{customdata[0]}: one network %{x:.1f}, two modules %{y:.1f}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="One network", row=1, col=3)
    figure.update_yaxes(title="Two modules", row=1, col=3)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    refused = {_NAMES[task]: int(counted.value[counted.task == task].isna().sum()) for task in TASKS}
    said = ", ".join(f"{name} {n}" for name, n in refused.items())
    note = f"Bars: 95 %, with room upwards for the finite temperature. Refused: {said} of "
    note += f"{len(counted) // 2} each,<br>{len(pairs) - len(kept)} of {len(pairs)} pairs. Right: both losses equal."
    return finish(figure, "Learning coefficients", note, height=540)


def chains(counted: pd.DataFrame) -> go.Figure:
    """Draw the losses of the run whose chains agree best at the first arm, and of the one where they agree least."""
    disagree = counted.r_hat.str[0]
    shown = [counted.loc[disagree.idxmin()], counted.loc[disagree.idxmax()]]
    figure = panels(1, 2, horizontal_spacing=0.14, subplot_titles=[_named(one) for one in shown])
    for col, one in enumerate(shown, 1):
        for i, losses in enumerate(one.trace):
            figure.add_scatter(
                y=losses, mode="lines", line={"color": COLOURS[i % len(COLOURS)], "width": 1}, showlegend=False,
                hovertemplate=f"chain {i + 1}, proposal %{{x}}: %{{y:.3g}}<extra></extra>", row=1, col=col,
            )  # fmt: skip
        figure.update_xaxes(title="Proposal after burning in", row=1, col=col)
        figure.update_yaxes(title="Squared error to the point's outputs", row=1, col=col)
    said = [f"R-hat {one.r_hat[0]:.2f}, {'refused' if np.isnan(one.value) else 'kept'}" for one in shown]
    note = "The first of three arms, four chains each, of the networks whose chains agree best and least.<br>"
    note += f"Left: {said[0]}. Right: {said[1]}. Any arm above 1.1 refuses the run."
    return finish(figure, "Chains behind a learning coefficient", note, height=440)


def _named(one: Any) -> str:
    return f"{_NAMES[one.task]}, {one.width} units, decay {one.decay:g}"


def edges_figure(found: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw the loss against the edges kept in three bases, mean and range over seeds."""
    figure = panels(1, 2, horizontal_spacing=0.12, subplot_titles=[_NAMES[task] for task in TASKS])
    for col, task in enumerate(TASKS, 1):
        runs = [one for one in found if one["task"] == task]
        for i, kind in enumerate(BASES):
            total = min(one[kind]["total"] for one in runs)
            grid = np.geomspace(10, total, 40)
            losses = np.array([_ratio(one, kind, grid) for one in runs])
            mean, low, high = losses.mean(0), losses.min(0), losses.max(0)
            figure.add_scatter(
                x=[*grid, *grid[::-1]], y=[*high, *low[::-1]], mode="lines", line={"width": 0}, fill="toself",
                opacity=0.2, fillcolor=COLOURS[i], showlegend=False, hoverinfo="skip", row=1, col=col,
            )  # fmt: skip
            figure.add_scatter(
                x=grid, y=mean, mode="lines", name=_BASIS[kind], legendgroup=kind, showlegend=col == 1, row=1, col=col,
                line={"color": COLOURS[i], "width": 3, "dash": ("dot", "dash", "solid")[i]},
                hovertemplate=f"{_BASIS[kind]}: %{{x:.0f}} edges, %{{y:.2f}} times the loss<extra></extra>",
            )  # fmt: skip
        figure.add_hline(y=1 + MORE, line={"color": INK, "width": 1}, row=1, col=col)
        tops = [one[kind]["total"] for one in runs for kind in BASES]
        figure.update_xaxes(title="Edges kept (log)", **log_axis([10, 1.1 * max(tops)]), row=1, col=col)
        figure.update_yaxes(title="Loss over the whole network's (log)", **log_axis([0.8, 100]), row=1, col=col)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    n = len({one["seed"] for one in found})
    note = f"Mean and range of {n} networks a task. The line: 5 % more loss. A curve ends<br>where all edges are kept: "
    note += "fewer where directions are degenerate."
    return finish(figure, "Loss as edges are cut, the weakest first", note, height=540)


def _ratio(one: Mapping[str, Any], kind: str, grid: np.ndarray) -> np.ndarray:
    """Return the loss over the whole network's at numbers of edges between those measured."""
    n, losses = np.array(one[kind]["curve"]).T
    return np.asarray(np.exp(np.interp(np.log(grid), np.log(n), np.log(losses / one["loss"]))))


def own_view(found: Sequence[tuple[Sequence[float], int]], D: int, free: int) -> go.Figure:
    """Draw spectra of networks of the reader's own design as they come in; always the same traces."""
    figure, edge = go.Figure(), D - free + 0.5
    for i in range(5):
        values = np.maximum(np.abs(np.asarray(found[i][0])), _FLOOR) if i < len(found) else np.array([])
        figure.add_scatter(
            x=np.arange(1, len(values) + 1), y=np.sort(values)[::-1], mode="markers", name=f"network {i + 1}",
            marker={"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 5},
            hovertemplate=f"network {i + 1}, eigenvalue %{{x}}: %{{y:.2g}} of the largest<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=[edge, edge], y=[_FLOOR, 1], mode="lines", name="zeros predicted from here",
        line={"color": INK, "width": 2, "dash": "dot"}, hovertemplate=f"{free} predicted<extra></extra>",
    )  # fmt: skip
    figure.add_hline(y=ZERO, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_xaxes(title="Rank of the eigenvalue", range=[0, 1.02 * D])
    figure.update_yaxes(title="Size over the largest (log)", **_DEEP)
    zeros = ", ".join(str(zero) for _, zero in found)
    note = f"D = {D}; {free} zeros predicted; found: {zeros}." if found else "Choose what to plant, then press Plant."
    return finish(figure, "A design of your own", note, height=500)

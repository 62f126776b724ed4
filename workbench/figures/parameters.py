"""Intrinsic dimension against number of parameters."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

from workbench.errors import require
from workbench.figures.style import COLOURS, GREY, INK, SYMBOLS, censored_symbol, errors, finish, log_axis, room


def dimension_versus_parameters(
    table: Sequence[Mapping[str, Any]],
    published: Sequence[Mapping[str, Any]] = (),
    *,
    title: str = "Intrinsic dimension against number of parameters",
    threshold_name: str = "90 % of each network's own baseline",
) -> go.Figure:
    """Draw intrinsic dimensions with intervals against D, beside published ones.

    Args:
        table: One row per network: ``name``, ``D``, ``value``, ``low``, ``high``, ``censored`` as in `AccuracyCurve`,
            and ``group``, the legend entry it belongs to.
        published: Rows ``name``, ``D``, ``value``, ``source``; drawn open and without interval, for none was printed.
        title: Above the figure.
        threshold_name: What the intrinsic dimension had to reach.

    Returns:
        A log-log figure with the line d = D, where nothing is saved.

    Raises:
        InputError: If the table is empty.
    """
    require(len(table) > 0, "table", "must hold at least one row", table)
    every = [float(row[key]) for row in [*table, *published] for key in ("D", "value")]
    figure = go.Figure()
    ends = [float(row[key]) for row in table for key in ("low", "high") if row.get(key)]
    x_span = room([float(row["D"]) for row in [*table, *published]], 2.2)
    y_span = room([float(row["value"]) for row in [*table, *published]] + ends + [max(every)])
    figure.add_scatter(
        x=x_span, y=x_span, mode="lines", line={"color": GREY, "dash": "dot", "width": 1.5}, hoverinfo="skip",
        name="d = D (all parameters)",
    )  # fmt: skip
    groups = list(dict.fromkeys(str(row.get("group", "measured")) for row in table))
    for group, colour, symbol in zip(groups, cycle(COLOURS), cycle(SYMBOLS), strict=False):
        rows = [row for row in table if str(row.get("group", "measured")) == group]
        symbols = [censored_symbol(row, symbol, "triangle-up", "triangle-down") for row in rows]
        figure.add_scatter(
            x=[row["D"] for row in rows], y=[row["value"] for row in rows], name=group, mode="markers+text",
            text=[f"  {row['name']}" for row in rows], textposition="middle right",
            textfont={"size": 12, "color": colour}, marker={"size": 10, "color": colour, "symbol": symbols},
            error_y=errors(rows, colour), hovertemplate="D = %{x:,}<br>d = %{y:,.0f}<br>%{text}<extra></extra>",
        )  # fmt: skip
    if published:
        figure.add_scatter(
            x=[row["D"] for row in published], y=[row["value"] for row in published], name="published",
            mode="markers+text", text=[f"{row['name']}  " for row in published], textposition="middle left",
            customdata=[row.get("source", "") for row in published], textfont={"size": 12, "color": GREY},
            marker={"size": 11, "symbol": "diamond-open", "color": INK, "line": {"width": 1.5}},
            hovertemplate="D = %{x:,}<br>d = %{y:,.0f}<br>%{text}<br>%{customdata}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Parameters of the network D (log scale)", **log_axis(x_span))
    figure.update_yaxes(title="Intrinsic dimension d (log scale)", **log_axis(y_span))
    note = f"Intrinsic dimension at {threshold_name}; bars: 95 % intervals."
    note += "<br>Open: published, without an interval." if published else ""
    note += " Triangle: only a bound." if any(row.get("censored") for row in table) else ""
    return finish(figure, title, note)

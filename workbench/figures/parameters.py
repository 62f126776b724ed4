"""Intrinsic dimension against number of parameters."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go

from workbench.errors import require
from workbench.figures.style import (
    COLOURS,
    GREY,
    INK,
    SYMBOLS,
    censored_symbol,
    errors,
    finish,
    log_axis,
    threshold_name,
)

NAME_WIDTH = 1.6  # a name of about ten letters covers D to 1.6 D


def dimension_versus_parameters(
    table: Sequence[Mapping[str, Any]],
    published: Sequence[Mapping[str, Any]] = (),
    *,
    title: str = "Intrinsic dimension against number of parameters",
) -> go.Figure:
    """Draw intrinsic dimensions with intervals against D, beside published ones.

    Args:
        table: One row per network: the estimate's record with ``name``, ``D`` and ``group``, its legend entry; all at
            the same fraction.
        published: Rows ``name``, ``D``, ``value``, ``source``; drawn open and without interval, for none was printed.
        title: Above the figure.

    Returns:
        A log-log figure with the line d = D, where nothing is saved.

    Raises:
        InputError: If the table is empty.
    """
    require(len(table) > 0, "table", "must hold at least one row", table)
    sizes = [float(row["D"]) for row in [*table, *published]]
    values = [float(row["value"]) for row in [*table, *published]]
    ends = [float(row[key]) for row in table for key in ("low", "high") if row[key]]
    x_span = min(sizes) / 2.2, max(sizes) * 2.2
    y_span = min(values + ends) / 1.6, max(values + ends + sizes) * 1.6
    figure = go.Figure()
    figure.add_scatter(
        x=x_span, y=x_span, mode="lines", line={"color": GREY, "dash": "dot", "width": 1.5}, hoverinfo="skip",
        name="d = D (all parameters)",
    )  # fmt: skip
    places = _places([float(row["D"]) for row in table])
    groups = list(dict.fromkeys(row["group"] for row in table))
    for group, colour, symbol in zip(groups, cycle(COLOURS), cycle(SYMBOLS), strict=False):
        rows = [row for row in table if row["group"] == group]
        symbols = [censored_symbol(row, symbol, "triangle-up", "triangle-down") for row in rows]
        figure.add_scatter(
            x=[row["D"] for row in rows], y=[row["value"] for row in rows], name=group, mode="markers+text",
            text=[f"  {row['name']}  " for row in rows], textfont={"size": 12, "color": colour},
            textposition=[place for row, place in zip(table, places, strict=True) if row["group"] == group],
            marker={"size": 10, "color": colour, "symbol": symbols}, error_y=errors(rows, colour),
            hovertemplate="D = %{x:,}<br>d = %{y:,.0f}<br>%{text}<extra></extra>",
        )  # fmt: skip
    if published:
        written = {(row["name"], row["D"]): i for i, row in enumerate(published)}  # one name where values nearly agree
        figure.add_scatter(
            x=[row["D"] for row in published], y=[row["value"] for row in published], name="published",
            mode="markers+text", textposition="middle left", textfont={"size": 12, "color": GREY},
            text=[f"{r['name']}  " if written[r["name"], r["D"]] == i else "" for i, r in enumerate(published)],
            customdata=[f"{row['name']}<br>{row['source']}" for row in published],
            marker={"size": 11, "symbol": "diamond-open", "color": INK, "line": {"width": 1.5}},
            hovertemplate="D = %{x:,}<br>d = %{y:,.0f}<br>%{customdata}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Parameters of the network D (log scale)", **log_axis(x_span))
    figure.update_yaxes(title="Intrinsic dimension d (log scale)", **log_axis(y_span))
    note = f"Intrinsic dimension at {threshold_name(table[0])}; bars: 95 % intervals."
    note += "<br>Open: published, without an interval." if published else ""
    note += " Triangle: only a bound." if any(row["censored"] for row in table) else ""
    return finish(figure, title, note)


def _places(sizes: Sequence[float]) -> list[str]:
    """Return where each point's name stands: right of it, else left, else above, so that names do not overlap."""
    x, width = np.log(sizes), np.log(NAME_WIDTH)
    places = ["top center"] * len(x)
    taken: list[tuple[float, float]] = []
    for i in np.argsort(x, kind="stable"):
        for place, start in (("middle right", x[i]), ("middle left", x[i] - width)):
            end = start + width
            if not any(start < point < end for point in x) and all(end <= a or b <= start for a, b in taken):
                places[i] = place
                taken.append((start, end))
                break
    return places

"""Figures of this study: d against D, CartPole by counts of solved seeds, the toy by the loss that remains."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go
from marks import censored_symbol, errors, threshold_name
from numpy.typing import NDArray
from returns import CartPole
from scipy.stats import binomtest

from workbench.figures.style import BLUE, COLOURS, GREY, INK, SKY, SYMBOLS, VERMILION, finish, log_axis, panels

NAME_WIDTH = 1.6  # a name of about ten letters covers D to 1.6 D
SOLVED_AT = CartPole.solved_at  # steps, a mean return
TOY_DIMENSION = 10  # at which theory says that the toy's loss vanishes


def dimension_versus_parameters(
    table: Sequence[Mapping[str, Any]],
    published: Sequence[Mapping[str, Any]] = (),
) -> go.Figure:
    """Draw intrinsic dimensions with intervals against D, beside published ones.

    Args:
        table: One row per network: the estimate's record with ``name``, ``D`` and ``group``, its legend entry; all at
            the same fraction.
        published: Rows ``name``, ``D``, ``value``, ``source``; drawn open and without interval, for none was printed.

    Returns:
        A log-log figure with the line d = D, where nothing is saved.
    """
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
    return finish(figure, "Intrinsic dimension against number of parameters", note)


def solved_fraction(
    dims: Sequence[int],
    returns: Sequence[Sequence[float]],
    *,
    at_least: int,
    untrained: Sequence[float],
) -> go.Figure:
    """Draw every seed's test return at every d, and under it how many seeds solved the task.

    Args:
        dims: The tested d, shape ``(n_dims,)``.
        returns: Mean test return, shape ``(n_dims, n_seeds)``, in steps.
        at_least: Number of seeds that the rule asks for.
        untrained: Return of each seed's untrained policy; drawn at d = 0.

    Returns:
        A figure of two panels; the bars' intervals are Wilson's.
    """
    table = np.asarray(returns, dtype=float)
    n = table.shape[1]
    counts = (table >= SOLVED_AT).sum(axis=1)
    ends = np.array([binomtest(int(count), n).proportion_ci(method="wilson") for count in counts])
    figure = panels(2, 1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.6, 0.4])
    x = np.concatenate([np.zeros(len(untrained)), np.repeat(dims, n)])
    y = np.concatenate([np.asarray(untrained, dtype=float), table.ravel()])
    shift = 0.5 * np.concatenate([spread(len(untrained)), np.tile(spread(n), len(dims))])
    solved = y >= SOLVED_AT
    for chosen, name, colour, symbol in (
        (solved, "solved", BLUE, "circle"),
        (~solved, "not solved", VERMILION, "x-thin"),
    ):
        figure.add_scatter(
            x=(x + shift)[chosen], y=y[chosen], customdata=x[chosen], mode="markers", name=f"one seed, {name}",
            marker={"color": colour, "symbol": symbol, "size": 8, "line": {"width": 2, "color": colour}},
            hovertemplate="d = %{customdata}<br>mean return %{y:.0f}<extra></extra>", row=1, col=1,
        )  # fmt: skip
    figure.add_hline(y=SOLVED_AT, line={"color": INK, "dash": "dash", "width": 1.5}, row=1, col=1)
    figure.add_bar(
        x=list(dims), y=counts / n, marker={"color": SKY}, showlegend=False, customdata=counts, row=2, col=1,
        error_y={"array": ends[:, 1] - counts / n, "arrayminus": counts / n - ends[:, 0], "color": INK},
        hovertemplate=f"d = %{{x}}<br>%{{customdata}} of {n} seeds<extra></extra>",
    )  # fmt: skip
    figure.add_hline(y=at_least / n, line={"color": INK, "dash": "dash", "width": 1.5}, row=2, col=1)
    figure.update_yaxes(title="Mean test return (steps)", range=[-15, 525], row=1, col=1)
    figure.update_yaxes(title="Seeds solved", range=[-0.03, 1.05], tickformat=".0%", row=2, col=1)
    figure.update_xaxes(range=[-0.6, max(dims) + 0.6], **_ticks(dims))
    figure.update_xaxes(title="Subspace dimension d (0: the untrained policy)", row=2, col=1)
    note = f"Dashed: a mean return of {SOLVED_AT:g} counts as solved; {at_least} of {n} seeds are asked for.<br>"
    return finish(figure, "CartPole in a random subspace", note + "Error bars: 95 % Wilson intervals.", height=620)


def toy_residual(dims: Sequence[int], residuals: Sequence[Sequence[float]], *, solved_below: float) -> go.Figure:
    """Draw the loss that remains at the best point of each subspace, on a log scale.

    Args:
        dims: The tested d, shape ``(n_dims,)``.
        residuals: Loss at the best point, shape ``(n_dims, n_seeds)``; zeros are drawn at the smallest positive value
            or 1e-32.
        solved_below: Loss under which a subspace counts as solved.

    Returns:
        A figure with one marker per seed and the median as a line.
    """
    table = np.asarray(residuals, dtype=float)
    floor = min(1e-32, float(table[table > 0].min(initial=1.0)))
    table = np.maximum(table, floor)
    x = np.repeat(dims, table.shape[1]) + 0.4 * np.tile(spread(table.shape[1]), len(dims))
    figure = go.Figure()
    figure.add_scatter(
        x=list(dims), y=np.median(table, axis=1), mode="lines", name="median", line={"color": GREY, "width": 2}
    )
    figure.add_scatter(
        x=x, y=table.ravel(), mode="markers", name="one seed", marker={"color": BLUE, "size": 7, "opacity": 0.8},
        customdata=np.repeat(dims, table.shape[1]), hovertemplate="d = %{customdata}<br>loss %{y:.2g}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=TOY_DIMENSION - 0.5, line={"color": VERMILION, "dash": "dash", "width": 1.5})
    figure.add_annotation(
        x=TOY_DIMENSION - 0.4, y=1, yref="paper", text=f"solvable from d = {TOY_DIMENSION}", showarrow=False,
        xanchor="left", yanchor="top", font={"color": "#A84300"},
    )  # fmt: skip
    figure.add_hline(y=solved_below, line={"color": INK, "dash": "dot", "width": 1.5})
    # On a log axis an annotation's place is the exponent, a shape's is the value.
    figure.add_annotation(
        x=1, xref="paper", y=np.log10(solved_below), text="counts as solved below", showarrow=False, xanchor="right",
        yanchor="top",
    )  # fmt: skip
    figure.update_xaxes(title="Subspace dimension d", range=[min(dims) - 0.6, max(dims) + 0.6], **_ticks(dims))
    figure.update_yaxes(title="Loss at the best point of the subspace", type="log", exponentformat="power")
    note = "Each marker is one random subspace; below about 1e-20 only rounding error is left."
    return finish(figure, "The toy problem: ten constraints on 1,000 parameters", note)


def spread(n: int) -> NDArray[np.float64]:
    """Return ``n`` small offsets in (-0.5, 0.5), so that the seeds at one d do not hide one another."""
    return (np.arange(n) + 0.5) / max(n, 1) - 0.5


def _ticks(dims: Sequence[int]) -> dict[str, int]:
    """Return a tick at every d where there is room."""
    return {"tick0": 0, "dtick": 1} if max(dims) <= 20 else {}


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

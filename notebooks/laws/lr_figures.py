"""Figures of the study on learning rates: bowls, power laws, what their advice costs."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from lr_laws import SETTINGS, Law

from workbench.figures.style import BLUE, COLOURS, GREY, INK, ORANGE, SKY, SYMBOLS, VERMILION, finish, panels

_TITLES = {"lr": "Learning rate", "batch": "Batch (tokens)"}
_POWERS = {"exponentformat": "power", "dtick": "D2"}


def thousands(count: float) -> str:
    """Write a count of parameters or tokens in short: 215M, 1.07B."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"


def bowl_figure(runs: pd.DataFrame, points: pd.DataFrame, law: Law, at: str) -> go.Figure:
    """Draw one grid: every run's loss over the best, the near-optimal ones, their mean, the law's advice.

    Args:
        runs: A row a run.
        points: Of ``lr_laws.optima``.
        law: Of all grids.
        at: One of ``labels(points)``.

    Returns:
        The figure.
    """
    point = points.iloc[labels(points).index(at)]
    grid = runs[(runs.N == point.N) & (runs.D == point.D)]
    over = 100 * (grid.loss / point.best - 1)
    figure = go.Figure()
    figure.add_scatter(
        x=grid.lr, y=grid.batch, mode="markers", name="a run", customdata=over, showlegend=False,
        marker={"colorscale": "Cividis", "size": 20, "symbol": "square",
                "color": np.log10(np.clip(over, 0.05, 20)), "cmin": np.log10(0.05), "cmax": np.log10(20),
                "colorbar": {"title": {"text": "% over the best", "side": "right"},
                             "tickvals": np.log10([0.05, 0.25, 1, 5, 20]),
                             "ticktext": ["0.05", "0.25", "1", "5", "20"], "x": 1.01, "len": 0.8}},
        hovertemplate="learning rate %{x:.3g}, batch %{y:.3s}: %{customdata:.2f} % over the best<extra></extra>",
    )  # fmt: skip
    marks = (
        ("single best run", point.lr_argmin, point.batch_argmin, "circle-open", VERMILION, 22),
        ("mean of near-optimal runs", point.lr, point.batch, "diamond", "white", 13),
        ("the law", *(law.predict(s, point.N, point.D) for s in SETTINGS), "x", VERMILION, 13),
    )
    for name, x, y, symbol, colour, size in marks:
        line = {"color": colour if symbol == "circle-open" else INK, "width": 3 if symbol == "circle-open" else 1}
        figure.add_scatter(
            x=[x], y=[y], mode="markers", name=name, hovertemplate=f"{name}: %{{x:.3g}}, %{{y:.3s}}<extra></extra>",
            marker={"symbol": symbol, "color": colour, "size": size, "line": line},
        )  # fmt: skip
    figure.update_xaxes(title="Learning rate", type="log", **_POWERS)
    figure.update_yaxes(title="Batch (tokens)", type="log", **_POWERS)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"})
    note = f"N = {thousands(point.N)}, D = {thousands(point.D)}: {len(grid)} runs; {point.n_near:.0f} near-optimal."
    return finish(figure, "One grid of runs", note, height=560)


def labels(points: pd.DataFrame) -> list[str]:
    """Name the grids."""
    return [f"{thousands(point.N)} on {thousands(point.D)}" for point in points.itertuples()]


def law_figure(points: pd.DataFrame, law: Law) -> go.Figure:
    """Draw best learning rates and batches against tokens, a line a size, and the law's lines."""
    figure = panels(1, 2, horizontal_spacing=0.12)
    for column, setting in enumerate(SETTINGS, 1):
        for i, (n, part) in enumerate(points.groupby("N")):
            colour, symbol = COLOURS[i % len(COLOURS)], SYMBOLS[i % len(SYMBOLS)]
            span = np.geomspace(part.D.min() / 1.2, part.D.max() * 1.2, 20)
            shared = {"legendgroup": str(n), "row": 1, "col": column}
            said = f"{thousands(float(n))}, D = %{{x:.3s}}: %{{y:.3g}}<extra></extra>"
            figure.add_scatter(
                x=part.D, y=part[setting], mode="markers", name=thousands(float(n)), showlegend=column == 1,
                marker={"color": colour, "symbol": symbol, "size": 10}, hovertemplate=said, **shared,
            )  # fmt: skip
            figure.add_scatter(
                x=part.D, y=part[f"{setting}_argmin"], mode="markers", showlegend=False, hovertemplate=said,
                marker={"color": colour, "symbol": f"{symbol}-open", "size": 7}, **shared,
            )  # fmt: skip
            figure.add_scatter(
                x=span, y=[law.predict(setting, float(n), d) for d in span], mode="lines", showlegend=False,
                line={"color": colour, "width": 1.5}, hoverinfo="skip", **shared,
            )  # fmt: skip
        figure.update_xaxes(title="Tokens D", type="log", **_POWERS, row=1, col=column)
        figure.update_yaxes(title=f"Best {_TITLES[setting].lower()}", type="log", **_POWERS, row=1, col=column)
    figure.update_layout(legend={"title": {"text": "parameters N"}})
    note = f"{len(points)} grids. Full marks: geometric mean of near-optimal runs; open: the single best run,<br>"
    note += "which jumps by whole steps of the grid. Lines: the law of the full marks."
    return finish(figure, "Best settings follow power laws", note, height=520)


def exponent_figure(table: pd.DataFrame, authors: dict[tuple[str, str], float], name: str) -> go.Figure:
    """Draw exponents and their intervals against what counts as near-optimal.

    Args:
        table: Of ``lr_laws.sensitivity``.
        authors: (setting, size) -> exponent of another law.
        name: What that law is.

    Returns:
        The figure.
    """
    figure = go.Figure()
    nears = table.near.unique()
    ticks = ["best run" if near == 0 else f"{100 * near:g} %" for near in nears]
    for i, ((setting, size), part) in enumerate(table.groupby(["setting", "size"], sort=False)):
        x, label = np.arange(len(part)) + 0.08 * (i - 1.5), f"{_TITLES[setting].split(' (')[0]}: {size}"
        bars = {"array": part.high - part.exponent, "arrayminus": part.exponent - part.low}
        figure.add_scatter(
            x=x, y=part.exponent, error_y=bars, mode="markers", name=label, customdata=part.t,
            marker={"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 9},
            hovertemplate=f"{label}: %{{y:.3f}}, t = %{{customdata:.1f}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[-0.4, len(nears) - 0.6], y=[authors[setting, size]] * 2, mode="lines", name=name, showlegend=i == 3,
            line={"color": COLOURS[i], "dash": "dot", "width": 1.5}, hovertemplate="%{y:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Runs within this of the best loss", tickvals=[*range(len(nears))], ticktext=ticks)
    figure.update_yaxes(title="Exponent", zeroline=True, zerolinecolor=GREY)
    return finish(figure, "How the exponents depend on what counts as near-optimal",
                  "Bars: 95 % bootstrap intervals over the grids.", height=460)  # fmt: skip


def regret_figure(left: pd.DataFrame, moe: pd.DataFrame) -> go.Figure:
    """Draw what advice costs: each size held out in turn, and mixtures of experts.

    Args:
        left: Of ``lr_laws.leave_out``.
        moe: Of ``lr_laws.experts``.

    Returns:
        The figure.
    """
    titles = ("Dense models, the size held out", "Mixtures of experts, never fitted")
    figure = panels(2, 1, subplot_titles=titles, vertical_spacing=0.22, row_heights=[0.55, 0.45])
    x = [[f"N = {thousands(row.N)}" for row in left.itertuples()], [thousands(row.D) for row in left.itertuples()]]
    bars = {"array": left.high - left.regret, "arrayminus": (left.regret - left.low).clip(lower=0), "color": GREY}
    arms = (
        ("the law", left.regret, BLUE, "circle", bars),
        ("law, batch by tokens alone", left.tokens_only, SKY, "square", None),
        ("law of single best runs", left.argmin, ORANGE, "triangle-up", None),
        ("smallest model's setting kept", left.kept, VERMILION, "x", None),
        ("the authors' law (has seen all)", left.authors, INK, "diamond-open", None),
    )
    for name, y, colour, symbol, error in arms:
        figure.add_scatter(
            x=x, y=np.maximum(y, 1e-3), mode="markers", name=name, error_y=error, row=1, col=1, customdata=y,
            marker={"color": colour, "symbol": symbol, "size": 9},
            hovertemplate=f"{name}: %{{customdata:.3f}} %<extra></extra>",
        )  # fmt: skip
    x = [[row.kind for row in moe.itertuples()], [thousands(row.D) for row in moe.itertuples()]]
    for name, column, colour, symbol in (
        ("N: all parameters", "all", BLUE, "circle"),
        ("N: active ones", "active", VERMILION, "cross"),
    ):
        figure.add_scatter(
            x=x, y=np.maximum(moe[column], 1e-3), mode="markers", name=name, row=2, col=1,
            marker={"color": colour, "symbol": symbol, "size": 9}, hovertemplate=f"{name}: %{{y:.3f}} %<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0.5, line={"color": GREY, "dash": "dash"}, row=1, col=1)
    figure.update_yaxes(title="% over the grid's best", type="log", tickvals=[0.01, 0.1, 1, 10])
    figure.update_xaxes(title="Tokens D and size held out", tickangle=0, row=1, col=1)
    figure.update_xaxes(title="Tokens D and kind", tickangle=0, row=2, col=1)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom", "x": 0})
    note = "Loss at the advised setting, over tokens D; bars: 95 % bootstrap over the fitted grids; dashed: 0.5 %."
    return finish(figure, "What following the law costs", note, height=820)


def own_view(points: pd.DataFrame, held: pd.DataFrame, near: float) -> go.Figure:
    """Draw predicted against own best settings of the held-out size among the fitted grids, and the regret.

    Args:
        points: Of ``lr_laws.optima`` at ``near``.
        held: Of ``lr_laws.hold_out``.
        near: Share of the best loss.

    Returns:
        The figure.
    """
    figure = panels(1, 3, subplot_titles=("Learning rate", "Batch (tokens)", "Regret (%)"), horizontal_spacing=0.09)
    fitted = points[~points.N.isin(held.N)]
    for column, setting in enumerate(SETTINGS, 1):
        own = pd.concat([fitted[setting], held[f"{setting}_own"]])
        span = [own.min() / 1.5, own.max() * 1.5]
        marks = (
            ("fitted grids", fitted.D, fitted[setting], "circle-open", GREY, 8),
            ("held out, own best", held.D, held[f"{setting}_own"], "diamond", INK, 10),
            ("held out, predicted", held.D, held[setting], "x", VERMILION, 10),
        )
        for name, x, y, symbol, colour, size in marks:
            figure.add_scatter(
                x=x, y=y, mode="markers", name=name, showlegend=column == 1, row=1, col=column,
                marker={"color": colour, "symbol": symbol, "size": size},
            )  # fmt: skip
        figure.update_yaxes(type="log", range=np.log10(span).tolist(), **_POWERS, row=1, col=column)
    bars = {"array": held.high - held.regret, "arrayminus": (held.regret - held.low).clip(lower=0)}
    figure.add_scatter(x=held.D, y=held.regret, error_y=bars, mode="markers", showlegend=False,
                       marker={"color": BLUE, "size": 10}, row=1, col=3)  # fmt: skip
    figure.update_yaxes(range=[0, max(1.0, float(held.high.max()) * 1.1)], row=1, col=3)
    figure.update_xaxes(title="Tokens D", type="log", exponentformat="power", tickvals=[1e9, 1e10, 1e11])
    figure.update_xaxes(range=np.log10([points.D.min() / 1.5, points.D.max() * 1.5]).tolist())
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"})
    note = f"N = {thousands(held.N.iloc[0])} held out, near-optimal within {100 * near:g} %: "
    note += f"worst regret {held.regret.max():.2f} %."
    return finish(figure, "Hold out a size", note, height=480)

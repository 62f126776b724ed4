"""Figures of extrapolated curves: errors and coverage, the sampler, searches, picks, the stopping rule, one curve."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from curve_trials import LEVEL, WAYS
from learning_curves import NEAR, REGRET, SAVING

from workbench.figures.style import BLUE, COLOURS, FAINT, GREEN, GREY, INK, ORANGE, VERMILION, finish, log_axis, panels
from workbench.laws import FAMILIES

NAMES = {"last value": "last value", "power": "power law", "power_offset": "power law + offset", "mmf": "MMF"}
NAMES |= {"exponential": "exponential", "weibull": "Weibull", "ensemble": "AICc ensemble", "network": "network"}
_LOOK = {"last value": (GREY, "circle"), "ensemble": (BLUE, "square"), "network": (VERMILION, "diamond")}
_SIZE = 9


def _style(way: str) -> tuple[str, str]:
    return _LOOK.get(way, (GREEN, "triangle-up"))


def error_figure(errors: Mapping[int, pd.DataFrame], n: int) -> go.Figure:
    """Draw mean errors of each way, a panel for each part of the curves that is seen."""
    titles = [f"Seen until 1/{cut} of the data" for cut in errors]
    figure = panels(1, len(errors), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.04)
    for col, table in enumerate(errors.values(), 1):
        for way in WAYS:
            row, (colour, symbol) = 100 * table.loc[way], _style(way)
            figure.add_scatter(
                x=[row["mean"]], y=[NAMES[way]], mode="markers", showlegend=False, row=1, col=col,
                marker={"color": colour, "symbol": symbol, "size": _SIZE},
                error_x={"array": [row.high - row["mean"]], "arrayminus": [row["mean"] - row.low], "width": 4},
                hovertemplate=f"{NAMES[way]}: %{{x:.2f}} points (mean), {row['median']:.2f} (median)<extra></extra>",
            )  # fmt: skip
            figure.add_scatter(
                x=[row["median"]], y=[NAMES[way]], mode="markers", showlegend=False, hoverinfo="skip", row=1, col=col,
                marker={"color": colour, "symbol": f"{symbol}-open", "size": _SIZE},
            )  # fmt: skip
        figure.update_xaxes(title="Points of error rate", rangemode="tozero", row=1, col=col)
    figure.update_yaxes(title="Way to predict", autorange="reversed", row=1, col=1)
    note = f"{n} curves; full: mean |predicted - final|, 95 % interval over datasets; open: median."
    return finish(figure, "How far off is the predicted end of a curve?", note, height=480)


def coverage_figure(tables: Mapping[int, pd.DataFrame]) -> go.Figure:
    """Draw how many ends lie in their intervals, before and after calibration on other datasets."""
    figure = go.Figure()
    for i, (cut, table) in enumerate(tables.items()):
        figure.add_scatter(
            x=100 * table.covered, y=[*table.index], mode="markers", name=f"seen until 1/{cut}",
            marker={"color": COLOURS[i], "symbol": ("circle", "square", "diamond")[i % 3], "size": _SIZE},
            error_x={"array": 100 * (table.high - table.covered), "arrayminus": 100 * (table.covered - table.low)},
            customdata=100 * table.width,
            hovertemplate="%{y}: %{x:.0f} % covered, median width %{customdata:.1f} points<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=100 * LEVEL, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="Ends within their interval (%)", range=[40, 100])
    figure.update_yaxes(title="Intervals", autorange="reversed")
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    note = f"The line: the {LEVEL:.0%} that intervals promise. Bars: 95 % interval over datasets."
    return finish(figure, "Do intervals hold what they promise?", note, height=430)


def sampler_figure(compared: pd.DataFrame) -> go.Figure:
    """Draw the log densities that sampler and network give to the same futures."""
    figure, ends = (
        go.Figure(),
        [compared[["sampler", "network"]].min().min(), compared[["sampler", "network"]].max().max()],
    )
    for said, part, symbol in (
        ("ensembles agree", compared[compared.r_hat < 1.1], "circle"),
        ("R-hat 1.1 or more", compared[compared.r_hat >= 1.1], "circle-open"),
    ):
        figure.add_scatter(
            x=part.sampler, y=part.network, mode="markers", name=said, customdata=part.r_hat,
            marker={"color": VERMILION, "symbol": symbol, "size": _SIZE},
            hovertemplate="sampler %{x:.2f}, network %{y:.2f} nats, R-hat %{customdata:.2f}<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(x=ends, y=ends, mode="lines", name="equal", line={"color": INK, "width": 1}, hoverinfo="skip")
    figure.update_xaxes(title="Sampler: log density of what comes (nats)")
    figure.update_yaxes(title="Network: the same")
    note = (
        f"A mark: one of {len(compared)} new draws of the prior, mean of four futures. Above the line: network better."
    )
    return finish(figure, "The same prior, conditioned in two ways", note, height=480)


def search_figure(epochs: pd.DataFrame, examples: pd.DataFrame) -> go.Figure:
    """Draw savings and regrets of searches that give up hopeless candidates."""
    shown = (("TaskSet: epochs", epochs.groupby("task").mean(), 1.0, "Regret (nats of test loss)"),
             ("LCDB: examples", examples, 100.0, "Regret (points of test error)"))  # fmt: skip
    figure = panels(1, 2, subplot_titles=[panel[0] for panel in shown], horizontal_spacing=0.13)
    for col, (_, rows, scale, title) in enumerate(shown, 1):
        for way, said, colour, symbol in (
            ("behind", "who is behind the best", GREY, "x"), ("network", "network: chance < 5 %", VERMILION, "circle")
        ):  # fmt: skip
            figure.add_scatter(
                x=rows[f"{way} saving"], y=scale * rows[f"{way} regret"], mode="markers", name=said, legendgroup=way,
                showlegend=col == 1, row=1, col=col,
                marker={"color": colour, "symbol": symbol, "size": 7, "opacity": 0.7},
                hovertemplate=f"{said}: %{{x:.1f}}x, regret %{{y:.3g}}<extra></extra>",
            )  # fmt: skip
        top = max(2.0, float(rows[["network saving", "behind saving"]].max().max()))
        figure.add_hline(y=scale * REGRET, line={"color": INK, "width": 1, "dash": "dot"}, row=1, col=col)
        figure.add_vline(x=SAVING, line={"color": INK, "width": 1, "dash": "dot"}, row=1, col=col)
        figure.update_xaxes(title="Saving (times, log)", **log_axis([0.9, 1.2 * top]), row=1, col=col)
        figure.update_yaxes(title=title, row=1, col=col)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    note = f"A mark: one of {epochs.task.nunique()} tasks (mean of its searches), one of {len(examples)} datasets."
    note += "<br>Dotted: the rule; right and below keeps it."
    return finish(figure, "What giving up the hopeless saves, and costs", note, height=480)


def pick_figure(picked: pd.DataFrame) -> go.Figure:
    """Draw errors of predictions beside regrets of picking by them, on TaskSet."""
    titles = ("Error of the prediction", "Regret of picking by it")
    figure = panels(1, 2, subplot_titles=titles, horizontal_spacing=0.13)
    for col, column in enumerate(("error", "regret"), 1):
        for i, way in enumerate(("last value", "power_offset", "ensemble", "network")):
            rows, (colour, symbol) = picked[picked.way == way], _style(way)
            quartiles = [part[column].quantile([0.5, 0.25, 0.75]) for _, part in rows.groupby("share")]
            middle, low, high = np.array(quartiles).T
            figure.add_scatter(
                x=100 * np.sort(rows.share.unique()) * 1.05 ** (i - 1.5), y=middle, mode="lines+markers",
                name=NAMES[way], legendgroup=way, showlegend=col == 1, row=1, col=col, line={"color": colour},
                marker={"color": colour, "symbol": symbol, "size": _SIZE},
                error_y={"array": high - middle, "arrayminus": middle - low, "width": 3, "thickness": 1},
                hovertemplate=f"{NAMES[way]}: %{{y:.3f}} nats<extra></extra>",
            )  # fmt: skip
        figure.update_xaxes(title="Seen of the training (%, log)", **log_axis([8, 50]), row=1, col=col)
        figure.update_yaxes(title="Nats", rangemode="tozero", row=1, col=col)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    note = f"Median and quartiles over {picked.task.nunique()} tasks of TaskSet; left: of the tasks' median errors."
    return finish(figure, "A better prediction is not a better choice", note, height=480)


def stopping_figure(stops: pd.DataFrame) -> go.Figure:
    """Draw how many curves each way predicts to within so many points at 30 % of the data."""
    figure, known = go.Figure(), stops[stops.known]
    said = {"rule": "rule: power law + offset", "distorted": "rule, distorted points"}
    for way in ("rule", "distorted", "last value", "exponential", "ensemble", "network"):
        colour = {"rule": GREEN, "distorted": GREEN, "exponential": ORANGE}.get(way) or _style(way)[0]
        off = np.sort(known[way].abs().dropna())
        figure.add_scatter(
            x=off, y=100 * np.arange(1, len(off) + 1) / len(known), mode="lines", name=said.get(way, NAMES.get(way)),
            line={"color": colour, "width": 2, "shape": "hv", "dash": "dot" if way == "distorted" else "solid"},
            hovertemplate=f"{way}: %{{y:.0f}} % within %{{x:.2f}} points<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=NEAR, line={"color": INK, "width": 1, "dash": "dot"})
    figure.add_hline(y=80, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="|predicted - final|, points of error (log)", **log_axis([0.05, 30]))
    figure.update_yaxes(title="Curves (%)", range=[0, 100])
    note = (
        f"{len(known)} of {len(stops)} curves of LCDB, which have reached their prediction level at 30 % of the data. "
    )
    note += "Dotted: the rule's 1 point, 80 %."
    return finish(figure, "Predicted at 30 % of the data", note, height=480)


def curve_view(
    x: Sequence[float],
    y: Sequence[float],
    n_seen: int,
    ahead: Sequence[float],
    each: Mapping[str, Sequence[float]],
    weights: Mapping[str, float],
    fan: Mapping[float, Sequence[float]],
    title: str,
    note: str,
) -> go.Figure:
    """Draw one curve, what the families and the network make of its seen points, and the families' weights.

    Args:
        x: Examples of all points.
        y: Their errors.
        n_seen: How many are seen.
        ahead: Where it is predicted.
        each: Family -> its prediction there.
        weights: Family -> its weight.
        fan: Probability -> the network's quantile there; symmetric about 0.5.
        title: Of the figure.
        note: Below it.

    Returns:
        A figure of always the same traces.
    """
    figure = panels(1, 2, column_widths=[0.7, 0.3], horizontal_spacing=0.3)
    ends, grown = sorted(p for p in fan if p < 0.5), np.asarray(ahead)
    for p in ends:
        figure.add_scatter(
            x=[*grown, *grown[::-1]], y=100 * np.array([*fan[p], *[*fan[1 - p]][::-1]]), mode="lines", fill="toself",
            line={"width": 0}, fillcolor="rgba(213,94,0,0.18)", name=f"network, {1 - 2 * p:.0%}", hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(x=grown, y=100 * np.array(fan[0.5]), mode="lines", name="network, median",
                       line={"color": VERMILION, "width": 3})  # fmt: skip
    for i, name in enumerate(FAMILIES):
        figure.add_scatter(
            x=grown, y=100 * np.array(each[name]), mode="lines", name=NAMES[name], opacity=0.25 + 0.75 * weights[name],
            line={"color": _FAMILY[i], "width": 1.5 + 2 * weights[name], "dash": "dash"},
        )  # fmt: skip
    for part, said, symbol in ((slice(n_seen, None), "to come", "circle-open"), (slice(n_seen), "seen", "circle")):
        figure.add_scatter(x=x[part], y=100 * np.asarray(y[part]), mode="markers", name=said,
                           marker={"color": INK, "symbol": symbol, "size": 6})  # fmt: skip
    figure.add_bar(
        x=[weights[name] for name in FAMILIES], y=[NAMES[name] for name in FAMILIES], orientation="h",
        marker={"color": _FAMILY}, showlegend=False, row=1, col=2,
        hovertemplate="%{y}: weight %{x:.2f}<extra></extra>",
    )  # fmt: skip
    top = 105 * max(y, default=1.0)
    figure.update_xaxes(title="Training examples (log)", **log_axis([0.9 * min(x), 1.1 * max(x)]), row=1, col=1)
    figure.update_yaxes(title="Error rate (%)", range=[0, top], row=1, col=1)
    figure.update_yaxes(title="Family", row=1, col=2)
    figure.update_xaxes(title="AICc weight", range=[0, 1], gridcolor=FAINT, row=1, col=2)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"})
    return finish(figure, title, note, height=560)


_FAMILY = (GREEN, "#56B4E9", "#E69F00", BLUE, "#CC79A7")

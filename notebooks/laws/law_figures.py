"""Figures of the study on scaling laws: what was predicted, how the Chinchilla fits differ, the leaderboard."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.figures.style import BLUE, COLOURS, GREEN, GREY, INK, SYMBOLS, VERMILION, again, finish, panels

_ARMS = {
    "law": ("over-training law, 5 runs", BLUE), "no M": ("no M, 5 runs", VERMILION),
    "law, all": ("over-training law, all small runs", GREEN), "additive, all": ("additive, all small runs", GREY),
}  # fmt: skip


def extrapolation_figure(found: pd.DataFrame) -> go.Figure:
    """Draw the relative errors of the predicted losses, a row a held-out run."""
    figure, names = go.Figure(), [f"{r.corpus}<br>{r.N / 1e9:.2g}B x {r.M:.0f}" for r in found.itertuples()]
    figure.add_vrect(x0=-2, x1=2, fillcolor=BLUE, opacity=0.08, line_width=0)
    for i, (arm, (label, colour)) in enumerate(_ARMS.items()):
        figure.add_scatter(
            x=found[arm], y=names, mode="markers", name=label, customdata=found.ratio,
            marker={"color": colour, "symbol": SYMBOLS[i], "size": 12, "line": {"color": INK, "width": 1}},
            hovertemplate=f"{label}: %{{x:+.2f}} %, %{{customdata:.0f}} x the largest of 5<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_xaxes(title="Predicted loss over measured (%)")
    figure.update_yaxes(title="Held-out run", autorange="reversed")
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    figure.update_layout(margin={"b": 130})
    note = f"n = {len(found)} runs of 280 to 390 times the largest of five runs. Shaded: within 2 %, the rule."
    return finish(figure, "From small runs to large ones", note, height=520)


def board_figure(board: pd.DataFrame) -> go.Figure:
    """Draw the held-out error of every fitter on every table."""
    figure = go.Figure()
    order = board.groupby("fitter").error.apply(lambda v: np.exp(np.log(v).mean())).sort_values().index
    for i, (name, rows) in enumerate(board.groupby("table", sort=False)):
        rows = rows.set_index("fitter").loc[order].reset_index()
        figure.add_scatter(
            x=rows.error, y=rows.fitter, mode="markers", name=f"{name} ({rows.n_held.iloc[0]})", customdata=rows.worst,
            marker={"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 11},
            hovertemplate=f"{name}, %{{y}}: mean %{{x:.2f}} %, worst %{{customdata:.2f}} %<extra></extra>",
        )  # fmt: skip
    ticks = [0.2, 0.5, 1, 2, 5, 10]
    figure.update_xaxes(
        title="Mean error of the held-out runs (%)", type="log", tickvals=ticks, ticktext=list(map(str, ticks))
    )
    figure.update_yaxes(title="Fitter", autorange="reversed")
    figure.update_layout(legend={"title": {"text": "Table (runs held out)"}})
    note = "Each table's runs of most compute held out. Best on top, by the geometric mean over the tables."
    return finish(figure, "Leaderboard: who predicts the largest runs", note, height=500)


def forensics_figure(fits: pd.DataFrame, low: float, high: float) -> go.Figure:
    """Draw what each fit of the Chinchilla runs advises, against how badly it fits."""
    figure = go.Figure()
    figure.add_hrect(y0=low, y1=high, fillcolor=BLUE, opacity=0.1, line_width=0)
    for i, row in enumerate(fits.itertuples()):
        figure.add_scatter(
            x=[row.objective], y=[row.tokens], mode="markers", name=str(row.Index),
            marker={"color": COLOURS[i % 7], "symbol": SYMBOLS[i % 7], "size": 13, "line": {"color": INK, "width": 1}},
            hovertemplate=f"{row.Index}: {row.tokens:.1f} tokens per parameter<br>alpha {row.alpha:.4f}, "
            f"beta {row.beta:.4f}<extra></extra>",
        )  # fmt: skip
    for axis, title, ticks in (
        (figure.update_xaxes, "Sum of losses on the runs fitted (1 = the least)", (1, 2, 3, 5, 8)),
        (figure.update_yaxes, "Best tokens per parameter", (5, 10, 20, 50, 100)),
    ):
        axis(title=title, type="log", tickvals=ticks, ticktext=[str(tick) for tick in ticks])
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    figure.update_layout(margin={"b": 150})
    note = "At 5.76e23 operations. Shaded: 90 % bootstrap interval of the refit without five runs."
    return finish(figure, "One table, many laws", note, height=560)


def own_scene() -> go.Figure:
    """Draw what is the same in all fits of the reader's own: the axes."""
    figure = panels(1, 2, horizontal_spacing=0.14)
    figure.add_hline(y=20, line={"color": INK, "dash": "dot"}, row=1, col=2, exclude_empty_subplots=False)
    figure.update_xaxes(title="Tokens per parameter", type="log", dtick=1, row=1, col=1)
    figure.update_yaxes(title="Predicted over measured (%)", row=1, col=1)
    figure.update_xaxes(title="Compute (operations)", type="log", dtick=2, exponentformat="power", row=1, col=2)
    figure.update_yaxes(title="Best tokens per parameter", type="log", range=[0, 3], dtick=1, row=1, col=2)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    figure.update_layout(margin={"b": 120})
    return finish(figure, "", "", height=520)


def own_view(
    scene: go.Figure, ratio: np.ndarray, kept: np.ndarray, residuals: np.ndarray, curve: pd.DataFrame, title: str,
    note: str,
) -> go.Figure:  # fmt: skip
    """Draw a fit of the reader's own: residuals over tokens per parameter, and the advice over compute.

    Args:
        scene: Of ``own_scene``.
        ratio: Tokens per parameter of all runs.
        kept: Which of them were fitted.
        residuals: In percent, predicted over measured.
        curve: ``C`` and ``tokens_per_parameter``.
        title: What was fitted.
        note: What came out.

    Returns:
        A figure of two panels, always with the same traces.
    """
    figure = again(scene)
    for label, rows, colour, symbol in (("fitted", kept, BLUE, "circle"), ("dropped", ~kept, VERMILION, "x")):
        figure.add_scatter(
            x=ratio[rows], y=residuals[rows], mode="markers", name=label,
            marker={"color": colour, "symbol": symbol, "size": 7},
            hovertemplate=f"{label}, %{{x:.1f}} tokens per parameter: %{{y:+.2f}} %<extra></extra>", row=1, col=1,
        )  # fmt: skip
    figure.add_scatter(
        x=curve.C, y=curve.tokens_per_parameter, mode="lines+markers", name="best split", line={"color": GREEN},
        hovertemplate="%{x:.2g} operations: %{y:.1f}<extra></extra>", row=1, col=2,
    )  # fmt: skip
    return figure.update_layout(title_text=title, title_subtitle_text=note)

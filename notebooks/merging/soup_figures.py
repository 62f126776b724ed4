"""Figures of soups and merges: what averaging gains, what lies between runs, the predicted gap, lambda."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from merge_trials import ARMS as MERGE_ARMS
from merge_trials import SETTINGS
from soup_results import Merges, Soups
from soup_tasks import SHIFTS
from soup_trials import ARMS, KINDS

from workbench.figures.style import BLUE, COLOURS, GREEN, GREY, INK, SYMBOLS, VERMILION, finish, panels

_KIND = dict(zip(KINDS, (BLUE, VERMILION), strict=True))
_MERGE = dict(zip(MERGE_ARMS, ((VERMILION, "dash"), (BLUE, "solid"), (GREEN, "dot")), strict=False))
_THIN = 12  # segments drawn one by one


def gain_figure(soups: Soups) -> go.Figure:
    """Draw what soups and ensemble of a shared start have over the best single run, in and out of distribution."""
    titles = [f"Images {SHIFTS[0]}", *(each.capitalize() for each in SHIFTS[1:])]
    figure = panels(1, len(SHIFTS), subplot_titles=titles, shared_yaxes=True)
    best = 100 * soups.right[:, 0, 0].mean(axis=2)
    for i in range(len(SHIFTS)):
        mean = 100 * soups.singles[:, 0, :, i].mean(axis=1) - best[:, i]
        columns = {"mean single": mean}
        columns |= {arm: np.array(soups.gain(arm, (i,)).seeds) for arm in ARMS[1:]}
        for k, (arm, own) in enumerate(columns.items()):
            colour = (GREY, *COLOURS)[k]
            figure.add_scatter(
                x=own, y=[arm] * len(own), mode="markers", marker={"color": colour, "size": 7, "opacity": 0.5},
                showlegend=False, hovertemplate=f"{arm}, one repeat: %{{x:+.2f}} points<extra></extra>",
                row=1, col=i + 1,
            )  # fmt: skip
            low, high = soups.gain(arm, (i,)).interval if arm in ARMS else (np.nan, np.nan)
            bars = {"array": [high - own.mean()], "arrayminus": [own.mean() - low], "width": 8, "thickness": 2}
            figure.add_scatter(
                x=[own.mean()], y=[arm], mode="markers", error_x=None if np.isnan(low) else bars, showlegend=False,
                marker={"color": colour, "size": 12, "symbol": SYMBOLS[k], "line": {"color": INK, "width": 1}},
                hovertemplate=f"{arm}, mean: %{{x:+.2f}} points<extra></extra>", row=1, col=i + 1,
            )  # fmt: skip
        figure.add_vline(x=0, line={"color": INK, "width": 1.5}, row=1, col=i + 1)
    figure.update_yaxes(title="Network", autorange="reversed")
    figure.update_xaxes(title="Over best single (points)")
    note = (
        f"Small: {len(soups.seeds)} repeats of {len(soups.runs)} fine-tunings. Large: their mean, 95 % intervals over "
    )
    note += "repeats and test images.<br>The best single run is chosen on validation; line: as good as it."
    return finish(figure, f"What an average gains: {soups.dataset}", note, height=520)


def barrier_figure(soups: Soups) -> go.Figure:
    """Draw test error on the segments between runs, shared and independent starts."""
    figure, t = go.Figure(), np.linspace(0, 1, soups.error.shape[3])
    for k, (kind, colour) in enumerate(_KIND.items()):
        first = 100 * soups.error[0, k]
        shown = np.linspace(0, len(first) - 1, min(_THIN, len(first))).round().astype(int)
        for i in shown:
            figure.add_scatter(
                x=t, y=first[i], mode="lines", line={"color": colour, "width": 1}, opacity=0.35, showlegend=False,
                hoverinfo="skip",
            )  # fmt: skip
        low, mean, high = _quantiles(100 * soups.error[:, k].reshape(-1, len(t)))
        figure.add_scatter(
            x=t, y=mean, mode="lines+markers", name=f"{kind} start", line={"color": colour, "width": 3},
            marker={"symbol": SYMBOLS[k], "size": 8}, customdata=np.stack([low, high], axis=1),
            hovertemplate=f"{kind}, t = %{{x:.2f}}: %{{y:.1f}} % [%{{customdata[0]:.1f}}, %{{customdata[1]:.1f}}]"
            "<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="From one run to another (t)")
    figure.update_yaxes(title="Test error (%)", range=[0, 100])
    note = f"Thick: mean of {soups.error.shape[2]} pairs in each of {len(soups.seeds)} repeats (hover: 10th and 90th "
    note += f"percentile).<br>Thin: {min(_THIN, soups.error.shape[2])} pairs of the first repeat."
    return finish(figure, f"Between two fine-tuned networks: {soups.dataset}", note)


def _quantiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the 10th percentile, mean and 90th percentile over the first axis."""
    low, high = np.quantile(values, [0.1, 0.9], axis=0)
    return low, values.mean(axis=0), high


def gap_figure(soups: Soups) -> go.Figure:
    """Draw the measured soup-ensemble gap of each pair of a shared start against the prediction."""
    figure = go.Figure()
    ends = [float(f(soups.term[:, 0])) for f in (np.min, np.max)]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": INK, "dash": "dash"}, name="as predicted", hoverinfo="skip"
    )
    for i, seed in enumerate(soups.seeds):
        figure.add_scatter(
            x=soups.term[i, 0], y=soups.gap[i, 0], mode="markers", name=f"repeat {seed}", opacity=0.7,
            marker={"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 7},
            text=[f"{soups.runs[a]}<br>{soups.runs[b]}" for a, b in soups.pairs],
            hovertemplate="predicted %{x:.4f}, measured %{y:.4f} nats<br>%{text}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Predicted from flatness and confidence (nats)")
    figure.update_yaxes(title="Soup minus ensemble (nats of loss)")
    said = ", ".join(f"{value:.2f}" for value in soups.correlation)
    note = f"{len(soups.pairs)} pairs a repeat, shared start. Correlation by repeat: {said}."
    return finish(figure, "Soup against ensemble of two", note)


def lambda_figure(merges: Merges) -> go.Figure:
    """Draw accuracy over lambda, Fisher against plain, a panel a setting."""
    titles = [each.capitalize() for each in SETTINGS]
    figure = panels(2, 2, subplot_titles=titles, horizontal_spacing=0.17, vertical_spacing=0.19)
    for i in range(len(SETTINGS)):
        place = {"row": i // 2 + 1, "col": i % 2 + 1}
        for arm, (colour, dash) in _MERGE.items():
            own = 100 * merges.test[i, MERGE_ARMS.index(arm)]
            spread = own.std(axis=0, ddof=1) if len(own) > 1 else np.zeros(own.shape[1])
            figure.add_scatter(
                x=merges.lambdas, y=own.mean(axis=0), mode="lines+markers", name=arm, legendgroup=arm,
                showlegend=i == 0, line={"color": colour, "dash": dash}, customdata=spread,
                marker={"symbol": SYMBOLS[MERGE_ARMS.index(arm)], "size": 7},
                error_y={"array": spread, "thickness": 1, "width": 2} if arm != "empirical Fisher" else None,
                hovertemplate=f"{arm}, lambda %{{x:.2f}}: %{{y:.1f}} ± %{{customdata:.1f}} %<extra></extra>", **place,
            )  # fmt: skip
        figure.update_xaxes(title="Lambda (weight of the second expert)", **place)
        figure.update_yaxes(title="Test accuracy (%)", **place)
    note = f"Mean and standard deviation of {len(merges.seeds)} seeds. At 0 stands the first expert, at 1 the second."
    return finish(figure, "Fisher weights against a plain average", note, height=760)


def pair_view(soups: Soups, merges: Merges, value: float) -> go.Figure:
    """Draw two experts merged at one lambda: where it stands on two segments, what Fisher weights change.

    Args:
        soups: The first two runs of the first repeat are drawn.
        merges: All settings.
        value: Lambda, one of the grid.

    Returns:
        A figure of two panels, always with the same traces.
    """
    figure = panels(1, 2, horizontal_spacing=0.14)
    t = np.linspace(0, 1, soups.error.shape[3])
    at = int(np.abs(t - value).argmin())
    for k, (kind, colour) in enumerate(_KIND.items()):
        error = 100 * soups.error[0, k, -1]
        figure.add_scatter(
            x=t, y=error, mode="lines", name=f"{kind} start", line={"color": colour}, row=1, col=1, hoverinfo="skip"
        )
        figure.add_scatter(
            x=[t[at]], y=[error[at]], mode="markers", showlegend=False, row=1, col=1,
            marker={"color": colour, "size": 14, "symbol": SYMBOLS[k], "line": {"color": INK, "width": 1}},
            hovertemplate=f"{kind} start, lambda %{{x:.2f}}: test error %{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
    at = int(np.abs(merges.lambdas - value).argmin())
    for j, arm in enumerate(MERGE_ARMS[:2]):
        own = 100 * merges.test[:, MERGE_ARMS.index(arm), :, at]
        figure.add_scatter(
            x=list(SETTINGS), y=own.mean(axis=1), mode="markers", name=arm, row=1, col=2,
            error_y={"array": own.std(axis=1, ddof=1) if own.shape[1] > 1 else np.zeros(len(own))},
            marker={"color": (INK, GREEN)[j], "symbol": ("diamond", "star")[j], "size": 12},
            hovertemplate=f"{arm}, %{{x}}: %{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
    a, b = soups.pairs[-1]
    figure.update_xaxes(title="Lambda (share of the second run)", range=[-0.05, 1.05], row=1, col=1)
    figure.update_yaxes(title="Test error (%)", range=[0, 100], row=1, col=1)
    figure.update_xaxes(title="Two experts", row=1, col=2)
    figure.update_yaxes(title="Test accuracy (%)", range=[0, 100], row=1, col=2)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    note = f"Left: {soups.runs[a]} to<br>{soups.runs[b]}, first repeat. Right: mean and deviation of "
    return finish(figure, f"Lambda {value:.2f}", note + f"{len(merges.seeds)} seeds.", height=540)


def own_view(
    steps: Sequence[int], validation: Sequence[float], bars: Sequence[tuple[str, float, float]], title: str, note: str
) -> go.Figure:
    """Draw an expert of the reader's own: how it trains, and accuracies with and without it, in and out of shift."""
    figure = panels(1, 2, horizontal_spacing=0.26)
    line: dict[str, Any] = {"mode": "lines+markers", "showlegend": False, "line": {"color": BLUE}}
    said = "step %{x:,}: validation accuracy %{y:.3f}<extra></extra>"
    figure.add_scatter(x=list(steps), y=list(validation), **line, hovertemplate=said, row=1, col=1)
    names = [name for name, *_ in bars]
    for i, (name, colour) in enumerate((("as they are", BLUE), ("rotated and noisy", VERMILION))):
        figure.add_scatter(
            x=[100 * each[i + 1] for each in bars], y=names, mode="markers", name=name,
            marker={"color": colour, "symbol": SYMBOLS[i], "size": 11}, row=1, col=2,
            hovertemplate="%{y}, " + name + ": %{x:.1f} %<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Step of fine-tuning", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="Validation accuracy (fraction)", range=[0, 1.03], row=1, col=1)
    figure.update_xaxes(title="Test accuracy (%)", row=1, col=2)
    figure.update_yaxes(title="Network", type="category", autorange="reversed", row=1, col=2)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    return finish(figure, title, note, height=480)

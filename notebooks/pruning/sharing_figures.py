"""Figures of the study: accuracy against compression, gains of wider sparse networks, linear models, masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from linear_sharing import LINEAR_ARMS
from pruned import paired
from shared_arms import ARMS, PRUNERS, SHARED
from wide_sparse import CONTROL, MASKS, MEMBERS, wide_right

from workbench.figures.style import COLOURS, INK, SYMBOLS, finish, log_axis, panels

_NAMES = {"mlp": "MLP", "lenet": "LeNet", "cnn": "CNN with BatchNorm"}
_LOOKS = {
    arm: {"colour": colour, "symbol": symbol}
    for arm, colour, symbol in zip(ARMS, (*COLOURS[:-1], "#8C564B", "#7F7F7F"), (*SYMBOLS, "diamond"), strict=True)
}
_BELOW = {"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"}


def _panels(titles: Sequence[str]) -> go.Figure:
    figure = panels(1, len(titles), subplot_titles=list(titles), horizontal_spacing=0.12)
    return figure.update_layout(legend=_BELOW)


def _line(
    figure: go.Figure, col: int, look: dict[str, str], name: str, x: Any, y: Any, error: Any, said: str, dash: str
) -> None:
    """Add a line with bars."""
    figure.add_scatter(
        x=x, y=y, error_y={**error, "thickness": 1.2, "width": 3}, name=name, legendgroup=name, row=1, col=col,
        showlegend=not any(trace.name == name for trace in figure.data), mode="lines+markers",
        marker={"symbol": look["symbol"], "size": 8}, line={"color": look["colour"], "dash": dash},
        hovertemplate=f"{name}<br>{said}<extra></extra>",
    )  # fmt: skip


def error_versus_compression(runs: pd.DataFrame) -> go.Figure:
    """Draw every arm's test error against the compression of the weights; ``runs`` as from ``measure_sharing``."""
    networks = list(dict.fromkeys(runs.network))
    figure = _panels([f"{_NAMES[n]}, {runs[runs.network == n].seed.nunique()} seeds" for n in networks])
    for col, network in enumerate(networks, 1):
        own = runs[runs.network == network].assign(error=lambda t: 100 - 100 * t.accuracy)
        span = (0.85, 1.2 * own.compression.max())
        dense = own[own.arm == "dense"].error.mean()
        figure.add_scatter(
            x=span, y=[dense] * 2, mode="lines", line={"color": INK, "width": 1.5}, name="dense", legendgroup="dense",
            showlegend=col == 1, hovertemplate="dense, all weights: %{y:.2f} %<extra></extra>", row=1, col=col,
        )  # fmt: skip
        for arm in ARMS:
            cell = own[own.arm == arm].groupby("compression").error
            if len(cell):
                dash = "solid" if arm == SHARED else "dot" if arm in PRUNERS else "dash"
                bars = {"array": cell.std(ddof=1).fillna(0)}
                x, y = cell.mean().index, cell.mean()
                _line(figure, col, _LOOKS[arm], arm, x, y, bars, "1 / %{x}: error %{y:.2f} %", dash)
        figure.update_xaxes(title="Weights / numbers that are kept (log)", **log_axis(span), row=1, col=col)
        title = f"Test error (% of {len(own.right.iloc[0]):,} images, log)"
        figure.update_yaxes(title=title, **log_axis((1, 100)), row=1, col=col)
    note = "Mean and standard deviation over seeds, equal steps and equal tuning. Line across: the dense network."
    return finish(figure, "As few numbers: shared, pruned, or a small network", note, height=580)


def gains(table: pd.DataFrame) -> go.Figure:
    """Draw the gain in accuracy over the dense network of equal products; ``table`` as from ``measure_wide``."""
    networks = list(dict.fromkeys(table.network))
    figure = _panels([f"{_NAMES[n]}, {table[table.network == n].seed.nunique()} seeds" for n in networks])
    arms = [*((member, mask) for member in MEMBERS for mask in MASKS), ("wide", CONTROL)]
    for col, network in enumerate(networks, 1):
        sparsities = sorted(set(table[(table.network == network) & (table.member != "dense")].sparsity))
        dense = wide_right(table, network, "dense", 0.0, "dense")
        for i, (member, mask) in enumerate(arms):
            found = [paired(wide_right(table, network, member, s, mask), dense) for s in sparsities]
            bars = {"array": [100 * np.nan_to_num(d.se) for d in found]}
            name = "wide and dense (more products)" if mask == CONTROL else f"{member}, {mask}"
            dash = {"static": "dot", "SET": "dash"}.get(mask, "solid")
            shift = 0.004 * (i - len(arms) / 2)  # so that bars do not hide one another
            x, y = [s + shift for s in sparsities], [100 * d.value for d in found]
            look = {"colour": COLOURS[i], "symbol": SYMBOLS[i]}
            _line(figure, col, look, name, x, y, bars, "sparsity %{x:.2f}: %{y:+.2f} points", dash)
        figure.add_hline(y=0, line={"color": INK, "width": 1.5}, row=1, col=col)
        figure.update_xaxes(title="Sparsity of the wider layers", tickvals=sparsities, row=1, col=col)
        figure.update_yaxes(title="Test accuracy over dense (points)", row=1, col=col)
    note = "Mean and standard error over seeds and test images, paired; the learning rate is the dense network's."
    return finish(figure, "Wider and sparser at equal multiply-accumulates", note, height=560)


def linear_errors(table: pd.DataFrame) -> go.Figure:
    """Draw expected errors of linear models, exact and simulated; ``table`` as from ``measure_linear``."""
    correlations = sorted(set(table.correlation))
    figure = _panels([f"Neighbouring inputs' correlation {c:g}" for c in correlations])
    for col, correlation in enumerate(correlations, 1):
        own = table[table.correlation == correlation]
        span = (0.85, 1.2 * own.compression.max())
        for i, arm in enumerate(LINEAR_ARMS):
            cell, colour = own[own.arm == arm].sort_values("compression"), COLOURS[i]
            figure.add_scatter(
                x=cell.compression, y=cell.exact, mode="lines", line={"color": colour}, name=f"{arm}, exact",
                legendgroup=arm, showlegend=col == 1, row=1, col=col, hoverinfo="skip",
            )  # fmt: skip
            figure.add_scatter(
                x=cell.compression, y=cell.simulated, mode="markers", name=f"{arm}, simulated", legendgroup=arm,
                marker={"symbol": SYMBOLS[i], "size": 9, "color": colour}, showlegend=col == 1, row=1, col=col,
                customdata=cell[["exact", "ratio"]],
                hovertemplate=f"{arm}<br>1 / %{{x}}: %{{y:.4f}}, exact %{{customdata[0]:.4f}}<extra></extra>",
            )  # fmt: skip
        figure.update_xaxes(title="Inputs / fitted numbers (log)", **log_axis(span), row=1, col=col)
        figure.update_yaxes(title="Expected squared error (noise variance 1)", row=1, col=col)
    note = f"Means over {int(table.seeds.iloc[0])} replicates; the closed form, evaluated for each design, is the line."
    return finish(figure, "A linear model of few numbers", note, height=540)


def sharing_view(runs: pd.DataFrame, shape: Sequence[int], bins: np.ndarray, compression: int) -> go.Figure:
    """Draw the MLP's arms at a compression, first seed: where masks keep weights, and weights after training.

    Args:
        runs: As ``measure_sharing`` returns them.
        shape: Height and width of the images.
        bins: Edges of the histograms.
        compression: One that was run; at 1 every mask is the dense network.

    Returns:
        A figure of three panels, always with the same traces.
    """
    own = runs[(runs.network == "mlp") & (runs.seed == runs[runs.network == "mlp"].seed.iloc[0])]
    dense = own[own.arm == "dense"].iloc[0]
    found = {arm: own[(own.arm == arm) & (own.compression == compression)] for arm in (SHARED, *PRUNERS)}
    run = {arm: dense if each.empty else each.iloc[0] for arm, each in found.items()}
    figure = panels(1, 3, horizontal_spacing=0.14, column_widths=[0.3, 0.3, 0.4])
    figure.add_heatmap(
        z=np.reshape(run["SNIP"].inputs, shape), zmin=0, colorscale="Blues", row=1, col=1,
        showscale=False,
        hovertemplate="pixel %{x}, %{y}: %{z} weights<extra></extra>",
    )  # fmt: skip
    for arm in PRUNERS:
        layers, look = run[arm].densities, _LOOKS[arm]
        figure.add_scatter(
            x=[str(k) for k in range(1, len(layers) + 1)], y=[v or None for v in layers.values()], name=arm,
            mode="lines+markers", marker={"symbol": look["symbol"], "size": 9}, line={"color": look["colour"]},
            hovertemplate=f"{arm}, layer %{{x}}: density %{{y:.4f}}<extra></extra>", row=1, col=2,
        )  # fmt: skip
    middle = (bins[1:] + bins[:-1]) / 2
    for name, arm in ((SHARED, SHARED), ("SNIP, kept", "SNIP")):
        each, colour = run[arm], _LOOKS[arm]["colour"]
        counts = np.array(each.histogram) / max(1, np.sum(each.histogram))
        figure.add_bar(
            x=middle, y=counts, name=name, marker={"color": colour}, opacity=0.6, width=bins[1] - bins[0], row=1, col=3,
            hovertemplate=f"{name}: %{{y:.3f}} of the weights near %{{x:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Pixel column", row=1, col=1)
    figure.update_yaxes(title="Pixel row", autorange="reversed", row=1, col=1)
    figure.update_xaxes(title="Layer", row=1, col=2)
    figure.update_yaxes(title="Share of weights kept (log)", **log_axis((0.0001, 1.5)), row=1, col=2)
    figure.update_xaxes(title="Weight after training", row=1, col=3)
    figure.update_yaxes(title="Share of the nonzero weights", range=[0, 0.6], row=1, col=3)
    figure.update_layout(barmode="overlay", legend=_BELOW)
    accuracy = {arm: each.accuracy for arm, each in run.items()}
    note = f"Test accuracy (one seed): {', '.join(f'{arm} {value:.3f}' for arm, value in accuracy.items())}."
    most = max(run["SNIP"].inputs)
    note += (
        f"<br>Left: weights that SNIP keeps of a pixel, up to {most}. Right: weights beyond ±1 in the outermost bars."
    )
    return finish(figure, f"MLP, 1 / {compression} of the weights", note, height=500)

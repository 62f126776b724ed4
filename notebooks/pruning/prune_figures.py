"""Figures of the study: score against nonzeros, loss after retraining, tickets; numbers in, plotly out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from retrain_few import UNTRAINED
from sparse_arms import ARMS

from workbench.figures.style import COLOURS, GREY, INK, SYMBOLS, finish, log_axis, panels

_DASHES = dict.fromkeys(UNTRAINED, "dot") | {
    "biases + norms": "dash",
    "small dense": "dash",
    "small dense, equal bits": "dot",
    "random": "dashdot",
}
_NAMES = {"mlp": "MLP", "lenet": "LeNet", "cnn": "CNN with BatchNorm"}


def name_of(network: str) -> str:
    """Return a network's name for people."""
    return _NAMES.get(network, f"Transformer, {network.partition('-')[2]} blocks")


def _panels(networks: Sequence[str]) -> go.Figure:
    figure = panels(1, len(networks), subplot_titles=[name_of(n) for n in networks], horizontal_spacing=0.12)
    return figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})


def _line(figure: go.Figure, col: int, group: pd.Series, i: int, name: str, said: str, **line: Any) -> None:
    """Add means with error bars of one standard deviation; ``group`` holds each x's replicates."""
    spread = group.std(ddof=1).fillna(0)
    figure.add_scatter(
        x=group.mean().index, y=group.mean(), error_y={"array": spread, "thickness": 1.2, "width": 3}, name=name,
        legendgroup=name, showlegend=not any(t.name == name for t in figure.data), mode="lines+markers", row=1, col=col,
        marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8}, line={"color": COLOURS[i % 6], **line},
        customdata=spread, hovertemplate=f"{name}<br>{said} ± %{{customdata:.4f}}<extra></extra>",
    )  # fmt: skip


def accuracy_versus_nonzeros(runs: pd.DataFrame) -> go.Figure:
    """Draw every arm's score against its nonzeros, a panel a network; the dense network is the line across.

    Args:
        runs: As ``measure_arms`` returns them.

    Returns:
        The figure; of a text the loss is drawn, of images the accuracy.
    """
    networks = list(dict.fromkeys(runs.network))
    figure, n = _panels(networks), runs.seed.nunique()
    for col, network in enumerate(networks, 1):
        own, text = runs[runs.network == network], network.startswith("transformer")
        whole = own[own.arm == "dense"].iloc[0].report["n_parameters"]
        own = own.assign(
            share=[r["n_kept"] / whole for r in own.report],
            mean=[each.mean() * (-1 if text else 1) for each in own.scores],
        )
        span = (own.share.min() / 1.2, 1.2)
        dense = own[own.arm == "dense"]["mean"].mean()
        figure.add_scatter(
            x=span, y=[dense] * 2, mode="lines", line={"color": INK, "width": 1.5}, name="dense", legendgroup="dense",
            showlegend=col == 1, hovertemplate="dense, all parameters: %{y:.4f}<extra></extra>", row=1, col=col,
        )  # fmt: skip
        for i, arm in enumerate(ARMS):
            cell = own[own.arm == arm].groupby("share")["mean"]
            _line(figure, col, cell, i, arm, "%{x:.3f} of the parameters: %{y:.4f}", dash=_DASHES.get(arm, "solid"))
        figure.update_xaxes(title="Nonzeros / dense (log)", **log_axis(span), row=1, col=col)
        if not text:  # random masks may leave the panel
            ends = own[own.arm != "random"].groupby(["arm", "reduction"])["mean"].agg(["mean", "std"]).fillna(0)
            figure.update_yaxes(range=[(ends["mean"] - 1.2 * ends["std"]).min() - 0.01, 1.002], row=1, col=col)
        kind = "Test loss (nats a character)" if text else f"Test accuracy ({len(own.scores.iloc[0]):,} images)"
        figure.update_yaxes(title=kind, row=1, col=col)
    note = f"Mean and standard deviation of {n} seeds, equal steps. Line: dense. Random may leave the panel.<br>"
    note += "Equal bits: a small dense network that may also use what the sparse one pays for its index."
    return finish(figure, "As many nonzeros, spent in different ways", note, height=560)


def loss_after_retraining(table: pd.DataFrame) -> go.Figure:
    """Draw each arm's test loss against sparsity, a panel a network; ``table`` as ``measure_retraining`` returns it."""
    networks = list(dict.fromkeys(table.network))
    figure, n = _panels(networks), table.seed.nunique()
    arms = [*(a for a in dict.fromkeys(table.arm) if a not in {*UNTRAINED, "dense"}), *UNTRAINED]
    for col, network in enumerate(networks, 1):
        own = table[table.network == network].assign(loss=lambda t: [each.mean() for each in t.losses])
        span = [0.98 * own[own.sparsity > 0].sparsity.min(), own.sparsity.max() * 1.02]
        dense = own[own.arm == "dense"].loss.mean()
        figure.add_scatter(
            x=span, y=[dense] * 2, mode="lines", line={"color": INK, "width": 1.5}, name="dense", legendgroup="dense",
            showlegend=col == 1, hovertemplate="dense: %{y:.4f} nats<extra></extra>", row=1, col=col,
        )  # fmt: skip
        for i, arm in enumerate(arms):
            cell = own[own.arm == arm].groupby("sparsity").loss
            if len(cell):
                look = {"color": GREY} if arm == UNTRAINED[0] else {"color": INK} if arm == UNTRAINED[1] else {}
                _line(
                    figure,
                    col,
                    cell,
                    i,
                    arm,
                    "sparsity %{x:.2f}: %{y:.4f} nats",
                    dash=_DASHES.get(arm, "solid"),
                    **look,
                )
        figure.update_xaxes(title="Sparsity of the weights", range=span, row=1, col=col)
        levels = own.groupby(["arm", "sparsity"]).loss.mean()
        axis = log_axis((0.8 * levels.min(), 1.4 * levels.max()))
        figure.update_yaxes(title="Test loss (nats, log scale)", **axis, row=1, col=col)
    note = f"Mean and standard deviation of {n} seeds; equal steps for every arm. Dotted: not retrained."
    return finish(figure, "Pruned at once, then few or all parameters trained again", note, height=580)


def ticket_curves(table: pd.DataFrame) -> go.Figure:
    """Draw accuracy and step of least validation loss against what is kept; ``table`` as from ``measure_tickets``."""
    figure = panels(1, 2, horizontal_spacing=0.14)
    span = (table.kept.min() / 1.15, 1.15)
    for col, column in enumerate(("accuracy", "step"), 1):
        for i, arm in enumerate(("ticket", "reinitialised", "shuffled")):
            cell = table[(table.arm == arm)].assign(kept=lambda t: t.kept.round(4)).groupby("kept")[column]
            if len(cell):
                _line(figure, col, cell, i, arm, "%{x:.3f} of the weights kept: %{y:,.4~f}")
        figure.update_xaxes(title="Weights kept (log)", **log_axis(span), row=1, col=col)
    n_images = len(table.right.iloc[0])
    figure.update_yaxes(title=f"Test accuracy ({n_images:,} images)", row=1, col=1)
    figure.update_yaxes(title="Step of least validation loss", rangemode="tozero", row=1, col=2)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    note = f"Mean and standard deviation of {table.seed.nunique()} seeds, read at the step of least validation loss."
    return finish(figure, "Lottery tickets of LeNet-300-100", note, height=500)


def mask_view(runs: pd.DataFrame, shape: Sequence[int], bins: np.ndarray, reduction: int) -> go.Figure:
    """Draw what gradual pruning left of the MLP of the first seed: inputs, layers, weights.

    Args:
        runs: As ``measure_arms`` returns them.
        shape: Height and width of the images.
        bins: Edges of the histograms.
        reduction: Which run; 1 is the dense network.

    Returns:
        A figure of three panels, always with the same traces.
    """
    own = runs[(runs.network == "mlp") & (runs.seed == runs.seed.iloc[0])]
    dense = own[own.arm == "dense"].iloc[0]
    run = dense if reduction == 1 else own[(own.arm == "gradual") & (own.reduction == reduction)].iloc[0]
    units, most = max(dense.inputs), max(run.inputs)
    figure = panels(1, 3, horizontal_spacing=0.13, column_widths=[0.3, 0.3, 0.4])
    figure.add_heatmap(
        z=np.reshape(run.inputs, shape), zmin=0, zmax=most, colorscale="Blues", showscale=False, row=1, col=1,
        hovertemplate="pixel %{x}, %{y}: %{z} weights<extra></extra>",
    )  # fmt: skip
    layers = run.report["densities"]
    names = [f"layer {i}" for i in range(1, len(layers) + 1)]
    density, floor = np.array([*layers.values()]), 0.003
    figure.add_scatter(
        x=names, y=np.maximum(density, floor), mode="markers", row=1, col=2, showlegend=False, customdata=density,
        marker={"size": 12, "color": COLOURS[0], "symbol": np.where(density < floor, "x", "circle")},
        hovertemplate="%{x}: density %{customdata:.3f}<extra></extra>",
    )  # fmt: skip
    middle = (bins[1:] + bins[:-1]) / 2
    for name, each, colour in (("dense", dense, "#C8C8C8"), ("kept", run, COLOURS[1])):
        figure.add_bar(
            x=middle, y=each.histogram, name=name, marker={"color": colour}, width=bins[1] - bins[0], row=1, col=3,
            hovertemplate=f"{name}: %{{y:,}} weights near %{{x:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Pixel column", row=1, col=1)
    figure.update_yaxes(title="Pixel row", autorange="reversed", row=1, col=1)
    figure.update_xaxes(title="Layer", row=1, col=2)
    figure.update_yaxes(title="Share of weights kept (log)", **log_axis((floor / 1.2, 1.5)), row=1, col=2)
    figure.update_xaxes(title="Weight", row=1, col=3)
    figure.update_yaxes(title="Weights", row=1, col=3)
    figure.update_layout(barmode="overlay", legend={"x": 0.99, "xanchor": "right", "y": 0.99})
    kept = run.report["n_kept"]
    note = f"{kept:,} of {run.report['n_parameters']:,} parameters, test accuracy {np.mean(run.scores):.3f} (one seed)."
    note += f"<br>Left: kept of each pixel's {units} weights, white none, darkest {most}. Cross: under {floor}."
    return finish(figure, f"MLP, 1 / {reduction} of the parameters", note, height=480)


def own_run(steps: Sequence[int], validation: Sequence[float], n_steps: int, title: str, note: str) -> go.Figure:
    """Draw the validation accuracy of a run of the reader's own as it trains."""
    figure = go.Figure()
    figure.add_scatter(
        x=list(steps), y=list(validation), mode="lines+markers", marker={"size": 5}, line={"color": COLOURS[1]},
        hovertemplate="step %{x:,}: validation accuracy %{y:.4f}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Step", range=[0, n_steps])
    figure.update_yaxes(title="Validation accuracy (fraction)", range=[0, 1.03])
    return finish(figure, title, note, height=360)

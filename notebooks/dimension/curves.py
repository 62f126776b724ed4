"""Accuracy against subspace dimension: runs, monotone fit, threshold, intrinsic dimension."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from marks import censored_symbol, errors, threshold_name
from measure import Measured

from workbench import statistics
from workbench.dimension import Estimate, Runs, intrinsic_dim
from workbench.figures.style import COLOURS, SYMBOLS, finish, log_axis

TRACES_PER_CURVE = 5
AccuracyCurve = dict[str, Any]  # what `accuracy_curve` returns
Trace = dict[str, Any]  # of plotly; as a dictionary it is checked once, when the figure is made


def curves_at(measured: Sequence[Measured], fraction: float) -> list[AccuracyCurve]:
    """Return what the accuracy figure draws of several arms at a fraction of their baselines."""
    return [
        accuracy_curve(m.arm.network, m.runs, m.baseline, intrinsic_dim(m.runs, m.baseline, fraction)) for m in measured
    ]


def accuracy_curve(name: str, runs: Runs, baseline: Runs, estimate: Estimate) -> AccuracyCurve:
    """Collect the numbers of one network for `accuracy_versus_dimension`.

    Args:
        name: Legend entry.
        runs: Runs in subspaces.
        baseline: Runs of the full network.
        estimate: What `intrinsic_dim` made of them.

    Returns:
        The estimate's record; ``name``; ``dims``, ``scores`` and ``seeds``, one entry per run; ``fit_dims`` and
        ``fit_scores``, the isotonic regression of all runs; ``threshold_low`` and ``threshold_high``, the t interval
        of the threshold where it is a fraction of the baseline's mean and more than one baseline run tells, else None.
    """
    # As in the estimate, a diverged run is a failure of its d and not a missing value.
    worst = np.nanmin(np.append(runs.scores, 0.0))
    x, y = statistics.isotonic(np.log(runs.dims), np.where(runs.alive, runs.scores, worst))
    low = high = None
    if estimate.fraction is not None and baseline.alive.sum() > 1:
        _, *ends = statistics.mean_interval(baseline.scores[baseline.alive], estimate.level)
        low, high = (estimate.fraction * end for end in ends)
    return estimate.record() | {
        "name": name,
        "dims": runs.dims.tolist(),
        "scores": runs.scores.tolist(),
        "seeds": runs.seeds.tolist(),
        "fit_dims": np.exp(x).tolist(),
        "fit_scores": y.tolist(),
        "threshold_low": low,
        "threshold_high": high,
    }


def accuracy_versus_dimension(
    curves: Sequence[AccuracyCurve],
    *,
    more: Sequence[Trace] = (),
    title: str = "Accuracy in a random subspace",
    y_title: str = "Test accuracy (fraction of examples)",
    checked: bool = True,
) -> go.Figure:
    """Draw runs, fitted curves and thresholds of one or more networks, and below them the intrinsic dimensions.

    Args:
        curves: One per network, all at the same fraction.
        more: Further traces, x in d and y in scores, which the axes must hold.
        title: Above the figure.
        y_title: What was scored, with its unit.
        checked: Whether plotly checks every property, which takes longer than all else.

    Returns:
        A figure with `TRACES_PER_CURVE` traces per network, in the order of ``curves``, and ``more`` behind them.
    """
    every_dim = [d for curve in curves for d in curve["dims"]] + [d for trace in more for d in trace["x"]]
    span = (min(every_dim) / 1.15, max(every_dim) * 1.15)
    # The limits come from the runs alone, so that moving the threshold moves nothing else.
    every_score = [s for curve in curves for s in curve["scores"]] + [y for trace in more for y in trace["y"]]
    scores = np.array(every_score, dtype=float)
    low, high = (float(np.nanmin(scores)), float(np.nanmax(scores))) if np.isfinite(scores).any() else (0.0, 1.0)
    margin = 0.06 * max(high - low, 0.02)
    n, strip = len(curves), 22 * len(curves)  # pixels of the lower panel: one row per network
    split = strip / (strip + 350)
    x_title = "Subspace dimension d (trainable parameters, log scale)"
    layout = dict(
        xaxis={"title": {"text": x_title}, "anchor": "y2", **log_axis(span)},
        yaxis={"title": {"text": y_title}, "range": [low - margin, high + margin], "domain": [split, 1]},
        yaxis2={"title": {"text": "Network"}, "range": [n - 0.4, -0.8], "domain": [0, split], "showgrid": False,
                "tickvals": list(range(n)), "ticktext": [c["name"] for c in curves], "tickfont": {"size": 12}},
        legend={"entrywidth": 220},  # pixels, whatever the names say: the plot would move with each interval's length
    )  # fmt: skip
    traces = [t for i, curve in enumerate(curves) for t in _curve_traces(curve, i, span, low - margin / 2)]
    figure = go.Figure([*traces, *more], layout, _validate=checked)
    note = f"Markers: single runs. Line: monotone fit. Dashed: {threshold_name(curves[0])} (band: its interval).<br>"
    note += "Below: intrinsic dimension with its 95 % interval"
    note += "; triangle: only a bound." if any(curve["censored"] for curve in curves) else "."
    note += " Thin cross: diverged." if not np.isfinite(scores).all() else ""
    return finish(figure, title, note, height=530 + strip)


def _curve_traces(curve: AccuracyCurve, index: int, span: tuple[float, float], floor: float) -> list[Trace]:
    """Return band, threshold, fit, runs and intrinsic dimension of one network; `TRACES_PER_CURVE` of them."""
    name, colour = curve["name"], COLOURS[index % len(COLOURS)]
    low, high, threshold = curve["threshold_low"], curve["threshold_high"], curve["threshold"]
    band = [] if low is None or high is None else [low, low, high, high]
    hidden = {"legendgroup": name, "showlegend": False}
    bound = censored_symbol(curve, "diamond", "triangle-right", "triangle-left")
    return [
        dict(
            x=[*span, *span[::-1]] if band else [], y=band, fill="toself", fillcolor=colour, opacity=0.08,
            mode="none", hoverinfo="skip", **hidden,
        ),
        dict(
            x=span, y=[threshold, threshold], mode="lines", line={"color": colour, "dash": "dash", "width": 1},
            opacity=0.6, hovertemplate=f"{name}: threshold %{{y:.4f}}<extra></extra>", **hidden,
        ),
        dict(
            x=curve["fit_dims"], y=curve["fit_scores"], mode="lines", line={"color": colour, "width": 2},
            hoverinfo="skip", **hidden,
        ),
        _runs(curve, colour, SYMBOLS[index % len(SYMBOLS)], floor),
        dict(
            x=[curve["value"]], y=[index], yaxis="y2", mode="markers", error_x=errors([curve], colour),
            marker={"symbol": bound, "size": 10, "color": colour},
            hovertemplate=f"{name}<br>intrinsic dimension {curve['text']}<extra></extra>", **hidden,
        ),
    ]  # fmt: skip


def _runs(curve: AccuracyCurve, colour: str, symbol: str, floor: float) -> Trace:
    """Return one marker per run; diverged ones stand as crosses on the floor of the figure."""
    scores = np.asarray(curve["scores"], dtype=float)
    alive = np.isfinite(scores)
    said = [f"score {score:.4f}" if ok else "diverged" for score, ok in zip(scores, alive, strict=True)]
    return dict(
        x=curve["dims"], y=np.where(alive, scores, floor), mode="markers", legendgroup=curve["name"],
        name=f"{curve['name']}: {curve['text']}",
        marker={"color": colour, "symbol": np.where(alive, symbol, "x-thin-open"), "size": 8, "opacity": 0.7},
        text=[f"{what} (seed {seed})" for what, seed in zip(said, curve["seeds"], strict=True)],
        hovertemplate=f"{curve['name']}<br>d = %{{x:,}}<br>%{{text}}<extra></extra>",
    )  # fmt: skip

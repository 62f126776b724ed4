"""Accuracy against subspace dimension: runs, monotone fit, threshold, intrinsic dimension."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import plotly.graph_objects as go

from workbench import statistics
from workbench.dimension import Estimate, Runs
from workbench.errors import require
from workbench.figures.style import COLOURS, SYMBOLS, censored_symbol, errors, faint, finish, log_axis

TRACES_PER_CURVE = 5


class AccuracyCurve(TypedDict, total=False):
    """What `accuracy_versus_dimension` draws of one network; ``dims``, ``scores``, ``name``, ``threshold`` are needed.

    ``name``: legend entry. ``dims``, ``scores``, ``seeds``: one entry per run; a NaN score is a diverged run.
    ``fit_dims``, ``fit_scores``: the fitted curve. ``threshold``: the score to reach; ``threshold_low``,
    ``threshold_high``: its interval. ``value``, ``low``, ``high``: the intrinsic dimension and its interval, None where
    unknown; ``censored``: "above", "below" or None; ``text``: the estimate in words.
    """

    name: str
    dims: Sequence[int]
    scores: Sequence[float]
    seeds: Sequence[int]
    fit_dims: Sequence[float]
    fit_scores: Sequence[float]
    threshold: float
    threshold_low: float | None
    threshold_high: float | None
    value: float | None
    low: float | None
    high: float | None
    censored: str | None
    text: str


def accuracy_curve(name: str, runs: Runs, baseline: Runs, estimate: Estimate) -> AccuracyCurve:
    """Collect the numbers of one network for `accuracy_versus_dimension`.

    Args:
        name: Legend entry.
        runs: Runs in subspaces.
        baseline: Runs of the full network.
        estimate: What `intrinsic_dim` made of them.

    Returns:
        Plain lists and numbers. The curve is the isotonic regression of all runs; the threshold's interval is the t
        interval of the baseline's mean, where the threshold is a fraction of it.
    """
    alive = ~np.isnan(runs.scores)
    # As in the estimate, a diverged run is a failure of its d and not a missing value.
    x, y = statistics.isotonic(np.log(runs.dims), np.where(alive, runs.scores, np.nanmin(np.append(runs.scores, 0.0))))
    low: float | None = None
    high: float | None = None
    if estimate.fraction is not None and len(baseline) - baseline.n_diverged > 1:
        ends = statistics.mean_interval(baseline.scores[~np.isnan(baseline.scores)], estimate.level)
        low, high = estimate.fraction * ends[1], estimate.fraction * ends[2]
    record = estimate.record()
    return {
        "name": name,
        "dims": runs.dims.tolist(),
        "scores": runs.scores.tolist(),
        "seeds": runs.seeds.tolist(),
        "fit_dims": np.exp(x).tolist(),
        "fit_scores": y.tolist(),
        "threshold": estimate.threshold,
        "threshold_low": low,
        "threshold_high": high,
        "value": record["value"],
        "low": record["low"],
        "high": record["high"],
        "censored": estimate.censored,
        "text": record["text"],
    }


def accuracy_versus_dimension(
    curves: Sequence[AccuracyCurve],
    *,
    title: str = "Accuracy in a random subspace",
    y_title: str = "Test accuracy (fraction of examples)",
    threshold_name: str = "90 % of the network's own baseline",
) -> go.Figure:
    """Draw runs, fitted curve, threshold and intrinsic dimension of one or more networks.

    Args:
        curves: One mapping per network, see `AccuracyCurve`; plain dictionaries do.
        title: Above the figure.
        y_title: What was scored, with its unit.
        threshold_name: What the dashed line is.

    Returns:
        A figure with `TRACES_PER_CURVE` traces per network, in the order of ``curves``.

    Raises:
        InputError: If there is no curve, or a curve has no run.
    """
    require(len(curves) > 0, "curves", "must hold at least one curve", curves)
    for curve in curves:
        require(len(curve["dims"]) > 0, "curves", "must each hold at least one run", curve["name"])
    every_dim = [d for curve in curves for d in curve["dims"]]
    span = (min(every_dim) / 1.15, max(every_dim) * 1.15)
    # The limits come from the runs alone, so that moving the threshold moves nothing else.
    scores = np.array([s for curve in curves for s in curve["scores"]], dtype=float)
    low, high = (float(np.nanmin(scores)), float(np.nanmax(scores))) if np.isfinite(scores).any() else (0.0, 1.0)
    margin = 0.06 * max(high - low, 0.02)
    figure = go.Figure([t for i, curve in enumerate(curves) for t in _curve_traces(curve, i, span, low - margin / 2)])
    figure.update_xaxes(title="Subspace dimension d (trainable parameters, log scale)", **log_axis(span))
    figure.update_yaxes(title=y_title, range=[low - margin, high + margin])
    note = f"Markers: single runs. Line: monotone fit. Dashed: {threshold_name}.<br>"
    note += "Diamond: intrinsic dimension with its 95 % interval"
    note += "; triangle: only a bound." if any(curve.get("censored") for curve in curves) else "."
    note += " Thin cross: diverged." if not np.isfinite(scores).all() else ""
    return finish(figure, title, note)


def _curve_traces(curve: AccuracyCurve, index: int, span: tuple[float, float], floor: float) -> list[go.Scatter]:
    """Return band, threshold, fit, runs and intrinsic dimension of one network; `TRACES_PER_CURVE` of them."""
    colour = COLOURS[index % len(COLOURS)]
    low, high = curve.get("threshold_low"), curve.get("threshold_high")
    band = [] if low is None or high is None else [low, low, high, high]
    hidden = {"legendgroup": curve["name"], "showlegend": False}
    threshold = curve["threshold"]
    return [
        go.Scatter(
            x=[*span, *span[::-1]] if band else [], y=band, fill="toself", fillcolor=faint(colour), mode="none",
            hoverinfo="skip", **hidden,
        ),
        go.Scatter(
            x=span, y=[threshold, threshold], mode="lines", line={"color": colour, "dash": "dash", "width": 1.3},
            hovertemplate=f"{curve['name']}: threshold %{{y:.4f}}<extra></extra>", **hidden,
        ),
        go.Scatter(
            x=curve.get("fit_dims", []), y=curve.get("fit_scores", []), mode="lines",
            line={"color": colour, "width": 2}, hoverinfo="skip", **hidden,
        ),
        _runs(curve, colour, SYMBOLS[index % len(SYMBOLS)], floor),
        _intrinsic(curve, colour, floor, hidden),
    ]  # fmt: skip


def _runs(curve: AccuracyCurve, colour: str, symbol: str, floor: float) -> go.Scatter:
    """Return one marker per run; diverged ones stand as crosses on the floor of the figure."""
    scores = np.asarray(curve["scores"], dtype=float)
    alive = np.isfinite(scores)
    seeds: Sequence[object] = curve.get("seeds") or ["not given"] * len(scores)
    said = [f"score {s:.4f}" if ok else "diverged" for s, ok in zip(scores, alive, strict=True)]
    text = f"{curve['name']}: {curve['text']}" if curve.get("text") else curve["name"]
    return go.Scatter(
        x=curve["dims"], y=np.where(alive, scores, floor), mode="markers", name=text, legendgroup=curve["name"],
        marker={"color": colour, "symbol": np.where(alive, symbol, "x-thin-open"), "size": 8, "opacity": 0.7},
        text=[f"{said_} (seed {seed})" for said_, seed in zip(said, seeds, strict=True)],
        hovertemplate=f"{curve['name']}<br>d = %{{x:,}}<br>%{{text}}<extra></extra>",
    )  # fmt: skip


def _intrinsic(curve: AccuracyCurve, colour: str, floor: float, hidden: dict[str, object]) -> go.Scatter:
    """Return the intrinsic dimension on its threshold, with a line down to the axis; an arrow where it is a bound."""
    value = curve.get("value")
    if value is None:
        return go.Scatter(x=[], y=[], mode="lines+markers", **hidden)
    symbol = censored_symbol(curve, "diamond", "triangle-right", "triangle-left")
    bars = errors([curve], colour)
    for side in ("array", "arrayminus"):
        bars[side] = [None, *bars[side]]
    return go.Scatter(
        x=[value, value], y=[floor, curve["threshold"]], mode="lines+markers", error_x=bars,
        marker={"symbol": symbol, "size": [0, 12], "opacity": 1, "color": colour, "line": {"color": "white"}},
        line={"color": colour, "width": 1, "dash": "dot"},
        hovertemplate=f"{curve['name']}<br>intrinsic dimension {curve.get('text', '%{x:,.0f}')}<extra></extra>",
        **hidden,
    )  # fmt: skip

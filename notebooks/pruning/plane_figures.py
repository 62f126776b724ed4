"""Figures of the plane: heat maps with the regimes' borders, error against density, what one density looks like."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plane_trials import BINS
from planes import Plane
from three_regimes import CONNECTED, REGIMES, SIMILAR, effects, regimes

from workbench.figures.style import COLOURS, INK, ORANGE, SKY, SYMBOLS, finish, log_axis, panels

_HOT = {"batch_size": "Batch size (smaller = hotter)", "epochs": "Epochs (fewer = hotter)"}
# White to a colour that dark text is still read on.
_WARM, _COOL = ([[0, "#FFFFFF"], [1, colour]] for colour in (ORANGE, SKY))
_RAMP = ["#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#8B2500"]  # from cold to hot


def _grid(plane: Plane) -> tuple[list[str], list[str]]:
    """Return the names of columns and rows."""
    return [f"{100 * d:g} %" for d in plane.densities], [f"{t}" for t in plane.temperatures]


def borders(regime: np.ndarray) -> list[dict[str, float]]:
    """Return the edges between cells of unlike regimes, in units of cells from the first one's middle."""
    n_rows, n_columns = regime.shape
    found = []
    for i in range(n_rows):
        for j in range(n_columns):
            if j + 1 < n_columns and regime[i, j] != regime[i, j + 1]:
                found.append({"x0": j + 0.5, "x1": j + 0.5, "y0": i - 0.5, "y1": i + 0.5})
            if i + 1 < n_rows and regime[i, j] != regime[i + 1, j]:
                found.append({"x0": j - 0.5, "x1": j + 0.5, "y0": i + 0.5, "y1": i + 0.5})
    return found


def phase_plane(plane: Plane) -> go.Figure:
    """Draw test error, LMC, CKA and top eigenvalue over density and temperature, the regimes' borders in each panel.

    Args:
        plane: Measurements.

    Returns:
        Four heat maps; the first also names each cell's regime.
    """
    lmc, cka = plane.lmc.mean(0), plane.cka.mean(0)
    regime = regimes(lmc, cka)
    maps: dict[str, tuple[np.ndarray, str, list[list[Any]], str]] = {
        "Test error and regime": (100 * plane.error, "%", _WARM, ".1f"),
        "Linear mode connectivity": (lmc, "nats", _COOL, ".3f"),
        "Similarity of outputs (CKA)": (cka, "CKA", _COOL, ".3f"),
        "Top Hessian eigenvalue": (np.log10(np.maximum(plane.eigenvalue.mean(0), 1e-6)), "log10", _WARM, ".2f"),
    }
    figure = panels(2, 2, subplot_titles=list(maps), horizontal_spacing=0.2, vertical_spacing=0.17)
    x, y = _grid(plane)
    names = np.array(REGIMES)[regime]
    for i, (name, (z, unit, scale, digits)) in enumerate(maps.items()):
        row, col = divmod(i, 2)
        ticks = np.unique(np.linspace(np.nanmin(z), np.nanmax(z), 4))  # plotly's own may be long
        bar = {
            "title": {"text": unit},
            "x": 0.4 if col == 0 else 1.0,
            "len": 0.4,
            "y": 0.8 - 0.6 * row,
            "thickness": 12,
            "tickvals": ticks,
            "ticktext": [f"{value:{digits}}" for value in ticks],
        }
        written = np.vectorize(lambda value, digits=digits: f"{value:{digits}}")(z)
        if i == 0:
            written = np.char.add(np.char.add(written, "<br>"), names)
        figure.add_heatmap(
            x=x, y=y, z=z, text=written, texttemplate="%{text}", textfont={"size": 11, "color": INK}, colorscale=scale,
            colorbar=bar, name=name, row=row + 1, col=col + 1,
            hovertemplate=f"density %{{x}}, {plane.knob} %{{y}}<br>{name}: %{{z:{digits}}} {unit}<extra></extra>",
        )  # fmt: skip
        for edge in borders(regime):
            figure.add_shape(type="line", **edge, line={"color": INK, "width": 3}, row=row + 1, col=col + 1)
    figure.update_xaxes(title="Density (share of weights kept)", type="category")
    figure.update_yaxes(title=_HOT[plane.knob], type="category")
    note = f"Means of {len(plane.seeds)} seeds, two retrained copies each. Lines: borders of the regimes: I, LMC below"
    note += f"<br>{CONNECTED} nats; II-A, connected but CKA below {SIMILAR}; II-B, connected and similar."
    return finish(figure, _title("Temperature against load", plane), note, height=860)


def _title(text: str, plane: Plane) -> str:
    return f"{text}: {plane.dataset}, {100 * plane.noise:g} % label noise"


def _hot(plane: Plane) -> list[str]:
    """Return a colour for each temperature, from cold to hot."""
    places = np.linspace(0, len(_RAMP) - 1, len(plane.temperatures)).round().astype(int)
    return [_RAMP[i] for i in places]


def error_versus_density(plane: Plane, small: Mapping[float, Sequence[float]]) -> go.Figure:
    """Draw test error against density, a line a temperature, with the spread of the seeds.

    Args:
        plane: Measurements.
        small: For each share of the weights, the test errors of small dense networks, one a seed.

    Returns:
        The figure; the line across is the best dense network.
    """
    figure, span = go.Figure(), (min(plane.densities[0], *small) / 1.2, min(1.0, plane.densities[-1] * 1.2))
    dense = 100 * plane.dense.mean(axis=(0, 2))
    figure.add_scatter(
        x=span, y=[dense.min()] * 2, mode="lines", line={"color": INK, "width": 1.5}, name="best dense",
        hovertemplate=f"dense, {plane.name(plane.temperatures[int(dense.argmin())])}: %{{y:.1f}} %<extra></extra>",
    )  # fmt: skip
    for i, (value, colour) in enumerate(zip(plane.temperatures, _hot(plane), strict=True)):
        own = 100 * plane.wrong[:, i].mean(axis=2)
        _line(figure, plane.densities, own, plane.name(value), colour, SYMBOLS[i % len(SYMBOLS)], "solid")
    own = 100 * np.array(list(small.values())).T
    _line(figure, list(small), own, "small dense", INK, "x", "dash")
    figure.update_xaxes(title="Density (share of weights kept, log)", **log_axis(span))
    shown = np.concatenate([np.asarray(trace.y, dtype=float) for trace in figure.data])
    title = f"Test error (% of {plane.wrong.shape[3]:,} images, log)"
    figure.update_yaxes(title=title, **log_axis((max(shown.min(), 0.05) / 1.5, min(100.0, 1.25 * shown.max()))))
    note = f"Mean and standard deviation of {len(plane.seeds)} seeds, from cold (blue) to hot (red)."
    return finish(figure, _title("Error after pruning and retraining", plane), note)


def _line(
    figure: go.Figure, x: Sequence[float], own: np.ndarray, name: str, colour: str, symbol: str, dash: str
) -> None:
    """Add the mean of seeds, shape ``(n_seeds, n)``, with bars of one standard deviation."""
    spread = own.std(axis=0, ddof=1) if len(own) > 1 else np.zeros(own.shape[1])
    figure.add_scatter(
        x=list(x), y=own.mean(axis=0), error_y={"array": spread, "thickness": 1.2, "width": 3}, name=name,
        mode="lines+markers", line={"color": colour, "dash": dash}, marker={"symbol": symbol, "size": 8},
        customdata=spread,
        hovertemplate=f"{name}, density %{{x:.2f}}<br>%{{y:.1f}} ± %{{customdata:.1f}} %<extra></extra>",
    )  # fmt: skip


def effect_figure(planes: Mapping[str, Plane]) -> go.Figure:
    """Draw the rank correlation of temperature and error at each density, with its interval, one line an arm."""
    figure = go.Figure()
    span = (0.8 * min(p.densities[0] for p in planes.values()), 1.0)
    for i, (name, plane) in enumerate(planes.items()):
        rho = plane.spearman(plane.error)
        low, high = np.quantile(plane.spearman(plane.draws.error), [0.025, 0.975], axis=0)
        figure.add_scatter(
            x=plane.densities, y=rho, name=name, mode="lines+markers", line={"color": COLOURS[i]},
            marker={"symbol": SYMBOLS[i], "size": 9},
            error_y={"array": np.maximum(high - rho, 0), "arrayminus": np.maximum(rho - low, 0), "width": 5},
            hovertemplate=f"{name}, density %{{x:.2f}}: %{{y:.2f}}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 1})
    figure.update_xaxes(title="Density (share of weights kept, log)", **log_axis(span))
    figure.update_yaxes(title="Spearman(temperature, test error)", range=[-1.08, 1.08])
    note = "Below 0 a higher temperature helps, above 0 it hurts. Bars: 95 % intervals over seeds and test images."
    return finish(figure, "What a higher temperature does at each density", note, height=440)


def density_view(plane: Plane, density: float) -> go.Figure:
    """Draw what one density looks like: error by temperature, the loss between the copies, the weights that are kept.

    Args:
        plane: Measurements.
        density: One of the plane's.

    Returns:
        A figure of three panels, always with the same traces.
    """
    k, hot = plane.densities.index(density), _hot(plane)
    names = [plane.name(value) for value in plane.temperatures]
    figure = panels(1, 3, horizontal_spacing=0.13)
    own = 100 * plane.wrong[:, :, k].mean(axis=2)
    spread = own.std(axis=0, ddof=1) if len(own) > 1 else np.zeros(len(names))
    regime = np.array(REGIMES)[regimes(plane.lmc.mean(0), plane.cka.mean(0))[:, k]]
    effect = 100 * effects(plane.error)[:, k]
    figure.add_scatter(
        x=_grid(plane)[1], y=own.mean(axis=0), error_y={"array": spread}, mode="lines+markers", showlegend=False,
        line={"color": INK}, marker={"size": 10, "color": hot}, name="test error",
        text=[f"regime {r}, hotter: {e:+.1f} points" for r, e in zip(regime, effect, strict=True)],
        hovertemplate="%{x}: %{y:.1f} %<br>%{text}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    t = np.linspace(0, 1, plane.losses.shape[3])
    for i, name in enumerate(names):
        figure.add_scatter(
            x=t, y=plane.losses[:, i, k].mean(axis=0), mode="lines+markers", name=name, legendgroup=name,
            line={"color": hot[i]}, marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 6}, row=1, col=2,
            hovertemplate=f"{name}: %{{y:.3f}} nats<extra></extra>",
        )  # fmt: skip
    middle = (BINS[1:] + BINS[:-1]) / 2
    for i in (0, len(names) - 1):
        figure.add_scatter(
            x=middle, y=plane.histogram[:, i, k].mean(axis=0), mode="lines", line={"color": hot[i], "shape": "hvh"},
            name=names[i], legendgroup=names[i], showlegend=False, row=1, col=3,
            hovertemplate=f"{names[i]}: %{{y:.1f}} weights near %{{x:.2f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title=_HOT[plane.knob], type="category", row=1, col=1)
    figure.update_yaxes(title="Test error (%)", rangemode="tozero", row=1, col=1)
    figure.update_xaxes(title="From one copy to the other", row=1, col=2)
    figure.update_yaxes(title="Training loss (nats)", row=1, col=2)
    figure.update_xaxes(title="Kept weight", row=1, col=3)
    figure.update_yaxes(title="Weights", row=1, col=3)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    note = (
        f"Means of {len(plane.seeds)} seeds; bars: one standard deviation. Every layer keeps this share of its weights."
    )
    note += "<br>Right: coldest and hottest; weights beyond ±4 stand at the ends."
    return finish(figure, f"Density {100 * density:g} %", note, height=500)


def own_run(losses: Sequence[float], title: str, note: str, steps: Any = (), validation: Any = ()) -> go.Figure:
    """Draw a run of the reader's own: how the dense network trains, and the loss between its pruned copies."""
    figure = panels(1, 2, horizontal_spacing=0.14)
    line: dict[str, Any] = {"mode": "lines+markers", "showlegend": False, "line": {"color": COLOURS[1]}}
    said = "step %{x:,}: validation accuracy %{y:.3f}<extra></extra>"
    figure.add_scatter(x=list(steps), y=list(validation), **line, hovertemplate=said, row=1, col=1)
    t = np.linspace(0, 1, max(2, len(losses)))[: len(losses)]
    figure.add_scatter(x=t, y=list(losses), **line, hovertemplate="%{y:.3f} nats<extra></extra>", row=1, col=2)
    figure.update_xaxes(title="Step of dense training", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="Validation accuracy (fraction)", range=[0, 1.03], row=1, col=1)
    figure.update_xaxes(title="From one copy to the other", range=[-0.03, 1.03], row=1, col=2)
    figure.update_yaxes(title="Training loss (nats)", row=1, col=2)
    return finish(figure, title, note, height=380)

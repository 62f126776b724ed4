"""Figures of the crossings: dimensions against density, curvatures and learning coefficients in subspaces, barriers."""

from collections.abc import Mapping, Sequence
from typing import Any

import crossing_tables as tables
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from crossing_dimensions import KINDS
from crossing_trials import CUTS

from workbench.dimension import Estimate
from workbench.figures.style import BLUE, COLOURS, GREEN, GREY, INK, SYMBOLS, VERMILION, again, finish, log_axis, panels

ASIDE = dict(zip(KINDS, (0.97, 1.0, 1.03), strict=True))  # marks of the same density stand side by side
LOOKS = {kind: (COLOURS[i], SYMBOLS[i]) for i, kind in enumerate(KINDS)}
BELOW = {"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"}
Cut = tuple[np.ndarray, ...]  # d or density, accuracy and seed of each run; d or density, and mean accuracy
ARMS = ("pruned", "retrained", "shuffled, retrained", "from the start")


def density_axis(densities: Sequence[float]) -> dict[str, Any]:
    """Return a log axis of densities with a tick at each, named as fractions."""
    names = ["1" if density == 1 else f"1/{1 / density:.3g}" for density in densities]
    span = [np.log10(min(densities) / 1.25), np.log10(1.25 * max(densities))]
    return {"title": "Density (log)", "type": "log", "range": span, "tickvals": list(densities), "ticktext": names}


def dimension_figure(rows: pd.DataFrame) -> go.Figure:
    """Draw intrinsic dimension and accuracy of pruned networks against density."""
    titles = ["Intrinsic dimension", "Accuracy, all kept weights trained"]
    figure = panels(1, 2, subplot_titles=titles, horizontal_spacing=0.12)
    densities, span = sorted(set(rows.density), reverse=True), [*rows.d[rows.d > 0]]
    for kind in KINDS:
        colour, symbol = LOOKS[kind]
        own = [density for density in densities if len(tables.arm(rows, kind, density))]
        found = [tables.estimate(rows, kind, density) for density in own]
        points = [(x, d) for x in own for d in tables.seed_dims(rows, kind, x) if np.isfinite(d)]
        shown = [(x, one) for x, one in zip(own, found, strict=True) if one.censored is None]
        figure.add_scatter(
            x=[x * ASIDE[kind] for x, _ in points], y=[d for _, d in points], mode="markers", showlegend=False,
            row=1, col=1, marker={"color": colour, "symbol": f"{symbol}-open", "size": 5}, opacity=0.6,
            hovertemplate=f"{kind}, one seed: d = %{{y:.3g}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[x * ASIDE[kind] for x, _ in shown], y=[one.value for _, one in shown], mode="lines+markers", name=kind,
            row=1, col=1, legendgroup=kind, error_y=_bars([one for _, one in shown], span), line={"color": colour},
            marker={"symbol": symbol, "size": 9}, hoverinfo="text",
            hovertext=[f"{kind}, density {x:g}: {one}" for x, one in shown],
        )  # fmt: skip
        whole = [tables.arm(rows, kind, density).query("d == 0").accuracy for density in own]
        spread = [float(each.std(ddof=1)) if len(each) > 1 else 0.0 for each in whole]
        figure.add_scatter(
            x=[x * ASIDE[kind] for x in own], y=[each.mean() for each in whole], mode="lines+markers",
            showlegend=False, legendgroup=kind, error_y={"array": spread}, line={"color": colour},
            marker={"symbol": symbol, "size": 9}, row=1, col=2,
            hovertemplate=f"{kind}: accuracy %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(**density_axis(densities))
    figure.update_yaxes(
        title="d at 90 % of dense accuracy (log)", **log_axis([min(span), max(span) * 1.2]), row=1, col=1
    )
    figure.update_yaxes(title="Test accuracy", row=1, col=2)
    figure.update_layout(legend=BELOW)
    note = f"{rows.seed.nunique()} seeds. Left: 95 % intervals over seeds and test images, single seeds open; no mark "
    note += "where no tested d<br>is large or small enough. Right: mean and standard deviation over seeds."
    return finish(figure, "Pruned networks: how many dimensions do they need?", note, height=540)


def _bars(found: Sequence[Estimate], tested: Sequence[int]) -> dict[str, Any]:
    """Return error bars of estimates; an end that no run supports is that of the tested d."""
    ends = [(one.value, max(one.low or 0, min(tested)), min(one.high or one.value, max(tested))) for one in found]
    return {"array": [high - d for d, _, high in ends], "arrayminus": [d - low for d, low, _ in ends]}


def curvature_figure(rows: pd.DataFrame) -> go.Figure:
    """Draw sum and top of the curvatures inside subspaces against their dimension."""
    titles = ["Sum of the d eigenvalues over the trace", "Top eigenvalue over the whole space's"]
    figure = panels(1, 2, subplot_titles=titles, horizontal_spacing=0.14)
    D, total = int(rows.D.iloc[0]), rows["sum"] / rows.share / rows.d * rows.D
    looks = {"random": (BLUE, "circle", "random subspace"), "through": (VERMILION, "square", "with top eigenvectors")}
    for name, (colour, symbol, said) in looks.items():
        own = rows[rows.arm == name]
        for col, values in ((1, own["sum"] / total[own.index]), (2, own.top / own.whole)):
            figure.add_scatter(
                x=own.d, y=values, mode="markers", name=said, legendgroup=name, showlegend=col == 1, row=1, col=col,
                marker={"color": colour, "symbol": f"{symbol}-open", "size": 7}, customdata=own[["seed"]],
                hovertemplate=f"{said}, seed %{{customdata[0]}}, d = %{{x}}: %{{y:.3g}}<extra></extra>",
            )  # fmt: skip
    d = np.array(sorted(set(rows.d)))
    means = (rows.predicted / rows.whole).groupby(rows.d).mean()
    lines = ((1, d / D, "d/D", INK, "solid"), (2, means.loc[d], "predicted, nothing fitted", GREEN, "solid"))
    lines += ((2, d / D, "d/D alone", GREY, "dot"),)
    for col, y, said, colour, dash in lines:
        figure.add_scatter(
            x=d, y=y, mode="lines", name=said, line={"color": colour, "dash": dash}, row=1, col=col,
            hovertemplate=f"{said}: %{{y:.3g}} at d = %{{x}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Dimension of the subspace, d (log)", **log_axis([min(d) / 1.2, max(d) * 1.2]))
    figure.update_yaxes(title="Share (log)", **log_axis([0.5 * min(d) / D, 1.5]), row=1, col=1)
    low = float((rows.top / rows.whole).min())
    figure.update_yaxes(title="Share (log)", **log_axis([low / 1.5, 1.5]), row=1, col=2)
    figure.update_layout(legend=BELOW)
    r = len(rows[rows.arm == "random"].groupby(["seed", "d"]).size())
    each = len(rows[rows.arm == "random"]) // r
    note = f"{rows.seed.nunique()} trained networks, D = {D:,}; {each} random subspaces each at every d,<br>"
    note += "and one that contains the top 10 eigenvectors. A mark is one subspace."
    return finish(figure, "Curvature inside a subspace", note, height=540)


def coefficient_figure(rows: pd.DataFrame) -> go.Figure:
    """Draw the learning coefficient inside subspaces over d/2."""
    figure, kept = go.Figure(), rows[rows.value.notna()]
    half = kept.d / 2
    table = tables.by_dimension(kept, kept.value / half) if len(kept) else pd.DataFrame()
    count = (rows["count"] / (rows.d / 2)).groupby(rows.d).mean()
    figure.add_scatter(
        x=kept.d, y=kept.value / half, mode="markers", name="one network", customdata=kept[["seed", "value"]],
        marker={"color": BLUE, "symbol": "circle-open", "size": 6},
        hovertemplate="seed %{customdata[0]}, d = %{x}: lambda %{customdata[1]:.3g}, %{y:.3f} of d/2<extra></extra>",
    )  # fmt: skip
    bars = {"array": table["high"] - table["mean"], "arrayminus": table["mean"] - table.low} if len(table) else None
    figure.add_scatter(
        x=table.index, y=table["mean"] if len(table) else [], mode="lines+markers", name="mean", error_y=bars,
        line={"color": BLUE}, marker={"size": 9},
        hovertemplate="mean at d = %{x}: %{y:.3f} of d/2<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=count.index, y=count, mode="lines", name="count of curvatures", line={"color": GREEN, "dash": "dash"},
        hovertemplate="count of curvatures at d = %{x}: %{y:.3f} of d/2<extra></extra>",
    )  # fmt: skip
    figure.add_hline(y=1, line={"color": INK, "width": 1})
    figure.add_hline(y=0.9, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="Dimension of the subspace, d (log)", **log_axis([min(rows.d) / 1.2, max(rows.d) * 1.2]))
    figure.update_yaxes(title="Learning coefficient over d/2", rangemode="tozero")
    refused = rows[rows.value.isna()].groupby("d").size()
    said = ", ".join(f"{n} at d = {d}" for d, n in refused.items()) or "none"
    note = f"{rows.seed.nunique()} networks, one subspace each at every d; bars: 95 % over networks.<br>"
    note += f"Refused chains are missing: {said}. Dotted: 0.9."
    return finish(figure, "Learning coefficient inside a subspace", note, height=480)


def barrier_figure(rows: pd.DataFrame) -> go.Figure:
    """Draw barriers between the dense network and pruned ones against density."""
    figure, floor = go.Figure(), 1e-4
    densities = sorted(set(rows.density.dropna()), reverse=True)
    for i, name in enumerate(ARMS):
        own = rows[rows.arm == name]
        mean = own.groupby("density").height.mean().sort_index(ascending=False)
        figure.add_scatter(
            x=mean.index, y=np.maximum(mean, floor), mode="lines", name=name, legendgroup=name, hoverinfo="skip",
            line={"color": COLOURS[i], "dash": ("dot", "solid", "dash", "dashdot")[i]},
        )  # fmt: skip
        figure.add_scatter(
            x=own.density, y=np.maximum(own.height, floor), mode="markers", legendgroup=name, showlegend=False,
            marker={"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 7},
            customdata=own[["seed", "height", "accuracy"]],
            hovertemplate=f"{name}, seed %{{customdata[0]}}, density %{{x:.3g}}: barrier %{{customdata[1]:.3g}} nats, "
            "accuracy %{customdata[2]:.3f}<extra></extra>",
        )  # fmt: skip
    control = rows[rows.arm == "control"].height
    figure.add_hline(y=control.mean(), line={"color": INK, "width": 2})
    figure.add_hrect(y0=max(control.min(), floor), y1=control.max(), fillcolor=INK, opacity=0.12, line_width=0)
    figure.update_xaxes(**density_axis(densities))
    top = max(rows.height.max(), control.max())
    figure.update_yaxes(title="Barrier to the dense network (nats, log)", **log_axis([floor / 1.5, 2 * top]))
    figure.update_layout(legend=BELOW)
    note = f"{rows.seed.nunique()} seeds: marks, lines their means; below {floor:g} drawn there. Black: mean and range "
    note += "of the<br>barrier between independently trained dense networks."
    return finish(figure, "Between the dense network and the pruned one", note, height=520)


def further_figure(rows: pd.DataFrame) -> go.Figure:
    """Draw accuracy against the density to which solutions are pruned without training."""
    figure = go.Figure()
    for i, (part, own) in enumerate(sorted(rows.groupby("part"), key=lambda pair: (pair[0] > 0, pair[0]))):
        accuracy = np.array([right.mean(1) for right in own.right])
        mean, low, high = accuracy.mean(0), accuracy.min(0), accuracy.max(0)
        name = "trained directly" if part == 0 else f"d = D/{part} = {own.d.iloc[0]:,}"
        figure.add_scatter(
            x=[*CUTS, *CUTS[::-1]], y=[*high, *low[::-1]], mode="lines", line={"width": 0}, fill="toself",
            fillcolor=COLOURS[i % 7], opacity=0.12, showlegend=False, hoverinfo="skip", legendgroup=name,
        )  # fmt: skip
        figure.add_scatter(
            x=CUTS, y=mean, mode="lines+markers", name=name, legendgroup=name, line={"color": COLOURS[i % 7]},
            marker={"symbol": SYMBOLS[i % 7], "size": 6},
            hovertemplate=f"{name}, density %{{x:.3f}}: accuracy %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(**density_axis([1 / 2**k for k in range(7)]))
    figure.update_yaxes(title="Test accuracy")
    figure.update_layout(legend=BELOW)
    note = f"Mean and range of {rows.seed.nunique()} seeds; the largest weights are kept, nothing is trained again."
    return finish(figure, "Which solution prunes further?", note, height=500)


def section_figure(rows: pd.DataFrame, density: float, d: int) -> go.Figure:
    """Draw two sections of accuracy over density and dimension; always the same traces.

    Args:
        rows: Of ``crossing_tables.dimensions``.
        density: At which accuracy is drawn against d, in the left panel.
        d: At which accuracy is drawn against density, in the right panel.

    Returns:
        A figure with two traces a kind and panel, and a mark of the point in each.
    """
    return section(section_scene(rows), sections(rows), density, d)


def sections(rows: pd.DataFrame) -> dict[str, dict[float, list[Cut]]]:
    """Return what is drawn at each density and at each dimension: of each kind its runs, and their means."""
    arms = [pd.concat([tables.arm(rows, kind, each) for each in sorted(set(rows.density))[::-1]]) for kind in KINDS]
    return {
        "density": {
            at: [_cut(own[(own.density == at) & (own.d > 0)], "d") for own in arms] for at in set(rows.density)
        },
        "d": {at: [_cut(own[own.d == at], "density") for own in arms] for at in set(rows.d) - {0}},
    }


def _cut(own: pd.DataFrame, x: str) -> Cut:
    mean = own.groupby(x).accuracy.mean()
    return own[x].to_numpy(), own.accuracy.to_numpy(), own[["seed"]].to_numpy(), mean.index.to_numpy(), mean.to_numpy()


def section_scene(rows: pd.DataFrame) -> go.Figure:
    """Draw what is the same in all sections: axes, the goal, and the traces, which have no points yet."""
    figure = panels(1, 2, horizontal_spacing=0.12)
    dims, densities = sorted(set(rows.d) - {0}), sorted(set(rows.density), reverse=True)
    for kind in KINDS:
        colour, symbol = LOOKS[kind]
        for col in (1, 2):
            figure.add_scatter(
                mode="markers", showlegend=False, row=1, col=col,
                marker={"color": colour, "symbol": f"{symbol}-open", "size": 5},
                hovertemplate=f"{kind}, seed %{{customdata[0]}}: accuracy %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
            figure.add_scatter(
                mode="lines", name=kind, legendgroup=kind, showlegend=col == 1,
                line={"color": colour, "width": 3}, row=1, col=col,
                hovertemplate=f"{kind}, mean of the seeds: accuracy %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
    for col in (1, 2):
        figure.add_scatter(
            y=[0, 1], mode="lines", line={"color": INK, "dash": "dot", "width": 1}, row=1, col=col,
            name="where the other panel cuts", showlegend=col == 1, hoverinfo="skip",
        )  # fmt: skip
    goal = tables.FRACTION * float(tables.baseline_of(rows).scores.mean())
    figure.add_hline(y=goal, line={"color": GREY, "dash": "dash", "width": 1}, exclude_empty_subplots=False)
    figure.update_xaxes(title="Dimension, d (log)", **log_axis([min(dims) / 1.2, max(dims) * 1.2]), row=1, col=1)
    figure.update_xaxes(**density_axis(densities), row=1, col=2)
    figure.update_yaxes(title="Test accuracy", range=[0, 1.02])
    figure.update_layout(legend=BELOW)
    note = f"Dashed: 90 % of the dense network's accuracy, {goal:.3f}.<br>"
    note += f"{rows.seed.nunique()} seeds open, lines their means. No line where fewer than d entries are kept."
    return finish(figure, "Accuracy over density and dimension", note, height=520)


def section(scene: go.Figure, found: Mapping[str, Mapping[float, Sequence[Cut]]], density: float, d: int) -> go.Figure:
    """Draw two sections into their scene; ``found`` as from ``sections``."""
    figure = again(scene)
    *traces, left, right = figure.data
    both = zip(found["density"][density], found["d"][d], strict=True)
    for i, (x, y, seeds, means_x, means_y) in enumerate(cut for pair in both for cut in pair):
        traces[2 * i].update(x=x, y=y, customdata=seeds)
        traces[2 * i + 1].update(x=means_x, y=means_y)
    left.x, right.x = [d, d], [density, density]
    note = f"Left: density {density:.4g}. Right: d = {d}. {scene.layout.title.subtitle.text}"
    return figure.update_layout(title_subtitle_text=note)


def run_figure(run: Mapping[str, Any], goal: float) -> go.Figure:
    """Draw a subspace of the reader's own as it is trained; always the same traces."""
    figure, steps = go.Figure(), run["n_steps"]
    figure.add_scatter(
        x=run["steps"], y=run["validation"], mode="lines+markers", name="your subspace", line={"color": BLUE},
        hovertemplate="your subspace, step %{x}: validation accuracy %{y:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[0, steps], y=[goal, goal], mode="lines", name="90 % of the dense network's test accuracy",
        line={"color": GREY, "dash": "dash"}, hoverinfo="skip",
    )  # fmt: skip
    figure.update_xaxes(title="Optimizer step", range=[0, 1.02 * steps])
    figure.update_yaxes(title="Validation accuracy", range=[0, 1.02])
    figure.update_layout(legend=BELOW)
    return finish(figure, "A subspace of your own", run["said"], height=440)

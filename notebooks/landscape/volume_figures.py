"""The figure of counted, fitted and split shares: laws against counts, bits over dimension, layers and pixels."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from volume_claims import AT, differences, seed_bits
from volume_trials import HITS

from workbench.figures.style import COLOURS, GREY, INK, SKY, SYMBOLS, finish, panels
from workbench.statistics import mean_interval

_CLASS = ("mlp", "cnn", "linear", "polynomial", "radial")
_LOOK = {name: (COLOURS[i], SYMBOLS[i]) for i, name in enumerate(_CLASS)}
_ARMS = (("digits", INK, "pixels as they are"), ("shuffled", SKY, "pixels shuffled"))


def volume_figure(table: pd.DataFrame) -> go.Figure:
    """Draw what random networks' shares say.

    Args:
        table: Of ``volume_trials.volumes``.

    Returns:
        Three panels: the Gaussian's bits against bits counted (full marks, a cell each) or, where too few networks
        are hit, found by splitting (open marks); bits against the dimension of teachers; classes on pairs of digits.
    """
    titles = ("Fitted against found", f"Teachers, error {AT:g}", f"Pairs of digits, error {AT:g}")
    figure = panels(1, 3, subplot_titles=titles, horizontal_spacing=0.13, column_widths=[0.36, 0.32, 0.32])
    _add_fits(figure, table)
    _add_dimensions(figure, table)
    _add_digits(figure, table)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"})
    note = f"Left: mean over the tasks of a cell; full: counted ({HITS} hits or more), open: by splitting; band: 1 bit."
    note += f"<br>Middle and right: mean and 95 % interval over {table.seed.nunique()} seeds; small: single seeds "
    note += "(middle: of the MLP)."
    return finish(figure, "How rare are good networks among random ones?", note, height=560)


def _add_fits(figure: go.Figure, table: pd.DataFrame) -> None:
    """Add the Gaussian's bits against those counted or found by splitting."""
    counted = table[(table.hits >= HITS) & np.isfinite(table.gaussian)]
    cell = ["family", "d", "class", "target"]
    means = counted.groupby(cell)[["bits", "gaussian"]].mean()
    means = means.loc[means.index.isin(pd.MultiIndex.from_frame(differences(table)[cell]))].reset_index()
    rare = table[table.split.notna() & (table.hits < HITS) & np.isfinite(table.gaussian)]
    both = pd.concat([means.bits, means.gaussian, rare.split, rare.gaussian])
    end = float(np.nanmax([2.0, *both])) + 1
    figure.add_scatter(
        x=[0, end, end, 0], y=[1, end + 1, end - 1, -1], mode="lines", fill="toself", showlegend=False,
        fillcolor="rgba(0,0,0,0.08)", line={"width": 0}, hoverinfo="skip", row=1, col=1,
    )  # fmt: skip
    for name, (colour, symbol) in _LOOK.items():
        for found, column, shape in ((means, "bits", symbol), (rare, "split", f"{symbol}-open")):
            part = found[found["class"] == name]
            said = [f"{row.family}, d = {row.d}, error {row.target:g}" for row in part.itertuples()]
            figure.add_scatter(
                x=part[column], y=part.gaussian, mode="markers", name=name, legendgroup=name, text=said,
                showlegend=column == "bits", row=1, col=1, marker={"color": colour, "symbol": shape, "size": 7},
                hovertemplate=f"{name}, %{{text}}<br>found %{{x:.1f}}, fitted %{{y:.1f}} bits<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title="Bits counted or by splitting", range=[0, end], row=1, col=1)
    figure.update_yaxes(title="Bits by the Gaussian", range=[0, end], row=1, col=1)


def _add_dimensions(figure: go.Figure, table: pd.DataFrame) -> None:
    """Add mean bits against the dimension of the teachers' inputs, a line a class."""
    for i, name in enumerate(each for each in _CLASS if each != "cnn"):
        found = seed_bits(table, "teacher", name)
        mean, low, high = np.array([mean_interval(found[d]) for d in found]).T
        colour, symbol = _LOOK[name]
        figure.add_scatter(
            x=found.columns, y=mean, mode="lines+markers", name=name, legendgroup=name, showlegend=False,
            line={"color": colour, "width": 2}, marker={"symbol": symbol, "size": 8}, row=1, col=2,
            error_y=_bars(mean, low, high) | {"thickness": 1},
            hovertemplate=f"{name}, d = %{{x}}: %{{y:.1f}} bits<extra></extra>",
        )  # fmt: skip
        for d in found if i == 0 else ():
            figure.add_scatter(
                x=[d] * len(found), y=found[d], mode="markers", marker={"color": colour, "size": 4, "opacity": 0.5},
                showlegend=False, hoverinfo="skip", row=1, col=2,
            )  # fmt: skip
    figure.update_xaxes(title="Dimension of the inputs", dtick=2, row=1, col=2)
    figure.update_yaxes(title="Bits", rangemode="tozero", row=1, col=2)


def _add_digits(figure: go.Figure, table: pd.DataFrame) -> None:
    """Add mean bits over all pairs of digits for each class, with pixels as they are and shuffled."""
    for i, (family, colour, said) in enumerate(_ARMS):
        names = [name for name in _CLASS if ((table.family == family) & (table["class"] == name)).any()]
        owns = [seed_bits(table, family, name).to_numpy()[:, 0] for name in names]
        mean, low, high = np.array([mean_interval(own) for own in owns]).T
        figure.add_scatter(
            x=[name for name, own in zip(names, owns, strict=True) for _ in own], y=np.concatenate(owns),
            mode="markers", marker={"color": colour, "size": 4, "opacity": 0.5}, showlegend=False, hoverinfo="skip",
            row=1, col=3,
        )  # fmt: skip
        figure.add_scatter(
            x=names, y=mean, mode="markers", name=said, error_y=_bars(mean, low, high) | {"color": GREY}, row=1, col=3,
            marker={"color": colour, "symbol": ("diamond", "x")[i], "size": 11, "line": {"color": INK, "width": 1}},
            hovertemplate=f"%{{x}}, {said}: %{{y:.2f}} bits<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="Class", tickangle=-90, row=1, col=3)
    figure.update_yaxes(title="Bits", rangemode="tozero", row=1, col=3)


def _bars(mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, object]:
    """Return an interval as plotly's error bars; none for one seed."""
    if np.isnan(low).any():
        return {"visible": False}
    return {"type": "data", "array": high - mean, "arrayminus": mean - low, "width": 4}

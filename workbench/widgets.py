"""Figures with controls; ipywidgets is imported nowhere else.

Live, a control redraws from runs that are already there. In batch the same call returns a plain figure whose controls
are plotly's own, so that the page works without a kernel, and nothing can hang: no ``interact``, no ``Output``.
"""

import os
from collections.abc import Callable, Sequence

import ipywidgets
import plotly.graph_objects as go
from IPython import get_ipython

from workbench import figures
from workbench.errors import require
from workbench.figures import AccuracyCurve
from workbench.figures.accuracy import TRACES_PER_CURVE

FRACTIONS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
ALL = "all networks"
MOVING = ("x", "y", "name", "hovertemplate", "marker", "error_x")


def is_live() -> bool:
    """Return whether a person sits at a kernel: a notebook's, and not a batch run's."""
    return os.environ.get("WORKBENCH_BATCH", "") in {"", "0"} and hasattr(get_ipython(), "kernel")


def explore_runs(
    curves_at: Callable[[float], Sequence[AccuracyCurve]],
    *,
    fraction: float = 0.9,
    fractions: Sequence[float] = FRACTIONS,
    live: bool | None = None,
    title: str = "Accuracy in a random subspace",
    y_title: str = "Test accuracy (fraction of examples)",
) -> go.Figure | ipywidgets.VBox:
    """Show finished runs with a slider for the threshold and a choice of network; nothing is trained.

    Args:
        curves_at: Returns the curves at a fraction of the baseline, always the same networks in the same order. It is
            called at every move of the slider, so it should only recompute the estimates.
        fraction: Where the slider stands first, in (0, 1]; the view is then that of `accuracy_versus_dimension`.
        fractions: Stops of the slider in batch; ``fraction`` is added to them.
        live: Whether to return widgets; None asks `is_live`.
        title: Above the figure.
        y_title: What was scored, with its unit.

    Returns:
        A box of controls and a FigureWidget, or a plain figure with plotly's own slider and menu.

    Raises:
        InputError: If a fraction is outside (0, 1].
    """
    stops = sorted({float(fraction), *map(float, fractions)})
    for stop in stops:
        require(0 < stop <= 1, "fractions", "must be in (0, 1]", stop, "0.9 is usual")

    def draw(at: float) -> go.Figure:
        name = f"{100 * at:g} % of the network's own baseline"
        return figures.accuracy_versus_dimension(curves_at(at), title=title, y_title=y_title, threshold_name=name)

    if is_live() if live is None else live:
        return _live(draw, float(fraction), stops[0])
    labels = [f"{stop:g}" for stop in stops]
    joined = figures.slider_figure(
        [draw(stop) for stop in stops],
        labels,
        prefix="threshold as a fraction of the baseline: ",
        active=stops.index(float(fraction)),
    )
    return figures.menu(joined, _choices(joined))


def _names(figure: go.Figure) -> list[str]:
    """Return the networks in the order of their traces."""
    return [trace.legendgroup for trace in figure.data[::TRACES_PER_CURVE]]


def _choices(figure: go.Figure) -> dict[str, list[bool]]:
    """Return for every entry of the menu which traces it shows."""
    names = _names(figure)
    single = {n: [other == n for other in names for _ in range(TRACES_PER_CURVE)] for n in names}
    return {ALL: [True] * len(figure.data)} | single


def _live(draw: Callable[[float], go.Figure], fraction: float, lowest: float) -> ipywidgets.VBox:
    """Return the figure as a widget under its two controls."""
    first = draw(fraction)
    widget, choices = go.FigureWidget(first), _choices(first)
    slider = ipywidgets.FloatSlider(
        value=fraction, min=min(0.3, lowest), max=1.0, step=0.01, readout_format=".2f", description="threshold",
        continuous_update=True, layout={"width": "28em"},
    )  # fmt: skip
    network = ipywidgets.Dropdown(options=list(choices), value=ALL, description="network")

    def move(_: object) -> None:
        figure = draw(slider.value)
        with widget.batch_update():
            for shown, new in zip(widget.data, figure.data, strict=True):
                # plotly sends what differs and nothing else.
                shown.update({key: value for key, value in new.to_plotly_json().items() if key in MOVING})
            widget.layout.title = figure.layout.title

    def choose(_: object) -> None:
        with widget.batch_update():
            for shown, visible in zip(widget.data, choices[network.value], strict=True):
                shown.visible = visible

    slider.observe(move, names="value")
    network.observe(choose, names="value")
    return ipywidgets.VBox([ipywidgets.HBox([slider, network]), widget])

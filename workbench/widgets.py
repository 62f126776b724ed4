"""Figures with controls; ipywidgets is imported nowhere else.

Live, a control redraws from runs that are already there. In batch the same call returns a plain figure whose controls
are plotly's own, so that the page works without a kernel, and nothing can hang: no ``interact``, no ``Output``.
"""

import os
from collections.abc import Callable, Sequence

import ipywidgets
from IPython import get_ipython

from workbench import figures
from workbench.errors import is_number, require
from workbench.figures import AccuracyCurve, Figure

STOPS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)  # of the slider in batch
MOVING = ("x", "y", "name", "hovertemplate", "marker", "error_x")


def is_live() -> bool:
    """Return whether a person sits at a kernel: a notebook's, and not a batch run's."""
    return os.environ.get("WORKBENCH_BATCH", "") in {"", "0"} and hasattr(get_ipython(), "kernel")


def explore_runs(
    curves_at: Callable[[float], Sequence[AccuracyCurve]],
    *,
    fraction: float = 0.9,
    live: bool | None = None,
    title: str = "Accuracy in a random subspace",
    y_title: str = "Test accuracy (fraction of examples)",
) -> Figure | ipywidgets.VBox:
    """Show finished runs with a slider for the threshold and a choice of network; nothing is trained.

    Args:
        curves_at: Returns the curves at a fraction of the baseline, always the same networks in the same order. It is
            called at every move of the slider, so it should only recompute the estimates.
        fraction: Where the slider stands first, in (0, 1]; the view is then that of `accuracy_versus_dimension`.
        live: Whether to return widgets; None asks `is_live`.
        title: Above the figure.
        y_title: What was scored, with its unit.

    Returns:
        A box of controls and a FigureWidget, or a plain figure with plotly's own slider and menu.

    Raises:
        InputError: If ``fraction`` is outside (0, 1].
    """
    require(is_number(fraction) and 0 < fraction <= 1, "fraction", "must be in (0, 1]", fraction, "0.9 is usual")
    stops = sorted({float(fraction), *STOPS})

    def draw(at: float) -> Figure:
        return figures.accuracy_versus_dimension(curves_at(at), title=title, y_title=y_title)

    if is_live() if live is None else live:
        return _live(draw, float(fraction))
    joined = figures.slider_figure(
        [draw(stop) for stop in stops],
        [f"{stop:g}" for stop in stops],
        prefix="threshold as a fraction of the baseline: ",
        active=stops.index(float(fraction)),
    )
    return figures.menu(joined)


def _live(draw: Callable[[float], Figure], fraction: float) -> ipywidgets.VBox:
    """Return the figure as a widget under its two controls."""
    widget = figures.live(draw(fraction))
    choices = figures.choices(widget)
    slider = ipywidgets.FloatSlider(
        value=fraction, min=min(0.3, fraction), max=1.0, step=0.01, readout_format=".2f", description="threshold",
        continuous_update=True, layout={"width": "28em"},
    )  # fmt: skip
    network = ipywidgets.Dropdown(options=list(choices), description="network")

    def move(_: object) -> None:
        figure = draw(slider.value)
        with widget.batch_update():
            for shown, new in zip(widget.data, figure.data, strict=True):
                shown.update({key: new[key] for key in MOVING})
            widget.layout.title = figure.layout.title

    def choose(_: object) -> None:
        with widget.batch_update():
            for shown, visible in zip(widget.data, choices[network.value], strict=True):
                shown.visible = visible

    slider.observe(move, names="value")
    network.observe(choose, names="value")
    return ipywidgets.VBox([ipywidgets.HBox([slider, network]), widget])

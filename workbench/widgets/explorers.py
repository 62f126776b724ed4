"""One figure and what changes it: live with a kernel, in batch with plotly's own slider."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets

from workbench import figures
from workbench.figures import Figure
from workbench.figures.live import LiveFigure
from workbench.schema import Parameter
from workbench.widgets.controls import control, is_live
from workbench.widgets.live import Live


def explore(
    draw: Callable[[Any], Figure], parameter: Parameter, value: Any, stops: Sequence[Any], *, live: bool | None = None
) -> Figure | ipywidgets.VBox:
    """Show a figure that follows one parameter.

    Args:
        draw: Returns the figure at a value, always with the same traces; called at every move to a value that is none
            of the stops, so it should draw from results already computed.
        parameter: What the control changes.
        value: Where it stands first.
        stops: Values that are drawn beforehand, beside the first; in batch the slider's.
        live: Whether to return widgets; None asks `is_live`.

    Returns:
        A box of a control and a FigureWidget, or a plain figure with plotly's own slider.
    """
    if not (is_live() if live is None else live):
        return compute(draw, draw, value, [parameter], views={str(v): v for v in sorted({value, *stops})}, live=False)
    drawn = {at: draw(at) for at in (value, *stops)}
    handle, figure = control(replace(parameter, default=value)), LiveFigure(drawn[value])
    handle.observe(lambda change: figure.follow(drawn.get(change["new"]) or draw(change["new"])), names="value")
    return ipywidgets.VBox([handle, figure])


def compute(
    work: Callable[..., Any],
    draw: Callable[[Any], Figure],
    numbers: Any,
    parameters: Sequence[Parameter],
    *,
    views: Mapping[str, Any] | None = None,
    label: str = "Run",
    live: bool | None = None,
) -> Figure | Live:
    """Show a figure of numbers that the reader can have computed anew at values of their own.

    Args:
        work: ``work(report, **values)`` computes the numbers, see `Live`.
        draw: Returns the figure of numbers, always with the same traces.
        numbers: What the figure opens on.
        parameters: What the controls change.
        views: Label -> numbers for the slider in batch; none, no slider.
        label: What the button that starts the work says.
        live: Whether to return widgets; None asks `is_live`.

    Returns:
        A `Live`, or a plain figure that opens on ``numbers``.
    """
    if is_live() if live is None else live:
        return Live(work, draw, numbers, parameters, label=label)
    first = draw(numbers)
    drawn = {label: draw(each) for label, each in (views or {}).items()}
    if not drawn:
        return first
    if first not in drawn.values():
        drawn = {"as above": first, **drawn}
    prefix = f"{parameters[0].help or parameters[0].name}: " if len(parameters) == 1 else ""
    return figures.slider_figure([*drawn.values()], [*drawn], prefix=prefix, active=[*drawn.values()].index(first))

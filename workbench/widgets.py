"""Controls made from a study's parameters, and figures that follow them; ipywidgets is imported nowhere else.

In batch a figure is plain and its slider plotly's own: it needs no kernel and cannot hang as ``interact`` does.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import Annotated, Any, Literal, get_args, get_origin

import ipywidgets
import traitlets
from IPython import get_ipython

from workbench import figures
from workbench.errors import InputError
from workbench.figures import Figure
from workbench.schema import Parameter


def is_live() -> bool:
    """Return whether a person sits at a kernel: a notebook's, and not a batch run's."""
    return not os.environ.get("WORKBENCH_BATCH") and hasattr(get_ipython(), "kernel")


class TextControl(ipywidgets.HBox):
    """A text read by a parameter's declared type; ``value`` is the last one taken, a refusal stands beside it."""

    value = traitlets.Any()

    def __init__(self, parameter: Parameter, **look: Any) -> None:
        self.parameter, value = parameter, parameter.default
        self.text = ipywidgets.Text(value if isinstance(value, str) else repr(value), continuous_update=False, **look)
        self.refusal = ipywidgets.HTML()
        super().__init__([self.text, self.refusal])
        self.value = value
        self.text.observe(self._read, names="value")

    def _read(self, change: Any) -> None:
        """Take what was typed or say why not."""
        try:
            self.value, self.refusal.value = self.parameter.read(change["new"], "value"), ""
        except InputError as error:
            self.refusal.value = f'<span style="color:#B00020">{escape(str(error))}</span>'


def control(parameter: Parameter) -> ipywidgets.Widget:
    """Make the control that fits a parameter's type; its ``value`` is always one that the parameter takes.

    Args:
        parameter: A line of the parameters cell; the control stands at its default first.

    Returns:
        A slider for a number bounded on both sides, a checkbox, a drop-down list for ``Literal``, else a text.
    """
    value, style = parameter.default, {"description_width": "initial"}
    look: dict[str, Any] = {"description": parameter.name, "tooltip": parameter.help, "style": style}
    if parameter.kind is bool:
        return ipywidgets.Checkbox(value, **look)
    if get_origin(parameter.kind) is Literal:
        return ipywidgets.Dropdown(options=get_args(parameter.kind), value=value, **look)
    if not (span := _span(parameter)):
        return TextControl(parameter, **look)
    look |= {"continuous_update": False, "layout": {"width": "28em"}}
    if isinstance(value, int):
        return ipywidgets.IntSlider(value, **span, **look)
    return ipywidgets.FloatSlider(value, readout_format=".4g", **span, **look)


def explore(
    draw: Callable[[Any], Figure], parameter: Parameter, value: Any, stops: Sequence[Any], *, live: bool | None = None
) -> Figure | ipywidgets.VBox:
    """Show a figure that follows one parameter.

    Args:
        draw: Returns the figure at a value, always with the same traces; called at every move.
        parameter: What the control changes.
        value: Where it stands first.
        stops: Values of the slider in batch, beside the first.
        live: Whether to return widgets; None asks `is_live`.

    Returns:
        A box of a control and a FigureWidget, or a plain figure with plotly's own slider.
    """
    if not (is_live() if live is None else live):
        points = sorted({value, *stops})
        prefix, views = f"{parameter.help or parameter.name}: ", [draw(point) for point in points]
        return figures.slider_figure(views, list(map(str, points)), prefix=prefix, active=points.index(value))
    handle, widget = control(replace(parameter, default=value)), figures.live(draw(value))

    def move(change: Any) -> None:
        figure = draw(change["new"])
        with widget.batch_update():
            for shown, new in zip(widget.data, figure.data, strict=True):
                keys = {*shown.to_plotly_json(), *new.to_plotly_json()} - {"type", "uid", "visible"}
                shown.update({key: new[key] for key in keys}, overwrite=True)
            widget.layout.title = figure.layout.title

    handle.observe(move, names="value")
    return ipywidgets.VBox([handle, widget])


def _span(parameter: Parameter) -> dict[str, Any]:
    """Return the range of a slider that stops only where the parameter may; nothing where none shows the default."""
    kind, *notes = get_args(parameter.kind) if get_origin(parameter.kind) is Annotated else (parameter.kind,)
    ends = {name: getattr(note, name) for note in notes for name in ("ge", "gt", "le", "lt") if hasattr(note, name)}
    low, high = ends.get("ge", ends.get("gt")), ends.get("le", ends.get("lt"))
    if kind not in {int, float} or low is None or high is None or low >= high:
        return {}
    step = 1 if kind is int else 10.0 ** math.floor(math.log10((high - low) / 50))
    low, high = kind(low) + step * ("gt" in ends), kind(high) - step * ("lt" in ends)
    return {"min": low, "max": high, "step": step} if low <= parameter.default <= high else {}

"""Controls made from a study's parameters."""

import math
import os
from html import escape
from typing import Annotated, Any, Literal, get_args, get_origin

import ipywidgets
import traitlets
from IPython import get_ipython

from workbench.errors import InputError, is_number
from workbench.figures.live import prompt
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
        super().__init__([self.text, self.refusal], value=value)
        self.text.observe(self._read, names="value")

    def _read(self, change: Any) -> None:
        """Take what was typed or say why not."""
        try:
            self.value, self.refusal.value = self.parameter.read(change["new"], "value"), ""
        except InputError as error:
            # The control says itself what is refused; of a number, one word that it must be one is enough.
            said = str(error).removeprefix("value: ").removesuffix("; input should be a valid number")
            self.refusal.value = refusal(said)


def refusal(text: str) -> str:
    """Return text that came from outside as HTML in the colour of errors, of a light page or a dark one."""
    return f'<span style="color:var(--jp-error-color1, #B00020)">{escape(text)}</span>' if text else ""


def control(parameter: Parameter) -> ipywidgets.Widget:
    """Make the control that fits a parameter's type; its ``value`` is always one that the parameter takes.

    Args:
        parameter: A line of the parameters cell; the control stands at its default first.

    Returns:
        A slider for a number bounded on both sides or a ``Literal`` of numbers, a checkbox, a row of buttons for
        another ``Literal``, else a text.
    """
    return prompt(_control(parameter))


def _control(parameter: Parameter) -> ipywidgets.Widget:
    """Make the control; no drop-down list, because JupyterLab takes the arrow keys from one to move between cells."""
    value, style = parameter.default, {"description_width": "initial"}
    look: dict[str, Any] = {"description": parameter.name, "tooltip": parameter.help, "style": style}
    if parameter.kind is bool:
        return ipywidgets.Checkbox(value, **look)
    choices, span = get_args(parameter.kind) if get_origin(parameter.kind) is Literal else (), _span(parameter)
    if choices and not all(map(is_number, choices)):
        return ipywidgets.ToggleButtons(options=choices, value=value, **look | {"style": {"button_width": "auto"}})
    if not (choices or span):
        return TextControl(parameter, **look)
    look |= {"continuous_update": False, "layout": {"width": "28em"}}
    if choices:
        return ipywidgets.SelectionSlider(options=choices, value=value, **look)
    if isinstance(value, int):
        return ipywidgets.IntSlider(value, **span, **look)
    return ipywidgets.FloatSlider(value, readout_format=".4g", **span, **look)


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

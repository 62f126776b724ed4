"""A figure on a page that the kernel changes while somebody looks at it."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import traitlets

from workbench.errors import require


def prompt(widget: Any) -> Any:
    """Have the thread that the page asks for take a widget's messages.

    ipykernel 7.4 asks the one that used the widget last: a cell's, where they wait for its end, or that of a page which
    is there no more, where they are lost.

    Args:
        widget: A widget, and its children if it has any.

    Returns:
        The widget.
    """
    for each in (widget, *getattr(widget, "children", ())):
        each.comm._reply_subshell_for = lambda data, asked: asked
    return widget


class LiveFigure(go.FigureWidget):
    """A widget that follows a figure drawn again and again; the reader's own zoom and hidden traces stay.

    Slider messages, a live run and cells are three threads: every change holds ``lock``.
    """

    _esm = Path(__file__).with_suffix(".js")
    script = traitlets.Unicode(str(go.FigureWidget._esm)).tag(sync=True)
    lock: Any = None  # named here, because a figure takes no attribute that it does not know
    _drawn: Any = None

    def __init__(self, figure: go.Figure) -> None:
        self.lock = threading.RLock()
        super().__init__(figure)
        self._drawn, self._config = figure, {"responsive": True, "displaylogo": False}
        prompt(self).observe(self._fit, names="_view_count")

    def follow(self, figure: go.Figure) -> None:
        """Look like a figure of the same traces; only what differs from the one before is sent.

        Args:
            figure: What to show; it is compared with the next, so not to be changed afterwards.

        Raises:
            InputError: If the number of traces is another.
        """
        with self.batch_update():
            n = len(self.data)
            require(len(figure.data) == n, "draw", f"must always return {n} traces, as at first", len(figure.data))
            parts = [*zip(self.data, self._drawn.data, figure.data, strict=True)]
            for part, old, new in (*parts, (self.layout, self._drawn.layout, figure.layout)):
                for path, value in _changes(old.to_plotly_json(), new.to_plotly_json()):
                    part[path] = value
            self._drawn = figure

    @contextlib.contextmanager
    def batch_update(self) -> Iterator[None]:
        """Join changes into one message."""
        with self.lock, super().batch_update():
            yield

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page says; a change that another thread makes meanwhile would be lost."""
        with self.lock:
            super().set_state(sync_data)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return what a page is told; one that is loaded again must not see the figure as it was at first."""
        with self.lock:
            state = super().get_state(key, drop_defaults)
            if key is None and self._drawn:
                now = self._drawn.to_plotly_json()  # this figure itself forgets what a page takes for its own default
                now["data"] = [{**each, "uid": trace.uid} for each, trace in zip(now["data"], self.data, strict=True)]
                for part in ("data", "layout"):
                    state[f"_widget_{part}"] = self.trait_metadata(f"_widget_{part}", "to_json")(now[part], self)
            return state

    def _fit(self, _: object) -> None:
        """Draw again on a page that has just shown the figure: before it stood there its width was unknown."""
        with self.lock:
            self.layout.autosize = None
            self.layout.autosize = True


def _changes(old: dict[str, Any], new: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield where two properties differ, as ``marker.color``, and the new value; None where there is none any more."""
    for name in sorted({*old, *new}):
        was, value = old.get(name), new.get(name)
        if isinstance(was, dict) and isinstance(value, dict):
            yield from _changes(was, value, f"{above}{name}.")
        elif not _equal(was, value):
            yield above + name, value


def _equal(one: Any, other: Any) -> bool:
    """Tell whether two values are the same; lists and arrays by their entries."""
    try:
        return bool(np.array_equal(one, other))
    except ValueError:  # entries of different lengths
        return False

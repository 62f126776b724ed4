"""A figure on a page that the kernel changes while somebody looks at it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import Undefined

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
    lock: Any = None  # named here, because a figure takes no attribute that it does not know
    _drawn: Any = None

    def __init__(self, figure: go.Figure) -> None:
        self.lock = threading.RLock()
        super().__init__(figure)
        self.keys = [key for key in self.traits(sync=True) if not key.startswith("_last_")]  # they number answers
        self._drawn, self._config = _properties(figure), {"responsive": True, "displaylogo": False}
        prompt(self).observe(self._fit, names="_view_count")
        # Asked for once a page: in every figure's state, 5 MB each, a page that is loaded again would wait too long.
        self.on_msg(lambda *_: self.send({"plotly": str(go.FigureWidget._esm)}))

    def follow(self, figure: go.Figure) -> None:
        """Look like a figure of the same traces; only what differs from the one before is sent.

        Args:
            figure: What to show.

        Raises:
            InputError: If the number of traces is another.
        """
        with self.lock:
            n = len(self.data)
            require(len(figure.data) == n, "draw", f"must always return {n} traces, as at first", len(figure.data))
            now = _properties(figure)
            *traces, layout = map(_changes, self._drawn, now)
            moved = [i for i, changes in enumerate(traces) if changes]
            paths = {path for changes in traces for path in changes}
            style = {path: [traces[i].get(path, Undefined) for i in moved] for path in paths}
            if moved or layout:
                self._send_update_msg(style, layout, moved)
                time.sleep(0.001)  # the thread that sends takes its turn: the page draws while the rest is done here
                self._perform_plotly_update(style, layout, moved)
            self._drawn = now

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page says; a change that another thread makes meanwhile would be lost."""
        with self.lock:
            super().set_state(sync_data)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return what a page is told; one that is loaded again must not see the figure as it was at first."""
        with self.lock:
            state = super().get_state(key, drop_defaults)
            if key is None and self._drawn:
                now = self.to_plotly_json()
                for part in ("data", "layout"):
                    state[f"_widget_{part}"] = self.trait_metadata(f"_widget_{part}", "to_json")(now[part], self)
            return state

    def _fit(self, _: object) -> None:
        """Draw again on a page that has just shown the figure: before it stood there its width was unknown."""
        with self.lock:
            self.layout.autosize = None
            self.layout.autosize = True


def _properties(figure: go.Figure) -> list[dict[str, Any]]:
    """Return what is set of each trace and of the layout, by paths such as ``marker.color``."""
    return [dict(_leaves(part)) for part in (*figure._data, figure._layout)]  # to_plotly_json copies every array


def _changes(was: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return the new value of each property that differs; None where there is none."""
    return {path: now.get(path) for path in sorted({*was, *now}) if not _equal(was.get(path), now.get(path))}


def _leaves(properties: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every property's path and value."""
    for name, value in properties.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield above + name, value


def _equal(one: Any, other: Any) -> bool:
    """Tell whether two values are the same; lists and arrays by their entries."""
    try:
        return bool(np.array_equal(one, other))
    except ValueError:  # entries of different lengths
        return False

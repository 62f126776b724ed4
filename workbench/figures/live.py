"""A figure on a page that the kernel changes while somebody looks at it."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go

from workbench.errors import require


class LiveFigure(go.FigureWidget):
    """A widget that follows a figure drawn again and again; the reader's own zoom and hidden traces stay.

    Slider messages, a live run and cells come from three threads: ``lock`` is held by every change.
    """

    lock: Any = None  # named here, because a figure takes no attribute it does not know
    _drawn: Any = None

    def __init__(self, figure: go.Figure) -> None:
        self.lock, self._drawn = threading.RLock(), figure
        super().__init__(figure)

    def follow(self, figure: go.Figure) -> None:
        """Look like a figure of the same traces; only what differs from the one before is sent.

        Args:
            figure: What to show; kept for the next comparison, so not to be changed afterwards.

        Raises:
            InputError: If the number of traces is another.
        """
        same = len(figure.data) == len(self.data)
        require(same, "figure", f"must have {len(self.data)} traces, as at first", len(figure.data))
        with self.batch_update():
            pairs = zip(self.data, self._drawn.data, figure.data, strict=True)
            for part, old, new in (*pairs, (self.layout, self._drawn.layout, figure.layout)):
                for path, value in _changes(old.to_plotly_json(), new.to_plotly_json()):
                    part[path] = value
            self._drawn = figure

    @contextlib.contextmanager
    def batch_update(self) -> Iterator[None]:
        """Join changes into one message."""
        with self.lock, super().batch_update():
            yield

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page says; a change made meanwhile by another thread would be lost."""
        with self.lock:
            super().set_state(sync_data)


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
    if isinstance(one, dict) or isinstance(other, dict):
        return False
    try:
        return bool(np.array_equal(one, other))
    except ValueError:  # entries of different lengths
        return False

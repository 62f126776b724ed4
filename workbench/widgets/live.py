"""Work that runs beside the page: started, watched and stopped by its reader."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from typing import Any

import ipywidgets
import traitlets

from workbench.figures import Figure
from workbench.figures.live import LiveFigure
from workbench.schema import Parameter
from workbench.sweeps.job import alone, turn
from workbench.widgets.controls import control, refusal

_REDRAW_SECONDS = 0.1  # at least between two redraws
_SEED = 0  # of the global random generators while a work runs; it should draw from a seed of its own
_turnover = threading.Lock()  # held while one run takes another's place
_log = logging.getLogger(__name__)


class Stopped(BaseException):
    """Raised in a work that shall end; no handler of errors on the way out takes it for one."""


class _Run:
    """One run of a work: the values it was started with, how far it is, what it found."""

    newest: "_Run | None" = None

    def __init__(self, values: dict[str, Any]) -> None:
        self.values, self.stop = values, threading.Event()
        self.fraction, self.due, self.numbers = 0.0, 0.0, None
        with _turnover:
            if _Run.newest:
                _Run.newest.stop.set()
            _Run.newest = self

    @contextlib.contextmanager
    def turn(self, wait: Callable[[], None]) -> Iterator[None]:
        """Wait for the process's turn on torch, or for the stop, whichever comes first."""
        while not turn.acquire(timeout=_REDRAW_SECONDS):
            self.check()
            wait()
        try:
            with alone(_SEED):
                yield
        finally:
            turn.release()

    def check(self) -> None:
        """Raise Stopped where somebody asked for it."""
        if self.stop.is_set():
            raise Stopped


class Live(ipywidgets.VBox):
    """Controls, a start and a stop button, progress, and a figure that is drawn again as numbers come in.

    One work runs at a time in a process: starting one stops the others. It runs in a thread of its own and holds the
    process's turn on torch's threads and random generators, so that a cell's serial trials and a live run take turns.

    Args:
        work: ``work(report, **values) -> numbers``, values by parameter name. It calls ``report(fraction, numbers)``
            often: that is where the figure is drawn, about ten times a second, and where a stop ends the work.
        draw: Returns the figure of numbers, always with the same traces.
        numbers: What the figure opens on.
        parameters: What the controls change.
        label: What the start button says.

    Attributes:
        numbers: What was last drawn.
        state: ``"ready"``, ``"running"``, ``"stopped"``, ``"finished"`` or ``"failed"``.
        figure: The `LiveFigure`.
        controls: Control by parameter name.
    """

    numbers = traitlets.Any()
    state = traitlets.Enum(("ready", "running", "stopped", "finished", "failed"), "ready")

    def __init__(
        self,
        work: Callable[..., Any],
        draw: Callable[[Any], Figure],
        numbers: Any,
        parameters: Sequence[Parameter],
        *,
        label: str = "Run",
    ) -> None:
        self.work, self.draw, self.figure = work, draw, LiveFigure(draw(numbers))
        self.controls = {parameter.name: control(parameter) for parameter in parameters}
        self.start_button = ipywidgets.Button(description=label, icon="play", tooltip=f"{label}: start, or start anew")
        self.stop_button = ipywidgets.Button(description="Stop", icon="stop", tooltip="Stop the run", disabled=True)
        self.bar = ipywidgets.FloatProgress(0.0, min=0.0, max=1.0, tooltip="part of the run that is done")
        self.status = ipywidgets.HTML("ready")
        self._run: _Run | None = None
        self._thread: threading.Thread | None = None
        row = [*self.controls.values(), self.start_button, self.stop_button, self.bar, self.status]
        super().__init__([ipywidgets.HBox(row, layout={"flex_flow": "row wrap", "align_items": "center"}), self.figure])
        self.numbers = numbers
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())

    def start(self) -> None:
        """Run the work at the values that the controls show; whatever runs is stopped."""
        with self.figure.lock:
            self._run = run = _Run({name: control.value for name, control in self.controls.items()})
            self._show(run, "running", "starts")
            self._thread = threading.Thread(target=self._go, args=(run,), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the work to end at its next report."""
        with self.figure.lock:
            if self._run and self.state == "running":
                self._run.stop.set()
                self._show(self._run, "running", "stops")

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the run's end; tell whether it came in time."""
        if self._thread:
            self._thread.join(timeout)
        return self.state != "running"

    def _go(self, run: _Run) -> None:
        """Run the work and say how it ended."""
        try:
            try:
                with run.turn(lambda: self._show(run, "running", "waits for a cell or another run")):
                    run.check()
                    run.numbers = self.work(partial(self._report, run), **run.values)
                run.fraction = 1.0
                self._redraw(run, "finished", "finished")
            except Stopped:
                self._redraw(run, "stopped", f"stopped at {run.fraction:.0%}")
        except BaseException as error:
            _log.exception("The work of a live figure failed")
            self._show(run, "failed", f"failed at {run.fraction:.0%}: {type(error).__name__}: {error}")

    def _report(self, run: _Run, fraction: float, numbers: Any) -> None:
        """Take what a work has so far; draw it unless the last drawing is but a moment ago."""
        run.check()
        run.fraction, run.numbers = min(max(float(fraction), 0.0), 1.0), numbers
        if time.monotonic() >= run.due:
            self._redraw(run, "running", f"{run.fraction:.0%}")
            run.due = time.monotonic() + _REDRAW_SECONDS

    def _redraw(self, run: _Run, state: str, said: str) -> None:
        """Draw what a run has, unless another has taken its place."""
        figure = None if run.numbers is None else self.draw(run.numbers)
        with self.figure.lock:
            if run is self._run and figure is not None:
                self.figure.follow(figure)
                self.numbers = run.numbers
            self._show(run, state, said)

    def _show(self, run: _Run, state: str, said: str) -> None:
        """Say how a run stands, unless another has taken its place."""
        with self.figure.lock:
            if run is not self._run:
                return
            about = ", ".join(f"{name} = {value}" for name, value in run.values.items())
            text = f"{about}: {said}" if about else said
            self.status.value = refusal(text) if state == "failed" else escape(text)
            self.bar.value, self.stop_button.disabled = run.fraction, state != "running"
            self.state = state

"""Work that runs beside the page: started, watched and stopped by its reader."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from typing import Any

import ipywidgets
import traitlets

from workbench.figures import Figure
from workbench.figures.live import LiveFigure, prompt
from workbench.schema import Parameter
from workbench.sweeps.job import alone
from workbench.widgets.controls import control, refusal

Draw = Callable[[Any], Figure]

_REDRAW_SECONDS = 0.1  # at least, from the end of one redraw to the next
_turnover = threading.Lock()  # held while one run takes another's place


class Stopped(BaseException):
    """Raised in a work that shall end; no handler of errors on the way out takes it for one."""


@dataclass
class Stream:
    """What a training calls at each evaluation (``watch``), so that a live work's reader sees the curve grow.

    Attributes:
        run: A frozen dataclass whose tuples ``steps`` and ``validation`` grow.
        report: Called with the run that has grown.
    """

    run: Any
    report: Callable[[Any], None]

    def __call__(self, _: int, evaluation: dict[str, Any]) -> None:
        """Take an evaluation."""
        steps, found = (*self.run.steps, evaluation["step"]), (*self.run.validation, evaluation["metric"])
        self.run = replace(self.run, steps=steps, validation=found)
        self.report(self.run)


@dataclass(eq=False)
class _Run:
    """One run of a work: what it was started with, how far it is, what it has found."""

    values: dict[str, Any]
    stop: threading.Event = field(default_factory=threading.Event)
    fraction: float = 0.0
    numbers: Any = None
    due: float = 0.0  # when it may be drawn again

    def check(self) -> None:
        """Raise Stopped where somebody asked for it."""
        if self.stop.is_set():
            raise Stopped


class Live(ipywidgets.VBox):
    """Controls, a start and a stop button, progress, and a figure that is drawn again as numbers come in.

    One work runs at a time in a process: starting one stops the others. It runs in a thread of its own and holds the
    process's turn on torch's threads and random generators: trials of a cell and a live run never mix.

    Args:
        work: ``work(report, **values) -> numbers``, values by parameter name. It calls ``report(fraction, numbers)``
            often: there the figure is drawn, at most about ten times a second, and there a stop ends the work. Each
            report's numbers are its own, so not to be changed afterwards.
        draw: Returns the figure of numbers, always with the same traces.
        numbers: What the figure opens on.
        parameters: What the controls change.
        label: What the start button says.

    Attributes:
        numbers: What was last drawn.
        state: ``"ready"``, ``"running"``, ``"stopped"``, ``"finished"`` or ``"failed"``.
        figure: The `LiveFigure`.
        controls: Control by parameter name.
        thread: Of the newest run.
    """

    numbers = traitlets.Any()
    state = traitlets.Enum(("ready", "running", "stopped", "finished", "failed"), "ready")
    thread: threading.Thread | None = None
    _run: _Run | None = None
    _newest: _Run | None = None  # of the class: of all live figures

    def __init__(
        self, work: Callable[..., Any], draw: Draw, numbers: Any, parameters: Sequence[Parameter], *, label: str = "Run"
    ) -> None:
        self.work, self.draw, self.figure = work, draw, LiveFigure(draw(numbers))
        self.controls = {parameter.name: control(parameter) for parameter in parameters}
        start = ipywidgets.Button(description=label, icon="play", tooltip=f"{label}; what runs is stopped")
        # Never disabled: the page takes the keyboard's focus away from a button that is.
        stop = ipywidgets.Button(description="Stop", icon="stop", tooltip="Stop what runs here")
        self.bar = ipywidgets.FloatProgress(max=1.0, tooltip="part of the run that is done")
        self.status = ipywidgets.HTML("ready")
        row = [*self.controls.values(), prompt(start), prompt(stop), self.bar, self.status]
        look = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "0 1em"}
        super().__init__([ipywidgets.HBox(row, layout=look), self.figure], numbers=numbers)
        start.on_click(lambda _: self.start())
        stop.on_click(lambda _: self.stop())

    def start(self) -> None:
        """Run the work at the values that the controls show; whatever runs is stopped."""
        with self.figure.lock:
            self._run = run = _Run({name: each.value for name, each in self.controls.items()})
            with _turnover:
                before, Live._newest = Live._newest, run
            if before:
                before.stop.set()
            self._show(run, "running", "starts")
            self.thread = threading.Thread(target=self._go, args=(run,), daemon=True)
            self.thread.start()

    def stop(self) -> None:
        """Ask the work to end at its next report."""
        with self.figure.lock:
            if self._run and self.state == "running":
                self._run.stop.set()
                self._show(self._run, "running", "stops")

    def _go(self, run: _Run) -> None:
        """Run the work and say how it ended."""
        try:
            try:
                # The seed of the global random generators: a work should draw from one of its own.
                with alone(0, waiting=partial(self._wait, run)):
                    run.check()
                    run.numbers = self.work(partial(self._report, run), **run.values)
                run.fraction = 1.0
                self._redraw(run, "finished", "finished")
            except Stopped:
                self._redraw(run, "stopped", f"stopped at {_percent(run)}")
        except BaseException as error:
            logging.getLogger(__name__).exception("the work of a live figure failed")
            self._show(run, "failed", f"failed at {_percent(run)}: {type(error).__name__}: {error}")

    def _wait(self, run: _Run) -> None:
        """Say that a run has not got its turn yet."""
        run.check()
        self._show(run, "running", "waits until a cell or another run ends")

    def _report(self, run: _Run, fraction: float, numbers: Any) -> None:
        """Take what a work has so far; draw it unless the last drawing is but a moment ago."""
        run.check()
        run.fraction, run.numbers = min(max(float(fraction), 0.0), 1.0), numbers
        if time.monotonic() >= run.due:
            self._redraw(run, "running", _percent(run))
            run.due = time.monotonic() + _REDRAW_SECONDS

    def _redraw(self, run: _Run, state: str, said: str) -> None:
        """Draw what a run has, unless another has taken its place."""
        figure = None if run.numbers is None else self.draw(run.numbers)
        with self.figure.lock:
            if figure and run is self._run:
                self.figure.follow(figure)
                self.numbers = run.numbers
            self._show(run, state, said)

    def _show(self, run: _Run, state: str, said: str) -> None:
        """Say how a run stands, unless another has taken its place."""
        with self.figure.lock:
            if run is self._run:
                about = ", ".join(f"{name} = {value}" for name, value in run.values.items())
                text = f"{about}: {said}" if about else said
                self.status.value = refusal(text) if state == "failed" else escape(text)
                self.bar.value, self.state = run.fraction, state


def _percent(run: _Run) -> str:
    """Return how far a run is."""
    return f"{100 * run.fraction:.0f} %"

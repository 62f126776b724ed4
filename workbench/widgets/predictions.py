"""What a reader expects: asked before the result, kept, and shown beside it."""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
from pydantic import FiniteFloat, TypeAdapter

from workbench.errors import DataError, require
from workbench.files import read_json, write_json
from workbench.records import project_folder
from workbench.schema import Parameter
from workbench.verdicts import format_measurement, format_number
from workbench.widgets.controls import TextControl, is_live, refusal

_writing = threading.Lock()


@dataclass
class _Answer:
    """One answer of a reader; ``blind`` if the result had never been shown."""

    value: FiniteFloat | str
    made: str
    blind: bool

    def __str__(self) -> str:
        return self.value if isinstance(self.value, str) else format_number(self.value)


@dataclass
class _Question:
    """All answers to one question, the last one counts, and when its result was first shown."""

    unit: str = ""
    shown: str | None = None
    answers: list[_Answer] = field(default_factory=list)


_FILE = TypeAdapter(dict[str, _Question])


@dataclass(frozen=True)
class Text:
    """Plain text, on a page too."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        """Return the text as a paragraph; whatever came from outside is escaped."""
        return f"<p>{escape(self.text)}</p>"


class Prediction:
    """A question and the reader's answer; `predict` makes it, a cell shows it."""

    def __init__(self, path: Path, question: str, unit: str, choices: tuple[str, ...], live: bool) -> None:
        self.path, self.question, self.unit, self.live = path, question, unit, live
        if live:
            kept, problem = self._read()
            last = [answer for answer in kept.get(question, _Question()).answers][-1:]
            self.control = self._ask(last[0].value if last else None, choices)
            self.status = ipywidgets.HTML(refusal(problem) if problem else _kept(last[0]) if last else "")
            self.control.observe(lambda change: self._answer(change["new"]), names="value")
            asked = ipywidgets.HTML(f"<b>{escape(question)}</b>")
            self.box = ipywidgets.VBox([asked, ipywidgets.HBox([self.control, self.status])])

    def beside(self, value: float | str | None, interval: Sequence[float] | None = None, n: int | None = None) -> Text:
        """Show a result beside what was predicted, and say whether the prediction came first.

        Args:
            value: What was measured.
            interval: Its interval.
            n: How many seeds or examples it rests on.

        Returns:
            Text for a cell to show; in batch the result alone.
        """
        interval = None if interval is None else tuple(map(float, interval))
        result = f"Measured {value if isinstance(value, str) else format_measurement(value, interval, n, self.unit)}."
        if not self.live:
            return Text(result)
        with _writing:
            kept, problem = self._read()
            asked = kept.setdefault(self.question, _Question(self.unit))
            if asked.shown is None:
                asked.shown = _now()
                problem = self._write(kept) or problem
        if not asked.answers:
            return Text(f"You made no prediction. {result} {problem}".rstrip())
        last, earlier = asked.answers[-1], [answer for answer in asked.answers if answer.blind]
        first = f"; before that, {earlier[-1]}" if earlier and not last.blind else ""
        when = f"({'before' if last.blind else 'after'} the result was first shown{first})"
        said = " ".join(filter(None, ("You predicted", str(last), self.unit, when)))
        return Text(" ".join(filter(None, (f"{said}.", result, _compare(last.value, value, interval), problem))))

    def __repr__(self) -> str:
        return f"{self.question} (Your prediction is asked for here when the notebook runs live, as in JupyterLab.)"

    def _repr_html_(self) -> str:
        """Return the question alone: what a page shows that has no kernel."""
        return Text(repr(self))._repr_html_()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the question with its control where somebody can answer."""
        return self.box._repr_mimebundle_(**options) if self.live else None

    def _ask(self, value: float | str | None, choices: tuple[str, ...]) -> ipywidgets.Widget:
        """Return the control, standing at the answer kept if there is one."""
        of = f" ({self.unit})" if self.unit else ""
        look: dict[str, Any] = {"description": f"Your prediction{of}", "style": {"description_width": "initial"}}
        if choices:
            known = value if value in choices else None
            options = [("choose", None), *((choice, choice) for choice in choices)]
            return ipywidgets.Dropdown(options=options, value=known, **look)
        shown: Any = value if isinstance(value, float) else ""
        shown = int(shown) if shown and shown.is_integer() else shown
        number = Parameter("prediction", float, "a number", shown, self.question)
        return TextControl(number, placeholder="a number, then Enter", **look)

    def _answer(self, value: float | str | None) -> None:
        """Keep an answer at once."""
        if value is None:
            return
        with _writing:
            kept, _ = self._read()
            asked = kept.setdefault(self.question, _Question(self.unit))
            asked.answers.append(_Answer(value, _now(), asked.shown is None))
            problem = self._write(kept)
        self.status.value = refusal(problem) if problem else _kept(asked.answers[-1])

    def _read(self) -> tuple[dict[str, _Question], str]:
        """Return all that is kept for the study, nothing where there is nothing that can be read, then why not."""
        if not self.path.exists():
            return {}, ""
        try:
            return _FILE.validate_python(read_json(self.path)), ""
        except (DataError, ValueError):
            return {}, f"{self.path.name} could not be read; the next prediction begins a new one."

    def _write(self, kept: dict[str, _Question]) -> str:
        """Write what is kept; return what went wrong, if anything did."""
        try:
            if self._read()[1]:
                self.path.replace(self.path.with_suffix(".unreadable.json"))
            write_json(self.path, _FILE.dump_python(kept))
        except OSError as error:
            return f"The prediction is not kept: {error}"
        return ""


def predict(
    study: str, question: str, *, unit: str = "", choices: Sequence[str] = (), live: bool | None = None
) -> Prediction:
    """Ask for a prediction, before any result; the answer is kept in ``runs/<study>/predictions.json``.

    Args:
        study: The notebook's name.
        question: What is predicted; an answer is found again by it.
        unit: Of the answer.
        choices: The possible answers; none, any number.
        live: Whether somebody can answer; None asks `is_live`. Else the file is left alone.

    Returns:
        The question: shown, it takes the answer; its ``beside`` shows the result with it.
    """
    plain_name = study and study == Path(study).name and not study.startswith(".")
    require(bool(plain_name), "study", "must be a name, not a path", study, "take the notebook's")
    path = project_folder() / "runs" / study / "predictions.json"
    return Prediction(path, question, unit, tuple(choices), is_live() if live is None else live)


def _now() -> str:
    """Return the time in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


def _kept(answer: _Answer) -> str:
    """Say that an answer is kept."""
    return escape(f"{answer} is kept, made {'before' if answer.blind else 'after'} the result was first shown")


def _compare(predicted: float | str, value: float | str | None, interval: Sequence[float] | None) -> str:
    """Say how far a prediction was from a result."""
    if isinstance(value, str) or isinstance(predicted, str):
        return "As you predicted." if predicted == value else "Not as you predicted."
    said = []
    if interval is not None and not any(map(math.isnan, interval)):
        inside = interval[0] <= predicted <= interval[1]
        said.append(f"lies {'inside' if inside else 'outside'} the interval")
    if value is not None and math.isfinite(value) and predicted > 0 < value:
        said.append(f"is {predicted / value:.3g} times what was measured")
    return f"Your prediction {' and '.join(said)}." if said else ""

"""What a reader expects: asked before the result, kept, and shown beside it."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import ipywidgets
from pydantic import FiniteFloat, TypeAdapter

from workbench.errors import DataError
from workbench.files import read_json, write_json
from workbench.records import MOMENT, project_folder, study_folder, utc
from workbench.schema import Parameter
from workbench.verdicts import format_measurement
from workbench.widgets.controls import control, is_live, refusal


@dataclass
class _Note:
    """An answer to a question, or, without a value, that its result was shown."""

    question: str
    value: FiniteFloat | str | None
    blind: bool  # given before the result was ever shown
    time: str  # in UTC

    def __str__(self) -> str:
        return self.value if isinstance(self.value, str) else f"{self.value:.12g}"

    @property
    def when(self) -> str:
        """Say whether the answer came first."""
        return f"{'before' if self.blind else 'after'} the result was first shown"


_NOTES = TypeAdapter(list[_Note])
_writing = threading.Lock()


class Prediction:
    """A question to the reader: shown, it takes the answer; ``beside`` shows the result with it.

    Answers are kept at once in ``runs/<study>/predictions.json`` of the project, all of them: the last one counts,
    and the last that was given before the result was ever shown is told too. In batch that file is left alone.

    Args:
        study: The notebook's name.
        question: What is predicted; answers are found again by it.
        unit: Of the answer.
        choices: The possible answers; none, any number.
        live: Whether somebody can answer; None asks `is_live`.

    Attributes:
        control: What takes the answer.
        status: What became of it.
    """

    def __init__(
        self, study: str, question: str, *, unit: str = "", choices: Sequence[str] = (), live: bool | None = None
    ) -> None:
        self.path = study_folder(project_folder() / "runs", study) / "predictions.json"
        self.question, self.unit, self.live = question, unit, is_live() if live is None else live
        if self.live:
            kept, problem = self._answers()
            kind, source = (Literal[tuple(choices)], "a choice") if choices else (float, "a number")
            last = str(kept[-1]) if kept and (not choices or kept[-1].value in choices) else None if choices else ""
            name = f"Your prediction ({unit})" if unit else "Your prediction"
            self.control = control(Parameter(name, kind, source, last, question))
            self.status = ipywidgets.HTML(refusal(problem) + "".join(f"kept, given {note.when}" for note in kept[-1:]))
            self.control.observe(self._answer, names="value")
            row = ipywidgets.HBox([self.control, self.status], layout={"flex_flow": "row wrap"})
            self.box = ipywidgets.VBox([ipywidgets.HTML(f"<b>{escape(question)}</b>"), row])

    def beside(self, value: float | str | None, interval: Sequence[float] | None = None, n: int | None = None) -> None:
        """Print a result beside what was predicted, and whether that came first; in batch the result alone.

        Args:
            value: What was measured.
            interval: Its interval.
            n: How many seeds or examples it rests on.
        """
        ends = None if interval is None else (float(interval[0]), float(interval[1]))
        lines = [f"Measured {value if isinstance(value, str) else format_measurement(value, ends, n, self.unit)}."]
        if self.live:
            problem = self._keep(None)
            answers = self._answers()[0]
            told = [*[a for a in answers if a.blind][-1:], *[a for a in answers[-1:] if not a.blind]]
            said = [f"You predicted {' '.join(filter(None, (str(a), self.unit, a.when)))}:\n"
                    f"{_compare(a.value, value, ends)}." for a in told]  # fmt: skip
            lines = [*(said or ["You made no prediction."]), *lines, problem]
        print(*filter(None, lines), sep="\n")

    def __repr__(self) -> str:
        return f"{self.question} Your prediction is asked for here when the notebook runs live, as in JupyterLab."

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Return the question, with its control where somebody can answer."""
        return (self.box._repr_mimebundle_(**options) if self.live else {}) | {"text/plain": repr(self)}

    def _answer(self, change: Any) -> None:
        """Keep an answer at once, and say so."""
        if change["new"] != "":
            self.status.value = refusal(self._keep(change["new"])) or f"kept, given {self._answers()[0][-1].when}"

    def _answers(self) -> tuple[list[_Note], str]:
        """Return the answers to this question that are kept; then, if there might be more, why not those."""
        notes, problem = self._read()
        return [note for note in notes if note.question == self.question and note.value is not None], problem

    def _read(self) -> tuple[list[_Note], str]:
        """Return all notes of the study, none where there are none that can be read; then why not."""
        try:
            return (_NOTES.validate_python(read_json(self.path)) if self.path.exists() else []), ""
        except (DataError, ValueError):
            return [], f"{self.path.name} could not be read, it is set aside at the next answer. "

    def _keep(self, value: float | str | None) -> str:
        """Add a note, that a result was shown only once; return what went wrong, if anything did."""
        with _writing:
            notes, problem = self._read()
            shown = any(note.question == self.question and note.value is None for note in notes)
            notes.append(_Note(self.question, value, value is not None and not shown, utc(MOMENT)))
            try:
                if problem:
                    self.path.replace(self.path.with_suffix(".unreadable.json"))
                if value is not None or not shown:
                    write_json(self.path, _NOTES.dump_python(notes))
            except OSError as error:
                return f"The prediction is not kept: {error}"
        return ""


predict = Prediction  # what a cell says


def _compare(predicted: Any, value: Any, interval: tuple[float, float] | None) -> str:
    """Say how far a prediction is from a result."""
    if isinstance(value, str) or isinstance(predicted, str):
        return "as it came out" if predicted == value else "not as it came out"
    said = []
    if interval and not any(map(math.isnan, interval)):
        said.append(f"{'inside' if interval[0] <= predicted <= interval[1] else 'outside'} the interval")
    if value and math.isfinite(value):
        said.append(f"{predicted / value:.3g} times what was measured")
    return ", ".join(said) or "nothing to compare with"

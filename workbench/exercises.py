"""Checks of a student's answer that tell a wrong one from a right one and say why."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np


class WrongAnswer(AssertionError):
    """An answer that is not right; the message says why, in one line."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: where in the check the answer failed is no help."""
        return [f"Not yet. {self}"]


def check(
    answer: Any,
    right: Any,
    *,
    slips: Sequence[tuple[Any, str]] = (),
    rtol: float = 1e-6,
    hint: str = "",
    note: str = "",
) -> None:
    """Print ``Right.`` or say what is wrong.

    Args:
        answer: The student's: a number, bool, text, sequence or array.
        right: What it should be, of the same kind.
        slips: Wrong answers that are to be expected, each with the reason that it is wrong.
        rtol: Largest error of a number, relative to the right one (absolute where that is zero).
        hint: Said after a wrong answer that is no slip.
        note: Said after ``Right.``

    Raises:
        WrongAnswer: If the answer is not right.

    Example:
        >>> check(0.5, 0.5, note="Half of them.")
        Right. Half of them.
    """
    if not (problem := _problem(answer, right, rtol)):
        print(f"Right. {note}".rstrip())
        return
    for wrong, why in slips:
        if not _problem(answer, wrong, rtol):
            raise WrongAnswer(why)
    raise WrongAnswer(f"{problem} {hint}".rstrip())


def _problem(answer: Any, right: Any, rtol: float) -> str:
    """Say what is wrong with an answer; nothing if it is right."""
    answer, right = (value.tolist() if hasattr(value, "tolist") else value for value in (answer, right))
    if answer is None or answer is ...:
        return "" if answer is right else "There is no answer yet: put it in place of None and run the cell again."
    if isinstance(right, list | tuple):
        return _listed(answer, right, rtol)
    for kind, name in ((bool, "True or False"), (str, "a text"), (Real, "a number")):
        if isinstance(right, kind):
            if not isinstance(answer, kind) or isinstance(answer, bool) != isinstance(right, bool):
                return f"The answer must be {name}, got {_short(answer)}."
            return _number(answer, right, rtol) if kind is Real else _plain(answer, right)
    return "" if answer == right else f"The answer is not {_short(answer)}."


def _listed(answer: Any, right: Sequence[Any], rtol: float) -> str:
    """Say what is wrong with a list; the first entry that is wrong is named."""
    if not isinstance(answer, list | tuple):
        return f"The answer must be a list of {len(right)}, got {_short(answer)}."
    if len(answer) != len(right):
        return f"The answer must have {len(right)} entries, got {len(answer)}."
    for i, (given, wanted) in enumerate(zip(answer, right, strict=True)):
        if problem := _problem(given, wanted, rtol):
            return f"Entry {i}, counted from 0: {problem}"
    return ""


def _number(answer: Any, right: Any, rtol: float) -> str:
    """Say on which side of the right number an answer lies."""
    if np.isnan(answer):
        return "The answer is nan: somewhere 0 was divided by 0, or a value is missing."
    if answer == right or abs(answer - right) <= rtol * (abs(right) or 1):
        return ""
    return f"{_short(answer)} is too {'large' if answer > right else 'small'}."


def _plain(answer: Any, right: Any) -> str:
    """Say whether a text, or a truth, is the right one; case and blanks around it do not count."""
    same = str(answer).strip().casefold() == str(right).strip().casefold()
    return "" if same else f"{_short(answer)} is not right."


def _short(value: Any) -> str:
    """Return a value in one line of at most 60 characters."""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Checks of a student's answer that tell a wrong one from a right one and say why."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any


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
    answer, right = (each.tolist() if hasattr(each, "tolist") else each for each in (answer, right))
    if right is not None and (answer is None or answer is ...):
        return "There is no answer yet: put yours in its place and run the cell again."
    if isinstance(right, list | tuple):
        return _listed(answer, right, rtol)
    kinds: dict[Any, str] = {bool: "True or False", str: "a text", Real: "a number", object: "another kind of value"}
    kind = next(kind for kind in kinds if isinstance(right, kind))
    if not isinstance(answer, kind) or isinstance(answer, bool) != isinstance(right, bool):
        return f"The answer must be {kinds[kind]}, got {_short(answer)}."
    if kind is not Real:
        spelt = [each.strip().casefold() if kind is str else each for each in (answer, right)]
        return "" if spelt[0] == spelt[1] else f"{_short(answer)} is not right."
    if math.isnan(answer):
        return "The answer is nan: a value is missing, or 0 was divided by 0."
    if answer == right or abs(answer - right) <= rtol * (abs(right) or 1):
        return ""
    return f"{_short(answer)} is too {'large' if answer > right else 'small'}."


def _listed(answer: Any, right: Sequence[Any], rtol: float) -> str:
    """Say what is wrong with a list; the first entry that is wrong is named."""
    if not isinstance(answer, list | tuple) or len(answer) != len(right):
        got = len(answer) if isinstance(answer, list | tuple) else _short(answer)
        return f"The answer must be {len(right)} values, got {got}."
    problems = [_problem(given, wanted, rtol) for given, wanted in zip(answer, right, strict=True)]
    return next((f"Value {i + 1} of {len(right)}: {problem}" for i, problem in enumerate(problems) if problem), "")


def _short(value: Any) -> str:
    """Return a value in one line of at most 60 characters."""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."

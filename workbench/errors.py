"""The errors a user can mend, each with its remedy, and the checks that raise them."""

import contextlib
import math
from collections.abc import Iterator
from numbers import Integral, Real


class InputError(ValueError):
    """A bad argument; the message names argument, rule, value and remedy."""


class DataError(OSError):
    """A missing, truncated, corrupt or wrong file; the message names file, expectation and remedy."""


class StorageError(OSError):
    """A file could not be written or kept; the message names file, reason and remedy."""


class ExecutorError(OSError):
    """A cluster or its workers cannot be reached or were lost; the message says what is kept and how to go on."""


def require(holds: bool, name: str, rule: str, value: object, remedy: str = "") -> None:
    """Raise unless an argument obeys its rule.

    Args:
        holds: Whether the rule is met.
        name: Argument as the caller wrote it.
        rule: What must be true, starting with a verb: ``"must be in 1..D=1000"``.
        value: What was received.
        remedy: What to do instead; may be empty.

    Raises:
        InputError: If ``holds`` is false.

    Example:
        >>> require(False, "subspace_dim", "must be in 1..D=1000", 0, "choose at least 1")
        Traceback (most recent call last):
        workbench.errors.InputError: subspace_dim must be in 1..D=1000, got 0; choose at least 1
    """
    if not holds:
        raise InputError(f"{name} {rule}, got {value!r}" + (f"; {remedy}" if remedy else ""))


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise unless ``value`` is one of ``choices``.

    Args:
        name: Argument as the caller wrote it.
        value: What was received.
        choices: The allowed strings.

    Raises:
        InputError: If it is not among them.
    """
    require(value in choices, name, f"must be one of {', '.join(choices)}", value)


@contextlib.contextmanager
def reading(expectation: str, remedy: str = "", kind: type[Exception] = DataError) -> Iterator[None]:
    """Turn whatever reading something from outside raises into one error that says what it must be.

    Args:
        expectation: File and rule: ``"run.json must be a JSON file"``.
        remedy: What to do instead; may be empty.
        kind: The error to raise.

    Raises:
        Exception: Of that kind, where the block raises any.

    Example:
        >>> with reading("the text must be a number", "write digits"):
        ...     float("ten")
        Traceback (most recent call last):
        workbench.errors.DataError: the text must be a number, got ValueError: could not convert ...; write digits
    """
    try:
        yield
    except Exception as error:
        message = f"{expectation}, got {type(error).__name__}: {error}"
        raise kind(f"{message}; {remedy}" if remedy else message) from error


def is_count(value: object, least: int = 0) -> bool:
    """Tell whole numbers of at least ``least``, NumPy's included, from everything else; ``True`` is not 1."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_number(value: object) -> bool:
    """Tell finite real numbers, NumPy's included, from everything else; ``True`` is not 1."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)

"""How an execution ended. Apart from papermill, so that a finished run is shown without importing it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.runner.console import FAILED, INTERRUPTED, REFUSED, SOME_FAILED, STORAGE
from workbench.verdicts import Report, read_report

_CODES = {"TrialError": SOME_FAILED, "StorageError": STORAGE, "ExecutorError": STORAGE}  # by the kernel's error
PAPERMILLS_OWN = {"injected-parameters", "papermill-error-cell-tag"}  # tags of cells that are not the author's


@dataclass(frozen=True)
class Outcome:
    """How an execution ended."""

    status: str  # done, failed, refused (by the notebook's own check of its input) or interrupted
    error: dict[str, Any] | None = None  # why: cell (its number in the source, from 1), line, name, message, traceback
    signal: int | None = None  # what interrupted it
    storage: str | None = None  # why the last writing of the executed notebook failed; the computation went on


def error_line(error: Any) -> str:
    """Return an outcome's error, or what a record has for one, as a line of text; nothing where there is none."""
    if not isinstance(error, dict):
        return ""
    places = [f"{name} {error[name]}" for name in ("cell", "line") if error.get(name) is not None]
    return (f"{', '.join(places)}: " if places else "") + f"{error.get('name', '')}: {error.get('message', '')}"


def find_report(folder: Path) -> Report | None:
    """Return the findings of a run, if it came to any; raise DataError if they cannot be read."""
    results = folder / "results.json"
    return read_report(results) if results.is_file() else None


def exit_code(outcome: Outcome) -> int:
    """Return what the command line ends with."""
    if outcome.signal:
        return INTERRUPTED + outcome.signal
    if outcome.status == "refused":
        return REFUSED
    if outcome.storage:
        return STORAGE
    return _CODES.get((outcome.error or {})["name"], FAILED) if outcome.status == "failed" else 0

"""One run from checked parameters to record and page: what is done is shown, what is missing is computed.

Two processes that want the same run take turns: the second shows what the first computed. A run that failed or was
interrupted goes on in its own folder. What the study refuses leaves no folder, unless an earlier attempt made it.
"""

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from workbench.errors import DataError, StorageError, is_count, is_number, require
from workbench.files import digest, write_json
from workbench.records import Run
from workbench.runner.checks import check_executor, check_reachable, check_writable
from workbench.runner.outcome import Outcome, find_report
from workbench.runner.progress import ProgressView
from workbench.runner.stops import collected_signals, leave_if
from workbench.sources import source_digest, versions
from workbench.sweeps import default_workers
from workbench.verdicts import Report

_POLL_SECONDS = 0.2
_OF_ONE_ATTEMPT = ("results.json", "executed.ipynb", "page.html")


@dataclass(frozen=True)
class Launched:
    """A run, how it ended, what it found, and whether that was there already."""

    run: Run
    outcome: Outcome
    report: Report | None
    reused: bool


def run_key(notebook: Path, values: dict[str, Any]) -> str:
    """Hash what decides a run's results: the notebook's source and imports, parameters, versions; 32 hex digits."""
    return digest({"source": source_digest(notebook), "parameters": values, "versions": versions()})[:32]


def earlier_runs(out: Path, study: str) -> dict[str, list[Run]]:
    """Return the readable runs of a study by their key, the oldest first."""
    found: dict[str, list[Run]] = {}
    for run in readable(path.parent for path in sorted((out.absolute() / study).glob("[!.]*/run.json"))):
        found.setdefault(str(run.record.get("key")), []).append(run)
    return found


def readable(folders: Iterable[Path]) -> Iterator[Run]:
    """Yield the runs of these folders whose records can be read."""
    for folder in folders:
        with contextlib.suppress(DataError):
            yield Run.read(folder)


def is_done(run: Run) -> bool:
    """Tell whether a run has results that can be shown again; a notebook without ``Study`` writes none."""
    return run.record["status"] == "done" and (run.folder / "results.json").is_file()


def launch(
    notebook: Path,
    values: dict[str, Any],
    *,
    profile: str,
    out: Path,
    executor: str | None = None,
    workers: int | None = None,
    timeout: float | None = None,
    force: bool = False,
    more: dict[str, Any] | None = None,
) -> Launched:
    """Run a study, or show its run of the same source, parameters and versions; progress goes to standard error."""
    workers = default_workers() if workers is None else workers
    require(is_count(workers, 1), "workers", "must be a whole number, at least 1", workers)
    require(timeout is None or (is_number(timeout) and timeout > 0), "timeout", "must be positive seconds", timeout)
    executor, scheduler = check_executor(executor, workers)
    check_writable(out)
    key = run_key(notebook, values)
    with collected_signals() as stops, _turn(out, key, stops):
        found = earlier_runs(out, notebook.stem).get(key, [])
        done = [run for run in found if is_done(run)]
        if done and not force:
            return shown(done[-1])
        if scheduler:
            check_reachable(*scheduler)
        entries = {"key": key, "notebook": str(notebook), "profile": profile, "timeout": timeout, **(more or {})}
        entries |= {"executor": executor, "workers": workers}
        unfinished = [run for run in found if run.status in {"failed", "interrupted", "refused"}]
        again = unfinished[-1] if unfinished and not force else None
        run = _reopened(again, entries) if again else Run.start(out, notebook.stem, values, **entries)
        return _computed(run, values, force, stops, fresh=again is None)


@contextlib.contextmanager
def _turn(out: Path, key: str, stops: list[int]) -> Iterator[None]:
    """Hold what is one process's at a time; wait while another one has it."""
    from filelock import FileLock, Timeout

    lock, said = FileLock(out / ".locks" / f"{key}.lock"), False
    try:
        while not lock.is_locked:
            leave_if(stops)
            try:
                lock.acquire(timeout=_POLL_SECONDS if said else 0)
            except Timeout:
                if not said:
                    Console(stderr=True).print("another process computes this run: waiting for it", highlight=False)
                said = True
        leave_if(stops)
        yield
    finally:
        lock.release()


def _reopened(run: Run, entries: dict[str, Any]) -> Run:
    """Begin a further attempt of a run; what an earlier one half wrote goes."""
    run.reopen()
    for name in _OF_ONE_ATTEMPT:
        (run.folder / name).unlink(missing_ok=True)
    run.record |= entries
    write_json(run.folder / "run.json", run.record)
    return run


def _computed(run: Run, values: dict[str, Any], force: bool, stops: list[int], fresh: bool) -> Launched:
    """Execute a run's notebook and complete its record and page."""
    record, notebook = run.record, Path(run.record["notebook"])
    settings = {"EXECUTOR": record["executor"], "WORKERS": record["workers"], "FORCE": int(force)}
    environment = {f"WORKBENCH_{name}": str(value) for name, value in settings.items()}
    with ProgressView(run.folder / "progress.jsonl", Console(stderr=True), notebook.stem) as view:
        from workbench.runner.papermill import execute

        told: dict[str, Any] = {"environment": environment, "timeout": record["timeout"], "watch": view.update}
        # values as they were given: JSON, and so the record, has no tuples
        outcome = execute(notebook, values, run.folder, stops=stops, **told)
    if outcome.status == "done" and outcome.storage:  # what is not whole must be computed again
        error = {"cell": None, "name": StorageError.__name__, "message": outcome.storage}
        outcome = replace(outcome, status="failed", error=error)
    report = None
    try:
        run.finish(outcome.status, outcome.error)
        if outcome.status != "refused":
            report = _with_page(run)
        elif fresh:
            shutil.rmtree(run.folder)
    except OSError as problem:
        outcome = replace(outcome, storage=outcome.storage or str(problem))
    return Launched(run, replace(outcome, signal=next(iter(stops), None)), report, reused=False)


def shown(run: Run) -> Launched:
    """Return a run that is done, with its page even where the earlier process ended before writing it."""
    return Launched(run, Outcome("done"), _with_page(run), reused=True)


def _with_page(run: Run) -> Report | None:
    """Return a run's findings, if it came to any, and see that its executed notebook, if there is one, has a page."""
    report, executed, page = find_report(run.folder), run.folder / "executed.ipynb", run.folder / "page.html"
    began = not run.record.get("error") or run.record["error"]["cell"]  # what came to no cell has nothing to show
    if began and executed.is_file() and not page.is_file():
        from workbench.runner.pages import write_page

        library = run.folder.parents[1] / "plotly.min.js"  # shared by all runs
        write_page(executed, page, library=library, record=run.record, report=report)
    return report

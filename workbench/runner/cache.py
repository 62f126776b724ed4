"""What the folder of runs holds that could go: trials, broken-off runs, what killed writers left."""

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import DataError, InputError, require
from workbench.records import Run, all_runs
from workbench.runner.transfer import run_trials
from workbench.sweeps import read_trial

# The names that ``files.atomic`` and an import give what they have not finished.
_HALF_WRITTEN = re.compile(r"\..*\.[0-9a-f]{12}(\.\w+)?|\.import-[0-9a-f]{12}")
_LEFT_SECONDS = 3600.0


@dataclass
class Row:
    """Files that go together by one name."""

    name: str
    what: str
    paths: list[Path] = field(default_factory=list)
    size: int = 0
    seconds: float = 0.0  # CPU time it took to compute them
    unused: int = 0  # trials that no run's results refer to

    def add(self, path: Path, seconds: Any = 0.0) -> None:
        """Count a file or a folder."""
        self.paths.append(path)
        self.size += sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
        self.seconds += seconds if isinstance(seconds, int | float) else 0.0


def cache_rows(out: Path) -> list[Row]:
    """Return what the folder of runs holds: a row for each trial function, and what failed, broke off or was left."""
    runs = [run for folder in all_runs(out) if (run := _readable(folder))]
    used = {key for run in runs for key in run_trials(run.folder)}
    functions: dict[str, Row] = {}
    failed, damaged = Row("failed", "trials that failed"), Row("damaged", "trials whose files are not whole")
    unused = Row("unused", "trials that no run's results refer to")
    for path in sorted((out / "trials").glob("[!.]*.json")):
        trial = _trial(path)
        if path.name.endswith(".failed.json"):
            failed.add(path)
        elif trial is None:
            damaged.add(path)
        else:
            name = str(trial.get("function"))
            rows = [functions.setdefault(name, Row(name, "trials of this function"))]
            if path.name.partition(".")[0] not in used:
                rows[0].unused += 1
                rows.append(unused)
            for row in rows:
                row.add(path, trial.get("seconds"))
    interrupted = Row("interrupted", "runs that broke off; `workbench resume` goes on with them")
    for run in runs:
        if run.status == "interrupted":
            interrupted.add(run.folder, run.record.get("seconds"))
    leftovers = Row("leftovers", "of writers that were killed more than an hour ago")
    for path in _left(out):
        leftovers.add(path)
    others = [row for row in (unused, failed, damaged, interrupted, leftovers) if row.paths]
    return [*functions.values(), *others]


def choose(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Return the rows of these names, or raise InputError."""
    known = {row.name: row for row in rows}
    for name in names:
        require(name in known, "NAME", f"must be one of {', '.join(known) or 'nothing that is there'}", name)
    return [known[name] for name in dict.fromkeys(names)]


def remove(rows: Sequence[Row], out: Path) -> int:
    """Remove what these rows hold, a run that somebody goes on with excepted.

    Args:
        rows: Of ``cache_rows``.
        out: Folder of all runs.

    Returns:
        How many files and folders went.

    Raises:
        InputError: If trials are named while a run lives: it may be about to use them.
    """
    if any(row.name not in {"interrupted", "leftovers"} for row in rows):
        living = [run.folder.name for folder in all_runs(out) if (run := _readable(folder)) and run.status == "running"]
        if living:
            raise InputError(f"trials must not be removed while {', '.join(living)} runs; wait until it ends")
    paths = {path: row.name for row in rows for path in row.paths}
    return sum(_remove(path, name == "interrupted") for path, name in paths.items())


def _remove(path: Path, is_run: bool) -> bool:
    """Remove a file or folder that is still there; a run that somebody goes on with stays."""
    run = _readable(path) if is_run else None
    if is_run and (run is None or run.status != "interrupted" or not run.acquire()):
        return False
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if run:
        run.release()
    return True


def _readable(folder: Path) -> Run | None:
    """Return a run whose record can be read."""
    try:
        return Run.read(folder)
    except DataError:
        return None


def _trial(path: Path) -> dict[str, Any] | None:
    """Return a trial that a sweep would find."""
    try:
        return read_trial(path)
    except DataError:
        return None


def _left(out: Path) -> Iterator[Path]:
    """Yield temporary files, imports and folders of runs without a record that are older than an hour."""
    before = time.time() - _LEFT_SECONDS
    for pattern in (".*", "*/.*", "*/*/.*"):
        for path in out.glob(pattern):
            if _HALF_WRITTEN.fullmatch(path.name) and path.lstat().st_mtime < before:
                yield path
    for folder in out.glob("[!.]*/[!.]*"):
        old = folder.is_dir() and folder.stat().st_mtime < before
        if old and all(path.name == "lock" or _HALF_WRITTEN.fullmatch(path.name) for path in folder.iterdir()):
            yield folder

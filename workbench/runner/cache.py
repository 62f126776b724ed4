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
from workbench.runner.launch import readable
from workbench.runner.transfer import run_trials
from workbench.sweeps import read_trial

# The names that ``files.atomic`` and an import give what they have not finished.
_HALF_WRITTEN = re.compile(r"\..*\.[0-9a-f]{12}(\.\w+)?|\.import-[0-9a-f]{12}")
_LEFT_SECONDS = 3600.0
_OTHERS = {
    "unused": "trials that no run's results refer to",
    "failed": "trials that failed",
    "damaged": "trials whose files are not whole",
    "interrupted": "runs that broke off; `workbench resume` goes on with them",
    "leftovers": "of writers that were killed more than an hour ago",
}


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
    runs = list(readable(all_runs(out)))
    used = {key for run in runs for key in run_trials(run.folder)}
    functions: dict[str, Row] = {}
    others = {name: Row(name, what) for name, what in _OTHERS.items()}
    for path in sorted((out / "trials").glob("[!.]*.json")):
        if path.name.endswith(".failed.json"):
            others["failed"].add(path)
            continue
        try:
            trial = read_trial(path) or {}
        except DataError:
            others["damaged"].add(path)
            continue
        name, seconds = str(trial.get("function")), trial.get("seconds")
        row = functions.setdefault(name, Row(name, "trials of this function"))
        row.add(path, seconds)
        if path.name.partition(".")[0] not in used:
            row.unused += 1
            others["unused"].add(path, seconds)
    for run in runs:
        if run.status == "interrupted":
            others["interrupted"].add(run.folder, run.record.get("seconds"))
    for path in _left(out):
        others["leftovers"].add(path)
    return [*functions.values(), *(row for row in others.values() if row.paths)]


def choose(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Return the rows of these names, or raise InputError."""
    known = {row.name: row for row in rows}
    # These are names though nothing has them: what cleans up regularly then has nothing to do.
    known |= {name: Row(name, what) for name, what in _OTHERS.items() if name not in known}
    for name in names:
        require(name in known, "NAME", f"must be one of {', '.join(known)}", name)
    return [known[name] for name in dict.fromkeys(names)]


def remove(rows: Sequence[Row], out: Path) -> int:
    """Remove what these rows hold, or raise InputError; return how many files and folders went."""
    # A run that lives may be about to use them.
    living = [run.folder.name for run in readable(all_runs(out)) if run.status == "running"]
    if living and any(row.name not in {"interrupted", "leftovers"} for row in rows):
        raise InputError(f"trials must not be removed while {', '.join(living)} runs; wait until it ends")
    paths = {path: row.name for row in rows for path in row.paths}
    return sum(_remove(path, name == "interrupted") for path, name in paths.items())


def _remove(path: Path, is_run: bool) -> bool:
    """Remove a file or folder; a run that somebody goes on with stays."""
    run = Run(path, {"status": "running"})
    if is_run and not (run.status == "interrupted" and run.acquire()):
        return False
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    run.release()
    return True


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

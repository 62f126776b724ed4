"""Tables of all runs and trials, read from their files through an index that can be rebuilt at any time.

The files are the truth. The index keeps, for each, what a table needs and a stamp of the file it came from; every call
compares the stamps, reads what is new, and forgets what is gone.
"""

import contextlib
import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError
from workbench.files import read_json
from workbench.records import Run, all_runs, spelt
from workbench.sweeps import read_trial
from workbench.verdicts import read_report

if TYPE_CHECKING:
    from pandas import DataFrame

_VERSION = 1  # of the rows; those of another one are made anew
_BUSY_SECONDS = 2.0  # a lock held for longer: this call does without the index
_RUN = ("study", "run", "status", "profile", "started", "seconds", "commit", "dirty", "device", "data", "sweep")
_TRIAL = ("key", "function", "seconds", "finished", "failed")
_WORDS = {"nan", "inf", "-inf"}  # what files hold in place of numbers that JSON lacks
_Row = dict[str, Any]


def runs(out: str | Path = "runs", study: str | None = None) -> "DataFrame":
    """Return a table of all runs, a row each.

    Args:
        out: Folder of all runs.
        study: Only this study's, in any spelling.

    Returns:
        What each run was, its parameters as ``parameters.<name>``, each claim's measurement as ``results.<claim>``
        with its ends ``.low`` and ``.high``, its ``.n`` and its ``.verdict``. Files that cannot be read are left out
        with a warning.
    """
    folders = {f"{folder.parent.name}/{folder.name}": folder for folder in all_runs(out)}
    stamps = {name: _stamp(folder / "run.json") + _stamp(folder / "results.json") for name, folder in folders.items()}
    rows = _rows(Path(out), "run", stamps, lambda name: _run_row(folders[name]))
    for row in rows:
        folder = folders[f"{row['study']}/{row['run']}"]
        row |= {"folder": str(folder), "status": Run(folder, row).status}  # whether it still runs is in no file
    wanted = [row for row in rows if study is None or spelt(row["study"]) == spelt(study)[-1:]]
    return _table(wanted, (*_RUN, "folder"), "started")


def trials(out: str | Path = "runs", function: str | None = None) -> "DataFrame":
    """Return a table of all trials that finished or failed for good, a row each.

    Args:
        out: Folder of all runs.
        function: Only this function's: ``module.name`` or the name alone.

    Returns:
        Key, function, CPU seconds, when it finished, whether it failed; its parameters as ``parameters.<name>``; what
        it returned as ``result``, or as ``result.<name>`` for the single values of a mapping. Files that cannot be
        read are left out with a warning.
    """
    folder, stamps = Path(out) / "trials", {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        stamps = {e.name: _stamp(e) for e in entries if e.name.endswith(".json") and not e.name.startswith(".")}
    rows = _rows(Path(out), "trial", stamps, lambda name: _trial_row(folder / name))
    wanted = [row for row in rows if function in (None, row["function"], row["function"].rpartition(".")[2])]
    return _table(wanted, _TRIAL, "finished", unit="s")


def _run_row(folder: Path) -> _Row:
    """Return what a table says of a run."""
    record = Run.read(folder).record
    data = record.get("data")
    row = {name: record.get(name) for name in _RUN} | {"data": data.get("name") if isinstance(data, dict) else None}
    row |= {f"parameters.{name}": value for name, value in record["parameters"].items()}
    if (folder / "results.json").exists():
        try:
            findings = read_report(folder / "results.json").findings
        except DataError as problem:
            return row | {"damaged": str(problem)}
        for finding in findings:
            name = f"results.{finding.claim.name}"
            low, high = finding.interval or (None, None)
            row |= {name: finding.value, f"{name}.low": low, f"{name}.high": high}
            row |= {f"{name}.n": finding.n, f"{name}.verdict": finding.verdict}
    return row


def _trial_row(path: Path) -> _Row:
    """Return what a table says of a trial."""
    failed = path.name.endswith(".failed.json")
    record = read_json(path) if failed else read_trial(path)
    if not isinstance(record, dict) or not isinstance(record.get("parameters"), dict):
        raise DataError(f"{path} must be a trial, got something else")
    row = {name: record.get(name) for name in _TRIAL} | {"failed": failed}
    row |= {"key": path.name.partition(".")[0], "function": str(record.get("function"))}
    row |= {f"parameters.{name}": value for name, value in record["parameters"].items()}
    result = record.get("result")
    named = {f"result.{k}": v for k, v in result.items()} if isinstance(result, dict) else {"result": result}
    single = {name: value for name, value in named.items() if isinstance(value, bool | int | float | str)}
    return row | {name: float(value) if value in _WORDS else value for name, value in single.items()}


def _stamp(file: "Path | os.DirEntry[str]") -> str:
    """Return what changes when a file or this module does; a file is replaced and never written in place."""
    try:
        about = file.stat()
    except OSError:
        return ""
    return f"{_VERSION} {about.st_mtime_ns} {about.st_size} {about.st_ino} "


def _rows(out: Path, kind: str, stamps: Mapping[str, str], read: Callable[[str], _Row]) -> list[_Row]:
    """Return the rows of what has these stamps, in order of name; warn of what cannot be read."""
    path, select = out / "index.sqlite", "SELECT name, stamp, row FROM documents WHERE kind = ?"
    found = _use(path, lambda index: index.execute(select, [kind]).fetchall())
    known = {name: (stamp, row) for name, stamp, row in found or ()}
    changed = [name for name, stamp in stamps.items() if name not in known or known[name][0] != stamp]
    new = {name: (stamps[name], _document(read, name)) for name in changed}
    gone = known.keys() - stamps.keys()
    if new or gone:
        _use(path, lambda index: _write(index, kind, new, gone))
    known |= new
    # Read at once: much faster than one by one.
    rows: list[_Row] = json.loads(f"[{','.join(known[name][1] for name in sorted(stamps))}]")
    if damaged := [problem for row in rows if (problem := row.pop("damaged", None))]:
        more = f"; and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        warnings.warn(f"left out of the table: {'; '.join(damaged[:3])}{more}", stacklevel=3)
    return [row for row in rows if row]


def _document(read: Callable[[str], _Row], name: str) -> str:
    """Return a row as text; a file that cannot be read is a row too, so that it is not read again at every call."""
    try:
        return json.dumps(read(name))
    except DataError as problem:
        return json.dumps({"damaged": str(problem)})


def _use(path: Path, work: Callable[[sqlite3.Connection], Any]) -> Any:
    """Do something with the index, or do without: it is only a cache. A broken one is removed."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as index:
            return work(index)
    except sqlite3.OperationalError:  # locked, read only, no space, no such folder, nothing in it yet
        return None
    except sqlite3.DatabaseError:
        for broken in (path.with_name(f"{path.name}-journal"), path):
            with contextlib.suppress(OSError):
                broken.unlink()


def _write(index: sqlite3.Connection, kind: str, new: Mapping[str, tuple[str, str]], gone: Iterable[str]) -> None:
    """Note what is new and what is gone, all or nothing."""
    columns = "kind TEXT, name TEXT, stamp TEXT, row TEXT, PRIMARY KEY (kind, name)"
    index.execute("BEGIN IMMEDIATE")
    index.execute(f"CREATE TABLE IF NOT EXISTS documents ({columns})")
    index.executemany("REPLACE INTO documents VALUES (?, ?, ?, ?)", [(kind, name, *row) for name, row in new.items()])
    index.executemany("DELETE FROM documents WHERE kind = ? AND name = ?", [(kind, name) for name in gone])
    index.execute("COMMIT")


def _table(rows: list[_Row], first: tuple[str, ...], time: str, unit: Any = None) -> "DataFrame":
    """Return rows as a table: these columns, then parameters, then results; times in UTC, what is none is missing."""
    import pandas

    names = dict.fromkeys(name for row in rows for name in row)
    parameters = [name for name in names if name.startswith("parameters.")]
    columns = dict.fromkeys([*first, *parameters, *names])
    table = pandas.DataFrame({name: [row.get(name) for row in rows] for name in columns})
    table[time] = pandas.to_datetime(table[time], utc=True, errors="coerce", unit=unit)
    return table

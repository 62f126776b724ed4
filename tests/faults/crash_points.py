"""Kills a process before and amid every change it makes to its files, then looks at what is left.

``python crash_points.py FOLDER [--break NAME]`` prints JSON: how many changes there are, how many kills were tried,
what was found wrong. A warm parent forks a process for each kill and goes on with what it left. Files are written
through ``_pyio``, whose every opening and write is a call of ``os`` that can be counted; what a kill leaves after a
change is what it leaves before the next. A kill loses nothing that the kernel has, so flushes are counted and not
waited for. ``--break`` spoils a safeguard, up to the first thing wrong: a check that then finds nothing checks nothing.
"""

import _pyio
import argparse
import builtins
import contextlib
import gc
import io
import json
import math
import os
import shutil
import signal
import sqlite3
import sys
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from workbench import files, index, records
from workbench.records import Run, all_runs
from workbench.runner import cache
from workbench.runner.transfer import export_run, import_file
from workbench.study import Claim, Study
from workbench.sweeps import Sweep, job, read_trial, sweep
from workbench.verdicts import read_report

CALLS, TRIALS = "calls", range(3)
CHANGES = ("replace", "rename", "link", "symlink", "unlink", "remove", "mkdir", "rmdir", "truncate", "ftruncate")
MAKES = os.O_CREAT | os.O_TRUNC
real = {"write": os.write, "open": os.open}


def square(x):
    """The trial; that it was computed shows in a file."""
    descriptor = real["open"](CALLS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    real["write"](descriptor, f"{x}\n".encode())
    os.close(descriptor)
    return {"x": x, "square": x * x}


def cycle() -> dict:
    """Sweep, judge, record, tabulate, export, import, in the working directory; go on with what is there already."""
    square_by_name = sys.modules["crash_points"].square  # a name that a worker could import

    out = Path("runs")
    runs = [Run.read(folder) for folder in all_runs(out)]
    run = runs[0] if runs else Run.start(out, "demo", {"a": 1}, profile="smoke", key="k")
    if run.status == "interrupted":
        run.reopen()
    if run.status == "running":
        os.environ["WORKBENCH_RUN_DIR"] = str(run.folder)
        study = Study("demo", parameters={}, claims=[Claim("c", "p", "s", "r")], stages={"a": 1}, dataset=None)
        with Sweep(out / "trials", executor="serial", workers=1) as trials, study.stage("a") as tick:
            found = trials.map(square_by_name, [{"x": x} for x in TRIALS], tick)
        total = sum(each.result["square"] for each in found)
        study.judge("c", value=total, interval=(0, 9), n=3, unit="", verdict="holds")
        study.report(trials=trials.keys)
        run.finish("done")
    index.runs(out), index.trials(out)
    export_run(run, Path("run.zip"))
    import_file(Path("run.zip"), Path("other"))
    return final(out) | {"other": final(Path("other"))}


def final(out: Path) -> dict:
    """Return what must be the same whatever happened on the way."""
    (folder,) = all_runs(out)
    trials = {path.name: read_trial(path)["result"] for path in (out / "trials").glob("[!.]*.json")}
    return {"trials": trials, "report": str(read_report(folder / "results.json")), "status": Run.read(folder).status}


class Killer:
    """Counts changes and kills this process at one of them."""

    def __init__(self, at: int, moment: str) -> None:
        self.at, self.moment, self.names = at, moment, list[str]()

    def step(self, name: str, change: Callable, half: Callable | None = None):
        self.names.append(name)
        if len(self.names) == self.at:
            if self.moment == "amid" and half:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        return change()

    def install(self) -> None:
        """Put itself between this process and the system."""
        io.open = builtins.open = _pyio.open
        os.sync = lambda: None
        for name in CHANGES:
            setattr(os, name, self._counted(name, getattr(os, name)))
        os.fsync = self._counted("fsync", lambda _: None)
        makes = self._counted("open", real["open"])
        os.open = lambda path, flags, *a, **more: (makes if flags & MAKES else real["open"])(path, flags, *a, **more)
        os.write = lambda fd, data: self.step(
            "write", lambda: real["write"](fd, data), lambda: real["write"](fd, bytes(data)[: len(data) // 2])
        )
        killer, connect = self, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, sql, *parameters):
                return killer.step(
                    f"sqlite {sql.split()[0]}", lambda: super(Connection, self).execute(sql, *parameters)
                )

        sqlite3.connect = lambda *a, **more: connect(*a, **more, factory=Connection)

    def _counted(self, name: str, change: Callable) -> Callable:
        return lambda *a, **more: self.step(name, lambda: change(*a, **more))


def forked(folder: Path, work: Callable[[], object]) -> tuple[int, object]:
    """Do something in a process of its own and in a folder; return its wait status and what it returned or raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
        return os.waitpid(child, 0)[1], json.loads(said or "null")
    os.chdir(folder)
    try:
        answer, code = work(), 0
    except BaseException:
        answer, code = traceback.format_exc(), 1
    real["write"](writing, json.dumps(answer).encode())
    os._exit(code)


def killed(at: int, moment: str) -> list[str]:
    """Run the cycle up to the moment, or through; return the names of all changes."""
    killer = Killer(at, moment)
    killer.install()
    cycle()
    return killer.names


def look() -> dict[str, str]:
    """Check everything under a final name; return the finished trials' keys with their parameters."""
    for folder in (Path("runs"), Path("other")):
        for path in folder.rglob("[!.]*.json"):
            if not any(part.startswith(".") for part in path.parts):
                json.loads(path.read_text())
        for run in all_runs(folder):
            Run.read(run)
            if (run / "results.json").exists():
                read_report(run / "results.json")
            elif folder.name == "other":
                raise AssertionError("half a run was imported")
        n_trials = len(list((folder / "trials").glob("[!.]*.json")))
        assert len(index.trials(folder)) == n_trials  # whatever state the index was in; a damaged file warns
        assert len(index.runs(folder)) == len(list(all_runs(folder)))
    if Path("run.zip").exists():
        with zipfile.ZipFile("run.zip") as archive:
            assert archive.testzip() is None
    trials = [read_trial(path) for path in Path("runs/trials").glob("[!.]*.json")]
    calls = Path(CALLS).read_text().split() if Path(CALLS).exists() else []
    finished = {str(trial["parameters"]["x"]) for trial in trials}
    assert set(calls[:-1]) <= finished, "only the trial that was running may be missing"
    return {x: calls.count(x) for x in finished}


def resume(counts: dict[str, int], expected: dict) -> None:
    """Go on, and check that nothing finished was computed again, all is as it would have been, and nothing is left."""
    result = cycle()
    assert result == expected, result
    calls = Path(CALLS).read_text().split()
    assert all(calls.count(x) == n for x, n in counts.items()), (calls, counts)
    assert len(list(all_runs("runs"))) == 1
    cache._LEFT_SECONDS = -1.0
    for folder in (Path("runs"), Path("other")):
        cache.remove([row for row in cache.cache_rows(folder) if row.name == "leftovers"], folder)
        hidden = [str(path) for path in folder.rglob(".*")]
        assert not hidden, hidden
        assert all((path / "run.json").exists() for path in folder.glob("demo/*"))


def attempts(
    start: Path, folder: Path, expected: dict, patience: float, until: str
) -> tuple[list[str], int, list[str]]:
    """Kill at every change on the way from a folder as it is; return changes, number of kills, what was wrong."""

    def fresh() -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(start, folder)
        return folder

    status, names = forked(fresh(), lambda: killed(0, "before"))
    if status:
        return [], 0, [f"without a kill: {names}"]
    names = names[: names.index(until)] if until else names
    points = [
        (at, m) for at, name in enumerate(names, 1) for m in ("before", "amid") if m == "before" or name == "write"
    ]
    wrong: list[str] = []
    for at, moment in points:
        status, said = forked(fresh(), lambda at=at, moment=moment: killed(at, moment))
        try:
            assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, said
            os.chdir(folder)
            resume(look(), expected)
        except Exception:
            wrong.append(f"{moment} change {at} of {len(names)}, {names[at - 1]}: {traceback.format_exc()}")
            if len(wrong) > patience:
                break
    return names, len(points), wrong


def spoil(name: str) -> None:
    """Take one safeguard away."""
    if name == "atomic":

        @contextlib.contextmanager
        def direct(path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            yield Path(path)

        files.atomic = direct
    elif name == "order":  # a trial begun before the last one is kept
        writes, write = [], sweep.write_trial
        sweep.write_trial = lambda *a: (
            writes.append(a) or (len(writes) % len(TRIALS) == 0 and [write(*w) for w in writes])
        )
    elif name == "reopen":
        Run.reopen = lambda self: self.record.update(Run.start(Path("runs"), "demo", {"a": 1}).record)


def main() -> None:
    """Kill on the way from nothing, and again on the way from a killed run; print what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--break", dest="broken", default="")
    options = parser.parse_args()
    # Asking git, reading sources and importing torch takes longer than all the rest.
    records._commit = lambda: (None, None)
    job.source_digest, records.environment = lambda _: "source", lambda: {"versions": {}}
    job.alone = lambda _: contextlib.nullcontext()
    folder = options.folder.absolute()
    warm, empty, halfway = (folder / name for name in ("warm", "empty", "halfway"))
    for path in (warm, empty, halfway):
        path.mkdir(parents=True)
    os.chdir(warm)
    expected = cycle()  # also imports all that the forks need
    resume(look(), expected)
    gc.freeze()  # a fork that collects garbage copies all its pages
    warnings.simplefilter("error")
    _, names = forked(halfway, lambda: killed(0, "before"))
    shutil.rmtree(halfway), halfway.mkdir()
    # After the second trial's file was put in place, and before the third's.
    place = [at for at, name in enumerate(names, 1) if name == "replace"][2]
    forked(halfway, lambda: killed(place + 1, "before"))
    spoil(options.broken)
    report = {}
    # Once a resumed run is done, all that follows is as in the first run.
    for start, until in ((empty, ""), (halfway, "sqlite SELECT")):
        changes, n, wrong = attempts(start, folder / "now", expected, 0 if options.broken else math.inf, until)
        report[start.name] = {"changes": len(changes), "kills": n, "wrong": wrong, "names": sorted(set(changes))}
        if options.broken and wrong:
            break
    print(json.dumps(report))


if __name__ == "__main__":
    sys.modules["crash_points"] = sys.modules["__main__"]
    square.__module__ = "crash_points"
    main()

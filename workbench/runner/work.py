"""The runs of a sweep: which are done, what the others will cost, each a process of its own that ends with this one."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from workbench.files import write_json
from workbench.runner.checks import check_executor, check_reachable, check_writable, temporary_folder
from workbench.runner.grid import Grid, write_manifest
from workbench.runner.launch import earlier_runs, is_done, run_key
from workbench.runner.outcome import error_line
from workbench.runner.stops import for_child
from workbench.runner.studies import describe
from workbench.sweeps import default_workers

_POLL_SECONDS = 0.2
_ENDS = {2: "refused", 130: "interrupted", 143: "interrupted"}


class Work:
    """What a sweep has to do, by its manifest, which is written as runs finish; ``options`` are those of a run."""

    def __init__(
        self, grid: Grid, manifest: dict[str, Any], out: Path, options: Mapping[str, Any], force: bool
    ) -> None:
        self.grid, self.manifest, self.out = grid, manifest, out.absolute()
        self.problems: dict[str, int] = {}  # what failed, a line each, with its exit code
        earlier = earlier_runs(self.out, grid.notebook.stem)
        done = [run.record for runs in earlier.values() for run in runs if is_done(run)]
        self._seconds = [r["seconds"] for r in done if r.get("profile") == manifest["profile"] and r.get("seconds")]
        for point in () if force else manifest["points"]:
            for run in filter(is_done, earlier.get(run_key(grid.notebook, grid.base | point["parameters"]), [])):
                _note(point, run.record)
        self.missing = [point for point in manifest["points"] if point["status"] != "done"]
        workers = options["workers"] or default_workers()
        self.at_once = max(1, min(len(self.missing), workers))
        workers = max(1, workers // self.at_once)
        executor, self._scheduler = check_executor(options["executor"], workers)
        self._options = {**options, "workers": workers, "executor": executor}
        self._flags = ["--json", *(["--force"] if force else [])]

    def announcement(self) -> str:
        """Say how many runs there are, how many are done, and what the others will cost."""
        n, left = len(self.manifest["points"]), len(self.missing)
        text = f"{n} runs of {self.grid.notebook.stem}, {n - left} of them done already"
        if not left:
            return text
        text += f"; {left} to run, {self.at_once} at once, {(w := self._options['workers'])} worker{'s' * (w > 1)} each"
        if self._seconds:
            seconds = statistics.median(self._seconds) * -(-left // self.at_once)
            return f"{text}: about {timedelta(seconds=round(seconds))} by {len(self._seconds)} earlier runs"
        said = describe(self.grid.notebook)["time"].partition("; ")[0].partition(". ")[0]  # the rest is of labs
        return f"{text}; one run, by its own word: {said}" if said else f"{text}; how long one takes is not known yet"

    def run(self, stops: Sequence[int]) -> None:
        """Run what is missing, several processes at a time, a line or a bar for each that ends."""
        check_writable(self.out)
        if self._scheduler and self.missing:
            check_reachable(*self._scheduler)
        write_manifest(self.manifest, self.out)
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        points = {point["index"]: point for point in self.missing}
        bar: dict[str, Any] = {"console": console, "transient": True, "disable": not console.is_terminal}
        with temporary_folder() as folder:
            commands = {index: self._command(point, folder) for index, point in points.items()}
            children = Children(commands, self.at_once, for_child(self.manifest["id"]), stops)
            ended = track(children.ended(), self.grid.notebook.stem, len(points), **bar)
            for n, (index, code, said, err) in enumerate(ended, 1):
                self._end(points[index], code, said, err)
                write_manifest(self.manifest, self.out)
                console.print(f"{n}/{len(points)}  {_line(points[index])}")

    def _command(self, point: Mapping[str, Any], folder: Path) -> list[str]:
        """Return the command line of a run."""
        file = folder / f"{point['index']}.json"
        write_json(file, self.grid.base | point["parameters"])
        given = {"params": file, "profile": self.manifest["profile"], "out": self.out, **self._options}
        options = [f"--{name}={value}" for name, value in given.items() if value is not None]
        return [sys.executable, "-m", "workbench", "run", str(self.grid.notebook), *options, *self._flags]

    def _end(self, point: dict[str, Any], code: int, out: str, err: str) -> None:
        """Note how a run ended, from the record it prints; what never came to one has said why."""
        status = _ENDS.get(code, "interrupted" if code < 0 else "failed")
        try:
            record = json.loads(out)
            _note(point, record)
            where = f"; see {Path(record['folder']) / 'run.json'}" if point["run"] else ""
        except (ValueError, KeyError, TypeError):
            point |= {"status": status, "error": err.strip()[-400:] or f"exit code {code}"}
            where = ""
        if code and status != "interrupted":
            self.problems[f"{_line(point)}: {point['error'] or err.strip()[-400:]}{where}"] = code


def _note(point: dict[str, Any], record: Mapping[str, Any]) -> None:
    """Set down in a manifest which run a point became and how it ended."""
    refused = record["status"] == "refused"  # such a run left no folder
    point |= {"run": None if refused else record["run"], "status": record["status"], "seconds": record.get("seconds")}
    point["error"] = error_line(record.get("error")) or None


def _line(point: Mapping[str, Any]) -> str:
    """Return how a run ended, and which it is, as a line of text."""
    values = ", ".join(f"{name}={value!r}" for name, value in point["parameters"].items())
    minutes = "" if point["seconds"] is None else f"  {point['seconds'] / 60:.1f} min"
    return f"{point['status']}  {values}{minutes}" + (f"  {point['run']}" if point["run"] else "")


class Children:
    """Processes by the number of their command; what comes to ``stops`` goes to each, and nothing else is started."""

    def __init__(
        self, commands: Mapping[int, Sequence[str]], at_once: int, environment: Mapping[str, str], stops: Sequence[int]
    ) -> None:
        self._commands, self._at_once, self._stops = commands, at_once, stops
        self._environment = {**os.environ, **environment}
        self._given_up: list[int] = []  # the signal to end, once nobody listens any more

    def ended(self) -> Iterator[tuple[int, int, str, str]]:
        """Yield number, exit code, output and errors of each process as it ends."""
        threads = ThreadPoolExecutor(self._at_once)
        numbers = {threads.submit(self._run, argv): number for number, argv in self._commands.items()}
        try:
            for future in as_completed(numbers):
                if (result := future.result()) is not None:
                    yield numbers[future], *result
        finally:
            self._given_up.append(signal.SIGTERM)
            threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, argv: Sequence[str]) -> tuple[int, str, str] | None:
        """Run a process to its end, sending it each signal once; start none after a signal."""
        if self._stops:
            return None
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        pipes |= {"text": True, "encoding": "utf-8", "errors": "replace", "env": self._environment}
        # A session of its own: Ctrl-C at a terminal would reach it twice, and the second signal kills.
        process, sent = subprocess.Popen(argv, start_new_session=True, **pipes), 0
        while True:
            try:
                out, err = process.communicate(timeout=_POLL_SECONDS)
                return process.returncode, out, err
            except subprocess.TimeoutExpired:
                signals = [*self._stops, *self._given_up]
                for number in signals[sent:]:
                    with contextlib.suppress(OSError):
                        process.send_signal(number)
                sent = len(signals)

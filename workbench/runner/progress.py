"""Shows how far a run is and how long it will take, from the lines the study writes."""

import json
import os
import time
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_STEP = 0.1  # of the whole: how often a log gets a line
_ESTIMABLE = 0.03  # of the whole: before that an estimate of the time left is wild
_TAIL = 4096  # bytes; the newest line is in it


class ProgressView:
    """Follows ``progress.jsonl``: a bar on a terminal, elsewhere a line per stage and per tenth of the whole."""

    def __init__(self, path: Path, console: Console, title: str) -> None:
        self._path, self._console, self._title = path, console, title
        self._started, self._overall = time.monotonic(), 0.0
        self._first: tuple[float, float] | None = None  # when and how far: the first sign, after the kernel's start
        self._said = ("", -1.0)
        columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %")]
        self._bar = Progress(*columns, TextColumn("{task.fields[times]}"), console=console, transient=True)
        self._task = self._bar.add_task(f"{title}: starting", total=1.0, times="")

    def __enter__(self) -> "ProgressView":
        """Begin to show."""
        if self._console.is_terminal:
            self._bar.start()
        else:
            self._console.print(f"{self._title}: starting", highlight=False)
        return self

    def __exit__(self, *error: object) -> None:
        """Clear the bar."""
        if self._console.is_terminal:
            self._bar.stop()

    def update(self) -> None:
        """Read how far the study is and show it."""
        now, newest = time.monotonic(), self._newest()
        if newest is not None:
            stage, overall = newest
            self._overall = overall
            self._first = self._first or (now, overall)
            if not self._console.is_terminal:
                self._log(stage, overall, now)
            self._bar.update(self._task, completed=overall, description=f"{self._title}: {stage}")
        self._bar.update(self._task, times=self._times(now))

    def _newest(self) -> tuple[str, float] | None:
        """Return stage and fraction of the newest whole line; a notebook may write what it likes."""
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                entry = json.loads(file.read().split(b"\n")[-2])
            return str(entry["stage"]), min(float(entry["overall"]), 1.0)
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _log(self, stage: str, overall: float, now: float) -> None:
        """Print a line where there is news."""
        if stage != self._said[0] or overall - self._said[1] >= _STEP or overall == 1.0 > self._said[1]:
            self._said = (stage, overall)
            self._console.print(f"{overall:4.0%}  {stage}  {self._times(now)}", highlight=False)

    def _times(self, now: float) -> str:
        """Return elapsed time and what is left at the pace since the first sign of progress."""
        text = f"{timedelta(seconds=round(now - self._started))} elapsed"
        begun, start = self._first or (now, 0.0)
        if _ESTIMABLE <= self._overall < 1 and self._overall > start:
            left = (1 - self._overall) * (now - begun) / (self._overall - start)
            text += f", about {timedelta(seconds=round(left))} left"
        return text

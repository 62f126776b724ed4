"""Shows how far a run is and how long it will take, from the lines the study writes."""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_STEP = 0.1  # of the whole: how often a log gets a line


class ProgressView:
    """Follows ``progress.jsonl``: a bar on a terminal, elsewhere a line per stage and per tenth of the whole.

    Args:
        path: The file; it need not exist yet.
        console: Where to show it.
        title: What runs.
    """

    def __init__(self, path: Path, console: Console, title: str) -> None:
        self._path, self._console, self._title = path, console, title
        self._offset, self._partial = 0, ""
        self._started = time.monotonic()
        self._first: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None
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
        """Read what is new and show it."""
        for line in self._new_lines():
            self._take(line)
        if self._console.is_terminal:
            self._bar.update(self._task, times=self._times(time.monotonic()))

    def _new_lines(self) -> list[dict[str, Any]]:
        """Return the whole lines written since the last call."""
        try:
            with self._path.open(encoding="utf-8") as file:
                file.seek(self._offset)
                text = file.read()
                self._offset = file.tell()
        except OSError:
            return []
        *whole, self._partial = (self._partial + text).split("\n")
        lines = []
        for line in whole:
            try:
                entry = json.loads(line)
                lines.append({"stage": str(entry["stage"]), "overall": float(entry["overall"])})
            except (ValueError, KeyError, TypeError):
                continue  # a notebook may write what it likes; only progress is lost
        return lines

    def _take(self, line: dict[str, Any]) -> None:
        """Take one line in and show it."""
        now, overall, stage = time.monotonic(), min(line["overall"], 1.0), line["stage"]
        self._first = self._first or (now, overall)
        self._last = (now, overall)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=overall, description=f"{self._title}: {stage}")
        elif stage != self._said[0] or overall - self._said[1] >= _STEP or overall == 1.0 > self._said[1]:
            self._said = (stage, overall)
            self._console.print(f"{overall:4.0%}  {stage}  {self._times(now)}", highlight=False)

    def _times(self, now: float) -> str:
        """Return elapsed time and what is left at the pace since the first sign of progress."""
        text = f"{clock(now - self._started)} elapsed"
        if self._first and self._last and self._last[1] > self._first[1] and self._last[1] < 1:
            pace = (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])
            left = max((1 - self._last[1]) / pace - (now - self._last[0]), 0)
            text += f", about {clock(left)} left"
        return text


def clock(seconds: float) -> str:
    """Write a duration.

    Args:
        seconds: Not negative.

    Returns:
        Minutes and seconds, with hours where there are any.

    Example:
        >>> clock(75), clock(3675)
        ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

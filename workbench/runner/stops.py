"""Ctrl-C and SIGTERM: what is at work ends in good order, at whatever moment they come."""

import contextlib
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SWEEP = "WORKBENCH_SWEEP"  # process id and sweep of the ``workbench sweep`` that started this process
_POLL_SECONDS = 0.2


@contextlib.contextmanager
def leaving_at_signals() -> Iterator[None]:
    """Make signals end this process with their exit code and no traceback, unless something collects them."""
    for number in SIGNALS:
        signal.signal(number, _leave)
    try:
        yield
    finally:  # an exception in the interpreter's last steps would be printed
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def _leave(number: int, _: object = None) -> NoReturn:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collect signals instead of acting on them, so that whoever is at work can ask and end in good order."""
    received: list[int] = []
    # Python allows handlers in the main thread only.
    mine = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in mine}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_if(stops: list[int]) -> None:
    """End the process if a signal has come: for moments when nothing has begun."""
    if stops:
        print(f"interrupted: nothing was begun; start it with: {command_line(*sys.argv[1:])}", file=sys.stderr)
        _leave(stops[0])


def for_child(sweep: str) -> dict[str, str]:
    """Return the environment that tells a run which sweep it belongs to and whose end is its own."""
    return {_SWEEP: f"{os.getpid()} {sweep}"}


def follow_parent() -> str:
    """Return the sweep that started this process, empty if none did; when that dies, this process gets a SIGTERM."""
    parent, _, sweep = os.environ.pop(_SWEEP, "").partition(" ")
    if parent.isdigit():
        when_parent_ends(int(parent), lambda: os.kill(os.getpid(), signal.SIGTERM))
    return sweep


def when_parent_ends(parent: int, end: Callable[[], object]) -> None:
    """Call ``end``, in a thread, once the process that started this one is gone and another is its parent."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        end()

    threading.Thread(target=watch, daemon=True).start()


def command_line(*arguments: object) -> str:
    """Return a command of this program as it can be typed here."""
    program = ["workbench"] if shutil.which("workbench") else [sys.executable, "-m", "workbench"]
    return shlex.join([*program, *map(str, arguments)])

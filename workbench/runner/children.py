"""Runs as processes of their own, several at once; they end when this process does."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

_POLL_SECONDS = 0.2


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

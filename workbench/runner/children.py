"""Runs as processes of their own, several at once; they end when this process does."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

_POLL_SECONDS = 0.2


class Children:
    """Processes by the number of their command; what comes to ``stops`` goes to each, and nothing else is started."""

    def __init__(
        self, commands: Mapping[int, Sequence[str]], at_once: int, environment: Mapping[str, str], stops: Sequence[int]
    ) -> None:
        self._commands, self._at_once, self._stops = commands, at_once, stops
        self._environment = {**os.environ, **environment}
        self._sent: dict[subprocess.Popen[str], int] = {}  # how many of the signals a process has got

    def ended(self) -> Iterator[tuple[int, int, str, str]]:
        """Yield number, exit code, output and errors of each process as it ends."""
        threads = ThreadPoolExecutor(max(1, self._at_once))  # they only wait for their processes
        waiting: dict[Future[Any], int] = {threads.submit(self._run, argv): n for n, argv in self._commands.items()}
        try:
            while waiting:
                done, _ = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
                self._pass_signals()
                for future in done:
                    number, result = waiting.pop(future), future.result()
                    if result is not None:
                        yield number, *result
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for process in self._sent:
                with contextlib.suppress(OSError):
                    process.terminate()

    def _run(self, argv: Sequence[str]) -> tuple[int, str, str] | None:
        """Run a process to its end."""
        if self._stops:
            return None
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        pipes |= {"text": True, "encoding": "utf-8", "errors": "replace", "env": self._environment}
        # A session of its own: Ctrl-C at a terminal would reach it twice, and the second signal kills.
        process = subprocess.Popen(argv, start_new_session=True, **pipes)
        self._sent[process] = 0
        out, err = process.communicate()
        del self._sent[process]
        return process.returncode, out, err

    def _pass_signals(self) -> None:
        """Send each process the signals it has not got yet."""
        for process, sent in list(self._sent.items()):
            for number in self._stops[sent:]:
                with contextlib.suppress(OSError):
                    process.send_signal(number)
            self._sent[process] = len(self._stops)

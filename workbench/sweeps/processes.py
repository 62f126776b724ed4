"""Trials on processes of this machine: forked from a server that has torch loaded where there is one, else spawned."""

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import queue
import signal
import sys
import threading
import types
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from workbench.errors import ExecutorError
from workbench.sweeps.job import Calls, Job, Outcome, Outcomes, call, failure

ATTEMPTS = 3  # a trial whose worker died this often is set aside
_starting = threading.Lock()


class Processes:
    """Runs calls on worker processes, each with a pipe of its own: one that dies takes no other call with it."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        # None is a worker not started yet.
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)

    def run(self, job: Job, calls: Calls) -> Outcomes:
        """Yield keys and outcomes as they come; closed early, end the workers that are busy with these calls."""
        threads = ThreadPoolExecutor(self._workers)  # they only wait for their workers
        busy: set[_Worker] = set()
        over = threading.Event()
        try:
            running = {threads.submit(self._call, job, key, calls[key], busy, over): key for key in calls}
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            over.set()
            threads.shutdown(wait=False, cancel_futures=True)
            for worker in list(busy):
                worker.kill()

    def close(self) -> None:
        """End the workers, once their calls are done; a later ``run`` starts new ones."""
        for worker in [self._idle.get() for _ in range(self._workers)]:
            if worker is not None:
                worker.end()
            self._idle.put(None)

    def _call(
        self, job: Job, key: str, parameters: Mapping[str, Any], busy: "set[_Worker]", over: threading.Event
    ) -> Outcome:
        """Return how a call ended on the next idle worker; it is made again if its worker died."""
        worker, code = self._idle.get(), None
        try:
            for _ in range(ATTEMPTS):
                worker = _ready(worker, job)
                busy.add(worker)
                if over.is_set():  # asked after `add`: either this sees it, or `run` sees the worker
                    break
                outcome = worker.call(job, parameters, key)
                busy.discard(worker)
                if outcome is not None:
                    return outcome
                code, worker = worker.end(), None
            died = f"its worker process died {ATTEMPTS} times, the last time with exit code {code}"
            return failure("WorkerKilled", f"{died} (-9 is often a lack of memory)", attempts=ATTEMPTS)
        finally:
            self._idle.put(worker)


class _Worker:
    """A process with one torch thread that makes the calls it is sent."""

    def __init__(self) -> None:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context: Any = multiprocessing.get_context(method)  # its stubs lack Process
        if method == "forkserver":
            context.set_forkserver_preload(["workbench.training", "workbench.coordinates"])
        self._pipe, far = context.Pipe()
        # Not a daemon: those may have no processes of their own, such as a DataLoader's.
        self._process = context.Process(target=_serve, args=(far,))
        try:
            with _starting, _hidden_main():
                self._process.start()
        except OSError as error:
            raise ExecutorError(f"no worker process can be started ({error}); use fewer workers") from error
        far.close()
        self._sources: dict[Path, str] = {}
        # Runs before multiprocessing waits for processes at exit; does not keep this worker alive.
        self._end = multiprocessing.util.Finalize(self, _end, (self._process, self._pipe), exitpriority=1)

    def is_stale(self, job: Job) -> bool:
        """Tell whether the process has imported a study's files that were edited since."""
        return self._sources.get(job.file, job.source) != job.source

    def call(self, job: Job, parameters: Mapping[str, Any], key: str) -> Outcome | None:
        """Return how a call ended, or None if the process died."""
        self._sources[job.file] = job.source
        try:
            self._pipe.send((job.module, job.name, dict(parameters), key))
            outcome: Outcome = self._pipe.recv()
        except (EOFError, OSError):
            return None
        return outcome

    def kill(self) -> None:
        """Break off the call."""
        self._process.kill()

    def end(self) -> int | None:
        """End the process, idle or dead; return its exit code."""
        code: int | None = self._end()
        return code


def _ready(worker: _Worker | None, job: Job) -> _Worker:
    """Return the worker if it can make a job's calls, else a new one."""
    if worker is not None and worker.is_stale(job):
        worker.end()
        worker = None
    return worker or _Worker()


def _end(process: multiprocessing.process.BaseProcess, pipe: Connection) -> int | None:
    """End a process by closing its pipe, or by force."""
    pipe.close()
    process.join(5)
    process.kill()
    process.join()
    return process.exitcode


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep a new process from importing the main program: no function of it is called, and it may have no guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(pipe: Connection) -> None:
    """Make the calls that come through a pipe until it closes; the parent's end is this process's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupts are the parent's to handle
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(call(*pipe.recv()))

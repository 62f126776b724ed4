"""Where trials run: in this process, in worker processes of this machine, or on a cluster. One contract, the same bits.

An executor's ``run`` yields keys and outcomes as calls finish, for several threads at once; closed early it gives up
those that have not. Its ``close`` ends the workers; a later ``run`` starts new ones.
"""

import contextlib
import importlib.util
import multiprocessing
import multiprocessing.util
import os
import queue
import re
import signal
import sys
import threading
import types
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from workbench.errors import ExecutorError, InputError, require
from workbench.sweeps.job import Calls, Job, Outcome, Outcomes, failure

if TYPE_CHECKING:
    from workbench.sweeps.cluster import Dask

_ATTEMPTS = 3  # a trial whose worker died this often is set aside
_SCHEDULER = re.compile(r"file:.+|inproc://.+|((tcp|tls|wss?)://)?[^/]+:(?P<port>\d{1,5})")
_starting = threading.Lock()


def require_executor(name: object) -> None:
    """Refuse, without starting anything, what names no executor that can be used here.

    Args:
        name: ``"serial"``, ``"processes"``, or ``"dask:ADDRESS"`` with ``HOST:PORT``, ``tcp://HOST:PORT`` or
            ``file:PATH`` of the scheduler's file.

    Raises:
        InputError: If it is none of these, or Dask is not installed.
    """
    kind, _, address = str(name).partition(":")
    known = name in {"serial", "processes"} or (kind == "dask" and bool(address))
    require(known, "executor", "must be serial, processes or dask:ADDRESS", name)
    if kind == "dask":
        parts = _SCHEDULER.fullmatch(address)
        whole = parts is not None and int(parts["port"] or 1) in range(1, 2**16)
        require(whole, "executor dask:ADDRESS", "must be HOST:PORT or file:PATH of a scheduler", address)
        if importlib.util.find_spec("distributed") is None:
            raise InputError(f"executor {name} needs the package distributed; pip install 'workbench[cluster]'")


def make_executor(name: str, workers: int) -> "Serial | Processes | Dask":
    """Return the executor of a name that ``require_executor`` lets pass."""
    if name.startswith("dask:"):
        from workbench.sweeps.cluster import Dask

        return Dask(name.removeprefix("dask:"))
    return Serial() if name == "serial" else Processes(workers)


def default_workers() -> int:
    """Return the number of workers asked for by ``WORKBENCH_WORKERS``, else of cores that this process may use."""
    asked = os.environ.get("WORKBENCH_WORKERS", "")
    if asked:
        require(asked.isdecimal(), "WORKBENCH_WORKERS", "must be a whole number, at least 1", asked)
        return int(asked)
    # sched_getaffinity knows of containers and batch systems that lend fewer cores than there are
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Serial:
    """Runs one call after the other, here."""

    def run(self, job: Job, calls: Calls) -> Outcomes:
        """Yield keys and outcomes in order."""
        for key, parameters in calls.items():
            yield key, job.call(parameters)

    def close(self) -> None:
        """Do nothing: there are no workers."""


class Processes:
    """Runs calls on worker processes, each with a pipe of its own: one that dies takes no other call with it."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)  # a worker not started yet

    def run(self, job: Job, calls: Calls) -> Outcomes:
        """Yield keys and outcomes as they come; closed early, end the workers that are busy with these calls."""
        job = replace(job, function=None)  # a worker imports it by its name
        threads = ThreadPoolExecutor(self._workers)  # they only wait for their workers
        busy: set[_Worker] = set()
        over = threading.Event()
        try:
            running = {threads.submit(self._call, job, calls[key], busy, over): key for key in calls}
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            over.set()
            threads.shutdown(wait=False, cancel_futures=True)
            for worker in list(busy):
                worker.process.kill()

    def close(self) -> None:
        """End the workers, once their calls are done; a later ``run`` starts new ones."""
        for worker in [self._idle.get() for _ in range(self._workers)]:
            if worker is not None:
                worker.end()
            self._idle.put(None)

    def _call(self, job: Job, parameters: Mapping[str, Any], busy: "set[_Worker]", over: threading.Event) -> Outcome:
        """Return how a call ended on the next idle worker; it is made again if its worker died."""
        worker, code = self._idle.get(), None
        try:
            if worker is not None and worker.source != job.source:  # it may have imported files that were edited since
                worker.end()
                worker = None
            for _ in range(_ATTEMPTS):
                worker = worker or _Worker(job.source)
                busy.add(worker)
                if over.is_set():  # asked after `add`: either this sees it, or `run` sees the worker
                    break
                outcome = worker.call(job, parameters)
                busy.discard(worker)
                if outcome is not None:
                    return outcome
                code, worker = worker.end(), None
            died = f"its worker process died {_ATTEMPTS} times, the last time with exit code {code}"
            return failure("WorkerKilled", f"{died} (-9 is often a lack of memory)", attempts=_ATTEMPTS)
        finally:
            self._idle.put(worker)


class _Worker:
    """A process that makes the calls it is sent: forked from a server that has torch loaded, or else spawned."""

    def __init__(self, source: str) -> None:
        self.source = source
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context: Any = multiprocessing.get_context(method)  # its stubs lack Process
        if method == "forkserver":
            context.set_forkserver_preload(["workbench.training", "workbench.coordinates"])
        self._pipe, far = context.Pipe()
        # Not a daemon: those may have no processes of their own, such as a DataLoader's.
        self.process = context.Process(target=_serve, args=(far,))
        with _starting:
            # A worker would import the main program, which may have no guard, and of which it calls nothing.
            main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
            try:
                self.process.start()
            except (OSError, EOFError) as error:
                raise ExecutorError(f"no worker process can be started ({error}); use fewer workers") from error
            finally:
                sys.modules["__main__"] = main
        far.close()
        # Runs before multiprocessing waits for processes at exit; does not keep this worker alive.
        self.end = multiprocessing.util.Finalize(self, _end, (self.process, self._pipe), exitpriority=1)

    def call(self, job: Job, parameters: Mapping[str, Any]) -> Outcome | None:
        """Return how a call ended, or None if the process died."""
        try:
            self._pipe.send((job, dict(parameters)))
            outcome: Outcome = self._pipe.recv()
        except (EOFError, OSError):
            return None
        return outcome


def _end(process: multiprocessing.process.BaseProcess, pipe: Connection) -> int | None:
    """End a process by closing its pipe, or by force; return its exit code."""
    pipe.close()
    process.join(5)
    process.kill()
    process.join()
    return process.exitcode


def _serve(pipe: Connection) -> None:
    """Make the calls that come through a pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupts are the parent's to handle
    threading.Thread(target=_follow_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            job, parameters = pipe.recv()
            pipe.send(job.call(parameters))


def _follow_parent() -> None:
    """End this process when its parent ends, in the middle of a call too."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

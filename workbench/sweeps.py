"""Trials: functions run over processes, each finished one a file named by what went into it.

A trial is a function at the top of an importable module, called with keyword parameters that JSON can hold. Its key
is a hash of the function's name, its parameters, the data's checksum, the versions that decide the bits, and the
source of everything it imports statically from its project; so nothing is computed twice and nothing stale is used.
"""

import hashlib
import inspect
import json
import multiprocessing
import multiprocessing.connection
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import is_count, require
from workbench.files import plain, write_json
from workbench.sources import source_digest, versions

_Function = Callable[..., Any]
_Trials = Sequence[Mapping[str, Any]]
_Outcomes = Iterator[tuple[int, Any]]  # a trial's number with (result, seconds), or with an exception

_ATTEMPTS = 3  # a trial whose worker died this often is set aside


class TrialError(RuntimeError):
    """Some trials failed; the others are finished and kept."""


@dataclass(frozen=True)
class Trial:
    """One finished trial: its key, what the function returned, CPU seconds, and whether it was already there."""

    key: str
    result: Any
    seconds: float
    cached: bool


class Sweep:
    """Runs trials on worker processes and keeps what they return. Use as a context manager; safe from threads.

    Args:
        directory: Where finished trials lie, ``<key>.json`` each.
        workers: Processes; 1 runs in this one; None takes ``WORKBENCH_WORKERS``, else one for each core. Each uses one
            torch thread, the serial path included.
        data_checksum: Of the data the trials read; part of every key.
        force: Compute again what is already there; the earlier file is kept beside the new attempt.

    Raises:
        InputError: If ``workers`` is not a positive whole number.
    """

    def __init__(
        self,
        directory: str | Path = "runs/trials",
        workers: int | None = None,
        data_checksum: str = "",
        force: bool = False,
    ) -> None:
        workers = _default_workers() if workers is None else workers
        require(is_count(workers, 1), "workers", "must be a whole number, at least 1", workers)
        self.directory, self.workers = Path(directory), workers
        self.data_checksum, self.force = data_checksum, force
        self.keys: list[str] = []
        # Pools of one process: a trial that kills its worker breaks nobody else's. None is one not started yet.
        self._idle: queue.LifoQueue[ProcessPoolExecutor | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._lock = threading.Lock()

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, once their trials are done; a later call of ``map`` starts new ones."""
        for pool in [self._idle.get() for _ in range(self.workers)]:
            if pool is not None:
                pool.shutdown()
            self._idle.put(None)

    def key(self, function: Callable[..., Any], parameters: Mapping[str, Any]) -> str:
        """Return the name of a trial's file: 32 hexadecimal digits."""
        identity = {
            "schema": 1,
            "function": f"{Path(inspect.getfile(function)).stem}.{function.__qualname__}",
            "parameters": plain(parameters),
            "data": self.data_checksum,
            "versions": versions(),
            "source": source_digest(inspect.getfile(function)),
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]

    def map(
        self,
        function: Callable[..., Any],
        trials: Sequence[Mapping[str, Any]],
        progress: Callable[[float], None] | None = None,
    ) -> list[Trial]:
        """Run a function once for each set of parameters, at once where workers are free.

        Args:
            function: Defined at the top of an importable module; returns what JSON can hold.
            trials: Keyword parameters of each call.
            progress: Called with the fraction of these trials that is done.

        Returns:
            The trials in the order given.

        Raises:
            InputError: If the function cannot be imported by a worker.
            TrialError: After all others have finished, if some failed; holds their tracebacks.
        """
        name = getattr(function, "__qualname__", "<lambda>")
        importable = function.__module__ != "__main__" and name.isidentifier()
        require(importable, "function", "must stand at the top of an importable module", name, "move it to a .py file")
        keys = [self.key(function, parameters) for parameters in trials]
        with self._lock:
            self.keys += [k for k in keys if k not in self.keys]
        found = [None if self.force else self._read(k) for k in keys]
        missing = [i for i, trial in enumerate(found) if trial is None]
        failures = []
        outcomes = self._serial if self.workers == 1 else self._parallel
        for n, (i, outcome) in enumerate(outcomes(function, trials, missing)):
            if isinstance(outcome, BaseException):
                trace = "".join(traceback.format_exception(outcome))
                failures.append(f"{name}({dict(trials[i])}):\n{trace}")
            else:
                found[i] = self._keep(keys[i], function, trials[i], *outcome)
            if progress:
                progress(1 - (len(missing) - n - 1) / len(trials))
        if failures:
            heading = f"{len(failures)} of {len(trials)} trials failed; the others are kept."
            raise TrialError("\n".join([heading, *failures]))
        return [trial for trial in found if trial is not None]

    def _serial(self, function: _Function, trials: _Trials, missing: Sequence[int]) -> _Outcomes:
        for i in missing:
            try:
                yield i, _call(function, dict(trials[i]))
            except (Exception, SystemExit) as error:
                yield i, error

    def _parallel(self, function: _Function, trials: _Trials, missing: Sequence[int]) -> _Outcomes:
        """Yield outcomes as they come."""
        threads = ThreadPoolExecutor(self.workers)  # they only wait for their workers
        try:
            running = {threads.submit(self._run, function, trials[i]): i for i in missing}
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, function: _Function, parameters: Mapping[str, Any]) -> Any:
        """Return the outcome of one trial on the next idle worker; it is tried again if its worker was killed."""
        pool, outcome = self._idle.get(), None
        try:
            for _ in range(_ATTEMPTS):
                pool = pool or _make_worker()
                try:
                    return pool.submit(_call, function, dict(parameters)).result()
                except BrokenProcessPool as error:
                    pool.shutdown()
                    pool, outcome = None, error
            return outcome
        except (Exception, SystemExit) as error:
            return error
        finally:
            self._idle.put(pool)

    def _read(self, key: str) -> Trial | None:
        """Return a trial that is already there; a file that is not whole counts as absent."""
        try:
            record = json.loads((self.directory / f"{key}.json").read_text(encoding="utf-8"))
            return Trial(key, record["result"], record["seconds"], True) if record["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _keep(
        self, key: str, function: Callable[..., Any], parameters: Mapping[str, Any], result: Any, seconds: float
    ) -> Trial:
        path, attempt = self.directory / f"{key}.json", 1
        while self.force and path.exists():
            attempt += 1
            path = self.directory / f"{key}.{attempt}.json"
        name = f"{function.__module__}.{function.__qualname__}"
        record = {"schema": 1, "key": key, "function": name, "parameters": parameters, "result": result}
        write_json(path, record | {"data_checksum": self.data_checksum, "seconds": seconds, "finished": time.time()})
        return Trial(key, plain(result), seconds, False)


def _default_workers() -> int:
    """Return the number of workers asked for by the environment, else of cores that this process may use."""
    asked = os.environ.get("WORKBENCH_WORKERS", "")
    if asked:
        require(asked.isdigit(), "WORKBENCH_WORKERS", "must be a whole number, at least 1", asked)
        return int(asked)
    # sched_getaffinity knows of containers and batch systems that lend fewer cores than there are
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_worker() -> ProcessPoolExecutor:
    """Return a worker process with one torch thread: forked from a clean server where there is one."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["workbench.training", "workbench.coordinates"])
    return ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    """Make a worker use one thread, leave interrupts to its parent, and end when its parent does."""
    import signal

    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def _call(function: Callable[..., Any], parameters: dict[str, Any]) -> tuple[Any, float]:
    """Call a trial on one thread; return its result and the CPU seconds it took."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    started = time.process_time()
    try:
        return plain(function(**parameters)), time.process_time() - started
    finally:
        torch.set_num_threads(threads)

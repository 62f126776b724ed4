"""Trials on a Dask cluster. Loads ``distributed``, so it is imported when a cluster is asked for.

A worker may run anywhere with workbench installed. The study's own files are sent to it, under a name that is their
digest: files of two studies may share names. A worker with other versions or sources than the driver's refuses trials.
"""

import contextlib
import functools
import importlib.util
import json
import logging
import platform
import sys
import threading
import warnings
from asyncio import CancelledError
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, as_completed
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from distributed import Client, KilledWorker, Worker, WorkerPlugin

from workbench.errors import ExecutorError
from workbench.sources import source_digest, source_files, versions
from workbench.sweeps.job import Calls, Job, Outcome, Outcomes, failure, turn

_PATIENCE = 5.0  # seconds until a scheduler must answer


class Dask:
    """Runs calls on the workers of a scheduler, one at a time in each of their processes."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Client | None = None
        self._lock = threading.Lock()
        for name in ("distributed.client", "tornado.application"):
            logging.getLogger(name).addFilter(_is_news)

    def run(self, job: Job, calls: Calls) -> Outcomes:
        """Yield keys and outcomes as they come; closed early, withdraw those that have not."""
        job = replace(job, function=None)  # a worker imports it by its name
        with self._lock:
            client = self._connect()
            self._ship(client, job)
        killed = []
        for key, outcome in self._submit(client, job, calls):
            if outcome is None:
                killed.append(key)
            else:
                yield key, outcome
        for key in killed:  # once more, alone: the scheduler blames all calls that a dead worker had in hand
            for _, outcome in self._submit(client, job, {key: calls[key]}):
                yield key, outcome or failure("KilledWorker", "it killed worker after worker, also when run alone")

    def close(self) -> None:
        """Disconnect; the cluster is its owner's."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connect(self) -> Client:
        """Return a client of the scheduler, or raise ExecutorError within seconds."""
        if self._client is not None:
            if self._client.status == "running":
                return self._client
            self._client.close()
        address = self._address
        try:
            if address.startswith("file:"):
                address = json.loads(Path(address.removeprefix("file:")).read_text(encoding="utf-8"))["address"]
            self._client = Client(address, timeout=_PATIENCE, set_as_default=False)
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except (OSError, ValueError, LookupError, TypeError) as error:
            problem = f"no Dask scheduler answers at {self._address} ({error}); start one with: dask scheduler"
            raise _failed(problem) from error
        if not workers:
            warnings.warn(f"the Dask cluster at {self._address} has no workers now; trials wait for one", stacklevel=2)
        if any(worker["nthreads"] > 1 for worker in workers):
            problem = "some Dask workers have several threads, of which trials use one"
            warnings.warn(f"{problem}; start them with --nthreads 1, and --nworkers for more", stacklevel=2)
        return self._client

    def _ship(self, client: Client, job: Job) -> None:
        """Send the study's own files to all workers, present and future."""
        files = {}
        for name, file in source_files(job.file).items():
            if name.partition(".")[0] != "workbench":
                path = name.replace(".", "/")
                files[f"{path}/__init__.py" if file.name == "__init__.py" else f"{path}.py"] = file.read_bytes()
        try:
            client.register_plugin(Study(job.source, files))
        except Exception as error:  # whatever setting up raised on a worker
            problem = f"the workers at {self._address} cannot take the study's files ({type(error).__name__}: {error})"
            raise _failed(f"{problem}; install this version of workbench there") from error

    def _submit(self, client: Client, job: Job, calls: Calls) -> Iterator[tuple[str, Outcome | None]]:
        """Yield keys and outcomes, None where workers died under the call."""
        executor = client.get_executor(pure=False)
        try:
            waiting = {executor.submit(work, job, dict(calls[key])): key for key in calls}
            while waiting:
                with contextlib.suppress(TimeoutError):
                    for future in as_completed(list(waiting), timeout=_PATIENCE):
                        yield waiting.pop(future), self._outcome(future)
                # A client that has found its scheduler again has forgotten its futures.
                if waiting and (client.status != "running" or not client.futures):
                    raise self._lost()
        finally:
            executor.shutdown(wait=False)

    def _outcome(self, future: "Future[Outcome]") -> Outcome | None:
        """Return how a call ended; raise ExecutorError for what is the cluster's fault."""
        if future.cancelled():
            raise self._lost()
        error = future.exception()
        if isinstance(error, KilledWorker):
            return None
        if error is not None:
            problem = f"the cluster at {self._address} cannot run trials ({type(error).__name__}: {error})"
            raise _failed(problem) from error
        if "refused" in future.result():
            raise _failed(future.result()["refused"])
        return future.result()

    def _lost(self) -> ExecutorError:
        return _failed(f"the Dask scheduler at {self._address} was lost")


def _failed(problem: str) -> ExecutorError:
    """Return the error of a cluster with the remedy."""
    return ExecutorError(f"{problem}; what is finished is kept: run again, on this or another executor, to go on")


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether a log record says more than that the scheduler was lost, which our own error says."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, OSError | CancelledError) and "reconnect" not in record.getMessage()


# What follows runs on workers.

_studies: dict[str, tuple[Path, dict[str, ModuleType]]] = {}  # by digest: their folder, and what was imported from it


class Study(WorkerPlugin):
    """Writes a study's files to a folder of each worker's own."""

    idempotent = True

    def __init__(self, digest: str, files: Mapping[str, bytes]) -> None:
        self.name, self.digest, self.files = f"workbench-{digest}", digest, dict(files)

    def setup(self, worker: Worker) -> None:
        """Write the files; they become importable only while a trial of this study runs."""
        folder = Path(worker.local_directory) / self.name
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        importlib.invalidate_caches()
        _studies[self.digest] = (folder, {})


def work(job: Job, parameters: Mapping[str, Any]) -> Outcome:
    """Make one call of a study that was sent here, unless something else could come out than at the driver."""
    try:
        with turn, _importable(job.source):
            problem = _difference(job)
            if not problem:
                return job.call(parameters)
    except Exception as error:  # none may leave: one that cannot be sent would let the driver wait for ever
        problem = f"{type(error).__name__}: {error}"
    return {"refused": f"a worker on {platform.node()} cannot compute this: {problem}; install the same there"}


@functools.cache
def _difference(job: Job) -> str:
    """Say what decides a result and is not in this process as at the driver; nothing if all is."""
    if (here := tuple(versions())) != job.versions:
        return f"it has torch and NumPy {', '.join(here)}, the driver {', '.join(job.versions)}"
    spec = importlib.util.find_spec(job.module)
    same = spec is not None and spec.origin is not None and source_digest(spec.origin) == job.source
    return "" if same else "its source files of workbench are others"


@contextlib.contextmanager
def _importable(study: str) -> Iterator[None]:
    """Make a study's modules, and of that name no others, importable."""
    folder, own = _studies[study]
    names = {path.stem for path in folder.iterdir()}
    others = _taken(names)
    sys.modules.update(own)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        own.update(_taken(names))
        sys.modules.update(others)


def _taken(names: set[str]) -> dict[str, ModuleType]:
    """Take modules and what lies in them out of the loaded ones."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}

"""Trials on a Dask cluster. Loads ``distributed``, so it is imported when a cluster is asked for.

A worker may run anywhere with workbench installed. The study's own files are sent to it, under a name that is their
digest: files of two studies may share names. A worker whose key for a trial is not the driver's refuses the trial.
"""

import contextlib
import functools
import importlib.util
import itertools
import json
import logging
import platform
import queue
import socket
import sys
import threading
import warnings
from asyncio import CancelledError
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any

from distributed import Client, KilledWorker, Worker, WorkerPlugin

from workbench.errors import ExecutorError, require
from workbench.sources import source_files
from workbench.sweeps.executors import split_address
from workbench.sweeps.job import Calls, Job, Outcome, Outcomes, call, failure

_PATIENCE = 5.0  # seconds until a scheduler must answer
_GO_ON = "what is finished is kept: run again, on this or another executor, to go on"


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
        try:
            address = self._reach()
            self._client = Client(address, timeout=_PATIENCE, set_as_default=False)
            self._look(self._client)
        except (OSError, ValueError, LookupError, TypeError) as error:
            problem = f"no Dask scheduler answers at {self._address} ({error}); start one with: dask scheduler"
            raise ExecutorError(f"{problem}; {_GO_ON}") from error
        return self._client

    def _reach(self) -> str:
        """Return the scheduler's address, once something answers there: a client that fails is slow to go away."""
        address = self._address
        scheme, host, port = split_address(address)
        if scheme == "file":
            address = json.loads(Path(host).read_text(encoding="utf-8"))["address"]
            scheme, host, port = split_address(address)
        if port:
            socket.create_connection((host, port), timeout=_PATIENCE).close()
        return address

    def _look(self, client: Client) -> None:
        """Warn of a cluster that cannot do what one expects of it."""
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if not workers:
            warnings.warn(f"the Dask cluster at {self._address} has no workers now; trials wait for one", stacklevel=2)
        if any(worker["nthreads"] > 1 for worker in workers):
            problem = "some Dask workers have several threads, of which trials use one"
            warnings.warn(f"{problem}; start them with --nthreads 1, and --nworkers for more", stacklevel=2)

    def _ship(self, client: Client, job: Job) -> None:
        """Send the study's own files to all workers, present and future."""
        found = source_files(job.file)
        require(job.module in found, "function", f"must be imported as {next(iter(found))}", job.module)
        files = {}
        for name, file in found.items():
            if name.partition(".")[0] != "workbench":
                path = name.replace(".", "/")
                files[f"{path}/__init__.py" if file.name == "__init__.py" else f"{path}.py"] = file.read_bytes()
        try:
            client.register_plugin(Study(job.source, files))
        except Exception as error:  # whatever setting up raised on a worker
            problem = f"the workers at {self._address} cannot take the study's files ({type(error).__name__}: {error})"
            raise ExecutorError(f"{problem}; install this version of workbench there; {_GO_ON}") from error

    def _submit(self, client: Client, job: Job, calls: Calls) -> Iterator[tuple[str, Outcome | None]]:
        """Yield keys and outcomes, None where workers died under the call."""
        executor = client.get_executor(pure=False)
        arrived: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        waiting: dict[Future[Outcome], str] = {}
        try:
            for key, parameters in calls.items():
                names = (job.source, job.module, job.name, job.data)
                future = executor.submit(work, names, list(job.versions), key, dict(parameters))
                waiting[future] = key
                future.add_done_callback(arrived.put)
            while waiting:
                future = self._next(client, arrived)
                yield waiting.pop(future), self._outcome(future)
        finally:
            executor.shutdown(wait=False)

    def _next(self, client: Client, arrived: "queue.SimpleQueue[Future[Outcome]]") -> "Future[Outcome]":
        """Wait for a call to end, looking now and then whether any still can."""
        for silences in itertools.count(1):
            with contextlib.suppress(queue.Empty):
                return arrived.get(timeout=_PATIENCE)
            # A client that has found its scheduler again has forgotten its futures.
            if client.status != "running" or not client.futures:
                raise self._lost()
            if silences % 12 == 0:  # a minute: nannies have long replaced workers that died
                with contextlib.suppress(OSError):
                    self._look(client)
        raise AssertionError

    def _outcome(self, future: "Future[Outcome]") -> Outcome | None:
        """Return how a call ended; raise ExecutorError for what is the cluster's fault."""
        if future.cancelled():
            raise self._lost()
        error = future.exception()
        if isinstance(error, KilledWorker):
            return None
        if error is not None:
            problem = f"the cluster at {self._address} cannot run trials ({type(error).__name__}: {error})"
            raise ExecutorError(f"{problem}; {_GO_ON}") from error
        if "refused" in future.result():
            raise ExecutorError(f"{future.result()['refused']}; {_GO_ON}")
        return future.result()

    def _lost(self) -> ExecutorError:
        """Return the error of a scheduler that went away."""
        return ExecutorError(f"the Dask scheduler at {self._address} was lost; {_GO_ON}")


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether a log record says more than that the scheduler was lost, which our own error says."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, OSError | CancelledError) and "reconnect" not in record.getMessage()


# What follows runs on workers.

_studies: dict[str, tuple[Path, dict[str, ModuleType]]] = {}  # by digest: their folder, and what was imported from it
_one_at_a_time = threading.Lock()  # modules, torch's threads and random generators are the process's


class Study(WorkerPlugin):
    """Writes a study's files to a folder of each worker's own."""

    idempotent = True

    def __init__(self, digest: str, files: Mapping[str, bytes]) -> None:
        self.name, self.digest, self.files = f"workbench-{digest}", digest, dict(files)

    def setup(self, worker: Worker) -> None:
        """Write the files; they become importable only while a trial of this study runs."""
        folder = Path(worker.local_directory) / self.name
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        importlib.invalidate_caches()
        _studies[self.digest] = (folder, {})


def work(names: tuple[str, str, str, str], versions: list[str], key: str, parameters: Mapping[str, Any]) -> Outcome:
    """Make one call of a study that was sent here, unless this worker would name it by another key."""
    study, module, name, _ = names
    try:
        with _one_at_a_time, _importable(study):
            here = _job(names)
            if here.key(parameters) == key:
                return call(module, name, parameters, key)
        differs = "its source files of workbench are others"
        if list(here.versions) != versions:
            differs = f"it has torch and NumPy {', '.join(here.versions)}, here they are {', '.join(versions)}"
    except Exception as error:  # none may leave: one that cannot be sent would let the driver wait for ever
        differs = f"{type(error).__name__}: {error}"
    return {"refused": f"a worker on {platform.node()} cannot compute this: {differs}; install the same there"}


@functools.cache
def _job(names: tuple[str, str, str, str]) -> Job:
    """Describe a function as this process finds it."""
    study, module, name, data = names
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"module {module} of study {study} is not there")
    return Job.at(module, name, Path(spec.origin), data)


@contextlib.contextmanager
def _importable(study: str) -> Iterator[None]:
    """Make a study's modules, and of that name no others, importable."""
    folder, own = _studies[study]
    names = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
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

"""Where trials run: in this process, in worker processes of this machine, or on a cluster. One contract, the same bits.

Every executor hands a trial to ``job.call``. A worker process that is killed takes no other trial with it.
"""

import importlib.util
import os
from typing import Protocol
from urllib.parse import urlsplit

from workbench.errors import InputError, require
from workbench.sweeps.job import Calls, Job, Outcomes, call
from workbench.sweeps.processes import Processes


class Executor(Protocol):
    """Runs calls of a job; used from several threads at once."""

    def run(self, job: Job, calls: Calls) -> Outcomes:
        """Yield keys and outcomes as calls finish; closed early, it gives up those that have not."""

    def close(self) -> None:
        """End the workers; a later ``run`` starts new ones."""


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
        split_address(address)
        if importlib.util.find_spec("distributed") is None:
            raise InputError(f"executor {name} needs the package distributed; pip install 'workbench[cluster]'")


def split_address(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a scheduler; a file has its path as host, and what is no socket port 0."""
    if address.startswith("file:"):
        return "file", address.removeprefix("file:"), 0
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    try:
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        host, port = "", 0
    whole = parts.scheme == "inproc" or (parts.scheme in {"tcp", "tls", "ws", "wss"} and host and port)
    require(bool(whole), "executor dask:ADDRESS", "must be HOST:PORT or file:PATH of a scheduler", address)
    return parts.scheme, host, port


def make_executor(name: str, workers: int) -> Executor:
    """Return the executor of a name that ``require_executor`` lets pass."""
    if name.startswith("dask:"):
        from workbench.sweeps.cluster import Dask

        return Dask(name.removeprefix("dask:"))
    return Serial() if name == "serial" else Processes(workers)


def default_workers() -> int:
    """Return the number of workers asked for by ``WORKBENCH_WORKERS``, else of cores that this process may use."""
    asked = os.environ.get("WORKBENCH_WORKERS", "")
    if asked:
        require(asked.isdigit(), "WORKBENCH_WORKERS", "must be a whole number, at least 1", asked)
        return int(asked)
    # sched_getaffinity knows of containers and batch systems that lend fewer cores than there are
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Serial:
    """Runs one call after the other, here."""

    def run(self, job: Job, calls: Calls) -> Outcomes:
        """Yield keys and outcomes in order."""
        for key, parameters in calls.items():
            yield key, call(job.module, job.name, parameters, key, job.function)

    def close(self) -> None:
        """Do nothing: there are no workers."""

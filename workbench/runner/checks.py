"""What a run needs from outside, checked before it starts: folders to write, a scheduler that answers."""

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import DataError, ExecutorError, InputError
from workbench.files import read_json, writing_runs
from workbench.sweeps import require_executor

_CONNECT_SECONDS = 3.0


def check_executor(executor: str | None, workers: int) -> tuple[str, tuple[str, int] | None]:
    """Return the name of the executor to use, None taking the default, and a Dask scheduler's host and port."""
    executor = executor or os.environ.get("WORKBENCH_EXECUTOR") or ("serial" if workers == 1 else "processes")
    require_executor(executor)
    kind, _, address = executor.partition(":")
    if kind != "dask":
        return executor, None
    if address.startswith("file:"):
        file = Path(address.removeprefix("file:")).absolute()  # the kernel works in the notebook's folder
        executor = f"dask:file:{file}"
        try:
            address = str(read_json(file)["address"])
        except (DataError, KeyError, TypeError) as error:
            problem = f"{file} must be the scheduler file of a running cluster ({error}); start it"
            raise ExecutorError(problem) from error
    match = re.fullmatch(r"(?:[a-z]+://)?([\w.-]+|\[[\da-fA-F:]+\]):(\d{1,5})/?", address)
    if match is None:
        raise InputError(f"executor must be dask: and an address such as tcp://127.0.0.1:8786, got {executor!r}")
    return executor, (match[1].strip("[]"), int(match[2]))


def check_reachable(host: str, port: int) -> None:
    """Raise ExecutorError unless something listens at a scheduler's address."""
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        remedy = "start it with `dask scheduler`, or choose --executor processes"
        raise ExecutorError(f"no Dask scheduler answers at {host}:{port} ({error}); {remedy}") from error


def check_writable(out: Path) -> None:
    """Raise before anything starts where runs or trials could not be kept."""
    with writing_runs(out):
        for folder in (out, out / "trials", out / ".locks"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that goes with the block; those of processes that were killed in theirs go first."""
    import psutil  # type: ignore[import-untyped]

    for old in Path(tempfile.gettempdir()).glob("workbench-[0-9]*-*"):
        pid = old.name.split("-")[1]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"workbench-{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)

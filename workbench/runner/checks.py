"""What a run needs from outside, checked before it starts: folders to write, a scheduler that answers."""

import errno
import re
import socket
import tempfile
from pathlib import Path

from workbench.errors import ExecutorError, InputError, StorageError
from workbench.sweeps import require_executor

_CONNECT_SECONDS = 3.0


def dask_address(executor: str) -> tuple[str, int] | None:
    """Check an executor's form; return host and port of a Dask scheduler."""
    require_executor(executor)
    if not executor.startswith("dask:"):
        return None
    match = re.fullmatch(r"dask:(?:[a-z]+://)?([\w.-]+|\[[\da-fA-F:]+\]):(\d{1,5})/?", executor)
    if match is None:
        rule = "must be the address of a scheduler, such as dask:tcp://127.0.0.1:8786"
        raise InputError(f"executor {rule}, got {executor!r}")
    return match[1].strip("[]"), int(match[2])


def check_reachable(host: str, port: int) -> None:
    """Raise ExecutorError unless something listens at a scheduler's address."""
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        remedy = "start it with `dask scheduler`, or choose --executor processes"
        raise ExecutorError(f"no Dask scheduler answers at {host}:{port} ({error}); {remedy}") from error


def check_writable(out: Path) -> None:
    """Raise before anything starts where runs or trials could not be kept."""
    try:
        for folder in (out, out / "trials", out / ".locks"):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageError(f"{out} must have free space, got {error}; free some, then try again") from error
        raise InputError(
            f"out must be a folder that can be written, got {str(out)!r} ({error}); choose another"
        ) from error

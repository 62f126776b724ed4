"""Files that are whole or absent: temporary file, flush, rename."""

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import DataError, ExecutorError, InputError, StorageError, reading


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when the block ends well.

    The temporary file lies in the same folder (a rename never crosses file systems) and keeps the suffix (some writers
    append one of their own). An earlier file stays untouched until the rename; after an exception nothing is left.

    Args:
        path: The file to write; missing folders are made.

    Yields:
        Where to write.

    Raises:
        StorageError: If the file cannot be written: no space, no permission, a folder in its place.
        OSError: The block's own, where it is one of this package's errors.
    """
    path = Path(path)
    # Not tempfile: its files are readable by their owner only, whatever the umask says.
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(6)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        # "r+b": Windows flushes only what is open for writing.
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        if isinstance(error, DataError | StorageError | ExecutorError):
            raise  # the block's own, in words already
        raise StorageError(unwritten(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def unwritten(path: Path, error: OSError) -> str:
    """Say that a file could not be written, why, and what helps."""
    why = error.strerror or error
    return f"{path} could not be written ({why}); earlier files are intact: free space or mend the folder, then resume"


def require_writable(folder: Path) -> None:
    """Make a folder and raise StorageError unless files can be written there: nothing that cannot be kept is begun."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise StorageError(unwritten(folder, error)) from error


@contextlib.contextmanager
def writing_runs(out: Path) -> Iterator[None]:
    """Raise InputError where the block cannot write into the folder of runs, StorageError where it is full."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            remedy = "earlier files are intact: free some, then resume"
            raise StorageError(f"{out} must have free space, got {error}; {remedy}") from error
        problem = f"out must be a folder that can be written, got {str(out)!r} ({error}); choose another"
        raise InputError(problem) from error


def read_json(path: str | Path) -> Any:
    """Read a JSON file as data; raise DataError if it is missing or not whole."""
    with reading(f"{path} must be a JSON file that is whole"):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def write_text(path: str | Path, text: str) -> None:
    """Write text atomically, as UTF-8 with line feeds on every platform."""
    with atomic(path) as temporary:
        # Half a surrogate pair, which a file name may hold, becomes its escape: in JSON too it then reads as itself.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: str | Path, data: Any) -> None:
    """Write data as JSON, atomically, in the form that ``plain`` gives it."""
    write_text(path, json.dumps(plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def plain(data: Any) -> Any:
    """Reduce mappings, sequences, arrays, paths to standard JSON; it has no nan and infinities: they become words."""
    if isinstance(data, dict):
        return {str(name): plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [plain(value) for value in data]
    if hasattr(data, "tolist"):  # NumPy and torch, scalars included
        return plain(data.tolist())
    if isinstance(data, float):
        return data if math.isfinite(data) else str(data)
    if data is None or isinstance(data, bool | int | str):
        return data
    if isinstance(data, Path):
        return str(data)
    raise TypeError(f"{type(data).__name__} cannot be written as JSON; make it numbers, strings, lists or mappings")


def digest(data: Any) -> str:
    """Hash data in the form that ``plain`` gives it; return 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(plain(data), sort_keys=True).encode()).hexdigest()


def _flush(folder: Path) -> None:
    """Make a rename survive a power cut where the platform lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

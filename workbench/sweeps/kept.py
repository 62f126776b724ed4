"""Trials on disk: a file each, named by its key, whole or known to be damaged."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.files import plain, write_json
from workbench.sweeps.job import Job, Outcome


def trial_digest(record: Mapping[str, Any]) -> str:
    """Return what a trial's ``digest`` must be: the SHA-256 of its other fields as canonical JSON."""
    fields = {name: value for name, value in plain(dict(record)).items() if name != "digest"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_trial(path: str | Path) -> dict[str, Any] | None:
    """Read a finished trial's file.

    Args:
        path: ``<key>.json``, or ``<key>.<attempt>.json`` of a forced rerun.

    Returns:
        What it holds, or None if there is no such file.

    Raises:
        DataError: If the file is not whole, was changed, or is another trial's.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        names = {"key", "result", "seconds", "digest"} <= record.keys() and record["key"] == path.name.partition(".")[0]
        problem = "" if names and record["digest"] == trial_digest(record) else "its digest or its name does not match"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise DataError(f"{path} is not a whole trial ({problem}); remove it")
    return dict(record)


def write_trial(path: Path, job: Job, key: str, parameters: Mapping[str, Any], outcome: Outcome) -> None:
    """Keep how a trial ended, or raise StorageError."""
    record = {"schema": 1, "key": key, "function": f"{job.module}.{job.name}", "parameters": dict(parameters)}
    record |= {"data_checksum": job.data, "finished": time.time(), **outcome}
    write_json(path, record | {"digest": trial_digest(record)})

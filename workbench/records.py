"""What a run was: its identity, its folder, its record, the environment it ran in."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import plain, write_json

SCHEMA = 1  # of run.json and results.json; a reader refuses what it does not know
_PACKAGES = ("workbench", "numpy", "scipy", "torch", "scikit-learn", "pandas", "gymnasium", "papermill", "ipykernel")


@dataclass
class Run:
    """A run's folder ``runs/<study>/<run id>``, which belongs to it alone, and what its ``run.json`` holds."""

    folder: Path
    record: dict[str, Any]
    _started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, out: Path, study: str, parameters: dict[str, Any], **more: Any) -> "Run":
        """Make the folder of a new run and the first version of its record, or raise InputError; status ``running``."""
        folder = _new_folder(out, study, parameters)
        record = {
            "schema": SCHEMA,
            "study": study,
            "run": folder.name,
            "status": "running",
            "parameters": parameters,
            "device": parameters.get("device", "cpu"),
            "started": _utc("%Y-%m-%dT%H:%M:%S+00:00"),
            **more,
            **environment(),
        }
        write_json(folder / "run.json", record)
        return cls(folder, record)

    def finish(self, status: str, error: dict[str, Any] | None = None) -> None:
        """Complete the record: how the run ended, and what ended it early."""
        seconds = round(time.monotonic() - self._started, 1)
        self.record |= {"status": status, "error": error, "seconds": seconds}
        write_json(self.folder / "run.json", self.record)


def project_folder() -> Path:
    """Return the nearest folder at or above the working directory with a ``pyproject.toml``, else the directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").is_file()), here)


def environment() -> dict[str, Any]:
    """Describe what the numbers may depend on: versions, commit, platform, processors, threads, command line."""
    commit, dirty = _commit()
    return {
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": commit,
        "dirty": dirty,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ},
        "command": sys.argv,
    }


def _utc(form: str) -> str:
    """Return the time in UTC."""
    return time.strftime(form, time.gmtime())


def _new_folder(out: Path, study: str, parameters: dict[str, Any]) -> Path:
    """Make a folder named by the UTC time and a hash of study and parameters: names sort by time, repeats show."""
    text = json.dumps([study, plain(parameters)], sort_keys=True)
    name = f"{_utc('%Y%m%dT%H%M%SZ')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    folder, attempt = out.absolute() / study / name, 1
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                folder.mkdir()  # exclusive: two runs in one second never share a folder
                return folder
            except FileExistsError:
                attempt += 1
                folder = folder.with_name(f"{name}-{attempt}")
    except OSError as error:
        problem = f"out must be a folder that can be written, got {str(out)!r} ({error}); choose another"
        raise InputError(problem) from error


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the source and whether files differ from it; nothing where there is no git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # installed inside somebody else's repository it is not its source
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None

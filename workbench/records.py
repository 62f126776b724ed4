"""What a run was: its identity, its folder, the environment it ran in."""

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import plain

SCHEMA = 1  # of run.json and results.json; a reader refuses what it does not know
_PACKAGES = ("workbench", "numpy", "scipy", "torch", "scikit-learn", "pandas", "gymnasium", "papermill", "ipykernel")


def now() -> str:
    """Return the time as ISO 8601 text in UTC, to the second.

    Returns:
        Text such as ``2026-01-31T12:00:00+00:00``.
    """
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def run_folder(out: Path, study: str, parameters: dict[str, Any]) -> Path:
    """Make the folder of a new run, which belongs to this run alone.

    Its name is the UTC time and a hash of study and parameters: names sort by time, and equal hashes are repeats.

    Args:
        out: Folder of all runs.
        study: The study's name.
        parameters: What the run was asked to do.

    Returns:
        An empty folder ``out/study/<run id>``, absolute.

    Raises:
        InputError: If it cannot be made or written to.
    """
    text = json.dumps([study, plain(parameters)], sort_keys=True)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{stamp}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    parent = out.absolute() / study
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                folder.mkdir()  # exclusive: two runs in one second never share a folder
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise InputError(
            f"out must be a folder that can be written, got {str(out)!r} ({error}); choose another"
        ) from error
    raise InputError(f"out holds a thousand runs of {study} made this second, got {str(out)!r}; wait a moment")


def project_folder(start: Path | None = None) -> Path:
    """Find the project a folder belongs to.

    Args:
        start: Where to look from; the working directory by default.

    Returns:
        The nearest folder at or above ``start`` with a ``pyproject.toml``, else ``start`` itself.
    """
    start = (start or Path.cwd()).absolute()
    return next((folder for folder in (start, *start.parents) if (folder / "pyproject.toml").is_file()), start)


def environment() -> dict[str, Any]:
    """Describe what the numbers may depend on.

    Returns:
        Versions, commit and whether the tree differs from it, platform, processors, thread limits, command line.
    """
    commit, dirty = _commit(Path(__file__).parent)
    return {
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "commit": commit,
        "dirty": dirty,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "threads": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ},
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    """Return an installed version without importing the package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the source and whether files differ from it; nothing where there is no git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # A package installed inside somebody else's repository is not that repository's source.
    if git("ls-files", "--error-unmatch", __file__) is None:
        return None, None
    changes = git("status", "--porcelain")
    return git("rev-parse", "HEAD"), None if changes is None else bool(changes)

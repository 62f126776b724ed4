"""What has been run already: a run's key, the runs of that key."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from workbench.errors import DataError
from workbench.files import plain
from workbench.records import Run
from workbench.sources import source_digest, versions


def run_key(notebook: Path, values: dict[str, Any]) -> str:
    """Hash what decides a run's results: the notebook's source and imports, parameters, versions; 32 hex digits."""
    identity = {"source": source_digest(notebook), "parameters": plain(values), "versions": versions()}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def earlier_runs(out: Path, study: str) -> dict[str, list[Run]]:
    """Return the readable runs of a study by their key, the oldest first."""
    found: dict[str, list[Run]] = {}
    for path in sorted((out.absolute() / study).glob("[!.]*/run.json")):
        with contextlib.suppress(DataError):
            run = Run.read(path.parent)
            found.setdefault(str(run.record.get("key")), []).append(run)
    return found


def is_done(run: Run) -> bool:
    """Tell whether a run has results that can be shown again; a notebook without ``Study`` writes none."""
    return run.record["status"] == "done" and (run.folder / "results.json").is_file()

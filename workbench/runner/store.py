"""The runner's record of a run: written when it starts, completed however it ends."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench import records
from workbench.files import write_json


@dataclass
class Run:
    """A run's folder and its ``run.json``.

    Attributes:
        folder: ``runs/<study>/<run id>``; belongs to this run alone.
        record: What ``run.json`` holds.
    """

    folder: Path
    record: dict[str, Any]
    _started: float = field(default_factory=time.monotonic)

    @property
    def executed(self) -> Path:
        """The executed notebook."""
        return self.folder / "executed.ipynb"

    @property
    def page(self) -> Path:
        """The page."""
        return self.folder / "page.html"

    @property
    def results(self) -> Path:
        """What the notebook found."""
        return self.folder / "results.json"

    @property
    def library(self) -> Path:
        """Plotly's JavaScript, shared by the pages of all runs."""
        return self.folder.parents[1] / "plotly.min.js"

    def finish(self, status: str, error: dict[str, Any] | None) -> None:
        """Complete the record.

        Args:
            status: How the run ended.
            error: What ended it early.
        """
        seconds = round(time.monotonic() - self._started, 1)
        self.record |= {"status": status, "error": error, "ended": records.now(), "seconds": seconds}
        write_json(self.folder / "run.json", self.record)


def start(out: Path, notebook: Path, parameters: dict[str, Any], profile: str | None) -> Run:
    """Make a run's folder and write the first version of its record.

    Args:
        out: Folder of all runs.
        notebook: The study.
        parameters: Checked values.
        profile: Where they began.

    Returns:
        The run, its status ``running``.

    Raises:
        InputError: If the folder cannot be made or written to.
    """
    folder = records.run_folder(out, notebook.stem, parameters)
    record = {
        "schema": records.SCHEMA,
        "study": notebook.stem,
        "run": folder.name,
        "status": "running",
        "notebook": str(notebook),
        "profile": profile,
        "parameters": parameters,
        "device": parameters.get("device", "cpu"),
        "started": records.now(),
        **records.environment(),
    }
    write_json(folder / "run.json", record)
    return Run(folder, record)


def last_verdicts(out: Path, study: str) -> list[str]:
    """Return the verdicts of a study's newest finished run.

    Args:
        out: Folder of all runs.
        study: The study's name.

    Returns:
        One verdict per claim; nothing where no run can be read.
    """
    for path in sorted(out.glob(f"{study}/*/results.json"), reverse=True):
        try:
            findings = json.loads(path.read_text(encoding="utf-8"))["findings"]
            return [str(finding["verdict"]) for finding in findings]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []

"""One run from checked parameters to record and page."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console

from workbench.records import Run
from workbench.runner.pages import write_page
from workbench.runner.papermill import Outcome, execute
from workbench.runner.progress import ProgressView
from workbench.verdicts import Report, read_report


def launch(
    notebook: Path,
    parameters: dict[str, Any],
    *,
    profile: str,
    out: Path,
    workers: int | None = None,
    timeout: float | None = None,
) -> tuple[Run, Outcome, Report | None]:
    """Run a study and keep everything about it; progress goes to standard error.

    Returns:
        The run, how it ended, what it found. A failure has a page too, except where the study refused its input.
    """
    # What is not asked for is left to the sweep: one process for each core.
    asked = os.environ.get("WORKBENCH_WORKERS", "") if workers is None else str(workers)
    run = Run.start(
        out,
        notebook.stem,
        parameters,
        notebook=str(notebook),
        profile=profile,
        workers=int(asked) if asked.isdigit() else None,
    )
    with ProgressView(run.folder / "progress.jsonl", Console(stderr=True), notebook.stem) as view:
        outcome = execute(
            notebook,
            parameters,
            run.folder,
            environment={"WORKBENCH_WORKERS": asked},
            timeout=timeout,
            watch=view.update,
        )
    run.finish(outcome.status, outcome.error)
    results, executed = run.folder / "results.json", run.folder / "executed.ipynb"
    report = read_report(results) if results.is_file() else None
    if outcome.status != "refused" and executed.is_file():
        library = out.absolute() / "plotly.min.js"  # shared by the pages of all runs
        verdicts = report._repr_html_() if report else ""
        write_page(executed, run.folder / "page.html", library=library, record=run.record, verdicts=verdicts)
    return run, outcome, report

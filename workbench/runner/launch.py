"""One run from checked parameters to record and page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from workbench.runner import store
from workbench.runner.papermill import Outcome, execute
from workbench.runner.progress import ProgressView


def launch(
    notebook: Path,
    parameters: dict[str, Any],
    *,
    profile: str | None = None,
    out: Path = Path("runs"),
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    console: Console | None = None,
) -> tuple[store.Run, Outcome]:
    """Run a study and keep everything about it.

    Args:
        notebook: The study.
        parameters: Checked values.
        profile: Where they began.
        out: Folder of all runs.
        environment: Further environment variables for the study.
        timeout: Seconds a cell may take.
        console: Where progress goes; standard error by default.

    Returns:
        The run and how it ended. The page is written for failures too, except where the study refused its input.

    Raises:
        InputError: If ``out`` cannot be written.
    """
    run = store.start(out, notebook, parameters, profile)
    with ProgressView(run.folder / "progress.jsonl", console or Console(stderr=True), notebook.stem) as view:
        outcome = execute(notebook, parameters, run.folder, environment=environment, timeout=timeout, watch=view.update)
    run.finish(outcome.status, outcome.error)
    if outcome.status != "refused" and run.executed.is_file():
        from workbench.runner.pages import write_page
        from workbench.verdicts import read_report

        verdicts = read_report(run.results)._repr_html_() if run.results.is_file() else ""
        write_page(run.executed, run.page, library=run.library, record=run.record, verdicts=verdicts)
    return run, outcome

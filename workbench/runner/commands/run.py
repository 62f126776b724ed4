"""``workbench run``: one study, from its parameters to its verdicts."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.runner.console import (
    FAILED,
    INTERRUPTED,
    REFUSED,
    STORAGE,
    Json,
    Out,
    Study,
    app,
    complain,
    print_json,
    say,
)


@app.command()
def run(
    study: Study,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="name=value, read by the parameter's declared type; repeatable.")
    ] = None,
    params: Annotated[Path | None, typer.Option(help="YAML or JSON file of parameters.")] = None,
    profile: Annotated[
        str, typer.Option(help="smoke (seconds), laptop (minutes), paper (the source's scale).")
    ] = "laptop",
    seed: Annotated[int | None, typer.Option(help="Short for -p seed=N.")] = None,
    out: Out = Path("runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one for each core.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds one cell may take.")] = 6 * 3600,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check names, types and bounds, show the values; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a study: check its parameters, execute it, judge its claims, write its page.

    Example: [bold]workbench run intrinsic-dimension -p seeds=0,1,2,3,4 -p fraction=0.95[/bold]
    """
    from workbench.runner.studies import find, resolve

    notebook = find(study)
    values = resolve(notebook, profile=profile, file=params, assignments=parameter or [], seed=seed)
    if dry_run:
        lines = [f"{name} = {value!r}" for name, value in values.items()]
        return print_json({"notebook": notebook, "parameters": values}) if as_json else say(*lines)
    from workbench.runner.launch import launch

    done, outcome, report = launch(notebook, values, profile=profile, out=out, workers=workers, timeout=timeout)
    if as_json:
        results = json.loads((done.folder / "results.json").read_text(encoding="utf-8")) if report else None
        print_json({**done.record, "folder": done.folder, "results": results})
    else:
        _show_end(done.folder, outcome, report)
    codes = {"done": 0, "failed": FAILED, "refused": REFUSED, "interrupted": INTERRUPTED + (outcome.signal or 0)}
    sys.exit(STORAGE if outcome.storage and outcome.status in {"done", "failed"} else codes[outcome.status])


def _show_end(folder: Path, outcome: Any, report: Any) -> None:
    """Print claims and verdicts, how the run ended, and where its files are."""
    from workbench.runner.papermill import error_line
    from workbench.verdicts import COLOURS

    if report:
        text = Text(f"\n{report}")
        for verdict, colour in COLOURS.items():
            text.highlight_regex(f"(?m)^{verdict.upper()}", f"bold {colour}")
        say(text)
    error = outcome.error
    if outcome.status == "refused":
        complain("error", error["message"])
        return
    if outcome.status == "failed":
        complain("failed", error_line(error))
    if outcome.status == "interrupted":
        again = shlex.join(["workbench", *sys.argv[1:]])
        complain("interrupted", f"finished trials are kept, go on with: {again}")
    if outcome.storage:
        complain("storage", outcome.storage)
    for label, name in (("notebook", "executed.ipynb"), ("page", "page.html"), ("record", "run.json")):
        if (folder / name).is_file():
            say(f"{label:<9} {folder / name}")

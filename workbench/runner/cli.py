"""The command ``workbench``. Starts fast: kernels, papermill and torch are imported by what needs them."""

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workbench.errors import InputError
from workbench.files import plain

FAILED, REFUSED, STORAGE, INTERRUPTED = 1, 2, 4, 128
_COLOURS = {"holds": "blue", "fails": "dark_orange3", "inconclusive": "magenta", "illustration": "bright_black"}

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Reproduce what papers say about a neural network's parameters.\n\n"
    "Example: [bold]workbench run intrinsic-dimension --profile smoke[/bold]",
    epilog="Exit codes: 0 ran, whatever the verdicts; 1 the study failed; 2 bad input, nothing ran; 4 storage; "
    "130 and 143 interrupted.",
)
_Study = Annotated[str, typer.Argument(help="A name such as intrinsic-dimension, or the path of a notebook.")]
_Out = Annotated[Path, typer.Option(help="Folder of all runs.")]
_Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


@app.command()
def run(
    study: _Study,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="name=value, read by the parameter's declared type; repeatable.")
    ] = None,
    params: Annotated[Path | None, typer.Option(help="YAML or JSON file of parameters.")] = None,
    profile: Annotated[
        str, typer.Option(help="smoke (seconds), laptop (minutes), paper (the source's scale).")
    ] = "laptop",
    seed: Annotated[int | None, typer.Option(help="Short for -p seed=N.")] = None,
    out: _Out = Path("runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one for each core.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds one cell may take.")] = 6 * 3600,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and show the parameters; run nothing.")] = False,
    as_json: _Json = False,
) -> None:
    """Run a study: check its parameters, execute it, judge its claims, write its page.

    Example: [bold]workbench run intrinsic-dimension -p seeds=0,1,2,3,4 -p fraction=0.95[/bold]
    """
    from workbench.runner.studies import find, resolve

    notebook = find(study)
    _, values = resolve(notebook, profile=profile, file=params, assignments=parameter or [], seed=seed)
    if dry_run:
        _show_values(notebook, values, as_json)
        return
    from workbench.runner.launch import launch

    environment = {} if workers is None else {"WORKBENCH_WORKERS": str(workers)}
    done, outcome = launch(notebook, values, profile=profile, out=out, environment=environment, timeout=timeout)
    if as_json:
        findings = json.loads(done.results.read_text(encoding="utf-8")) if done.results.is_file() else None
        print(json.dumps(plain({**done.record, "folder": done.folder, "results": findings}), indent=1))
    else:
        _show_end(done, outcome)
    codes = {"done": 0, "failed": FAILED, "refused": REFUSED, "interrupted": INTERRUPTED + (outcome.signal or 0)}
    code = codes[outcome.status]
    sys.exit(STORAGE if outcome.storage and outcome.status in {"done", "failed"} else code)


@app.command()
def show(study: _Study, as_json: _Json = False) -> None:
    """Show a study's parameters, their types, defaults and profiles.

    Example: [bold]workbench show intrinsic-dimension[/bold]
    """
    from workbench.runner import studies
    from workbench.runner.schema import read_schema

    schema = read_schema(studies.find(study))
    profiles = studies.profiles(schema)
    if as_json:
        rows = [{"name": p.name, "type": p.source, "default": p.default, "help": p.help} for p in schema.parameters]
        print(json.dumps(plain({"notebook": schema.notebook, "parameters": rows, "profiles": profiles}), indent=1))
        return
    others = [name for name in profiles if profiles[name]]
    table = Table("parameter", "type", "default", *others, "meaning", title=studies.question(schema.notebook))
    for p in schema.parameters:
        cells = [p.name, p.source, repr(p.default), *(repr(profiles[o].get(p.name, "")) for o in others), p.help]
        table.add_row(*(escape("" if cell == "''" else cell) for cell in cells))
    Console().print(table)


@app.command("list")
def list_studies(out: _Out = Path("runs"), as_json: _Json = False) -> None:
    """List the studies and what their newest runs said.

    Example: [bold]workbench list[/bold]
    """
    from workbench.runner import studies
    from workbench.runner.store import last_verdicts

    rows = [
        {
            "study": f"{path.parent.name}/{path.stem}",
            "question": studies.question(path),
            "verdicts": last_verdicts(out, path.stem),
        }
        for path in studies.studies()
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table("study", "question", "newest verdicts")
    for row in rows:
        table.add_row(escape(str(row["study"])), escape(str(row["question"])), ", ".join(row["verdicts"]))
    Console().print(table)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app()
    except InputError as problem:
        _console(stderr=True).print(f"[bold]error:[/bold] {escape(str(problem))}")
        sys.exit(REFUSED)
    except OSError as problem:
        _console(stderr=True).print(f"[bold]storage:[/bold] {escape(str(problem))}")
        sys.exit(STORAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED + signal.SIGINT)


def _console(stderr: bool = False) -> Console:
    """Return a console that leaves long lines whole, for those who search or copy them."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def _show_values(notebook: Path, values: dict[str, Any], as_json: bool) -> None:
    """Show what a run would do."""
    if as_json:
        print(json.dumps(plain({"notebook": notebook, "parameters": values}), indent=1))
        return
    table = Table("parameter", "value", title=escape(str(notebook)))
    for name, value in values.items():
        table.add_row(escape(name), escape(repr(value)))
    Console().print(table)


def _show_end(done: Any, outcome: Any) -> None:
    """Print claims and verdicts, how the run ended, and where its files are."""
    from workbench.verdicts import read_report

    console, error = _console(), _console(stderr=True)
    if outcome.status == "refused":
        error.print(f"[bold]error:[/bold] {escape(outcome.error['message'])}")
        return
    if done.results.is_file():
        report = read_report(done.results)
        for finding in report.findings:
            colour = _COLOURS[finding.verdict]
            console.print(f"\n[bold {colour}]{finding.verdict.upper()}[/]  {escape(finding.claim.sentence)}")
            detail = f"; {finding.detail}" if finding.detail else ""
            console.print(f"  rule      {escape(finding.claim.rule)}")
            console.print(f"  measured  {escape(finding.measured + detail)}")
            console.print(f"  paper     {escape(finding.claim.paper)}")
        for claim in report.unjudged:
            console.print(f"\nNOT JUDGED IN THIS RUN  {escape(claim.sentence)}")
        console.print(f"\nData: {escape(report.data)}")
    if outcome.status == "failed":
        at = outcome.error
        said = escape(f"cell {at['cell']}: {at['name']}: {at['message']}")
        error.print(f"\n[bold]failed[/bold] in {said}")
    if outcome.status == "interrupted":
        again = shlex.join(["workbench", *sys.argv[1:]])
        error.print(f"\n[bold]interrupted[/bold]; finished trials are kept, go on with: {escape(again)}")
    if outcome.storage:
        error.print(f"\n[bold]storage:[/bold] {escape(outcome.storage)}")
    for label, path in (("notebook", done.executed), ("page", done.page), ("record", done.folder / "run.json")):
        if path.is_file():
            console.print(f"{label:<9} {escape(str(path))}")

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
from rich.text import Text

from workbench.errors import InputError
from workbench.files import plain

FAILED, REFUSED, STORAGE, INTERRUPTED = 1, 2, 4, 128

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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check names, types and bounds, show the values; run nothing.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Run a study: check its parameters, execute it, judge its claims, write its page.

    Example: [bold]workbench run intrinsic-dimension -p seeds=0,1,2,3,4 -p fraction=0.95[/bold]
    """
    from workbench.runner.studies import find, resolve

    notebook = find(study)
    values = resolve(notebook, profile=profile, file=params, assignments=parameter or [], seed=seed)
    if dry_run:
        lines = [f"{name} = {value!r}" for name, value in values.items()]
        return _print_json({"notebook": notebook, "parameters": values}) if as_json else _say(*lines)
    from workbench.runner.launch import launch

    done, outcome, report = launch(notebook, values, profile=profile, out=out, workers=workers, timeout=timeout)
    if as_json:
        results = json.loads((done.folder / "results.json").read_text(encoding="utf-8")) if report else None
        _print_json({**done.record, "folder": done.folder, "results": results})
    else:
        _show_end(done.folder, outcome, report)
    codes = {"done": 0, "failed": FAILED, "refused": REFUSED, "interrupted": INTERRUPTED + (outcome.signal or 0)}
    sys.exit(STORAGE if outcome.storage and outcome.status in {"done", "failed"} else codes[outcome.status])


@app.command()
def show(study: _Study, as_json: _Json = False) -> None:
    """Show a study's parameters, their types, defaults and profiles.

    Example: [bold]workbench show intrinsic-dimension[/bold]
    """
    from workbench.runner import studies
    from workbench.runner.schema import read_schema

    schema = read_schema(studies.find(study))
    profiles = studies.profiles(schema)
    about = studies.describe(schema.notebook)
    if as_json:
        rows = [{"name": p.name, "type": p.source, "default": p.default, "help": p.help} for p in schema.parameters]
        return _print_json({"notebook": schema.notebook, **about, "parameters": rows, "profiles": profiles})
    _say(*filter(None, about.values()), "")
    for p in schema.parameters:
        others = [f"    {name}: {values[p.name]!r}" for name, values in profiles.items() if p.name in values]
        _say(f"{p.name}: {p.source} = {p.default!r}", f"    {p.help}", *others)


@app.command("list")
def list_studies(out: _Out = Path("runs"), as_json: _Json = False) -> None:
    """List the studies and what their newest runs said.

    Example: [bold]workbench list[/bold]
    """
    from workbench.runner import studies

    rows: list[dict[str, Any]] = []
    for path in studies.studies():
        verdicts = studies.last_verdicts(out, path.stem)
        rows.append({"study": f"{path.parent.name}/{path.stem}", **studies.describe(path), "verdicts": verdicts})
    if as_json:
        return _print_json(rows)
    for row in rows:
        said = ", ".join(f"{claim} {verdict}" for claim, verdict in row["verdicts"].items())
        newest = f"newest verdicts: {said}" if said else ""
        _say(row["study"], *(f"    {line}" for line in (row["question"], row["time"], newest) if line))


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app()
    except InputError as problem:
        _complain("error", problem)
        sys.exit(REFUSED)
    except OSError as problem:
        _complain("storage", problem)
        sys.exit(STORAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED + signal.SIGINT)


def _print_json(data: Any) -> None:
    """Write data for programs."""
    print(json.dumps(plain(data), indent=1))


def _say(*lines: str | Text) -> None:
    """Print lines as they are, long ones whole, for those who search or copy them."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in lines:
        console.print(line)


def _complain(what: str, why: object) -> None:
    """Say on standard error what went wrong."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold]{what}:[/bold] {escape(str(why))}")


def _show_end(folder: Path, outcome: Any, report: Any) -> None:
    """Print claims and verdicts, how the run ended, and where its files are."""
    from workbench.runner.papermill import error_line
    from workbench.verdicts import COLOURS

    if report:
        text = Text(f"\n{report}")
        for verdict, colour in COLOURS.items():
            text.highlight_regex(f"(?m)^{verdict.upper()}", f"bold {colour}")
        _say(text)
    error = outcome.error
    if outcome.status == "refused":
        _complain("error", error["message"])
        return
    if outcome.status == "failed":
        _complain("failed", error_line(error))
    if outcome.status == "interrupted":
        again = shlex.join(["workbench", *sys.argv[1:]])
        _complain("interrupted", f"finished trials are kept, go on with: {again}")
    if outcome.storage:
        _complain("storage", outcome.storage)
    for label, name in (("notebook", "executed.ipynb"), ("page", "page.html"), ("record", "run.json")):
        if (folder / name).is_file():
            _say(f"{label:<9} {folder / name}")

"""``workbench run`` and ``resume``: one study, from its parameters to its verdicts."""

import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.errors import InputError, require
from workbench.files import read_json
from workbench.records import find_run
from workbench.runner import studies
from workbench.runner.console import Json, Out, RunName, Study, app, complain, print_json, say
from workbench.runner.outcome import error_line, exit_code
from workbench.runner.stops import command_line, follow_parent
from workbench.schema import read_schema
from workbench.verdicts import COLOURS

Parameters = Annotated[
    list[str] | None, typer.Option("-p", help="name=value, read by the parameter's declared type; repeatable.")
]
ParametersFile = Annotated[Path | None, typer.Option(help="YAML or JSON file of parameters.")]
Profile = Annotated[str, typer.Option(help="smoke (seconds), laptop (minutes), paper (the source's scale).")]
Executor = Annotated[
    str | None, typer.Option(help="serial, processes (the default) or dask:ADDRESS, such as dask:tcp://host:8786.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one for each core.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds one cell may take.")]
Force = Annotated[bool, typer.Option("--force", help="Compute again what is done; earlier results stay.")]


class _StudyHelp(typer.core.TyperCommand):
    """Adds the parameters of the study named on the command line to ``--help``."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help of the command, then of the first study typed: help is asked for before it is understood."""
        super().format_help(ctx, formatter)
        for argument in sys.argv[2:]:
            try:
                schema = read_schema(studies.find(argument))
            except InputError:
                continue
            say(f" Parameters of {schema.notebook.stem}, each -p NAME=VALUE:")
            return say(*(f"   {p.name}: {p.source} = {p.default!r}  {p.help}" for p in schema.parameters), "")


@app.command(cls=_StudyHelp)
def run(
    study: Study,
    parameter: Parameters = None,
    params: ParametersFile = None,
    profile: Profile = "laptop",
    seed: Annotated[int | None, typer.Option(help="Short for -p seed=N, or -p seeds=N where there is that.")] = None,
    out: Out = Path("runs"),
    executor: Executor = None,
    workers: Workers = None,
    timeout: Timeout = 6 * 3600,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check names, types and bounds, show the values; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a study: check its parameters, execute it, judge its claims, write its page.

    What is done already is shown and not computed again. With STUDY, --help lists its parameters.

    Example: [bold]workbench run intrinsic-dimension -p seeds=0,1,2,3,4 -p fraction=0.95[/bold]
    """
    from workbench.runner.checks import check_executor
    from workbench.runner.launch import launch

    notebook = studies.find(study)
    values = studies.resolve(notebook, profile=profile, file=params, assignments=parameter or [], seed=seed)
    if dry_run:
        check_executor(executor, workers or 1)
        lines = [f"{name} = {value!r}" for name, value in values.items()]
        return print_json({"notebook": notebook, "parameters": values}) if as_json else say(*lines)
    settings: dict[str, Any] = {"executor": executor, "workers": workers, "timeout": timeout, "force": force}
    more = {"sweep": sweep} if (sweep := follow_parent()) else {}
    _end(launch(notebook, values, profile=profile, out=out, more=more, **settings), as_json)


@app.command()
def resume(
    run: RunName,
    out: Out = Path("runs"),
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds one cell may take; default: as before.")] = None,
    as_json: Json = False,
) -> None:
    """Go on with a run that was interrupted or failed, or show it if it is done.

    Finished trials are not computed again.

    Example: [bold]workbench resume 20260101T120000Z-3fa4b1[/bold]
    """
    from workbench.runner.launch import launch, run_key, shown

    earlier = find_run(out, run)
    if earlier.status == "done":
        return _end(shown(earlier), as_json)
    out, record = earlier.folder.parents[1], earlier.record
    notebook = Path(str(record.get("notebook", "")))
    # A record is data, perhaps a stranger's: it may name a study, and never bring one along.
    known = notebook.suffix == ".ipynb" and notebook.is_file() and out not in notebook.resolve().parents
    require(known, "RUN", "must be of a notebook that is still there", str(notebook), "start it by `workbench run`")
    values = studies.resolve(notebook, profile=studies.DEFAULT_PROFILE, file=None, assignments=[])
    values |= read_schema(notebook).check(record["parameters"], f"run {record['run']}")
    if run_key(notebook, values) != record.get("key"):
        complain("note", f"the source or its versions have changed since {record['run']}: this is a new run")
    # What a record from another machine says of processes and clusters is not this machine's.
    own = record.get("host") == platform.node()
    settings: dict[str, Any] = {name: record.get(name) if own else None for name in ("executor", "workers", "timeout")}
    settings["timeout"] = timeout or settings["timeout"]
    _end(launch(notebook, values, out=out, profile=str(record.get("profile")), **settings), as_json)


def _end(done: Any, as_json: bool) -> None:
    """Print what a run found to standard output, how it ended to standard error, and exit with its code."""
    folder, outcome = done.run.folder, done.outcome
    if as_json:
        results = read_json(folder / "results.json") if done.report else None
        about = {"folder": folder if folder.is_dir() else None, "results": results, "reused": done.reused}
        print_json({**done.run.record, **about})
    else:
        _show_findings(done.report, folder)
    out = folder.parents[1]
    go_on = command_line("resume", folder.name, *([] if out == Path("runs").absolute() else ["--out", out]))
    if outcome.status == "refused":
        complain("error", outcome.error["message"])
    if outcome.status == "failed":
        complain("failed", error_line(outcome.error))
    if outcome.storage:
        complain("storage", f"{outcome.storage}; then: {go_on}")
    if outcome.signal:
        kept = "the run is done, show it with" if outcome.status == "done" else "finished trials are kept, go on with"
        complain("interrupted", f"{kept}: {go_on}")
    if done.reused:
        complain("already done", f"in {folder}; --force runs it again")
    sys.exit(exit_code(outcome))


def _show_findings(report: Any, folder: Path) -> None:
    """Print claims and verdicts, and where a run's files are."""
    if report:
        text = Text(f"\n{report}")
        for verdict, colour in COLOURS.items():
            text.highlight_regex(f"(?m)^{verdict.upper()}", f"bold {colour}")
        say(text)
    for label, name in (("notebook", "executed.ipynb"), ("page", "page.html"), ("record", "run.json")):
        if (folder / name).is_file():
            say(f"{label:<9} {folder / name}")

"""``workbench list``, ``show``, ``new``, ``lab``, ``course`` and ``doctor``: studies, and a place to work on them."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.errors import InputError
from workbench.runner import console, studies
from workbench.runner.console import Json, Out, Study, app, complain, print_json, print_table, say
from workbench.schema import read_schema


@app.command("list")
def list_studies(out: Out = Path("runs"), as_json: Json = False) -> None:
    """List the studies: their questions, papers and claims, and what their newest runs said.

    Example: [bold]workbench list[/bold]
    """
    rows: list[dict[str, Any]] = []
    for path in studies.studies():
        try:
            claims, about = studies.claims(path), studies.describe(path)
        except InputError as problem:  # one broken notebook hides no other
            complain("warning", problem)
            continue
        papers, claimed = list(dict.fromkeys(claim.paper for claim in claims)), [vars(claim) for claim in claims]
        about |= {"papers": papers, "claims": claimed, "verdicts": studies.last_verdicts(out, path.stem)}
        rows.append({"study": f"{path.parent.name}/{path.stem}", **about})
    if as_json:
        return print_json(rows)
    print_table(("study", "question", "papers", "claims and newest verdicts", "minutes"), map(_cells, rows))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a study as a row of the table; claims that only a run knows, built by its code, are among them."""
    verdicts = dict.fromkeys((claim["name"] for claim in row["claims"]), "") | row["verdicts"]
    said = ", ".join(" ".join(filter(None, pair)) for pair in verdicts.items())
    minutes = "" if row["minutes"] is None else f"{row['minutes']:.2g}"
    claims = f"{len(verdicts)}: {said}" if verdicts else ""
    return row["study"], row["question"], ", ".join(row["papers"]), claims, minutes


@app.command()
def show(study: Study, as_json: Json = False) -> None:
    """Show a study's question, its claims with their rules, its parameters with their profiles, and how to run it.

    Example: [bold]workbench show intrinsic-dimension[/bold]
    """
    notebook = studies.find(study)
    schema = read_schema(notebook)
    profiles, about, claims = studies.profiles(schema), studies.describe(notebook), studies.claims(notebook)
    command = f"workbench run {shlex.quote(study)}"
    if as_json:
        rows = [{"name": p.name, "type": p.source, "default": p.default, "help": p.help} for p in schema.parameters]
        found = {"claims": [vars(claim) for claim in claims], "parameters": rows, "profiles": profiles}
        return print_json({"notebook": notebook, **about, **found, "command": command})
    say(*filter(None, (about["question"], about["time"])))
    for claim in claims:
        where = f" (decided on {', '.join(claim.datasets)})" if claim.datasets else ""
        say(f"\nclaim {claim.name}: {claim.sentence}", f"    rule   {claim.rule}{where}", f"    paper  {claim.paper}")
    say("")
    for p in schema.parameters:
        others = [f"    {name}: {values[p.name]!r}" for name, values in profiles.items() if p.name in values]
        say(f"{p.name}: {p.source} = {p.default!r}", *([f"    {p.help}"] if p.help else []), *others)
    say("", f"{command} --profile {'|'.join(profiles)} -p name=value")


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The study's name, its family before it: family/name.")],
) -> None:
    """Start a study of one's own from the template; it runs at once.

    Example: [bold]workbench new pruning/my-question[/bold]
    """
    from workbench.runner.new import new_study

    made = new_study(name)
    named = made.stem.replace("_", "-") if made in studies.studies() else os.path.relpath(made)
    beside = os.path.relpath(made.with_suffix(""))
    say(
        f"{beside}.ipynb  the study: question, prediction, run, verdict, exercises",
        f"{beside}.py  its trial, its claims, its figure, its checks of answers",
        f"{beside}.yml  its profiles",
        f"next: workbench run {named} --profile smoke, then workbench lab {named} to make it yours",
    )


@app.command()
def lab(
    study: Annotated[str | None, typer.Argument(help="Opened first.", autocompletion=console.complete_study)] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 8888 or the next that is free.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab on the project, for this machine only, behind a fresh token.

    Example: [bold]workbench lab intrinsic-dimension[/bold]
    """
    from workbench.runner.lab import lab as serve

    serve(studies.find(study) if study else None, port=port, browser=browser)


@app.command()
def course(
    notebooks: console.Studies = None,
    out: Annotated[Path, typer.Option(help="Folder of the course.")] = Path("course"),
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Write studies, by default all, as a course for nbgrader: one edition with solutions, one without.

    Example: [bold]workbench course start-here intrinsic-dimension[/bold]
    """
    from workbench.runner.course import write_course

    every = sorted(studies.studies(), key=lambda path: path.stem != "start_here")
    say(*map(str, write_course([studies.find(name) for name in notebooks or []] or every, out, force=force)))


@app.command()
def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Start no kernel.")] = False,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Check environment, versions, data, GPU and disk: what is wrong, and the remedy.

    Example: [bold]workbench doctor --quick[/bold]
    """
    from workbench.runner.doctor import OK, PROBLEM, WARNING, examine

    rows = list(examine(out, quick=quick))
    if as_json:
        print_json([vars(row) for row in rows])
    else:
        colours = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}
        heads = ["check", "state", "found", "remedy"]
        print_table(heads, [(row.check, Text(row.state, colours[row.state]), row.found, row.remedy) for row in rows])
    sys.exit(console.STORAGE if any(row.state == PROBLEM for row in rows) else 0)

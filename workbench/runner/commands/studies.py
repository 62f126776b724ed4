"""``workbench list``, ``show`` and ``course``: what there is to run, and to teach."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.errors import InputError
from workbench.runner.console import Json, Out, Studies, Study, app, complain, print_json, print_table, say


@app.command("list")
def list_studies(out: Out = Path("runs"), as_json: Json = False) -> None:
    """List the studies: their questions, papers and claims, and what their newest runs said.

    Example: [bold]workbench list[/bold]
    """
    from workbench.runner import studies

    rows: list[dict[str, Any]] = []
    for path in studies.studies():
        try:
            claims, about = studies.claims(path), studies.describe(path)
        except InputError as problem:  # one broken notebook hides no other
            complain("warning", problem)
            continue
        rows.append({
            "study": f"{path.parent.name}/{path.stem}",
            **about,
            "papers": list(dict.fromkeys(claim.paper for claim in claims)),
            "claims": [vars(claim) for claim in claims],
            "verdicts": studies.last_verdicts(out, path.stem),
        })
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
    from workbench.runner import studies
    from workbench.schema import read_schema

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
def course(
    notebooks: Studies = None,
    out: Annotated[Path, typer.Option(help="Folder of the course.")] = Path("course"),
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Write studies, by default all, as a course for nbgrader: one edition with solutions, one without.

    Example: [bold]workbench course start-here intrinsic-dimension[/bold]
    """
    from workbench.runner import course, studies

    every = sorted(studies.studies(), key=lambda path: path.stem != "start_here")
    say(*map(str, course.write_course([studies.find(name) for name in notebooks or []] or every, out, force=force)))

"""``workbench list`` and ``show``: what there is to run."""

from pathlib import Path
from typing import Any

from workbench.runner.console import Json, Out, Study, app, print_json, say


@app.command()
def show(study: Study, as_json: Json = False) -> None:
    """Show a study's parameters, their types, defaults and profiles.

    Example: [bold]workbench show intrinsic-dimension[/bold]
    """
    from workbench.runner import studies
    from workbench.schema import read_schema

    schema = read_schema(studies.find(study))
    profiles = studies.profiles(schema)
    about = studies.describe(schema.notebook)
    if as_json:
        rows = [{"name": p.name, "type": p.source, "default": p.default, "help": p.help} for p in schema.parameters]
        return print_json({"notebook": schema.notebook, **about, "parameters": rows, "profiles": profiles})
    say(*filter(None, about.values()), "")
    for p in schema.parameters:
        others = [f"    {name}: {values[p.name]!r}" for name, values in profiles.items() if p.name in values]
        say(f"{p.name}: {p.source} = {p.default!r}", f"    {p.help}", *others)


@app.command("list")
def list_studies(out: Out = Path("runs"), as_json: Json = False) -> None:
    """List the studies and what their newest runs said.

    Example: [bold]workbench list[/bold]
    """
    from workbench.runner import studies

    rows: list[dict[str, Any]] = []
    for path in studies.studies():
        verdicts = studies.last_verdicts(out, path.stem)
        rows.append({"study": f"{path.parent.name}/{path.stem}", **studies.describe(path), "verdicts": verdicts})
    if as_json:
        return print_json(rows)
    for row in rows:
        said = ", ".join(f"{claim} {verdict}" for claim, verdict in row["verdicts"].items())
        newest = f"newest verdicts: {said}" if said else ""
        say(row["study"], *(f"    {line}" for line in (row["question"], row["time"], newest) if line))

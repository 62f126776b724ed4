"""``workbench report``: all runs as one static site."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.runner.console import Json, Out, app, complain, print_json, say


@app.command()
def report(
    out: Out = Path("runs"),
    site: Annotated[Path | None, typer.Option(help="Folder of the site; default: site inside --out.")] = None,
    as_json: Json = False,
) -> None:
    """Write the map of studies, the replication table and a page for each run as a site that opens offline.

    Example: [bold]workbench report --out runs[/bold]
    """
    from workbench.errors import require
    from workbench.runner.site import build_site

    require(out.is_dir(), "--out", "must be a folder of runs", str(out), "run a study first")
    warned: list[str] = []

    def warn(what: str) -> None:
        warned.append(what)
        complain("warning", what)

    index = build_site(out, site or out / "site", warn)
    return print_json({"index": index.absolute(), "warnings": warned}) if as_json else say(f"site  {index}")

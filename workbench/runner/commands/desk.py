"""``workbench new``, ``lab`` and ``doctor``: a study of one's own, a place to work, what is wrong with it."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from workbench.runner.console import STORAGE, Json, Out, app, complete_study, print_json, print_table, say


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The study's name, its family before it: family/name.")],
) -> None:
    """Start a study of one's own from the template; it runs at once.

    Example: [bold]workbench new pruning/my-question[/bold]
    """
    from workbench.runner.new import new_study
    from workbench.runner.studies import studies

    made = new_study(name)
    named = made.stem.replace("_", "-") if made in studies() else os.path.relpath(made)
    beside = os.path.relpath(made.with_suffix(""))
    say(
        f"{beside}.ipynb  the study: question, prediction, run, verdict, exercises",
        f"{beside}.py  its trial, its claims, its figure, its checks of answers",
        f"{beside}.yml  its profiles",
        f"next: workbench run {named} --profile smoke, then workbench lab {named} to make it yours",
    )


@app.command()
def lab(
    study: Annotated[str | None, typer.Argument(help="Opened first.", autocompletion=complete_study)] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 8888 or the next that is free.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab on the project, for this machine only, behind a fresh token.

    Example: [bold]workbench lab intrinsic-dimension[/bold]
    """
    from workbench.runner.lab import lab as serve
    from workbench.runner.studies import find

    serve(find(study) if study else None, port=port, browser=browser)


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
    sys.exit(STORAGE if any(row.state == PROBLEM for row in rows) else 0)

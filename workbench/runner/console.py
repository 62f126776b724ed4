"""What all commands share: the application, exit codes, options, and how they speak."""

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from workbench import records
from workbench.files import atomic, plain
from workbench.runner import studies

FAILED, REFUSED, SOME_FAILED, STORAGE, INTERRUPTED = 1, 2, 3, 4, 128

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Reproduce what papers say about a neural network's parameters.\n\n"
    "Example: [bold]workbench run intrinsic-dimension --profile smoke[/bold]",
    epilog="Exit codes: 0 ran, whatever the verdicts; 1 the study failed; 2 bad input, nothing ran; 3 some trials "
    "failed; 4 storage or environment; 130 and 143 interrupted.",
)


def complete_study(incomplete: str) -> list[str]:
    """Return the studies whose name begins so, and notebooks whose path does; a shell gets no errors."""
    with contextlib.suppress(Exception):
        names = [(p.stem.replace("_", "-"), p.stem, f"{p.parent.name}/{p.stem}") for p in studies.studies()]
        beside = [(str(path),) for path in sorted(Path(f"{incomplete}*").parent.glob("*.ipynb"))]
        return _begun([*names, *beside], incomplete)
    return []


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids, newest first, of runs that begin so, or ``study/run``; a shell gets no errors."""
    with contextlib.suppress(Exception):
        found = sorted(records.all_runs(context.params.get("out") or Path("runs")), key=lambda path: path.name)
        return _begun([(path.name, f"{path.parent.name}/{path.name}") for path in reversed(found)], incomplete)
    return []


def _begun(spellings: Iterable[Sequence[str]], incomplete: str) -> list[str]:
    """Return of each thing the first spelling that begins as typed."""
    fitting = ([text for text in each if text.startswith(incomplete)] for each in spellings)
    return [texts[0] for texts in fitting if texts]


_RUN_HELP = "A run's id or the beginning of one, its folder, or a study: its newest run."
_STUDY_HELP = "A name such as intrinsic-dimension, or the path of a notebook."
Study = Annotated[str, typer.Argument(help=_STUDY_HELP, autocompletion=complete_study)]
Studies = Annotated[list[str] | None, typer.Argument(metavar="[STUDY]...", help=_STUDY_HELP)]
RunName = Annotated[str, typer.Argument(metavar="RUN", help=_RUN_HELP, autocompletion=complete_run)]
RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help=_RUN_HELP, autocompletion=complete_run)]
Out = Annotated[Path, typer.Option(help="Folder of all runs.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


def print_json(data: Any) -> None:
    """Write data for programs."""
    print(json.dumps(plain(data), indent=1))


def say(*lines: str | Text) -> None:
    """Print lines as they are, long ones whole, for those who search or copy them."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for line in lines:
        console.print(line)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print a table: folded to the width of a terminal, else a row a line for those who search or cut it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100_000
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head == heads[0])  # the first is what one copies
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console.print(table)


def write_csv(path: Path, table: Any) -> None:
    """Write a table of pandas, an apostrophe before text that a spreadsheet would take for a formula."""

    def safe(cell: Any) -> Any:
        return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell

    with atomic(path) as temporary:
        table.map(safe).to_csv(temporary, index=False, errors="backslashreplace")


def complain(what: str, why: object) -> None:
    """Say on standard error what went wrong."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold]{what}:[/bold] {escape(str(why))}")

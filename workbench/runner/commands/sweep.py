"""``workbench sweep``: a study over a grid of parameters, one table of its runs."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.runner.commands.run import Executor, Force, Parameters, ParametersFile, Profile, Timeout, Workers
from workbench.runner.console import INTERRUPTED, SOME_FAILED, STORAGE, Json, Out, Study, app, complain, print_json, say
from workbench.runner.stops import collected_signals, command_line

_SEEDS = "0:5 or 0,3,7: each a run of its own, n = 1; where a study has `seeds`, -p seeds=0,1,2 is one run over all."
_SPREAD = "mean ± standard deviation over the n seeds, each a run of its own\n"


@app.command()
def sweep(
    study: Study,
    grid: Annotated[list[str] | None, typer.Option("-g", help="name=a,b,c: the values of a parameter.")] = None,
    seeds: Annotated[str | None, typer.Option(help=_SEEDS)] = None,
    parameter: Parameters = None,
    params: ParametersFile = None,
    profile: Profile = "laptop",
    out: Out = Path("runs"),
    executor: Executor = None,
    workers: Workers = None,
    timeout: Timeout = 6 * 3600,
    shard: Annotated[str | None, typer.Option(help="i/n: every n-th run from the i-th on; `merge` joins.")] = None,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs and their cost; run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a study at every point of a grid; what is done already is not computed again.

    Each seed of --seeds is a run of its own, judged on that seed alone (n = 1).
    A study with `seeds` judges over several in one run, with an interval:
    -p seeds=0,1,2.

    Example: [bold]workbench sweep intrinsic-dimension -g fraction=0.9,0.95 --seeds 0:5[/bold]
    """
    from workbench.runner import grid as grids
    from workbench.runner import work
    from workbench.runner.studies import find

    points = grids.read_grid(
        find(study), grids=grid or [], seeds=seeds, assignments=parameter or [], profile=profile, file=params
    )
    manifest = grids.new_manifest(points, profile, grids.read_shard(shard))
    options = {"executor": executor, "workers": workers, "timeout": timeout}
    with collected_signals() as stops:
        todo = work.Work(points, manifest, out, options, force)
        complain("sweep", todo.announcement())
        if not dry_run:
            todo.run(stops)
        rows = grids.table(manifest, out)
        over_seeds = grids.spread(rows, manifest)
        if not dry_run:
            grids.write_table(rows, manifest, out)
    if as_json:
        seeds_too = None if over_seeds is None else _records(over_seeds)
        print_json({**manifest, "rows": _records(rows), "spread": seeds_too})
    else:
        show_sweep(rows, over_seeds)
        if not dry_run:
            say(f"table     {grids.manifest_path(manifest, out).with_suffix('.csv')}")
    _leave(todo.problems, stops)


def _leave(problems: dict[str, int], stops: list[int]) -> None:
    """Say what failed and where it is told, then exit with the code that fits."""
    for text in problems:
        complain("failed", text)
    if stops:
        complain("interrupted", f"finished runs are kept, go on with: {command_line(*sys.argv[1:])}")
        sys.exit(INTERRUPTED + stops[0])
    if problems:
        sys.exit(STORAGE if STORAGE in problems.values() else SOME_FAILED)


def _records(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a table, what is missing as null."""
    return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))


def show_sweep(rows: Any, over_seeds: Any) -> None:
    """Print the table of runs, and the one over seeds where there is one."""
    from rich.console import Console
    from rich.table import Table

    claims = [name.removesuffix(".verdict") for name in rows if name.endswith(".verdict")]
    ends = {f"{claim}.{end}" for claim in claims for end in ("low", "high", "verdict", "mean", "sd", "n")}
    for frame in (rows, over_seeds if claims else None):
        if frame is not None:
            names = [name for name in frame if name not in ends] + (claims if frame is over_seeds else [])
            table = Table(*names, box=None, header_style="bold")
            for row in frame.to_dict("records"):
                table.add_row(*(_text(row, name) for name in names))
            width = None if Console().is_terminal else 10_000  # nothing is cut off in a file
            Console(highlight=False, markup=False, width=width).print(table, _SPREAD if frame is over_seeds else "")


def _text(row: dict[str, Any], name: str) -> str:
    """Return a cell: four digits of a number, beside a claim's its verdict or spread, nothing for what is missing."""
    if f"{name}.mean" in row:
        mean, sd, n = (row[f"{name}.{end}"] for end in ("mean", "sd", "n"))
        return f"{mean:.4g}{f' ± {sd:.2g}' if n > 1 else ''} (n = {n})" if n else ""
    text = f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name])
    verdict = row.get(f"{name}.verdict")
    return f"{'' if text in {'nan', 'None'} else text} {verdict if isinstance(verdict, str) else ''}".strip()

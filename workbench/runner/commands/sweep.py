"""``workbench sweep``: a study over a grid of parameters, one table of its runs."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.runner import console, studies
from workbench.runner.commands.run import Executor, Force, Parameters, ParametersFile, Profile, Timeout, Workers
from workbench.runner.console import Json, Out, Study, app, complain, print_json, print_table, say
from workbench.runner.stops import collected_signals, command_line

_SEEDS = "0:5 or 0,3,7: each a run of its own, n = 1; where a study has `seeds`, -p seeds=0,1,2 is one run over all."


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
    from workbench.runner.work import Work

    points = grids.read_grid(
        studies.find(study), grids=grid or [], seeds=seeds, assignments=parameter or [], profile=profile, file=params
    )
    manifest = grids.new_manifest(points, profile, grids.read_shard(shard))
    with collected_signals() as stops:
        work = Work(points, manifest, out, {"executor": executor, "workers": workers, "timeout": timeout}, force)
        complain("sweep", work.announcement())
        if not dry_run:
            work.run(stops)
        show_sweep(manifest, out, as_json=as_json, keep=not dry_run)
    for text in work.problems:
        complain("failed", text)
    if stops:
        complain("interrupted", f"finished runs are kept, go on with: {command_line(*sys.argv[1:])}")
        sys.exit(console.INTERRUPTED + stops[0])
    if work.problems:
        sys.exit(console.STORAGE if console.STORAGE in work.problems.values() else console.SOME_FAILED)


def show_sweep(manifest: dict[str, Any], out: Path, *, as_json: bool = False, keep: bool = True) -> None:
    """Show the table of a sweep's runs, and the one over seeds where there is one; ``keep`` writes the first."""
    from workbench.runner import grid

    rows: Any = grid.table(manifest, out)
    over_seeds: Any = grid.spread(rows, manifest)
    kept = grid.write_table(rows, manifest, out) if keep else None
    if as_json:
        seeds_too = None if over_seeds is None else _records(over_seeds)
        return print_json({**manifest, "rows": _records(rows), "spread": seeds_too})
    claims = grid.judged(rows)
    ends = {f"{claim}.{end}" for claim in claims for end in ("low", "high", "verdict")}
    names = [name for name in rows if name not in ends]
    print_table(names, [[_text(row, name) for name in names] for row in _records(rows)])
    if over_seeds is not None:
        swept = [name for name in over_seeds if name in manifest["grid"]]
        means = [
            [_text(row, name) for name in swept] + [_mean(row, name) for name in claims] for row in _records(over_seeds)
        ]
        print_table([*swept, *claims], means)
        say("mean ± standard deviation over the n seeds, each a run of its own")
    if kept:
        say(f"table     {kept}")


def _records(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a table, what is missing as null."""
    return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))


def _text(row: dict[str, Any], name: str) -> str:
    """Return a cell: four digits of a number and, beside a claim's, its verdict; nothing for what is missing."""
    value = row[name]
    said = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return " ".join(filter(None, (said, row.get(f"{name}.verdict"))))


def _mean(row: dict[str, Any], claim: str) -> str:
    """Return what the seeds say of a claim; one alone has no spread."""
    mean, sd, n = (row[f"{claim}.{end}"] for end in ("mean", "sd", "n"))
    return f"{mean:.4g}{f' ± {sd:.2g}' if sd is not None else ''} (n = {n})" if n else ""

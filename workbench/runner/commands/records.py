"""``workbench runs``, ``compare``, ``export``, ``import``, ``merge``, ``clean``: what is kept of runs and trials."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.errors import require
from workbench.runner.console import Json, Out, RunName, RunNames, app, complain, print_json, print_table, say

_SHOWN = 200  # rows of a table that a person may read
_ENVIRONMENT = ("commit", "dirty", "python", "platform", "device", "profile", "executor", "workers")


@app.command("runs")
def list_runs(
    study: Annotated[str | None, typer.Argument(help="Only this study's.")] = None,
    trials: Annotated[bool, typer.Option("--trials", help="Trials instead of runs.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the whole table to this file.")] = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Show all runs, or all trials: what they were and what came out.

    Example: [bold]workbench runs intrinsic-dimension --csv runs.csv[/bold]
    """
    with warnings.catch_warnings(action="always", category=UserWarning, record=True) as said:
        table = _table(out, study, trials)
    for warning in said:
        complain("warning", warning.message)
    if csv:
        from workbench.files import atomic

        with atomic(csv) as temporary:
            table.to_csv(temporary, index=False, errors="backslashreplace")
        say(f"{len(table)} rows in {csv}")
    rows = [{str(k): v for k, v in row.items() if _is_there(v)} for row in table.to_dict("records")]
    if as_json:
        print_json([{k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in row.items()} for row in rows])
    elif not csv:
        print_table(*(_trial_cells if trials else _run_cells)(rows[-_SHOWN:]))
        if len(rows) > _SHOWN:
            say(f"the last {_SHOWN} of {len(rows)}; --csv or --json give all")


def _table(out: Path, study: str | None, trials: bool) -> Any:
    """Return the table of runs or trials, of one study or of all."""
    from workbench import index
    from workbench.runner.transfer import run_trials

    table: Any = index.runs(out) if study or not trials else None
    if study:
        name = study.removesuffix(".ipynb").replace("-", "_").rpartition("/")[2]
        table = table[table["study"].str.replace("-", "_") == name]
        require(len(table) > 0, "STUDY", f"must have runs in {out}", study, "`workbench runs` shows what there is")
    if trials:
        used = None if table is None else {key for folder in table["folder"] for key in run_trials(Path(folder))}
        table = index.trials(out)
        return table if used is None else table[table["key"].isin(used)]
    return table


def _is_there(value: Any) -> bool:
    """Tell a value from a gap in a table, which is not even the same as itself."""
    return isinstance(value, list | dict) or (value is not None and value == value)


def _run_cells(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return heads and cells of a table of runs."""
    heads = ["run", "study", "status", "profile", "minutes", "started", "verdicts"]
    cells = []
    for row in rows:
        judged = {name: word for name, word in row.items() if name.endswith(".verdict")}
        verdicts = [f"{name.removeprefix('results.').removesuffix('.verdict')} {word}" for name, word in judged.items()]
        row |= {"minutes": _minutes(row.get("seconds", 0.0)), "verdicts": ", ".join(verdicts)}
        row["started"] = f"{row['started']:%Y-%m-%d %H:%M}" if "started" in row else ""
        cells.append([str(row.get(head, "")) for head in heads])
    return heads, cells


def _trial_cells(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return heads and cells of a table of trials."""

    def listed(row: dict[str, Any], start: str) -> str:
        found = {name.removeprefix(start): v for name, v in row.items() if name.startswith(start)}
        return ", ".join(f"{name}={v:.4g}" if isinstance(v, float) else f"{name}={v}" for name, v in found.items())

    return ["key", "function", "seconds", "parameters", "result"], [
        [
            row["key"],
            row["function"],
            "failed" if row["failed"] else f"{row.get('seconds', 0):.2f}",
            listed(row, "parameters."),
            str(row["result"]) if "result" in row else listed(row, "result."),
        ]
        for row in rows
    ]


@app.command()
def compare(runs: RunNames, out: Out = Path("runs"), as_json: Json = False) -> None:
    """Set runs side by side: what differs in them, then what each found.

    Example: [bold]workbench compare 20260101T12 20260102T09[/bold]
    """
    from workbench.records import find_run
    from workbench.verdicts import read_report

    require(len(runs) > 1, "RUN", "must be two runs or more", runs)
    found = [find_run(out, name) for name in runs]
    records = [run.record for run in found]
    reports = [read_report(path) if (path := run.folder / "results.json").is_file() else None for run in found]
    findings = [{f.claim.name: f for f in report.findings} if report else {} for report in reports]
    claims = dict.fromkeys(name for each in findings for name in each)
    versions = [v if isinstance(v := record.get("versions"), dict) else {} for record in records]
    data: dict[str, Any] = {
        "runs": [run.folder.name for run in found],
        "study": [record["study"] for record in records],
        "status": [run.status for run in found],
        "minutes": [_minutes(record.get("seconds")) for record in records],
        "parameters": _differing([record["parameters"] for record in records]),
        "environment": _differing([{n: r.get(n) for n in _ENVIRONMENT} for r in records]) | _differing(versions),
        "findings": {
            name: [f and {"measured": f.measured, "verdict": f.verdict} for f in (each.get(name) for each in findings)]
            for name in claims
        },
    }
    if as_json:
        return print_json(data)
    told = {n: [f and f"{f['measured']}, {f['verdict']}" for f in row] for n, row in data["findings"].items()}
    about = {name: data[name] for name in ("study", "status", "minutes")}
    parts = (about, data["parameters"], data["environment"], told)  # a claim may be called as a parameter is
    rows = [(name, *row) for part in parts for name, row in part.items()]
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    print_table(["", *data["runs"]], cells)


def _differing(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the entries that are not the same in all."""
    names = dict.fromkeys(name for record in records for name in record)
    values = {name: [record.get(name) for record in records] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def _minutes(seconds: Any) -> float | None:
    """Return seconds as minutes; a record may hold anything."""
    return round(seconds / 60, 1) if isinstance(seconds, int | float) else None


@app.command("export")
def export_run(
    run: RunName, file: Annotated[Path, typer.Argument(metavar="FILE.zip")], out: Out = Path("runs")
) -> None:
    """Write a run and its trials to one file.

    Example: [bold]workbench export intrinsic-dimension run.zip[/bold]
    """
    from workbench.records import find_run
    from workbench.runner.transfer import export_run

    found = find_run(out, run)
    n = export_run(found, file)
    say(f"{file}: run {found.folder.parent.name}/{found.folder.name} with {n} trials, {file.stat().st_size:,} bytes")


@app.command("import")
def import_run(file: Annotated[Path, typer.Argument(metavar="FILE.zip")], out: Out = Path("runs")) -> None:
    """Take in a run that somebody exported: checked, nothing in it executed, nothing overwritten.

    Its trials then count as computed here: take runs from people whose numbers you believe.

    Example: [bold]workbench import run.zip[/bold]
    """
    from workbench.runner.transfer import import_file

    _say_taken(import_file(file, out))


@app.command()
def merge(folders: Annotated[list[Path], typer.Argument(metavar="DIR...")], out: Out = Path("runs")) -> None:
    """Join other folders of runs with this one, such as those of a sweep's shards, and show their sweeps.

    Example: [bold]workbench merge shard-1 shard-2 --out runs[/bold]
    """
    from workbench.runner import grid
    from workbench.runner.commands.sweep import show_sweep
    from workbench.runner.transfer import merge

    sweeps: dict[tuple[Path, str], None] = {}
    for folder in folders:
        taken = merge(folder, out)
        _say_taken(taken, f"{folder}: ")
        sweeps |= {(path.parent, path.name.split(".")[0]): None for path in taken.manifests}
    for place, name in sweeps:
        whole = grid.join([grid.read_manifest(path) for path in sorted(place.glob(f"{name}*.json"))])
        grid.write_manifest(whole, out)
        rows = grid.table(whole, out)
        grid.write_table(rows, whole, out)
        show_sweep(rows, grid.spread(rows, whole))


def _say_taken(taken: Any, source: str = "") -> None:
    """Say what came in."""
    new = len(taken.runs) + len(taken.trials) - taken.known
    say(f"{source}{len(taken.runs)} runs, {len(taken.trials)} trials; {new} of these new")
    if len(taken.runs) == 1:
        say(f"record    {taken.runs[0] / 'run.json'}")


@app.command()
def clean(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="What shall go.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Show what could go of trials and broken-off runs, and remove what is named; runs with results always stay.

    Example: [bold]workbench clean failed leftovers --yes[/bold]
    """
    from workbench.runner import cache

    rows = cache.cache_rows(out.absolute())
    chosen = cache.choose(rows, names) if names else rows
    heads = ["name", "n", "MB", "CPU min", "unused", "what"]
    cells = [
        [r.name, str(len(r.paths)), f"{r.size / 1e6:.1f}", str(_minutes(r.seconds)), str(r.unused), r.what]
        for r in chosen
    ]
    if not as_json:
        print_table(heads, cells)
    if names and not yes:
        require(sys.stdin.isatty() and not as_json, "--yes", "must be given where nobody can be asked", yes)
        typer.confirm("Remove all this?", abort=True)
    removed = cache.remove(chosen, out.absolute()) if names else 0
    if as_json:
        kept = ("name", "what", "size", "seconds", "unused")
        table = [{"n": len(row.paths), **{name: getattr(row, name) for name in kept}} for row in chosen]
        print_json({"rows": table, "removed": removed})
    elif names:
        say(f"removed {removed}")

"""``workbench runs``, ``compare``, ``report``, ``export``, ``import``, ``merge``, ``clean``: what is kept."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.errors import require
from workbench.records import find_run
from workbench.runner import console
from workbench.runner.console import Json, Out, RunName, app, complain, print_json, print_table, say
from workbench.runner.outcome import find_report

_HEADS = ("run", "study", "status", "profile", "parameters", "minutes", "started", "verdicts")
_ENVIRONMENT = ("commit", "dirty", "python", "platform", "device", "profile", "executor", "workers")


@app.command("runs")
def list_runs(
    study: Annotated[str | None, typer.Argument(help="Only this study's.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the whole table to this file.")] = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Show all runs: what they were and what came out.

    Example: [bold]workbench runs intrinsic-dimension --csv runs.csv[/bold]
    """
    from workbench import index

    with warnings.catch_warnings(action="always", category=UserWarning, record=True) as said:
        table = index.runs(out, study)
    for warning in said:
        complain("warning", warning.message)
    has = len(table) > 0 or study is None
    require(has, "STUDY", f"must have runs in {out}", study, "`workbench runs` shows what there is")
    if csv:
        console.write_csv(csv, table)
        say(f"{len(table)} rows in {csv}")
    rows: list[Any] = [row.dropna().to_dict() for _, row in table.iterrows()]
    if as_json:
        print_json([{k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in row.items()} for row in rows])
    elif rows and not csv:
        for kind in {(row["study"], row.get("profile")) for row in rows}:
            _tell_apart([row for row in rows if (row["study"], row.get("profile")) == kind])
        print_table(_HEADS, map(_cells, rows))
    if not rows:
        print(f"no runs in {out.absolute()}; `workbench run STUDY` makes one", file=sys.stderr)


def _tell_apart(rows: Sequence[dict[str, Any]]) -> None:
    """Add to each run of a study and profile, as ``parameters``, its values of those that are not the same in all."""
    differing = _differing([{k: v for k, v in row.items() if k.startswith("parameters.")} for row in rows])
    for at, row in enumerate(rows):  # a table makes 8.0 of a study's 8 where another study has no such parameter
        texts = {k: f"{v[at]:.15g}" if isinstance(v[at], float) else str(v[at]) for k, v in differing.items()}
        row["parameters"] = ", ".join(f"{k.partition('.')[2]}={v[:24]}{'…' * (len(v) > 24)}" for k, v in texts.items())


def _cells(row: dict[str, Any]) -> list[str]:
    """Return what the table shows of a run."""
    judged = {name: word for name, word in row.items() if name.endswith(".verdict")}
    verdicts = [f"{name.removeprefix('results.').removesuffix('.verdict')} {word}" for name, word in judged.items()]
    started = f"{row['started']:%Y-%m-%d %H:%M}" if "started" in row else ""
    row |= {"minutes": _minutes(row), "verdicts": ", ".join(verdicts), "started": started}
    return [_text(row.get(head)) for head in _HEADS]


@app.command()
def compare(runs: console.RunNames, out: Out = Path("runs"), as_json: Json = False) -> None:
    """Set runs side by side: what differs in them, then what each found.

    Example: [bold]workbench compare 20260101T12 20260102T09[/bold]
    """
    require(len(runs) > 1, "RUN", "must be two runs or more", runs)
    found = [find_run(out, name) for name in runs]
    names, records = [run.folder.name for run in found], [run.record for run in found]
    judged = [report.findings if (report := find_report(run.folder)) else () for run in found]
    told = [{f.claim.name: {"measured": f.measured, "verdict": f.verdict} for f in findings} for findings in judged]
    versions = [v if isinstance(v := record.get("versions"), dict) else {} for record in records]
    about = _beside([{"study": r.record["study"], "status": r.status, "minutes": _minutes(r.record)} for r in found])
    parts = {
        "parameters": _differing([record["parameters"] for record in records]),
        "environment": _differing([{n: r.get(n) for n in _ENVIRONMENT} for r in records]) | _differing(versions),
        "findings": _beside(told),
    }
    if as_json:
        return print_json({"runs": names, **about, **parts})
    rows: list[Sequence[str | Text]] = [[name, *map(_text, row)] for name, row in about.items()]
    for head, part in parts.items():
        if part:
            rows += [[], [Text(head, "bold")], *([name, *map(_text, row)] for name, row in part.items())]
    print_table(["", *names], rows)


def _beside(records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each entry, a gap where a record has none."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _differing(records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the entries that are not the same in all."""
    return {name: row for name, row in _beside(records).items() if any(value != row[0] for value in row)}


def _minutes(record: dict[str, Any]) -> float | None:
    """Return how long something took; a record may hold anything."""
    seconds = record.get("seconds")
    return round(seconds / 60, 1) if isinstance(seconds, int | float) else None


def _text(value: Any) -> str:
    """Return a cell of a table; what is missing is empty."""
    return ", ".join(map(str, value.values())) if isinstance(value, dict) else "" if value is None else str(value)


@app.command()
def report(
    out: Out = Path("runs"),
    site: Annotated[Path | None, typer.Option(help="Folder of the site; default: site inside --out.")] = None,
    as_json: Json = False,
) -> None:
    """Write the map of studies, the replication table and a page for each run as a site that opens offline.

    Example: [bold]workbench report --out runs[/bold]
    """
    from workbench.runner.site import build_site

    require(out.is_dir(), "--out", "must be a folder of runs", str(out), "run a study first")
    warned: list[str] = []
    index = build_site(out, site or out / "site", warned.append)
    for what in warned:
        complain("warning", what)
    return print_json({"index": index.absolute(), "warnings": warned}) if as_json else say(f"site  {index}")


@app.command("export")
def export_run(
    run: RunName, file: Annotated[Path, typer.Argument(metavar="FILE.zip")], out: Out = Path("runs")
) -> None:
    """Write a run and its trials to one file.

    Example: [bold]workbench export intrinsic-dimension run.zip[/bold]
    """
    from workbench.runner.transfer import export_run

    require(not file.exists(), "FILE.zip", "must not exist yet", str(file), "choose another name, or remove it")
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
        show_sweep(whole, out)


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
    if not as_json:
        cells = [(r.name, len(r.paths), f"{r.size / 1e6:.1f}", _minutes(vars(r)), r.unused, r.what) for r in chosen]
        print_table(["name", "n", "MB", "CPU min", "unused", "what"], [list(map(str, row)) for row in cells])
    if names and not yes:
        require(sys.stdin.isatty() and not as_json, "--yes", "must be given where nobody can be asked", yes)
        typer.confirm("Remove all this?", abort=True)
    removed = cache.remove(chosen, out.absolute()) if names else 0
    if as_json:
        print_json({"rows": [{**vars(row), "n": len(row.paths)} for row in chosen], "removed": removed})
    elif names:
        say(f"removed {removed}")

"""Sweeps over a study's parameters: points from texts, a manifest that says which run is which, a table of them."""

import contextlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError, InputError, require
from workbench.files import digest, plain, read_json, write_json
from workbench.runner.console import write_csv
from workbench.runner.studies import resolve, seeded
from workbench.schema import Schema, read_schema

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1  # of a manifest
MOST_SEEDS = 10_000  # more are a slip of the hand, and would be checked for hours before anything is said
SEEDS = ("seed", "seeds")  # rows that differ in these only are repetitions
_FIELDS = {"study": str, "id": str, "base": dict, "grid": dict, "points": list}
_BETTER = ("pending", "refused", "interrupted", "failed", "done")  # which account of a point is kept


@dataclass(frozen=True)
class Grid:
    """A study, the parameters that stay, those that are swept and their values."""

    notebook: Path
    base: dict[str, Any]
    swept: dict[str, list[Any]]

    @property
    def id(self) -> str:
        """Name of the sweep: the same for the same study, base and grid."""
        return digest([self.notebook.stem, self.base, self.swept])[:8]

    def points(self) -> list[dict[str, Any]]:
        """Return the swept parameters of each run, the last one varying fastest."""
        return [dict(zip(self.swept, values, strict=True)) for values in itertools.product(*self.swept.values())]


def read_grid(
    notebook: Path,
    *,
    grids: Sequence[str],
    seeds: str | None = None,
    assignments: Sequence[str] = (),
    profile: str,
    file: Path | None = None,
) -> Grid:
    """Read the options of a sweep; raise InputError if a name or value is wrong, or given twice."""
    schema = read_schema(notebook)
    values = resolve(notebook, profile=profile, file=file, assignments=assignments)
    fixed = {assignment.partition("=")[0].strip() for assignment in assignments}
    swept: dict[str, list[Any]] = {}
    for name, found in [*(_read_values(schema, t) for t in grids), *([_read_seeds(schema, seeds)] if seeds else [])]:
        require(name not in swept and name not in fixed, f"-g {name}", "must be given once", name, "keep one")
        different = {json.dumps(plain(value)) for value in found}
        require(len(different) == len(found), f"-g {name}", "must have values that differ", found)
        swept[name] = found
    if not swept:
        raise InputError(f"-g must name what is swept, got none; write for example -g {schema.names[0]}=...,...")
    return Grid(notebook, {name: value for name, value in values.items() if name not in swept}, swept)


def _read_values(schema: Schema, text: str) -> tuple[str, list[Any]]:
    """Read ``name=a,b,c`` by the declared type of the name."""
    name, _, values = (part.strip() for part in text.partition("="))
    require(bool(name and values), "-g", "must be name=a,b,c", text)
    return name, [schema.known(name, "-g").read(value, "-g") for value in split_values(values)]


def _read_seeds(schema: Schema, text: str) -> tuple[str, list[Any]]:
    """Read ``0:5`` or ``0,3,7`` as values of the parameter that holds the seed."""
    first, colon, last = text.partition(":")
    try:
        numbers = range(int(first or 0), int(last)) if colon else [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    require(bool(numbers), "--seeds", "must be first:end, end not included, or a list", text, "write 0:5 or 0,3,7")
    require(len(numbers) <= MOST_SEEDS, "--seeds", f"must be at most {MOST_SEEDS}", text, "run them in parts")
    checked = [schema.check(seeded(schema, number), "--seeds") for number in numbers]
    (name,) = checked[0]
    return name, [values[name] for values in checked]


def split_values(text: str) -> list[str]:
    """Return what stands between commas outside of brackets and quotes: ``[10, 20], 'a,b', 7`` are three."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote or letter in "'\"":
            quote = "" if letter == quote else quote or letter
        else:
            depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def read_shard(text: str | None) -> tuple[int, int]:
    """Read ``i/n``, the first being 1; all is 1/1."""
    i, _, n = (text or "1/1").partition("/")
    good = i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)
    require(good, "--shard", "must be i/n with i in 1..n", text, "write for example --shard 1/4")
    return int(i), int(n)


def new_manifest(grid: Grid, profile: str, shard: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    """Return the manifest of a sweep, or of every n-th point of it, no run begun."""
    i, n = shard
    points = [
        {"index": k, "parameters": point, "run": None, "status": "pending", "seconds": None, "error": None}
        for k, point in enumerate(grid.points())
    ]
    about = {"schema": SCHEMA, "study": grid.notebook.stem, "id": grid.id, "notebook": str(grid.notebook)}
    about |= {"profile": profile, "shard": [i, n] if n > 1 else None, "base": grid.base, "grid": grid.swept}
    return {**about, "points": points[i - 1 :: n]}


def manifest_path(manifest: Mapping[str, Any], out: Path) -> Path:
    """Return where a manifest lies among the study's runs."""
    shard = manifest["shard"]
    part = f".{shard[0]}-of-{shard[1]}" if shard else ""
    return out / manifest["study"] / f"sweep-{manifest['id']}{part}.json"


def write_manifest(manifest: Mapping[str, Any], out: Path) -> None:
    """Write a manifest whole."""
    write_json(manifest_path(manifest, out), manifest)


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Read a manifest as data; raise DataError if it is none or a newer version's."""
    data = read_json(path)
    good = isinstance(data, dict) and data.get("schema") == SCHEMA
    good = good and all(isinstance(data.get(name), kind) for name, kind in _FIELDS.items())
    good = good and data["study"] == Path(data["study"]).name and data["id"].isalnum()
    shard = good and data.get("shard")
    good = good and (shard is None or (isinstance(shard, list) and [type(n) for n in shard] == [int, int]))
    if not good or not all(map(_is_point, data["points"])):
        raise DataError(f"{path} must be the manifest of a sweep, schema {SCHEMA}; run the sweep again")
    return dict(data)


def _is_point(point: Any) -> bool:
    """Tell whether this is a manifest's account of a run; its name never leads out of the study's folder."""
    return (
        isinstance(point, dict)
        and isinstance(point.get("index"), int)
        and isinstance(point.get("parameters"), dict)
        and point.get("status") in _BETTER
        and (point.get("run") is None or Path(str(point["run"])).name == point["run"])
    )


def join(manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join manifests of one sweep, or raise InputError; of two accounts of a point the one that came further counts."""
    ids = sorted({f"{manifest['study']} {manifest['id']}" for manifest in manifests})
    require(len(ids) == 1, "manifests", "must be of one sweep", ids)
    found = sorted((p for m in manifests for p in m["points"]), key=lambda p: _BETTER.index(p["status"]))
    points = {point["index"]: point for point in found}
    return {**manifests[0], "shard": None, "points": [points[index] for index in sorted(points)]}


def table(manifest: Mapping[str, Any], out: str | Path) -> "pd.DataFrame":
    """Return a row for each run: what was swept, run, status, each claim's value, interval, verdict; minutes."""
    import pandas as pd

    return pd.DataFrame([_row(point, Path(out) / manifest["study"]) for point in manifest["points"]])


def _row(point: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a row of the table; a run without results has no claims in it."""
    from workbench.verdicts import read_report

    values = {name: json.dumps(v) if isinstance(v, list | tuple) else v for name, v in point["parameters"].items()}
    row = values | {"run": point["run"], "status": point["status"]}
    with contextlib.suppress(DataError):
        for finding in read_report(folder / str(point["run"]) / "results.json").findings:
            name, (low, high) = finding.claim.name, finding.interval or (None, None)
            row |= {name: finding.value, f"{name}.low": low, f"{name}.high": high, f"{name}.verdict": finding.verdict}
    return row | {"minutes": None if point.get("seconds") is None else round(point["seconds"] / 60, 2)}


def write_table(rows: "pd.DataFrame", manifest: Mapping[str, Any], out: Path) -> Path:
    """Write a sweep's table beside its manifest, as CSV, and return where."""
    path = manifest_path(manifest, out).with_suffix(".csv")
    write_csv(path, rows)
    return path


def spread(rows: "pd.DataFrame", manifest: Mapping[str, Any]) -> "pd.DataFrame | None":
    """Return mean, standard deviation and n of each claim over the seeds; None where no seeds or claims are."""
    others, claims = [name for name in manifest["grid"] if name not in SEEDS], judged(rows)
    if not claims or len(others) == len(manifest["grid"]):
        return None
    by: Any = [rows[name] for name in others] or (lambda _: "all")
    groups: Any = rows[claims].astype(float).groupby(by, dropna=False, sort=False)
    found = groups.agg([("mean", "mean"), ("sd", "std"), ("n", "count")])
    return found.set_axis(found.columns.map(".".join), axis="columns").reset_index(drop=not others)


def judged(rows: "pd.DataFrame") -> list[str]:
    """Return the claims in a table."""
    return [name.removesuffix(".verdict") for name in map(str, rows) if name.endswith(".verdict")]

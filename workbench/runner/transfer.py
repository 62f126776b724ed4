"""Runs and trials from one folder of runs to another, directly or as one file; what comes in is a stranger's.

Names are checked before anything is written, sizes while it is, records once they lie in a temporary folder; only then
are they moved to where they belong. Nothing that is there already is touched, and nothing that came is executed.
"""

import contextlib
import filecmp
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from workbench.errors import DataError, InputError, StorageError, require
from workbench.files import atomic, read_json, unwritten, write_json
from workbench.records import Run, all_runs
from workbench.runner import grid
from workbench.runner.outcome import find_report
from workbench.schema import read_cells
from workbench.sweeps import read_trial

_MAX_BYTES = 2 * 2**30  # of all that comes in at once
_MAX_TEXT = 64 * 2**20  # of a file that is read whole
_MAX_FILES = 200_000
_OURS = {"page.html", "lock", "progress.jsonl"}  # of a run's files: made anew, or of the moment
_TRIAL = re.compile(r"[0-9a-f]{32}(\.[0-9]{1,4})?\.json")
_MANIFEST = re.compile(r"sweep-[0-9A-Za-z]{1,64}(\.[0-9]{1,6}-of-[0-9]{1,6})?\.json")
_FORBIDDEN = frozenset('/\\:*?"<>|')  # in names of files, somewhere
_OF_ONE_COMPUTATION = {"seconds": 0, "finished": 0, "digest": 0}  # in which two computations of a trial differ
_Files = Mapping[str, Callable[[], IO[Any]]]  # name -> what opens it


@dataclass
class Taken:
    """What came in, where it is now, and how much of it was there already."""

    runs: list[Path] = field(default_factory=list)
    trials: list[Path] = field(default_factory=list)
    manifests: list[Path] = field(default_factory=list)
    known: int = 0


def export_run(run: Run, target: Path) -> int:
    """Write a run that has ended and its trials to one ``.zip``, or raise InputError; return the number of trials."""
    require(target.suffix == ".zip", "FILE", "must end in .zip", str(target))
    require(run.status != "running", "RUN", "must have ended", run.folder.name, "wait for it")
    out = run.folder.parents[1]
    trials = [path for key in run_trials(run.folder) for path in sorted(out.glob(f"trials/{key}*.json"))]
    trials = [path for path in trials if _TRIAL.fullmatch(path.name) and read_trial(path)]
    with atomic(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in [*_files_of(run.folder), *trials]:
            # No times and no permissions: the same run gives the same file.
            about = zipfile.ZipInfo(path.relative_to(out).as_posix())
            about.compress_type = zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(about, "w") as entry:
                shutil.copyfileobj(source, entry)
    return len(trials)


def import_file(path: Path, out: Path) -> Taken:
    """Take in what ``export_run`` wrote, or raise InputError or DataError before anything of it is in place."""
    require(path.is_file(), "FILE", "must be a file", str(path))
    try:
        with zipfile.ZipFile(path) as archive:  # a link in it becomes a file that holds where it led
            files = {info.filename: partial(archive.open, info) for info in archive.infolist() if not info.is_dir()}
            return _take(files, out.absolute(), pages=True)
    except (InputError, DataError, StorageError):
        raise
    except Exception as error:  # of which a file, or a notebook in it, that is none can cause any
        why = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} must be a file that `workbench export` wrote, got {why}") from error


def merge(folder: Path, out: Path) -> Taken:
    """Take in all runs, trials and manifests of another folder of runs, by the rules of ``import_file``."""
    folder = folder.resolve()
    require(folder.is_dir(), "DIR", "must be a folder of runs", str(folder))
    require(folder != out.resolve(), "DIR", "must not be --out itself", str(folder))
    paths = [*folder.glob("trials/[!.]*.json"), *folder.glob("[!.]*/sweep-*.json")]
    for run in all_runs(folder):
        require(Run.read(run).status != "running", "DIR", "must hold runs that have ended", run.name, "wait for it")
        paths += _files_of(run)
    paths = [path for path in paths if not path.name.endswith(".failed.json")]  # they are tried again here
    for path in paths:
        require(path.resolve() == path and path.is_file(), "DIR", "must hold plain files, no links", str(path))
    files = {path.relative_to(folder).as_posix(): partial(path.open, "rb") for path in paths}
    return _take(files, out.absolute(), pages=False)


def run_trials(folder: Path) -> list[str]:
    """Return the keys of the trials that a run's results rest on."""
    with contextlib.suppress(DataError, AttributeError):
        keys = read_json(folder / "results.json").get("extra", {}).get("trials")
        if isinstance(keys, list):
            return [key for key in keys if isinstance(key, str) and _TRIAL.fullmatch(f"{key}.json")]
    return []


def _files_of(run: Path) -> list[Path]:
    """Return the files that make up a run; hidden ones are half written."""
    names = [path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file()]
    return [run / n for n in names if str(n) not in _OURS and not any(part.startswith(".") for part in n.parts)]


def _take(files: _Files, out: Path, pages: bool) -> Taken:
    """Check what is to come in under these names and move it into ``out``, or leave all as it is."""
    require(len(files) <= _MAX_FILES, "files", f"must be at most {_MAX_FILES}", len(files))
    for name in files:
        _check_name(name)
    stage = out / f".import-{secrets.token_hex(6)}"
    try:
        _unpack({n: o for n, o in files.items() if n.split("/", 2)[-1] not in _OURS}, stage)
        runs = sorted({stage.joinpath(*name.split("/")[:2]) for name in files if name.count("/") > 1})
        for run in runs:
            _check_run(run, pages)
        trials, manifests = sorted(stage.glob("trials/*.json")), sorted(stage.glob("*/sweep-*.json"))
        for path in trials:
            require((read_trial(path) or {}).get("schema") == 1, "trial", "must be of schema 1", path.name)
        for path in manifests:
            named = grid.manifest_path(grid.read_manifest(path), stage)
            require(named == path, "manifest", "must be named as what it holds", path.name)
        return _settle(stage, out, trials, runs, manifests)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _check_name(name: str) -> None:
    """Refuse a name that leads elsewhere, that some system cannot write, or that has no place in a folder of runs."""
    parts = name.split("/")
    written = all(p and p == p.strip(" .") and p.isprintable() and not _FORBIDDEN & set(p) for p in parts)
    placed = len(parts) > 2 or (len(parts) == 2 and (_TRIAL if parts[0] == "trials" else _MANIFEST).fullmatch(parts[1]))
    require(bool(written and placed), "FILE", "must hold runs, their trials and nothing else", name)


def _unpack(files: _Files, stage: Path) -> None:
    """Write files below a new folder as long as they are no larger than allowed; what they claim is no proof."""
    left = _MAX_BYTES
    for name, opened in files.items():
        limit, size, target = min(left, _MAX_TEXT) if name.endswith((".json", ".ipynb")) else left, 0, stage / name
        with opened() as source:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as sink:
                    while block := source.read(2**20):
                        size += len(block)
                        require(size <= limit, "FILE", f"must hold no more than {limit} bytes here", name)
                        sink.write(block)
            except OSError as error:
                raise StorageError(unwritten(target, error)) from error
        left -= size


def _check_run(folder: Path, pages: bool) -> None:
    """Read all of a run that is ever read, and make its page where asked: the one it came with is not taken."""
    record, report, executed = Run.read(folder).record, find_report(folder), folder / "executed.ipynb"
    if executed.exists():
        read_cells(executed)
    if executed.exists() and pages:
        from workbench.runner.pages import write_page

        library = folder.parents[1] / "plotly.min.js"
        write_page(executed, folder / "page.html", library=library, record=record, report=report)


def _settle(stage: Path, out: Path, trials: list[Path], runs: list[Path], manifests: list[Path]) -> Taken:
    """Move what is new to where it belongs; raise InputError, nothing moved, if something else is there."""
    places = {path: out / path.relative_to(stage) for path in (*trials, *runs)}
    new = {path: target for path, target in places.items() if not target.exists()}
    for path in places.keys() - new.keys():
        name, problem = str(path.relative_to(stage)), "must not differ from what is there already"
        require(_is_same(path, places[path]), "FILE", problem, name, "keep one of the two elsewhere")
    _move(new)
    if (library := stage / "plotly.min.js").exists():
        library.replace(out / library.name)
    taken = Taken([places[path] for path in runs], [places[path] for path in trials], known=len(places) - len(new))
    for path in manifests:
        target = out / path.relative_to(stage)
        theirs = grid.read_manifest(path)
        both = grid.join([grid.read_manifest(target), theirs]) if target.exists() else theirs
        write_json(target, {**both, "shard": theirs["shard"]})
        taken.manifests.append(target)
    return taken


def _move(places: Mapping[Path, Path]) -> None:
    """Rename files and folders, all or none."""
    if hasattr(os, "sync"):
        os.sync()  # once, where a flush of each of 10,000 files would take a minute
    with contextlib.ExitStack() as back:
        for source, target in places.items():
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
            except OSError as error:
                raise StorageError(unwritten(target, error)) from error
            back.callback(target.replace, source)
        back.pop_all()


def _is_same(path: Path, other: Path) -> bool:
    """Tell whether what came is there already: all of a run byte for byte, a trial with what it gave."""
    if path.is_dir():
        names = [file.relative_to(path) for file in _files_of(path)]
        return all((other / n).is_file() and filecmp.cmp(path / n, other / n, shallow=False) for n in names)
    first, second = ((read_trial(file) or {}) | _OF_ONE_COMPUTATION for file in (path, other))
    return first == second

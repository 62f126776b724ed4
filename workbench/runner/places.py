"""Checks of the places a study reads and writes; each returns a state, what it found and, if need be, the remedy."""

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

from workbench.errors import DataError
from workbench.records import Run, all_runs

OK, WARNING, PROBLEM = "ok", "warning", "problem"
Said = tuple[str, ...]
_GB = 1e9
_MOUNTS = Path("/proc/mounts")
_NETWORK = re.compile(r"nfs|cifs|smb|9p|afs|ceph|lustre|gpfs|beegfs|gluster|sshfs|davfs|s3fs|gcsfuse")


def _sets(folder: Path) -> str:
    """Name the image sets whose files lie in a folder."""
    from workbench.datasets.sources import PLACES

    found = []
    for name, places in PLACES.items():
        there = [all((folder / kind / source.file).is_file() for source in sources) for kind, sources in places]
        if any(there):
            found.append(name if there[0] else f"{name} (in part)")
    return f"{', '.join(found) or 'no image set'} in {folder}"


def data(_: Path) -> Said:
    """Say whether WORKBENCH_DATA names a folder, and what is there."""
    folder = os.environ.get("WORKBENCH_DATA", "")
    if not folder:
        return OK, "WORKBENCH_DATA is not set: digits are built in, other sets are downloaded"
    if not Path(folder).is_dir():
        return PROBLEM, f"WORKBENCH_DATA={folder} is no folder", "correct it, or unset it to download data"
    return OK, _sets(Path(folder))


def cache(_: Path) -> Said:
    """Say what was downloaded."""
    return OK, _sets(Path(os.environ.get("WORKBENCH_CACHE") or Path.home() / ".cache" / "workbench"))


def _near(out: Path) -> Path:
    """Return the folder of runs or, before the first, the one it will be made in."""
    here = out.absolute()
    return next(folder for folder in (here, *here.parents) if folder.exists())


def writable(out: Path) -> Said:
    """Say whether runs can be kept."""
    try:
        tempfile.TemporaryFile(dir=_near(out)).close()
    except OSError as error:
        return PROBLEM, f"{out.absolute()}: {error.strerror}", "make it writable, or choose another with --out"
    return OK, str(out.absolute())


def disk(out: Path) -> Said:
    """Say how much room there is."""
    free = shutil.disk_usage(_near(out)).free / _GB
    state = PROBLEM if free < 1 else WARNING if free < 5 else OK
    remedy = "" if state == OK else "free some: `workbench clean` shows what runs take"
    return state, f"{free:.1f} GB free", remedy


def file_system(out: Path) -> Said:
    """Say whether runs lie on a local disk."""
    if not _MOUNTS.is_file():
        return OK, "not known on this platform; runs want a local disk"
    here = _near(out).resolve()
    lines = [line.split() for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
    places = [(Path(re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), line[1])), line[2]) for line in lines]
    # From the last on: of mounts at one place a later covers an earlier one.
    over = [found for found in reversed(places) if here.is_relative_to(found[0])]
    place, kind = max(over, key=lambda found: len(found[0].parts))
    if _NETWORK.search(kind):
        return (
            WARNING,
            f"{kind} at {place}",
            "keep runs on a local disk: locks and SQLite are not safe across a network",
        )
    return OK, f"{kind} at {place}"


def index(out: Path) -> Said:
    """Say whether the index of runs can be read."""
    path = out / "index.sqlite"
    if not path.exists():
        return OK, "none yet; it is made when needed"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as index:
            said = index.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        return WARNING, f"{path}: {said}", f"delete {path}; it is made again from the records"
    return OK, str(path)


def records(out: Path) -> Said:
    """Say whether the records of runs can be read."""
    damaged, folders = [], list(all_runs(out))
    for folder in folders:
        try:
            Run.read(folder)
        except DataError as problem:
            damaged.append(str(problem))
    if damaged:
        return (
            WARNING,
            f"{len(damaged)} of {len(folders)} cannot be read: {damaged[0]}",
            "restore the file, or remove its folder",
        )
    return OK, f"{len(folders)} runs"

"""What a run was: its identity, its folder, its record, the environment it ran in."""

import difflib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import DataError, InputError, require
from workbench.files import read_json, write_json, writing_runs

MOMENT = "%Y-%m-%dT%H:%M:%S+00:00"  # how records write a time
SCHEMA = 1  # of run.json and results.json; a reader refuses what is newer
_TAKEN = ("trials", "site")  # beside the studies' folders
STATUSES = ("running", "done", "failed", "refused", "interrupted")
_PACKAGES = ("workbench", "numpy", "scipy", "torch", "scikit-learn", "pandas", "gymnasium", "papermill", "ipykernel")
_FIELDS = {"schema": int, "study": str, "run": str, "status": str, "parameters": dict, "started": str}
_ATTEMPT = ("status", "error", "started", "seconds", "commit", "dirty", "versions", "command")
_PATIENCE_SECONDS = 2.0  # a reader that asks whether a run lives holds its lock for an instant
_HELD: set[Any] = set()  # the locks of this process: a Run that nobody refers to any more does not free its own


@dataclass
class Run:
    """A run's folder ``runs/<study>/<run id>``, which belongs to it alone, and what its ``run.json`` holds.

    The process that owns a run holds ``lock`` in its folder; ending in any way frees it.
    """

    folder: Path
    record: dict[str, Any]
    _started: float = field(default_factory=time.monotonic)
    _lock: Any = None

    @classmethod
    def start(cls, out: Path, study: str, parameters: dict[str, Any], **more: Any) -> "Run":
        """Make and own the folder of a new run, its record saying ``running``, or raise InputError."""
        folder = _new_folder(out, study)
        record = {"schema": SCHEMA, "study": study, "run": folder.name, "status": "running", "parameters": parameters}
        run = cls(folder, record | {"device": parameters.get("device", "cpu")} | more)
        run.acquire()
        run._begin()
        return run

    @classmethod
    def read(cls, folder: str | Path) -> "Run":
        """Read the record of a run, older forms included, or raise DataError; nothing in it is trusted."""
        folder = Path(folder).resolve()
        record = read_json(folder / "run.json")
        if problem := _problem(record, folder):
            raise DataError(f"{folder / 'run.json'} must be the record of a run, got {problem}; see `workbench runs`")
        return cls(folder, record)

    @property
    def status(self) -> str:
        """How the run ended; ``running`` while its process lives, ``interrupted`` when that ended without a word."""
        status = str(self.record["status"])
        if status != "running" or self._lock:
            return status
        try:
            if (self.folder / "lock").exists() and not self.acquire():
                return status
        except OSError:  # somebody else's folder, read only: the record is all there is to go by
            return status
        self.release()
        with suppress(DataError):  # it may have ended between the first look and this one
            status = str(Run.read(self.folder).record["status"])
        return "interrupted" if status == "running" else status

    def reopen(self) -> None:
        """Own a run that broke off, or raise InputError; what the record says of it so far moves to ``attempts``."""
        if not self.acquire(_PATIENCE_SECONDS):
            raise InputError(f"RUN must have ended, {self.folder.name} runs as process {self.record.get('pid')}; wait")
        try:
            self.record = Run.read(self.folder).record
            require(self.record["status"] != "done", "RUN", "must not be done", self.folder.name, "start a new run")
            earlier = {name: self.record.pop(name) for name in _ATTEMPT if name in self.record}
            earlier["status"] = "interrupted" if earlier["status"] == "running" else earlier["status"]
            self.record |= {"status": "running", "attempts": [*self.record.get("attempts", []), earlier]}
            (self.folder / "progress.jsonl").unlink(missing_ok=True)  # it counts from the start again
            self._begin()
        except BaseException:
            self.release()
            raise

    def finish(self, status: str, error: dict[str, Any] | None = None) -> None:
        """Complete the record: how the run ended, what ended it early, the data it used; give the run up."""
        seconds = round(time.monotonic() - self._started, 1)
        self.record |= {"status": status, "error": error, "seconds": seconds}
        with suppress(DataError, AttributeError):  # a run may end without results
            if data := read_json(self.folder / "results.json").get("dataset"):
                self.record["data"] = data
        write_json(self.folder / "run.json", self.record)
        with suppress(OSError):  # while it is held, so that nobody takes what is about to go; Windows refuses that
            (self.folder / "lock").unlink()
        self.release()

    def acquire(self, seconds: float = 0.0) -> bool:
        """Own the run, so that no other process goes on with it; tell whether that was possible in time."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "lock", thread_local=False)
        try:
            lock.acquire(timeout=seconds, poll_interval=0.01)
        except Timeout:
            return False
        self._lock = lock
        _HELD.add(lock)
        return True

    def release(self) -> None:
        """Let go of the run."""
        if self._lock:
            self._lock.release()
            _HELD.discard(self._lock)
            self._lock = None

    def _begin(self) -> None:
        """Write the record of a run that is owned; the clock starts."""
        self._started = time.monotonic()
        self.record |= {"started": utc(MOMENT), "pid": os.getpid(), "host": platform.node()}
        self.record |= environment()
        write_json(self.folder / "run.json", self.record)


def all_runs(out: str | Path) -> Iterator[Path]:
    """Yield the folders in ``out`` that hold a record, by study and time."""
    for path in sorted(Path(out).absolute().glob("[!.]*/[!.]*/run.json")):
        yield path.parent


def spelt(text: str) -> list[str]:
    """Return the parts of a name as they are compared: a person writes hyphens, either slash, ``.ipynb`` behind."""
    return text.rstrip("/\\").removesuffix(".ipynb").replace("-", "_").replace("\\", "/").split("/")


def find_run(out: str | Path, text: str) -> Run:
    """Find a run by its path, id, beginning of one, ``study/run`` or study (its newest), or raise InputError."""
    path = Path(text.removesuffix("run.json"))
    if (path / "run.json").is_file():
        return Run.read(path)
    folders = sorted(all_runs(out), key=lambda folder: folder.name)
    *study, last = spelt(text)
    among = [folder for folder in folders if not study or spelt(folder.parent.name) == study[-1:]]
    named = [folder for folder in among if spelt(folder.name) == [last]]
    newest = [folder for folder in folders if spelt(folder.parent.name) == [last]][-1:]
    begun = [folder for folder in among if last and spelt(folder.name)[0].startswith(last)]
    found = named or newest or begun
    if len(found) == 1:
        return Run.read(found[0])
    if found:
        names = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in found[:4])
        raise InputError(f"RUN must mean one run, got {text!r}; it may be {names}")
    known = [folder.name for folder in folders] + sorted({folder.parent.name for folder in folders})
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else "`workbench runs` shows what there is"
    raise InputError(f"RUN must be a run in {out}, or a study that has one, got {text!r}; {remedy}")


def project_folder() -> Path:
    """Return the nearest folder at or above the working directory with a ``pyproject.toml``, else the directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").is_file()), here)


def study_folder(out: Path, study: str) -> Path:
    """Return the folder of a study's runs, or raise InputError where its name is that of no study."""
    named = study == Path(study).name and not study.startswith(".") and study != ""
    require(named, "study", "must be a name, not a path, that begins without a dot", study, "take the notebook's")
    rule = f"must not be one of {', '.join(_TAKEN)}, folders of their own"
    require(study not in _TAKEN, "study", rule, study, "rename")
    return out / study


def environment() -> dict[str, Any]:
    """Describe what the numbers may depend on: versions, commit, platform, processors, threads, command line."""
    commit, dirty = _commit()
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    source = {"python": platform.python_version(), "versions": versions, "commit": commit, "dirty": dirty}
    machine = {"platform": platform.platform(), "processors": os.cpu_count(), "threads": threads}
    return source | machine | {"command": sys.argv}


def _problem(record: Any, folder: Path) -> str:
    """Say what makes a record none that can be read; nothing if it is one."""
    if not isinstance(record, dict):
        return f"a {type(record).__name__}"
    if wrong := [name for name, kind in _FIELDS.items() if not isinstance(record.get(name), kind)]:
        return f"{wrong[0]} {record.get(wrong[0])!r}"
    if not 1 <= record["schema"] <= SCHEMA:
        return f"schema {record['schema']} (this version reads up to {SCHEMA}: install a newer one)"
    if record["status"] not in STATUSES:
        return f"status {record['status']!r}"
    named = (record["study"], record["run"])
    # So that a name out of a record is always the name of a folder that is there.
    return "" if named == folder.parts[-2:] else f"the record of {'/'.join(named)}: put it into that folder"


def utc(form: str, seconds: float | None = None) -> str:
    """Return the time in UTC, now unless ``seconds`` since the epoch are given."""
    return time.strftime(form, time.gmtime(seconds))


def _new_folder(out: Path, study: str) -> Path:
    """Make a folder named by the UTC time, parts of a second in hexadecimal: names sort by time."""
    place = study_folder(out.absolute(), study)
    with writing_runs(out):
        place.mkdir(parents=True, exist_ok=True)
        while True:
            # One look at the clock: a second may end between two.
            folder = place / f"{utc('%Y%m%dT%H%M%SZ', (now := time.time_ns()) // 10**9)}-{now % 10**9 >> 6:06x}"
            with suppress(FileExistsError):  # two runs of one moment never share a folder
                folder.mkdir()
                return folder


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the source and whether files differ from it; nothing where there is no git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # installed inside somebody else's repository it is not its source
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None

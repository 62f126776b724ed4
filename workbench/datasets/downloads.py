"""Bring a published set or table here, from the data folder, the cache or a mirror; trusted by its content alone."""

import gzip
import hashlib
import http.client
import os
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from filelock import FileLock
from rich.console import Console
from rich.progress import DownloadColumn, Progress

from workbench.datasets.sources import PLACES, Part, Source
from workbench.errors import DataError, reading
from workbench.files import atomic

_Unpack = Callable[[Source, Path], dict[str, np.ndarray]]  # of one of the many files that a target is made of


def contents(name: str, get: Callable[[Source, Path, Path], None] | None = None) -> dict[str, np.ndarray]:
    """Return a published set's verified bytes, part by part; the parts' names tell a whole set from a partial one."""
    found, remedy = _in_data_folder(name), "replace it, or unset WORKBENCH_DATA to have the set downloaded"
    if not found:
        cache = Path(os.environ.get("WORKBENCH_CACHE") or Path.home() / ".cache" / "workbench")
        place, sources = PLACES[name][0]
        found = [(source, fetch(source, cache / place, get)) for source in sources]
        remedy = "delete it, and it will be downloaded anew"
    return {part: data for source, path in found for part, data in read(source, path, remedy).items()}


def _in_data_folder(name: str) -> list[tuple[Source, Path]]:
    """Find a set's files, all or none, in the folder that ``WORKBENCH_DATA`` names."""
    folder = os.environ.get("WORKBENCH_DATA")
    if not folder:
        return []
    if not Path(folder).is_dir():
        raise DataError(f"WORKBENCH_DATA must name a folder, got {folder!r}; correct it, or unset it to download data")
    for place, sources in PLACES[name]:
        files = [(source, Path(folder, place, source.file)) for source in sources]
        missing = [path for _, path in files if not path.is_file()]
        if not missing:
            return files
        if len(missing) < len(files):
            remedy = "add it, or take them all away to have the set downloaded"
            raise DataError(f"{missing[0]} is missing, though other files of {name} are there; {remedy}")
    return []


def read(source: Source, path: Path, remedy: str, unpack: _Unpack | None = None) -> dict[str, np.ndarray]:
    """Return the parts of a file as flat uint8 arrays, or raise a DataError that ends with the remedy."""
    names = " and ".join(part.name for part in source.parts)
    with reading(f"{path} must hold {names}, not truncated or damaged", remedy):
        found = (unpack or _unpack)(source, path)
    for part in source.parts:
        got = Part(part.name, found[part.name].nbytes, hashlib.sha256(found[part.name].data).hexdigest())
        if got != part:
            raise DataError(f"{path} must hold {part}, got {got}; {remedy}")
    return found


def _unpack(source: Source, path: Path) -> dict[str, np.ndarray]:
    """Decompress known parts in memory: nothing is extracted or unpickled, nor read far beyond its size."""
    sizes = {part.name: part.size for part in source.parts}
    if source.file.endswith(".npz"):  # opened here, since NumPy leaves a truncated archive open
        with path.open("rb") as packed, np.load(packed, allow_pickle=False) as arrays:
            return {name: np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8) for name in sizes}
    if not source.file.endswith(".tar.gz"):
        with gzip.open(path) if source.file.endswith(".gz") else path.open("rb") as file:
            return {name: np.frombuffer(file.read(size + 1), np.uint8) for name, size in sizes.items()}
    found = {}
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            if member.size == sizes.get(name) and (content := archive.extractfile(member)):
                found[name] = np.frombuffer(content.read(), np.uint8)
    return {name: found[name] for name in sizes}


def fetch(source: Source, folder: Path, get: Callable[[Source, Path, Path], None] | None = None) -> Path:
    """Return a source's file in a folder, downloaded (or made by ``get``) if need be: whole and verified, or absent."""
    target = folder / source.file
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{source.file}.lock").acquire()  # the system frees it, however its process ends
    except OSError as error:
        raise DataError(f"{folder} must be writable ({error.strerror}); name another in WORKBENCH_CACHE") from error
    with lock:
        if not target.is_file():  # else another process has downloaded it meanwhile
            part = folder / f"{source.file}.part"  # what a cut connection left, for any mirror and any later call
            (get or from_mirrors)(source, part, target)
            with atomic(target) as temporary:
                part.replace(temporary)
    return target


def from_mirrors(source: Source, part: Path, target: Path, unpack: _Unpack | None = None) -> None:
    """Try the mirrors in turn, twice: the second round continues what the first one left."""
    failures: dict[str, str] = {}
    for url in 2 * source.urls:
        try:
            _download(url, part, many=unpack is not None)  # one of many: compressed on its way, with no bar of its own
            read(source, part, "the mirror gave something else", unpack)
            return
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, DataError) or getattr(error, "code", None) == 416:  # wrong, or longer than the file
                part.unlink()
            failures[url] = f"{url} ({type(error).__name__}: {error})"
    tried = "; ".join(failures.values()) or "it has no mirror"
    raise DataError(
        f"{source.file} could not be downloaded: {tried}. Call again to go on where it stopped, "
        f"put {target} there by hand, or name in WORKBENCH_DATA a folder with {target.parent.name}/{target.name}"
    )


def _download(url: str, part: Path, many: bool) -> None:
    """Append to a partial file what it lacks, or begin again if the server cannot continue; show progress."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "workbench"} | ({"Range": f"bytes={done}-"} if done else {})
    request = urllib.request.Request(url, headers=headers | ({"Accept-Encoding": "gzip"} if many else {}))
    with urllib.request.urlopen(request, timeout=30) as response:
        done = done if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        bar = Progress(*Progress.get_default_columns(), DownloadColumn(), console=Console(stderr=True), disable=many)
        with bar, part.open("ab" if done else "wb") as file:
            task = bar.add_task(part.stem, total=total, completed=done)
            while chunk := response.read1(1 << 18):  # what is there, so that little is lost when killed
                file.write(chunk)
                done += len(chunk)
                bar.update(task, completed=done)
    if total is not None and done < total:
        raise OSError(f"connection cut after {done:,} of {total:,} bytes")

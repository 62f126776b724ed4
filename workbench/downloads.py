"""Bring a published image set here: from the user's data folder, else the cache, else a mirror.

A file is trusted by its content alone: reading it compares every part with the SHA-256 in ``workbench.sources``.
"""

import contextlib
import gzip
import hashlib
import http.client
import os
import sqlite3
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from workbench.errors import DataError
from workbench.sources import PLACES, Part, Source, cache_folder, data_folder

_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 1 << 18
# gzip.BadGzipFile is an OSError; a missing member is a KeyError.
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zlib.error, tarfile.TarError, zipfile.BadZipFile)


def contents(name: str) -> dict[str, np.ndarray]:
    """Return the verified bytes of a published set, downloading it if need be.

    The folder that the environment variable ``WORKBENCH_DATA`` names comes first; a set that is not in it comes from
    the cache folder, which mirrors fill.

    Args:
        name: A key of ``workbench.sources.PLACES``.

    Returns:
        Bytes of every part, as flat uint8 arrays; the parts' names tell a whole set from a partial one.

    Raises:
        DataError: If a file is missing, truncated, corrupt or wrong, a folder cannot be read, or no mirror helps.
    """
    folder = data_folder()
    for place, sources in PLACES[name]:
        if folder is None:
            break
        paths = [folder / place / source.file for source in sources]
        missing = [path for path in paths if not path.is_file()]
        if len(missing) == len(paths):
            continue
        if missing:
            raise DataError(
                f"{missing[0]} is missing, though other files of {name} are there; add it, or take them all away to "
                "have the set downloaded"
            )
        remedy = "replace it, or unset WORKBENCH_DATA to have the set downloaded"
        return _merged(read(source, path, remedy) for source, path in zip(sources, paths, strict=True))
    place, sources = PLACES[name][0]
    cache = cache_folder() / place
    remedy = "delete it, and it will be downloaded anew"
    return _merged(read(source, fetch(source, cache), remedy) for source in sources)


def read(source: Source, path: Path, remedy: str) -> dict[str, np.ndarray]:
    """Decompress a file and compare each of its known parts with its length and SHA-256.

    Args:
        source: What the file must hold; the end of its name says the format.
        path: The file itself.
        remedy: What the user can do about a bad file; ends the error message.

    Returns:
        Flat uint8 arrays by the parts' names.

    Raises:
        DataError: If the file cannot be decompressed or a part is not what it must be.
    """
    suffixes = {".npz": _read_npz, ".tar.gz": _read_tar, ".gz": _read_gz}
    reader = next(function for suffix, function in suffixes.items() if source.file.endswith(suffix))
    try:
        found = reader(source, path)
    except _UNREADABLE as error:
        expected = " and ".join(f"{part.name} ({part.size:,} bytes)" for part in source.parts)
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} must hold {expected}, but is truncated or damaged ({reason}); {remedy}") from error
    for part in source.parts:
        _require_content(part, found[part.name], path, remedy)
    return found


def fetch(source: Source, folder: Path) -> Path:
    """Return a source's file in a folder, downloaded from the first mirror that gives the right content.

    What a cut connection left stays beside it as ``.part`` and is continued, by any mirror and by any later call. The
    file takes its name only once its content is verified, so it is whole or absent.

    Args:
        source: File, parts and mirrors.
        folder: Where it belongs; made if missing.

    Returns:
        Path of the file.

    Raises:
        DataError: If the folder cannot be written or no mirror gave the file.
    """
    target, part = folder / source.file, folder / f"{source.file}.part"
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.open("ab").close()
    except OSError as error:
        raise DataError(f"{folder} must be writable ({error.strerror}); name another in WORKBENCH_CACHE") from error
    with _alone(folder / f"{source.file}.lock"):
        return target if target.is_file() else _from_mirrors(source, part, target)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time download a file; the others wait and then find it.

    A transaction of SQLite is a lock that every platform has and that ends with its process, however that dies.
    """
    with contextlib.closing(sqlite3.connect(path, timeout=3600, isolation_level=None)) as lock:
        with contextlib.suppress(sqlite3.OperationalError):  # a file system without locks: go on alone
            lock.execute("PRAGMA journal_mode=MEMORY")  # nothing is ever written
            lock.execute("BEGIN EXCLUSIVE")
        yield


def _from_mirrors(source: Source, part: Path, target: Path) -> Path:
    """Try the mirrors in turn, twice: the second round continues what the first one left."""
    failures: dict[str, str] = {}
    hopeless: set[str] = set()
    part.touch()
    for url in (*source.urls, *source.urls):
        if url in hopeless:
            continue
        begun = part.stat().st_size > 0
        try:
            _download(url, part)
            read(source, part, "the mirror gave something else")
            return _publish(part, target)
        except DataError as error:
            part.write_bytes(b"")
            if not begun:  # else the fault may lie in the bytes that were there before
                hopeless.add(url)
            failures[url] = str(error)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500 and error.code != 416:
                hopeless.add(url)
            failures[url] = f"{type(error).__name__}: {error}"
    tried = "; ".join(f"{url} ({reason})" for url, reason in failures.items())
    raise DataError(
        f"{source.file} could not be downloaded: {tried or 'it has no mirror'}. Call again to go on where it stopped, "
        f"put the file at {target} by hand, or name in WORKBENCH_DATA a folder with {target.parent.name}/{source.file}"
    )


def _merged(parts: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join the parts of several files."""
    return {name: data for found in parts for name, data in found.items()}


def _require_content(part: Part, data: np.ndarray, path: Path, remedy: str) -> None:
    """Raise unless bytes have the length and the digest they must have."""
    if data.nbytes != part.size:
        raise DataError(f"{path}: {part.name} must have {part.size:,} bytes, got {data.nbytes:,}; {remedy}")
    if (digest := hashlib.sha256(data.data).hexdigest()) != part.sha256:
        raise DataError(f"{path}: {part.name} must have the SHA-256 {part.sha256}, got {digest}; {remedy}")


def _read_gz(source: Source, path: Path) -> dict[str, np.ndarray]:
    """Decompress a single file, no further than one byte beyond what it must hold."""
    (part,) = source.parts
    with gzip.open(path) as file:
        return {part.name: np.frombuffer(file.read(part.size + 1), np.uint8)}


def _read_tar(source: Source, path: Path) -> dict[str, np.ndarray]:
    """Read known members of an archive into memory; nothing is extracted, so no name in it can lead anywhere."""
    sizes = {part.name: part.size for part in source.parts}
    found: dict[str, np.ndarray] = {}
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            if member.isfile() and member.size == sizes.get(name) and (file := archive.extractfile(member)):
                found[name] = np.frombuffer(file.read(), np.uint8)
    return {name: found[name] for name in sizes}


def _read_npz(source: Source, path: Path) -> dict[str, np.ndarray]:
    """Read known arrays, as plain bytes only."""
    # Opened here, since NumPy leaves a truncated archive open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {part.name: np.ascontiguousarray(archive[part.name]).reshape(-1).view(np.uint8) for part in source.parts}


def _download(url: str, part: Path) -> None:
    """Append to a partial file what it lacks, or begin again if the server cannot continue."""
    offset = part.stat().st_size
    headers = {"User-Agent": "workbench"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 416:
                raise
            if error.headers.get("Content-Range") == f"bytes */{offset}":
                return  # it was complete already
            part.write_bytes(b"")  # longer than the file: not a part of it
            raise
    with response:
        continued = response.status == 206
        if continued and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            raise OSError(f"asked for the bytes from {offset}, got {response.headers.get('Content-Range')}")
        _save(response, part, offset if continued else 0)


def _save(response: http.client.HTTPResponse, part: Path, done: int) -> None:
    """Write a response's body behind the first ``done`` bytes, with a progress bar."""
    length = response.headers.get("Content-Length")
    total = done + int(length) if length else None
    with part.open("ab" if done else "wb") as file:
        bar = _Bar(part.stem, total)
        try:
            while chunk := response.read1(_CHUNK_BYTES):  # what is there, so that little is lost when killed
                file.write(chunk)
                done += len(chunk)
                bar.update(done)
        finally:
            bar.close(done)
    if total is not None and done < total:
        raise OSError(f"connection cut after {done:,} of {total:,} bytes")


def _publish(part: Path, target: Path) -> Path:
    """Flush a verified file and give it its name."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    return part.replace(target)


class _Bar:
    """A line on standard error: redrawn on a terminal, once at the beginning and the end elsewhere."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label, self.total = label, total
        self.live = sys.stderr.isatty()
        self.drawn = 0.0
        self._write(0, "\r" if self.live else "\n")

    def update(self, done: int) -> None:
        """Redraw at most ten times a second."""
        if self.live and time.monotonic() - self.drawn > 0.1:
            self._write(done, "\r")

    def close(self, done: int) -> None:
        """Draw the last state and end the line."""
        self._write(done, "\n")

    def _write(self, done: int, end: str) -> None:
        """Write name, bar and megabytes."""
        self.drawn = time.monotonic()
        share = min(done / self.total, 1.0) if self.total else 0.0
        bar = f"[{'#' * round(20 * share):20}] {share:4.0%}, " if self.total else ""
        of = f" of {self.total / 1e6:.1f}" if self.total else ""
        print(f"{self.label}: {bar}{done / 1e6:.1f}{of} MB", end=end, file=sys.stderr, flush=True)

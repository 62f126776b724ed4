"""Downloads from a server on this machine that can cut, lie and refuse; files that are truncated, corrupt or wrong."""

import gzip
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.serving import Server, serving
from workbench.datasets.downloads import contents, fetch, read
from workbench.datasets.sources import PLACES, Part, Source
from workbench.errors import DataError
from workbench.laws.tables import ORIGINS

CONTENT = np.random.default_rng(0).integers(0, 256, 30_000, dtype=np.uint8).tobytes()
PACKED = gzip.compress(CONTENT, mtime=0)


def part_of(name: str, data: bytes) -> Part:
    return Part(name, len(data), hashlib.sha256(data).hexdigest())


def source(*urls: str) -> Source:
    return Source("numbers.gz", (part_of("numbers", CONTENT),), urls)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch, PACKED) as state:
        yield state


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.stat().st_size)


def test_fetch_downloads_once(server: Server, tmp_path: Path) -> None:
    wanted = source(server.add("/a"))
    assert fetch(wanted, tmp_path / "new" / "folder").read_bytes() == PACKED
    assert names(tmp_path / "new" / "folder") == ["numbers.gz"]
    fetch(wanted, tmp_path / "new" / "folder")
    assert server.ranges == [None]


PLAIN = Source("numbers.csv", (part_of("numbers.csv", CONTENT),))


def test_a_plain_file_is_its_only_part(server: Server, tmp_path: Path) -> None:
    wanted = Source(PLAIN.file, PLAIN.parts, (server.add("/a", CONTENT, fault="cut 20000"),))
    path = fetch(wanted, tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=20000-"]
    assert {name: data.tobytes() for name, data in read(wanted, path, "").items()} == {"numbers.csv": CONTENT}


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b + b"0", lambda b: b"!" + b[1:], lambda b: b""])
def test_read_refuses_an_altered_plain_file(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    (tmp_path / "numbers.csv").write_bytes(spoil(CONTENT))
    with pytest.raises(DataError, match=r"must hold numbers\.csv \(30,000 bytes, .* got numbers\.csv .*; replace it"):
        read(PLAIN, tmp_path / "numbers.csv", "replace it")


def test_a_cut_download_is_continued_by_the_same_call(server: Server, tmp_path: Path) -> None:
    assert fetch(source(server.add("/a", fault="cut 20000")), tmp_path).read_bytes() == PACKED
    assert server.ranges == [None, "bytes=20000-"]


def test_a_cut_download_is_continued_by_another_mirror(server: Server, tmp_path: Path) -> None:
    assert fetch(source(server.add("/a", fault="cut 123"), server.add("/b")), tmp_path).read_bytes() == PACKED
    assert server.ranges == [None, "bytes=123-"]


def test_a_cut_download_is_continued_by_a_later_call(server: Server, tmp_path: Path) -> None:
    wanted = source(server.add("/a", fault="cut 1000"))
    with pytest.raises(DataError, match=r"connection cut after 2,000 of 30,0\d\d bytes.*Call again to go on"):
        fetch(wanted, tmp_path)
    assert names(tmp_path) == ["numbers.gz.part"]
    server.add("/a")
    assert fetch(wanted, tmp_path).read_bytes() == PACKED
    assert server.ranges == [None, "bytes=1000-", "bytes=2000-"]


def test_a_server_that_ignores_ranges_begins_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "numbers.gz.part").write_bytes(PACKED[:777])
    assert fetch(source(server.add("/a", fault="ignores ranges")), tmp_path).read_bytes() == PACKED
    assert server.ranges == ["bytes=777-"]


def test_a_server_that_sends_another_range_is_not_believed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "numbers.gz.part").write_bytes(PACKED[:777])
    wanted = source(server.add("/a", fault="wrong range"), server.add("/b"))
    assert fetch(wanted, tmp_path).read_bytes() == PACKED
    assert server.ranges == ["bytes=777-", None]


@pytest.mark.parametrize("left", [b"x" * 500, PACKED + b"more"], ids=["other bytes", "too long"])
def test_a_wrong_beginning_is_thrown_away(server: Server, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "numbers.gz.part").write_bytes(left)
    assert fetch(source(server.add("/a")), tmp_path).read_bytes() == PACKED
    assert server.ranges == [f"bytes={len(left)}-", None]


def test_a_complete_partial_file_is_only_verified(server: Server, tmp_path: Path) -> None:
    (tmp_path / "numbers.gz.part").write_bytes(PACKED)
    assert fetch(source(server.add("/a")), tmp_path).read_bytes() == PACKED
    assert names(tmp_path) == ["numbers.gz"]


def test_mirrors_are_tried_in_turn(server: Server, tmp_path: Path) -> None:
    wrong = gzip.compress(CONTENT[:-1] + b"!", mtime=0)
    dead = "http://127.0.0.1:9/a"  # discard: nothing listens
    urls = (server.url + "/none", dead, server.add("/wrong", wrong), server.add("/a"))
    assert fetch(source(*urls), tmp_path).read_bytes() == PACKED
    assert server.ranges == [None] * 3


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(CONTENT[:-1] + b"!"), r"got numbers \(30,000 bytes, SHA-256"),
        (gzip.compress(CONTENT[:-1]), r"must hold numbers \(30,000 bytes, .* got numbers \(29,999 bytes"),
        (gzip.compress(CONTENT * 9), r"got numbers \(30,001 bytes"),
        (PACKED[:-100], "truncated or damaged"),
        (b"<html>Please log in</html>", "truncated or damaged"),
    ],
    ids=["altered", "short", "long", "truncated", "html"],
)
def test_a_wrong_download_never_gets_its_name(server: Server, tmp_path: Path, body: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        fetch(source(server.add("/a", body)), tmp_path)
    assert names(tmp_path) == []
    assert server.ranges == [None, None], "nothing wrong is continued"
    assert "numbers.gz could not be downloaded" in str(caught.value)
    assert str(tmp_path / "numbers.gz") in str(caught.value), "names the place to put it by hand"
    assert "WORKBENCH_DATA" in str(caught.value)


def test_many_at_once_download_once(server: Server, tmp_path: Path) -> None:
    wanted = source(server.add("/a"))
    threads = [threading.Thread(target=fetch, args=(wanted, tmp_path)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.ranges == [None]
    assert names(tmp_path) == ["numbers.gz"]


def test_a_killed_download_is_continued(server: Server, tmp_path: Path) -> None:
    wanted = source(server.add("/a", fault="stalls"))
    script = (
        "import sys; from pathlib import *; from workbench.datasets.downloads import fetch; "
        "from workbench.datasets.sources import *"
    )
    command = [sys.executable, "-c", f"{script}; fetch({wanted!r}, Path(sys.argv[1]))", str(tmp_path)]
    part = tmp_path / "numbers.gz.part"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        end = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
            time.sleep(0.01)
        child.kill()
    begun = part.stat().st_size
    assert 0 < begun <= 20_000
    assert names(tmp_path) == ["numbers.gz.part"]
    server.add("/a")
    assert fetch(wanted, tmp_path).read_bytes() == PACKED
    assert server.ranges == [None, f"bytes={begun}-"]


def test_no_mirror(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it has no mirror"):
        fetch(source(), tmp_path)


def test_an_unwritable_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"must be writable.*WORKBENCH_CACHE"):
        fetch(source("http://127.0.0.1:9/a"), tmp_path / "file" / "cache")


def test_the_bar_is_a_line_on_standard_error(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(source(server.add("/a")), tmp_path)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"numbers\.gz .* 100% .* 30\.0/30\.0 kB *\n", err)


def archive(path: Path, members: dict[str, bytes], link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
            file.addfile(info)
    return path


PAIR = Source("pair.tar.gz", (part_of("one.bin", b"1" * 500), part_of("two.bin", b"2" * 700)))


def test_read_takes_only_known_members_of_an_archive(tmp_path: Path) -> None:
    members = {"../../evil": b"x", "folder/two.bin": b"2" * 700, "folder/one.bin": b"1" * 500, "readme.html": b"hi"}
    found = read(PAIR, archive(tmp_path / "pair.tar.gz", members), "")
    assert {name: data.tobytes() for name, data in found.items()} == {"one.bin": b"1" * 500, "two.bin": b"2" * 700}
    assert names(tmp_path) == ["pair.tar.gz"], "nothing is extracted"


@pytest.mark.parametrize(
    ("members", "link", "reason"),
    [
        ({"one.bin": b"1" * 500}, "", "two.bin"),
        ({"one.bin": b"1" * 500}, "two.bin", "two.bin"),
        ({"one.bin": b"1" * 500, "two.bin": b"2" * 9_999}, "", "two.bin"),
        (
            {"one.bin": b"1" * 500, "two.bin": b"3" * 700},
            "",
            r"must hold two\.bin \(700 bytes, SHA-256 .*, got two\.bin",
        ),
    ],
    ids=["missing", "link", "too long", "altered"],
)
def test_read_refuses_a_wrong_archive(tmp_path: Path, members: dict[str, bytes], link: str, reason: str) -> None:
    path = archive(tmp_path / "pair.tar.gz", members, link)
    with pytest.raises(DataError, match=reason) as caught:
        read(PAIR, path, "mend it")
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("; mend it")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_read_refuses_a_truncated_archive(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).bytes(700)
    pair = Source("pair.tar.gz", (PAIR.parts[0], part_of("two.bin", noise)))
    path = archive(tmp_path / "pair.tar.gz", {"one.bin": b"1" * 500, "two.bin": noise})
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    with pytest.raises(DataError, match="truncated or damaged"):
        read(pair, path, "")


def test_read_npz(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    wanted = Source("x.npz", (part_of("x", x.tobytes()),))
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.asfortranarray(x), other=np.ones(3))
    assert read(wanted, path, "")["x"].tolist() == list(range(24))
    for bad in ({"y": x}, {"x": x + 1}, {"x": x[:1]}, {"x": np.array([{"any": "object"}], dtype=object)}):
        np.savez_compressed(path, **bad)
        with pytest.raises(DataError, match=r"x\.npz.*; replace it"):
            read(wanted, path, "replace it")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="truncated or damaged"):
        read(wanted, path, "")


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-20], lambda b: b[:40] + bytes([b[40] ^ 255]) + b[41:], lambda b: b"", lambda b: b"P5 28 28"]
)
def test_read_refuses_a_damaged_gz(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "numbers.gz"
    path.write_bytes(spoil(PACKED))
    with pytest.raises(DataError, match=r"numbers\.gz.*replace it"):
        read(source(), path, "replace it")


@pytest.fixture
def tiny_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A set of two files, whole or in part, and nothing in cache or data folder."""
    both = (
        Source("one.gz", (part_of("one", b"1" * 9),)),
        Source("two.gz", (part_of("two", b"2" * 9),)),
    )
    first = (Source("first.gz", (part_of("first", b"1" * 3),)),)
    monkeypatch.setitem(PLACES, "tiny", (("tiny", both), ("tiny_partial", first)))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    (tmp_path / "data" / "tiny_partial").mkdir()
    return tmp_path


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data))


def test_contents_prefers_the_data_folder_and_the_whole_set(tiny_set: Path) -> None:
    put(tiny_set / "data" / "tiny_partial" / "first.gz", b"1" * 3)
    assert set(contents("tiny")) == {"first"}
    put(tiny_set / "data" / "tiny" / "one.gz", b"1" * 9)
    with pytest.raises(DataError, match=r"two\.gz is missing, though other files of tiny are there; add it"):
        contents("tiny")
    put(tiny_set / "data" / "tiny" / "two.gz", b"2" * 9)
    assert {name: data.tobytes() for name, data in contents("tiny").items()} == {"one": b"1" * 9, "two": b"2" * 9}
    put(tiny_set / "data" / "tiny" / "two.gz", b"3" * 9)
    with pytest.raises(DataError, match=r"two\.gz must hold two .*, got two .*replace it, or unset WORKBENCH_DATA"):
        contents("tiny")


def test_contents_falls_through_to_the_cache_and_then_to_mirrors(tiny_set: Path) -> None:
    with pytest.raises(DataError, match=r"one\.gz could not be downloaded"):
        contents("tiny")
    put(tiny_set / "cache" / "tiny" / "one.gz", b"1" * 9)
    put(tiny_set / "cache" / "tiny" / "two.gz", b"2" * 9)
    assert set(contents("tiny")) == {"one", "two"}
    put(tiny_set / "cache" / "tiny" / "two.gz", b"2" * 8)
    with pytest.raises(DataError, match=r"must hold two \(9 bytes.*, got two \(8 bytes.*; delete it"):
        contents("tiny")


@pytest.mark.parametrize("bad", ["none", "file"])
def test_a_data_folder_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tiny_set: Path, bad: str) -> None:
    (tiny_set / "file").touch()
    monkeypatch.setenv("WORKBENCH_DATA", str(tiny_set / bad))
    with pytest.raises(DataError, match=rf"WORKBENCH_DATA must name a folder, got '.*{bad}'.*unset it"):
        contents("tiny")


@pytest.mark.parametrize("named", ["mine", ""])
def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tiny_set: Path, named: str) -> None:
    monkeypatch.setenv("WORKBENCH_DATA", "")
    monkeypatch.setenv("WORKBENCH_CACHE", str(tiny_set / named) if named else "")
    monkeypatch.setattr(Path, "home", lambda: tiny_set)
    cache = tiny_set / (named or ".cache/workbench")
    put(cache / "tiny" / "one.gz", b"1" * 9)
    put(cache / "tiny" / "two.gz", b"2" * 9)
    assert set(contents("tiny")) == {"one", "two"}


@pytest.mark.parametrize("name", PLACES)
def test_the_whole_sets_have_mirrors_and_digests(name: str) -> None:
    (_, whole), *partial = PLACES[name]
    for wanted in whole:
        assert len(wanted.urls) >= 2 or ORIGINS[name].flattened
        assert all(url.endswith("/" + wanted.file) for url in wanted.urls)
    for part in [part for _, files in PLACES[name] for wanted in files for part in wanted.parts]:
        assert len(bytes.fromhex(part.sha256)) == 32
        assert part.size > 0
    assert not any(wanted.urls for _, files in partial for wanted in files)

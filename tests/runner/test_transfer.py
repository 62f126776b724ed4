"""What comes in is a stranger's: whole and checked, or nothing of it."""

import json
import os
import shutil
import stat
import zipfile
from pathlib import Path

import nbformat
import pytest

from workbench.errors import DataError, InputError, StorageError
from workbench.files import write_json
from workbench.records import Run
from workbench.runner import grid, transfer
from workbench.runner.transfer import export_run, import_file, merge, run_trials
from workbench.study import Claim, Study
from workbench.sweeps import trial_digest

KEYS = ["a" * 32, "b" * 32]


def write_trial(out, key, **entries):
    record = {"schema": 1, "key": key, "function": "m.f", "parameters": {"d": 1}, "result": 2, "seconds": 1.0}
    record |= {"finished": 5.0, "data_checksum": "", **entries}
    write_json(out / "trials" / f"{key}.json", record | {"digest": trial_digest(record)})


def make_run(out, seed=0, keys=KEYS, status="done"):
    """Write a run with results, an executed notebook, files of its own and some that are never taken."""
    run = Run.start(out, "demo", {"seed": seed}, profile="smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_RUN_DIR", str(run.folder))
        study = Study("demo", parameters={}, claims=[Claim("c", "p", "s", "r")], stages={"a": 1}, dataset=None)
    study.judge("c", value=1.0, interval=(0.5, 2.0), n=3, unit="", verdict="holds")
    study.report(trials=keys)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise SystemExit('executed')")])
    nbformat.write(book, run.folder / "executed.ipynb")
    (run.folder / "deep").mkdir()
    for name in ("log.txt", "deep/curve.npz", "page.html", "progress.jsonl", ".half.0123456789ab.json"):
        (run.folder / name).write_text(name)
    run.finish(status)
    for key in keys:
        write_trial(out, key)
    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def archive(tmp_path, out):
    """Return a function that exports a run and changes the file: names to bytes, None to remove, or edits by hand."""
    run = make_run(out)
    path = tmp_path / "run.zip"
    export_run(run, path)
    folder = f"demo/{run.folder.name}"

    def change(entries=None, **record):
        with zipfile.ZipFile(path) as source:
            held = {name: source.read(name) for name in source.namelist()}
        if record:
            held[f"{folder}/run.json"] = json.dumps(json.loads(held[f"{folder}/run.json"]) | record).encode()
        for name, data in (entries or {}).items():
            name = name.replace("RUN", folder)
            held.pop(name, None)
            if data is not None:
                held[name] = data if isinstance(data, bytes) else data.encode()
        with zipfile.ZipFile(path, "w") as target:
            for name, data in held.items():
                target.writestr(name, data)
        return path

    change.path, change.folder = path, folder
    return change


def tree(folder):
    """Return all files of a folder with their bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_comes_back_as_it_went(tmp_path, out, archive):
    other = tmp_path / "other"
    taken = import_file(archive.path, other)
    assert [path.relative_to(other).as_posix() for path in taken.runs] == [archive.folder]
    assert (len(taken.trials), taken.known) == (2, 0)
    come, went = tree(other), tree(out)
    never = {f"{archive.folder}/{name}" for name in ("progress.jsonl", ".half.0123456789ab.json", "page.html")}
    assert come.keys() - {f"{archive.folder}/page.html", "plotly.min.js"} == went.keys() - never
    assert all(come[name] == went[name] for name in went.keys() - never)
    page = come[f"{archive.folder}/page.html"].decode()  # made from the notebook, which was not executed
    assert "SystemExit" in page
    assert Run.read(taken.runs[0]).status == "done"
    assert run_trials(taken.runs[0]) == KEYS


def test_the_same_run_gives_the_same_file(tmp_path, out):
    run = make_run(out)
    for name in ("a.zip", "b.zip"):
        assert export_run(run, tmp_path / name) == 2
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_what_is_there_is_not_touched(tmp_path, archive):
    other = tmp_path / "other"
    taken = import_file(archive.path, other)
    page = taken.runs[0] / "page.html"
    page.write_text("mine")

    def written() -> dict[Path, tuple[int, int, int]]:
        """Which files there are and when they were written; reading them moves another time."""
        found = {path: path.stat() for path in other.rglob("*.json")}
        return {path: (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns) for path, stat in found.items()}

    before = written()
    again = import_file(archive.path, other)
    assert again.known == 3
    assert written() == before
    assert page.read_text() == "mine"


@pytest.mark.parametrize("name", ["run.json", "results.json", "log.txt", "deep/curve.npz", "executed.ipynb"])
def test_a_run_that_differs_is_refused_by_name(tmp_path, archive, name):
    other = tmp_path / "other"
    import_file(archive.path, other)
    path = other / archive.folder / name
    path.write_bytes(path.read_bytes() + b" ")
    before = tree(other)
    with pytest.raises(InputError, match=f"FILE must not differ from what is there already, got '{archive.folder}'"):
        import_file(archive.path, other)
    assert tree(other) == before


def test_trials_may_differ_in_time_and_in_nothing_else(tmp_path, archive):
    other = tmp_path / "other"
    write_trial(other, KEYS[0], seconds=9.0, finished=7.0)
    assert import_file(archive.path, other).known == 1
    assert json.loads((other / "trials" / f"{KEYS[0]}.json").read_text())["seconds"] == 9.0
    third = tmp_path / "third"
    write_trial(third, KEYS[1], result=3)
    with pytest.raises(InputError, match=f"differ from what is there already, got 'trials/{KEYS[1]}.json'"):
        import_file(archive.path, third)
    assert list(tree(third)) == [f"trials/{KEYS[1]}.json"]


EVIL = [
    "../evil", "/etc/evil", "demo/../../evil", "RUN/../../../evil", "C:/evil/x/y", "RUN\\..\\x/y", "RUN/.hidden",
    ".locks/x/y", "RUN/..", "RUN//x", "RUN/a\nb", "evil", "index.sqlite", "plotly.min.js", "demo/evil.json",
    "trials/evil.json", f"trials/{'A' * 32}.json", f"trials/{'a' * 32}.failed.json", f"trials/{'a' * 33}.json",
    "demo/sweep-../x.json", "demo/sweep-a.b.json", "RUN/x ", "RUN/x.", "RUN/a:b", "./demo/x/y", "~/x/y/", "demo//x/y",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_names_that_lead_elsewhere_are_refused(tmp_path, archive, name):
    other = tmp_path / "a" / "b" / "other"
    path = archive({name: "evil"})
    if name.endswith("/"):
        assert import_file(path, other).known == 0  # a folder of its own is nothing
        assert "~" not in {p.name for p in other.iterdir()}
        return
    with pytest.raises(InputError, match="FILE must hold runs, their trials and nothing else, got"):
        import_file(path, other)
    assert not (tmp_path / "a").exists()


def test_a_link_comes_as_the_text_that_it_is(tmp_path, archive):
    with zipfile.ZipFile(archive.path, "a") as target:
        link = zipfile.ZipInfo(f"{archive.folder}/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
    come = import_file(archive.path, tmp_path / "other").runs[0] / "link"
    assert (come.is_symlink(), come.read_text()) == (False, "/etc/passwd")


def test_what_is_encrypted_is_refused(tmp_path, archive):
    whole = bytearray(archive.path.read_bytes())
    whole[whole.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first entry in the list at the end
    (tmp_path / "secret.zip").write_bytes(whole)
    with pytest.raises(DataError, match=r"must be a file that `workbench export` wrote, got RuntimeError: .*encrypted"):
        import_file(tmp_path / "secret.zip", tmp_path / "other")


@pytest.mark.parametrize(("limit", "size"), [("_MAX_BYTES", 50_000), ("_MAX_TEXT", 200), ("_MAX_FILES", 3)])
def test_size_is_limited_whatever_the_file_says(tmp_path, archive, monkeypatch, limit, size):
    path = archive({"RUN/zeros.bin": b"\0" * 60_000})
    monkeypatch.setattr(transfer, limit, size)
    with pytest.raises(InputError, match=r"must hold no more than|must be at most 3"):
        import_file(path, tmp_path / "other")
    assert list((tmp_path / "other").glob("*")) == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"RUN/run.json": None}, "run.json must be a JSON file that is whole"),
        ({"RUN/run.json": "{"}, "run.json must be a JSON file that is whole"),
        ({"RUN/run.json": "[1]"}, "run.json must be the record of a run, got a list"),
        ({"RUN/results.json": '{"schema": 2}'}, "results.json must hold results of schema 1"),
        ({"RUN/executed.ipynb": "no notebook"}, "executed.ipynb must be a notebook"),
        (
            {"RUN/executed.ipynb": '{"nbformat": 4, "nbformat_minor": 5, "cells": [{"cell_type": "code"}]}'},
            "run.zip must be a file that `workbench export` wrote, got ValidationError: The notebook",
        ),
        ({f"trials/{KEYS[0]}.json": "{}"}, "must be a whole trial"),
        ({f"trials/{KEYS[0]}.json": '{"a": 1}'}, "must be a whole trial"),
        ({f"trials/{'c' * 32}.json": None, "demo/other/log.txt": "x"}, "run.json must be a JSON file that is whole"),
        ({"demo/sweep-1a.json": "{}"}, "must be the manifest of a sweep"),
    ],
)
def test_records_are_checked_before_anything_is_in_place(tmp_path, archive, entries, message):
    path = archive(entries)
    with pytest.raises((DataError, InputError), match=message):
        import_file(path, tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"schema": 99}, "schema 99"),
        ({"run": "../../x"}, "the record of"),
        ({"study": "other"}, "the record of other/"),
    ],
)
def test_a_record_that_is_newer_or_elsewhere_is_refused(tmp_path, archive, record, message):
    with pytest.raises(DataError, match=message):
        import_file(archive(**record), tmp_path / "other")


def test_a_trial_that_was_changed_is_refused(tmp_path, out, archive):
    text = (out / "trials" / f"{KEYS[0]}.json").read_text().replace('"result": 2', '"result": 3')
    with pytest.raises(DataError, match="digest or its name does not match"):
        import_file(archive({f"trials/{KEYS[0]}.json": text}), tmp_path / "other")
    whole = (out / "trials" / f"{KEYS[0]}.json").read_text()
    with pytest.raises(DataError, match="digest or its name does not match"):
        import_file(archive({f"trials/{KEYS[0]}.json": None, f"trials/{'d' * 32}.json": whole}), tmp_path / "other")


def test_every_truncation_and_flipped_byte_is_refused_or_harmless(tmp_path, archive):
    whole = archive.path.read_bytes()
    import_file(archive.path, tmp_path / "good")
    good = {name: data for name, data in tree(tmp_path / "good").items() if not name.endswith("page.html")}
    for n in range(0, len(whole), 41):
        for kind, data in {"cut": whole[:n], "flip": whole[:n] + bytes([whole[n] ^ 0xFF]) + whole[n + 1 :]}.items():
            (tmp_path / "bad.zip").write_bytes(data)
            other = tmp_path / "other"
            try:
                import_file(tmp_path / "bad.zip", other)
            except (DataError, InputError):
                assert not other.exists() or list(other.iterdir()) == []
            else:
                come = {name: data for name, data in tree(other).items() if not name.endswith("page.html")}
                assert come.items() <= good.items(), (kind, n)
            shutil.rmtree(other, ignore_errors=True)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("text")])
def test_what_is_no_such_file_is_refused(tmp_path, make):
    make(tmp_path / "x.zip")
    with pytest.raises(
        (DataError, InputError), match=r"FILE must be a file|x\.zip must be a file that `workbench export`"
    ):
        import_file(tmp_path / "x.zip", tmp_path / "other")


def test_a_failing_move_leaves_nothing(tmp_path, archive, monkeypatch):
    replace, moved = Path.replace, []

    def fail_late(self, target):
        moved.append(target)
        if len(moved) == 3:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", lambda self, target: replace(self, target))
    monkeypatch.setattr(
        transfer, "_move", lambda moves, real=transfer._move: _with(monkeypatch, fail_late, real, moves)
    )
    with pytest.raises(StorageError, match="No space left"):
        import_file(archive.path, tmp_path / "other")
    assert len(moved) == 5  # three, and two back
    assert tree(tmp_path / "other") == {}


def _with(monkeypatch, replace, call, argument):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        call(argument)


def test_export_refuses_what_is_not_whole(tmp_path, out):
    run = make_run(out)
    for name in ("x", "x.tar"):
        with pytest.raises(InputError, match=r"FILE must end in \.zip"):
            export_run(run, tmp_path / name)
    (out / "trials" / f"{KEYS[0]}.json").write_text("{")
    (tmp_path / "x.zip").write_text("earlier")
    with pytest.raises(DataError, match="must be a whole trial"):
        export_run(run, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_text() == "earlier"
    live = Run.start(out, "demo", {})
    with pytest.raises(InputError, match="RUN must have ended"):
        export_run(live, tmp_path / "y.zip")


@pytest.mark.parametrize("trials", [None, 3, "abc", [1, "../../x", "z" * 32, {}], {"a": 1}])
def test_trials_named_by_a_stranger_never_lead_elsewhere(tmp_path, out, trials):
    run = make_run(out)
    results = json.loads((run.folder / "results.json").read_text())
    (run.folder / "results.json").write_text(json.dumps(results | {"extra": {"trials": trials}}))
    assert export_run(run, tmp_path / "x.zip") == 0


def test_folders_are_joined(tmp_path, out):
    shards = [tmp_path / name for name in ("one", "two")]
    runs = [make_run(shard, seed, [KEYS[0], f"{seed:032x}"]) for seed, shard in enumerate(shards)]
    write_json(shards[0] / "trials" / f"{'e' * 32}.failed.json", {"error": "ValueError"})
    for i, shard in enumerate(shards):
        points = [{"index": i, "parameters": {"seed": i}, "run": runs[i].folder.name, "status": "done", "seconds": 60}]
        about = {"schema": 1, "study": "demo", "id": "abc", "notebook": "demo.ipynb", "profile": "smoke"}
        grid.write_manifest(
            {**about, "shard": [i + 1, 2], "base": {}, "grid": {"seed": [0, 1]}, "points": points}, shard
        )
    before = [tree(shard) for shard in shards]
    taken = [merge(shard, out) for shard in (*shards, shards[0])]
    assert [each.known for each in taken] == [0, 1, 3]
    assert [tree(shard) for shard in shards] == before
    assert sorted(path.name for path in (out / "trials").iterdir()) == sorted(
        f"{key}.json" for key in (KEYS[0], f"{0:032x}", f"{1:032x}")
    )
    whole = grid.join([grid.read_manifest(path) for path in sorted((out / "demo").glob("sweep-abc*.json"))])
    assert list(grid.table(whole, out)["c"]) == [1.0, 1.0]


def test_a_shard_that_went_on_is_joined_again(tmp_path, out):
    shard = tmp_path / "one"
    point = {"index": 0, "parameters": {"seed": 0}, "run": None, "status": "pending", "seconds": None}
    about = {"schema": 1, "study": "demo", "id": "abc", "notebook": "demo.ipynb", "profile": "smoke", "shard": [1, 2]}
    manifest = {**about, "base": {}, "grid": {"seed": [0]}, "points": [point]}
    grid.write_manifest(manifest, shard)
    merge(shard, out)
    run = make_run(shard)
    grid.write_manifest({**manifest, "points": [{**point, "run": run.folder.name, "status": "done"}]}, shard)
    merge(shard, out)
    assert grid.read_manifest(out / "demo" / "sweep-abc.1-of-2.json")["points"][0]["status"] == "done"
    grid.write_manifest(manifest, shard)  # an older account takes nothing back
    merge(shard, out)
    assert grid.read_manifest(out / "demo" / "sweep-abc.1-of-2.json")["points"][0]["status"] == "done"


@pytest.mark.parametrize("shard", [["../../x", 2], [1], {"a": 1}, [True, 2], "1/2"])
def test_a_manifest_never_names_a_file_elsewhere(tmp_path, archive, shard):
    about = {"schema": 1, "study": "demo", "id": "abc", "notebook": "x", "profile": "smoke", "shard": shard}
    text = json.dumps({**about, "base": {}, "grid": {}, "points": []})
    with pytest.raises((DataError, InputError), match="manifest"):
        import_file(archive({"demo/sweep-abc.json": text}), tmp_path / "other")


def test_links_in_a_folder_are_refused(tmp_path, out):
    source = tmp_path / "source"
    run = make_run(source)
    (tmp_path / "secret").write_text("secret")
    (run.folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"DIR must hold plain files, no links, got '.*link'"):
        merge(source, out)
    (run.folder / "link").unlink()
    elsewhere = make_run(tmp_path / "elsewhere", 1)
    (source / "demo" / elsewhere.folder.name).symlink_to(elsewhere.folder)
    with pytest.raises(InputError, match="DIR must hold plain files, no links"):
        merge(source, out)
    assert not out.exists()


def test_what_cannot_be_joined(tmp_path, out):
    with pytest.raises(InputError, match="DIR must be a folder of runs"):
        merge(tmp_path / "missing", out)
    with pytest.raises(InputError, match="DIR must not be --out itself"):
        merge(tmp_path, tmp_path / "x" / "..")
    Run.start(tmp_path / "live", "demo", {}).release()
    assert len(merge(tmp_path / "live", out).runs) == 1  # interrupted: it can be resumed here
    live = Run.start(tmp_path / "live", "demo", {"seed": 1})
    with pytest.raises(InputError, match=f"DIR must hold runs that have ended, got '{live.folder.name}'"):
        merge(tmp_path / "live", out)


def test_a_pipe_in_a_folder_does_not_block(tmp_path, out):
    run = make_run(tmp_path / "source")
    os.mkfifo(run.folder / "pipe")
    assert len(merge(tmp_path / "source", out).runs) == 1

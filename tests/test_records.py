"""A run's record: owned, read, found, reopened; nothing in it is trusted."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench import records
from workbench.errors import DataError, InputError, StorageError
from workbench.records import Run, all_runs, find_run

OWNER = """
import sys, time
from pathlib import Path
from workbench.records import Run
run = Run.start(Path(sys.argv[1]), "demo", {"a": 1})
print(run.folder, flush=True)
time.sleep(60)
"""


def change(run, /, **entries):
    (run.folder / "run.json").write_text(json.dumps({**run.record, **entries}))


@pytest.fixture
def owned(tmp_path):
    """A run that belongs to another process."""
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_run_from_start_to_end(tmp_path):
    run = Run.start(tmp_path, "demo", {"a": 1, "device": "cpu"}, profile="smoke", key="k")
    assert (run.folder / "lock").exists()
    assert run.status == "running"
    assert Run.read(run.folder).status == "running"
    (run.folder / "results.json").write_text('{"dataset": {"name": "digits", "checksum": "c", "note": "n"}}')
    run.finish("done")
    assert not (run.folder / "lock").exists()
    record = Run.read(run.folder).record
    assert record["data"]["name"] == "digits"
    expected = {
        "study": "demo",
        "run": run.folder.name,
        "status": "done",
        "key": "k",
        "profile": "smoke",
        "error": None,
    }
    assert record | expected == record
    assert (record["pid"], record["schema"], record["parameters"]["a"]) == (os.getpid(), 1, 1)
    assert Run.read(run.folder).status == "done"


@pytest.mark.parametrize("results", [None, "", "[]", "{}", '{"dataset": null}'])
def test_a_run_may_end_without_results_or_data(tmp_path, results):
    run = Run.start(tmp_path, "demo", {})
    if results is not None:
        (run.folder / "results.json").write_text(results)
    run.finish("failed", {"name": "E", "message": "m", "cell": 1})
    assert "data" not in Run.read(run.folder).record


def test_the_death_of_the_owner_shows(owned):
    process, folder = owned
    assert Run.read(folder).status == "running"
    with pytest.raises(InputError, match=f"RUN must have ended, {folder.name} runs as process {process.pid}"):
        Run.read(folder).reopen()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Run.read(folder).status == "interrupted"
    assert json.loads((folder / "run.json").read_text())["status"] == "running"  # looking changes nothing


def test_a_run_stays_owned_when_nobody_refers_to_it(tmp_path):
    folder = Run.start(tmp_path, "demo", {}).folder
    gc.collect()
    assert Run.read(folder).status == "running"


def test_an_end_between_two_looks_is_an_end(tmp_path):
    run = Run.start(tmp_path, "demo", {})
    seen = Run.read(run.folder)
    run.finish("done")
    assert (seen.record["status"], seen.status) == ("running", "done")


def test_reopened_a_run_keeps_what_was(tmp_path, monkeypatch):
    run = Run.start(tmp_path, "demo", {"a": 1}, key="k")
    (run.folder / "progress.jsonl").write_text("{}\n")
    run.finish("failed", {"cell": 3, "name": "E", "message": "m"})
    before = dict(run.record)
    monkeypatch.setattr(records, "_commit", lambda: ("c0ffee", True))
    again = Run.read(run.folder)
    again.reopen()
    assert (again.status, Run.read(run.folder).status) == ("running", "running")
    assert not (run.folder / "progress.jsonl").exists()
    again.finish("done")
    record = Run.read(run.folder).record
    assert [record[name] for name in ("status", "commit", "dirty", "key", "run", "error")] == [
        "done", "c0ffee", True, "k", run.folder.name, None,
    ]  # fmt: skip
    (earlier,) = record["attempts"]
    assert earlier == {name: before[name] for name in earlier}
    assert {"status", "error", "started", "seconds", "commit", "versions"} <= earlier.keys()


def test_a_killed_run_is_reopened_as_interrupted(owned):
    process, folder = owned
    process.kill()
    process.wait()
    for n in (1, 2):
        run = Run.read(folder)
        run.reopen()
        assert [attempt["status"] for attempt in run.record["attempts"]] == ["interrupted"] * n
        run.release()  # as its death would


def test_a_done_run_is_never_reopened(tmp_path):
    run = Run.start(tmp_path, "demo", {})
    run.finish("done")
    before = (run.folder / "run.json").read_bytes()
    with pytest.raises(InputError, match="RUN must not be done"):
        run.reopen()
    assert (run.folder / "run.json").read_bytes() == before
    again = Run.start(tmp_path, "demo", {})
    assert again.folder != run.folder


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"schema": records.SCHEMA + 1}, r"schema 2 \(this version reads up to 1: install a newer one\)"),
        ({"schema": 0}, "schema 0"),
        ({"schema": "1"}, "schema '1'"),
        ({"status": "fine"}, "status 'fine'"),
        ({"study": "../../etc"}, "the record of ../../etc/"),
        ({"run": "/etc"}, "the record of demo//etc"),
        ({"run": None}, "run None"),
        ({"parameters": [1]}, r"parameters \[1\]"),
        ({"started": 3}, "started 3"),
    ],
)
def test_a_record_of_something_else_is_refused(tmp_path, entries, message):
    run = Run.start(tmp_path, "demo", {})
    change(run, **entries)
    with pytest.raises(DataError, match=f"run.json must be the record of a run, got {message}"):
        Run.read(run.folder)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1', "[" * 100_000, "\udcff", "1" * 5000])
def test_what_is_no_record_is_refused(tmp_path, text):
    run = Run.start(tmp_path, "demo", {})
    (run.folder / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"run\.json must be"):
        Run.read(run.folder)


def test_a_missing_record_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"run\.json must be a JSON file that is whole, got FileNotFoundError"):
        Run.read(tmp_path)


def test_a_record_of_the_first_version_is_read(tmp_path):
    run = Run.start(tmp_path, "demo", {})
    run.finish("done")
    for name in ("pid", "host", "error", "data"):
        run.record.pop(name, None)
    change(run)
    assert Run.read(run.folder).status == "done"
    change(run, status="running")  # no lock in its folder: nobody owns it
    assert Run.read(run.folder).status == "interrupted"


def test_a_folder_that_cannot_be_locked_is_taken_at_its_word(tmp_path, monkeypatch):
    run = Run.start(tmp_path, "demo", {})
    seen = Run.read(run.folder)

    def refuse(self, seconds=0):
        raise PermissionError("read only")

    monkeypatch.setattr(Run, "acquire", refuse)
    assert seen.status == "running"


def test_runs_are_found_by_what_a_person_writes(tmp_path, monkeypatch):
    stamps = iter(["20260101T000000Z", "20260102T000000Z", "20260102T000000Z"])
    monkeypatch.setattr(records, "utc", lambda form, at=None: next(stamps) if form.endswith("Z") else "2026-01-01")
    first, second, other = (Run.start(tmp_path, name, {}) for name in ("a_study", "a_study", "other"))
    for text, run in {
        "a-study": second,
        "a_study": second,
        "family/a-study.ipynb": second,
        "other": other,
        first.folder.name: first,
        first.folder.name[:10]: first,
        f"other/{other.folder.name}": other,
        f"runs\\other\\{other.folder.name}": other,
        "other/2026": other,
        "a-study/20260102": second,
        str(first.folder): first,
        str(first.folder / "run.json"): first,
    }.items():
        assert find_run(tmp_path, text).folder == run.folder, text
    assert list(all_runs(tmp_path)) == [first.folder, second.folder, other.folder]


def test_the_name_of_a_run_is_one_moment(tmp_path, monkeypatch):
    # The clock is read once: the seconds of one look and the parts of the next would sort across a second's end.
    moments = iter([1_600_000_000_999_999_936, 1_600_000_001_000_000_000, 1_600_000_001_000_000_064])
    monkeypatch.setattr(records.time, "time_ns", lambda: next(moments))
    names = [Run.start(tmp_path, "demo", {}).folder.name for _ in range(3)]
    assert names == ["20200913T122640Z-ee6b27", "20200913T122641Z-000000", "20200913T122641Z-000001"]


def test_names_of_runs_sort_by_time(tmp_path):
    folders = [Run.start(tmp_path, "demo", {"n": n}).folder for n in range(5)]
    assert list(all_runs(tmp_path)) == folders
    assert find_run(tmp_path, "demo").folder == folders[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026", "RUN must mean one run, got '2026'; it may be a_study/2026"),
        ("a_studdy", "did you mean a_study"),
        ("zzz", "`workbench runs` shows what there is"),
        ("", "`workbench runs` shows"),
        ("../..", "must be a run"),
        ("other/2026", "must be a run"),
    ],
)
def test_a_run_that_is_not_meant(tmp_path, text, message):
    for _ in range(2):
        Run.start(tmp_path, "a_study", {})
    with pytest.raises(InputError, match=message):
        find_run(tmp_path, text)


def test_what_is_no_run_is_not_listed(tmp_path):
    run = Run.start(tmp_path, "demo", {})
    for place in (".imported/x", "demo/.x", "trials"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "run.json").write_text("{}")
    (tmp_path / "demo" / "empty").mkdir()
    assert list(all_runs(tmp_path)) == [run.folder]
    assert list(all_runs(tmp_path / "nothing")) == []


@pytest.mark.parametrize("study", ["../up", "..", ".", "", ".hidden", "a/b", "/tmp"])
def test_a_study_is_a_name(tmp_path, study):
    with pytest.raises(InputError, match="study must be a name, not a path"):
        Run.start(tmp_path / "runs", study, {})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_bad_input(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageError, match=r"No space left on device.*then resume"):
        Run.start(tmp_path, "demo", {})


def test_many_readers_do_not_keep_an_owner_out(tmp_path):
    run = Run.start(tmp_path, "demo", {})
    run.release()
    code = "import sys; from workbench.records import Run\nwhile True: Run.read(sys.argv[1]).status"
    readers = [subprocess.Popen([sys.executable, "-c", code, str(run.folder)]) for _ in range(2)]
    try:
        time.sleep(0.5)
        for _ in range(10):
            again = Run.read(run.folder)
            again.reopen()
            again.release()
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    assert len(Run.read(run.folder).record["attempts"]) == 10


@pytest.mark.parametrize("name", ["trials", "site"])
def test_a_study_does_not_take_the_name_of_another_folder(tmp_path, name):
    with pytest.raises(InputError, match=r"study must not be one of trials, site"):
        Run.start(tmp_path, name, {})

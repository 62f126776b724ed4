"""Tables of runs and trials are what the files say, whatever state the index is in."""

import json
import math
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import warnings

import pandas as pd
import pytest

import workbench
from workbench import index, records
from workbench.files import write_json
from workbench.records import Run
from workbench.study import Claim, Study
from workbench.sweeps import trial_digest

CLAIM = Claim("c", "paper", "A claim.", "value >= 1")


def write_trial(out, key, *, function="measure.trial", result=None, suffix="", **entries):
    record = {"schema": 1, "key": key, "function": function, "parameters": {"d": 3}, "result": result, "seconds": 1.5}
    record |= {"finished": 0.0, **entries}
    write_json(out / "trials" / f"{key}{suffix}.json", record | {"digest": trial_digest(record)})


@pytest.fixture
def out(tmp_path):
    """Two runs of a study, one failed, and three trials."""
    for seed in (0, 1):
        run = Run.start(tmp_path, "demo", {"seed": seed, "dims": [1, 2]}, profile="smoke")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WORKBENCH_RUN_DIR", str(run.folder))
            study = Study("demo", parameters={}, claims=[CLAIM], stages={"a": 1}, dataset=None)
        study.judge("c", value=math.inf, interval=(5, math.inf), n=3, unit="", verdict="holds")
        if not seed:
            study.report()
        run.finish("failed" if seed else "done")
    write_trial(tmp_path, "a" * 32, result={"accuracy": 0.5, "loss": "nan", "curve": [1, 2]})
    write_trial(tmp_path, "b" * 32, result=2, function="toy.solve")
    write_trial(tmp_path, "c" * 32, suffix=".failed", error="ValueError")
    return tmp_path


def same(a, b):
    pd.testing.assert_frame_equal(a, b)


def test_runs(out):
    table = workbench.runs(out)
    assert list(table["status"]) == ["done", "failed"]
    assert list(table["parameters.seed"]) == [0, 1]
    assert list(table["parameters.dims"]) == [[1, 2], [1, 2]]
    assert table["results.c"][0] == math.inf
    assert (table["results.c.low"][0], table["results.c.n"][0], table["results.c.verdict"][0]) == (5, 3, "holds")
    assert pd.isna(table["results.c.verdict"][1])
    assert table["started"].dtype.kind == "M"
    assert list(table.columns[:5]) == ["study", "run", "status", "profile", "started"]
    assert table["folder"][0] == str(out / "demo" / table["run"][0])
    assert len(workbench.runs(out, study="other")) == 0


def test_trials(out):
    table = workbench.trials(out).set_index("key")
    first, second, third = (table.loc[letter * 32] for letter in "abc")
    assert (first["result.accuracy"], first["parameters.d"], first["seconds"], first["failed"]) == (0.5, 3, 1.5, False)
    assert math.isnan(first["result.loss"])
    assert "result.curve" not in table
    assert (second["result"], second["function"]) == (2, "toy.solve")
    assert third["failed"]
    assert first["finished"] == pd.Timestamp("1970-01-01", tz="UTC")
    assert list(workbench.trials(out, "solve")["key"]) == list(workbench.trials(out, "toy.solve")["key"]) == ["b" * 32]


def test_nothing_there_is_an_empty_table(tmp_path):
    for table in (workbench.runs(tmp_path / "none"), workbench.trials(tmp_path / "none"), workbench.trials(tmp_path)):
        assert len(table) == 0
        assert "status" in table or "failed" in table
    assert not (tmp_path / "none").exists()


def test_what_did_not_change_is_not_read_again(out, monkeypatch):
    before = workbench.runs(out), workbench.trials(out)
    monkeypatch.setattr(index, "_document", lambda *_: pytest.fail("read again"))
    same(workbench.runs(out), before[0])
    same(workbench.trials(out), before[1])


def test_new_changed_and_removed_files_show(out):
    workbench.trials(out)
    write_trial(out, "a" * 32, result={"accuracy": 0.75})
    write_trial(out, "d" * 32, result=1)
    (out / "trials" / f"{'b' * 32}.json").unlink()
    table = workbench.trials(out).set_index("key")
    assert list(table.index) == ["a" * 32, "c" * 32, "d" * 32]
    assert table["result.accuracy"].iloc[0] == 0.75
    run = Run.start(out, "demo", {"seed": 2})
    assert workbench.runs(out).set_index("run")["status"][run.folder.name] == "running"
    run.release()  # as the death of its process would: no file changes
    assert workbench.runs(out).set_index("run")["status"][run.folder.name] == "interrupted"
    with sqlite3.connect(out / "index.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM documents WHERE kind = 'trial'").fetchone() == (3,)
    connection.close()


def test_a_change_that_keeps_the_size_shows(out):
    for value in (0.25, 0.75):
        write_trial(out, "a" * 32, result={"accuracy": value})
        assert workbench.trials(out)["result.accuracy"][0] == value


def corrupt(path):
    path.write_bytes(b"SQLite format 3\0" + os.urandom(5000))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_a_page(path):
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def other_version(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE documents SET row = '[1]', stamp = '99' || stamp")
    connection.close()


def other_table(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE documents (x)")
    connection.close()


def remove(path):
    path.unlink()


def make_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "harm",
    [corrupt, truncate, damage_a_page, other_version, other_table, remove, make_folder],
    ids=lambda f: f.__name__,
)
def test_an_index_in_any_state_gives_the_same_tables(out, harm):
    before = workbench.runs(out), workbench.trials(out)
    harm(out / "index.sqlite")
    for _ in range(2):
        same(workbench.runs(out), before[0])
        same(workbench.trials(out), before[1])


@pytest.mark.parametrize("harm", [corrupt, truncate, damage_a_page, other_version, remove], ids=lambda f: f.__name__)
def test_a_broken_index_is_made_anew(out, harm, monkeypatch):
    workbench.trials(out)
    harm(out / "index.sqlite")
    workbench.trials(out)
    workbench.trials(out)  # what is found broken while writing is removed then, made at the next call
    monkeypatch.setattr(index, "_document", lambda *_: pytest.fail("read again"))
    workbench.trials(out)


def test_a_locked_index_is_done_without(out, monkeypatch):
    monkeypatch.setattr(index, "_BUSY_SECONDS", 0.05)
    expected = workbench.trials(out)
    write_trial(out, "d" * 32)
    with sqlite3.connect(out / "index.sqlite", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert len(workbench.trials(out)) == len(expected) + 1
        other.execute("ROLLBACK")
    other.close()
    assert len(workbench.trials(out)) == len(expected) + 1


def test_a_folder_that_cannot_be_written_still_has_tables(out, monkeypatch):
    expected = workbench.trials(out)
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **more: connect(f"file:{path}?mode=ro", uri=True, **more)
    )  # as root no folder is read only
    write_trial(out, "d" * 32)
    assert len(workbench.trials(out)) == len(expected) + 1
    (out / "index.sqlite").unlink()
    assert len(workbench.trials(out)) == len(expected) + 1


def test_what_cannot_be_read_is_named_once_and_left_out(out):
    (out / "trials" / f"{'a' * 32}.json").write_text("{")
    (out / "trials" / f"{'d' * 32}.json").write_text("[1]")
    for _ in range(2):  # the second time from the index
        with pytest.warns(
            UserWarning,
            match=r"left out of the table: .*aaa.json must be a .*ddd.json must be a whole",
        ) as said:
            assert len(workbench.trials(out)) == 2
        assert len(said) == 1
    folder = workbench.runs(out)["folder"][0]
    write_json(f"{folder}/results.json", {"schema": 9})
    with pytest.warns(UserWarning, match="results.json must hold results of schema 1"):
        table = workbench.runs(out)
    assert list(table["status"]) == ["done", "failed"]  # what the record itself says stays
    write_json(f"{folder}/run.json", {"schema": records.SCHEMA + 1})
    with pytest.warns(UserWarning, match="run.json must be the record of a run"):
        assert list(workbench.runs(out)["status"]) == ["failed"]


def test_a_run_that_goes_away_meanwhile_harms_no_table(out, monkeypatch):
    gone = Run.start(out, "gone", {})
    monkeypatch.setattr(
        Run, "status", property(lambda run, real=Run.status: shutil.rmtree(run.folder) or real.fget(run))
    )
    assert list(workbench.runs(out, "gone")["status"]) == ["interrupted"]
    assert not gone.folder.exists()


def test_two_processes_at_once_see_everything(out):
    for i in range(100):
        write_trial(out, f"{i:032x}", result=i)
    code = "import sys, workbench\nfor _ in range(5): print(len(workbench.trials(sys.argv[1])))"
    command = [sys.executable, "-W", "error", "-c", code, str(out)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [process.communicate()[0].split() for process in processes]
    assert counts == [["103"] * 5] * 3


def test_the_index_follows_the_umask_and_leaves_nothing_else(out):
    with warnings.catch_warnings(record=True) as said:
        workbench.runs(out)
        workbench.trials(out)
    assert said == []
    assert sorted(p.name for p in out.iterdir()) == ["demo", "index.sqlite", "trials"]
    assert stat.S_IMODE((out / "index.sqlite").stat().st_mode) & 0o400


def test_strangers_words_are_data(out):
    nasty = {"); DROP TABLE documents; --": "<script>", "\ud800": "'", "": None}
    write_trial(out, "e" * 32, parameters=nasty, result=json.loads('{"x": 1e999, "y": 123456789012345678901234567890}'))
    table = workbench.trials(out).set_index("key").loc["e" * 32]
    assert table["parameters.); DROP TABLE documents; --"] == "<script>"
    assert (table["result.x"], table["result.y"]) == (math.inf, 123456789012345678901234567890)
    assert len(workbench.trials(out)) == 4

"""What the folder of runs holds, and that only what is named goes."""

import os
import time

import pytest

from workbench.errors import InputError
from workbench.files import write_json
from workbench.records import Run
from workbench.runner import cache
from workbench.runner.cache import cache_rows, choose, remove
from workbench.sweeps import trial_digest


def write_trial(out, key, **entries):
    record = {"schema": 1, "key": key, "function": "m.f", "parameters": {}, "result": 2, "seconds": 30.0, **entries}
    write_json(out / "trials" / f"{key}.json", record | {"digest": trial_digest(record)})


def age(path):
    os.utime(path, (time.time() - 7200,) * 2)


@pytest.fixture
def out(tmp_path):
    """Two functions' trials, one referred to; a failed one, a damaged one; a run of each kind; leftovers."""
    out = tmp_path / "runs"
    done = Run.start(out, "demo", {})
    write_json(done.folder / "results.json", {"extra": {"trials": ["a" * 32]}})
    done.finish("done")
    broken = Run.start(out, "demo", {})
    broken.release()
    for key, function in {"a": "m.f", "b": "m.f", "c": "m.g"}.items():
        write_trial(out, key * 32, function=function)
    write_json(out / "trials" / f"{'d' * 32}.failed.json", {"error": "ValueError"})
    write_trial(out, "e" * 32)
    damaged = out / "trials" / f"{'e' * 32}.json"
    damaged.write_text(damaged.read_text().replace('"result": 2', '"result": 3'))
    (out / "demo" / "empty").mkdir()
    for folder in (out, out / "trials", done.folder, out / "demo" / "empty"):
        (folder / ".x.0123456789ab.json").write_text("half")
        age(folder / ".x.0123456789ab.json")
    (out / ".import-0123456789ab" / "demo").mkdir(parents=True)
    for path in (out / ".import-0123456789ab", out / "demo" / "empty"):
        age(path)
    (out / "trials" / ".young.0123456789ab.json").write_text("somebody writes")
    (out / ".locks").mkdir()
    (out / ".mine").touch()
    age(out / ".mine")
    return out


def files(out):
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def test_what_there_is(out):
    rows = {row.name: row for row in cache_rows(out)}
    assert {name: len(row.paths) for name, row in rows.items()} == {
        "m.f": 2, "m.g": 1, "unused": 2, "failed": 1, "damaged": 1, "interrupted": 1, "leftovers": 6,
    }  # fmt: skip
    assert (rows["m.f"].seconds, rows["m.f"].unused, rows["m.g"].unused) == (60.0, 1, 1)
    assert rows["m.f"].size == sum((out / "trials" / f"{key * 32}.json").stat().st_size for key in "ab")
    assert {path.name for path in rows["leftovers"].paths} == {".x.0123456789ab.json", ".import-0123456789ab", "empty"}
    assert cache_rows(out / "nothing") == []


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("m.f", {f"trials/{'a' * 32}.json", f"trials/{'b' * 32}.json"}),
        ("unused", {f"trials/{'b' * 32}.json", f"trials/{'c' * 32}.json"}),
        ("failed", {f"trials/{'d' * 32}.failed.json"}),
        ("damaged", {f"trials/{'e' * 32}.json"}),
    ],
)
def test_what_is_named_goes_and_nothing_else(out, name, gone):
    before = files(out)
    assert remove(choose(cache_rows(out), [name]), out) == len(gone)
    assert before - files(out) == gone


def test_broken_off_runs_and_leftovers_go_whole(out):
    rows = choose(cache_rows(out), ["interrupted", "leftovers", "interrupted"])
    remove(rows, out)
    assert [row.name for row in cache_rows(out)] == ["m.f", "m.g", "unused", "failed", "damaged"]
    assert {".young.0123456789ab.json", ".mine"} <= {path.name for path in out.rglob(".*")}
    assert len(list(out.glob("demo/*"))) == 1
    assert (out / ".locks").is_dir()


def test_a_running_run_is_never_touched(out):
    (row,) = choose(cache_rows(out), ["interrupted"])
    (folder,) = row.paths
    run = Run.read(folder)
    run.reopen()  # somebody goes on with it after it was listed
    assert remove([row], out) == 0
    assert Run.read(folder).status == "running"
    assert "interrupted" not in {row.name for row in cache_rows(out)}
    before = files(out)
    for name in ("m.f", "unused", "failed", "damaged"):
        with pytest.raises(InputError, match=f"trials must not be removed while {folder.name} runs; wait"):
            remove(choose(cache_rows(out), [name]), out)
    assert files(out) == before


def test_a_name_that_is_not_there(out):
    with pytest.raises(InputError, match=r"NAME must be one of m\.f, m\.g, unused, .*, got '\.\./x'"):
        choose(cache_rows(out), ["../x"])
    with pytest.raises(InputError, match=r"NAME must be one of unused, failed, damaged, .*, got 'm'"):
        choose([], ["m"])


def test_names_of_which_there_is_nothing_are_no_mistake(tmp_path):
    chosen = choose([], ["failed", "leftovers"])
    assert [row.paths for row in chosen] == [[], []]
    assert remove(chosen, tmp_path) == 0


def test_strangers_records_are_counted_and_not_believed(out):
    write_trial(out, "f" * 32, function="interrupted", seconds="long")
    rows = cache_rows(out)
    assert next(row for row in rows if row.name == "interrupted").seconds == 0.0
    remove(choose(rows, ["interrupted"]), out)  # the runs, not the trial that bears their name
    assert (out / "trials" / f"{'f' * 32}.json").exists()
    (out / "trials" / "link.0123456789ab").symlink_to(out.parent)
    (out / ".l.0123456789ab").symlink_to(out.parent)
    os.utime(out / ".l.0123456789ab", (0, 0), follow_symlinks=False)
    remove(choose(cache_rows(out), ["leftovers"]), out)  # the link goes, not what it leads to
    assert not (out / ".l.0123456789ab").is_symlink()
    assert out.exists()
    assert cache._LEFT_SECONDS == 3600

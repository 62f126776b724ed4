"""Trials are computed once, kept as they finish, and told from damaged ones."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from workbench.errors import DataError, InputError, StorageError
from workbench.sweeps import Sweep, TrialError, read_trial, trial_digest

SOURCE = """
import os, random, time
from pathlib import Path
import numpy, torch
from helper_of_trials import FACTOR

def double(x, log):
    with Path(log).open("a") as file:
        file.write(f"{x}\\n")
    return {"y": FACTOR * x, "threads": torch.get_num_threads()}

def slow_double(x, log):
    time.sleep(0.2)
    return double(x, log)

def fail_on_two(x):
    return 10 // (x - 2)

def fail_unless(flag):
    return Path(flag).stat().st_size

class Odd(Exception):
    def __init__(self, a, b):  # cannot be rebuilt from its arguments, as some exceptions cannot
        super().__init__(f"odd {a}: {b}\\nfurther lines")
        self.add_note("a note: kept")

def odd():
    raise Odd(1, 2)

def unkeepable(x):
    return {0: object(), 1: "kept"}[x] if x < 2 else os.sys.exit(3)

def unseeded(x=0):
    time.sleep(x / 1000)
    return [random.random(), float(numpy.random.rand()), float(torch.rand(())), torch.randn(20, 20).sum().item()]
"""


@pytest.fixture
def trials(tmp_path, monkeypatch):
    """A module of trial functions in a folder of its own, importable here and in workers."""
    (tmp_path / "helper_of_trials.py").write_text("FACTOR = 2\n")
    (tmp_path / "some_trials.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import some_trials

    yield some_trials
    del sys.modules["some_trials"], sys.modules["helper_of_trials"]


def kept(folder):
    return [path for path in folder.glob("*.json") if not path.name.endswith(".failed.json")]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_trial_is_computed_once(trials, tmp_path, workers):
    log = tmp_path / "log"
    jobs = [{"x": x, "log": str(log)} for x in range(3)]
    with Sweep(tmp_path / "kept", workers=workers) as sweep:
        first = sweep.map(trials.double, jobs)
        again = sweep.map(trials.double, jobs)
    assert [t.result["y"] for t in first] == [t.result["y"] for t in again] == [0, 2, 4]
    assert {t.result["threads"] for t in first} == {1}
    assert not any(t.cached for t in first)
    assert all(t.cached for t in again)
    assert sorted(log.read_text().split()) == ["0", "1", "2"]


def test_a_forced_run_keeps_the_earlier_file(trials, tmp_path):
    job = [{"x": 1, "log": str(tmp_path / "log")}]
    Sweep(tmp_path / "kept", workers=1).map(trials.double, job)
    Sweep(tmp_path / "kept", workers=1, force=True).map(trials.double, job)
    assert len(kept(tmp_path / "kept")) == 2


def test_a_failing_trial_does_not_stop_the_others(trials, tmp_path):
    with pytest.raises(TrialError, match=r"1 of 3 trials failed.*\n.*x=2\): ZeroDivisionError"):
        Sweep(tmp_path / "kept", workers=1).map(trials.fail_on_two, [{"x": x} for x in (1, 2, 3)])
    assert len(kept(tmp_path / "kept")) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_result_that_cannot_be_kept_or_an_exit_is_one_failure(trials, tmp_path, workers):
    with Sweep(tmp_path / "kept", workers=workers) as sweep, pytest.raises(TrialError, match="2 of 3 trials failed"):
        sweep.map(trials.unkeepable, [{"x": x} for x in (0, 2, 1)])
    assert len(kept(tmp_path / "kept")) == 1


def test_threads_share_the_workers(trials, tmp_path):
    def jobs(n):
        return [{"x": 10 * n + k, "log": str(tmp_path / "log")} for k in range(3)]

    with Sweep(tmp_path / "kept", workers=2) as sweep, ThreadPoolExecutor(5) as threads:
        found = list(threads.map(lambda n: sweep.map(trials.double, jobs(n)), range(5)))
    assert [[t.result["y"] for t in part] for part in found] == [[20 * n, 20 * n + 2, 20 * n + 4] for n in range(5)]
    assert len(sweep.keys) == len(set(sweep.keys)) == 15


def test_the_key_follows_what_decides_the_result(trials, tmp_path):
    sweep = Sweep(tmp_path, data_checksum="a")
    key = sweep.key(trials.double, {"x": 1})
    assert key == sweep.key(trials.double, {"x": 1})
    others = [sweep.key(trials.double, {"x": 2}), sweep.key(trials.fail_on_two, {"x": 1})]
    others.append(Sweep(tmp_path, data_checksum="b").key(trials.double, {"x": 1}))
    (tmp_path / "helper_of_trials.py").write_text("FACTOR = 3  # an import of the trial changed\n")
    others.append(sweep.key(trials.double, {"x": 1}))
    assert len({key, *others}) == 5


def test_the_key_follows_versions(trials, tmp_path, monkeypatch):
    keys = set()
    for version in ("2.1.0", "2.1.0+cpu", "2.2.0"):
        monkeypatch.setattr("importlib.metadata.version", lambda _, version=version: version)
        keys.add(Sweep(tmp_path).key(trials.double, {"x": 1}))
    assert len(keys) == 2  # a build for another device is named by the device parameter


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:30],
        lambda text: text.replace('"y": 2', '"y": 3'),
        lambda text: text.replace('"seconds"', '"second"'),
        lambda _: "[" * 100_000,
        lambda _: "[]",
    ],
)
def test_a_damaged_file_is_warned_about_and_computed_again(trials, tmp_path, damage):
    job = [{"x": 1, "log": str(tmp_path / "log")}]
    sweep = Sweep(tmp_path / "kept", workers=1)
    path = tmp_path / "kept" / f"{sweep.map(trials.double, job)[0].key}.json"
    path.write_text(damage(path.read_text()))
    with pytest.warns(UserWarning, match=rf"{path.name} must be a whole trial, .*; remove it: it is computed again"):
        assert not sweep.map(trials.double, job)[0].cached
    assert read_trial(path)["result"]["y"] == 2
    assert sweep.map(trials.double, job)[0].cached


def test_a_trials_file_says_what_it_is(trials, tmp_path):
    job = {"x": 1, "log": str(tmp_path / "log")}
    trial = Sweep(tmp_path / "kept", workers=1, data_checksum="abc").map(trials.double, [job])[0]
    path = tmp_path / "kept" / f"{trial.key}.json"
    record = read_trial(path)
    assert record["function"] == "some_trials.double"
    assert record["parameters"] == job
    assert record["data_checksum"] == "abc"
    assert record["digest"] == trial_digest(record)
    assert read_trial(path.with_name("none.json")) is None
    path.rename(path.with_name("other.json"))
    with pytest.raises(DataError, match=r"other\.json must be a whole trial, its digest or its name does not match"):
        read_trial(path.with_name("other.json"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_trial_is_on_record_until_it_succeeds(trials, tmp_path, workers):
    flag = tmp_path / "flag"
    with Sweep(tmp_path / "kept", workers=workers) as sweep:
        with pytest.raises(TrialError, match=r"fail_unless\(flag='.*\): FileNotFoundError.*failed\.json has the rest"):
            sweep.map(trials.fail_unless, [{"flag": str(flag)}])
        (path,) = (tmp_path / "kept").glob("*.failed.json")
        record = json.loads(path.read_text())
        assert record["function"] == "some_trials.fail_unless"
        assert record["parameters"] == {"flag": str(flag)}
        assert record["error"] == "FileNotFoundError"
        assert record["message"].startswith("[Errno 2]")
        assert "in fail_unless\n    return Path(flag)" in record["traceback"]
        assert record["attempts"] == 1
        flag.write_text("1234")
        assert sweep.map(trials.fail_unless, [{"flag": str(flag)}])[0].result == 4
    assert not path.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_any_exception_comes_back(trials, tmp_path, workers):
    with (
        Sweep(tmp_path / "kept", workers=workers) as sweep,
        pytest.raises(TrialError, match=r"odd\(\): Odd: odd 1: 2; .*has the rest"),
    ):
        sweep.map(trials.odd, [{}])
    (path,) = (tmp_path / "kept").glob("*.failed.json")
    assert json.loads(path.read_text())["message"] == "odd 1: 2\nfurther lines"
    assert "a note: kept" in path.read_text()


def test_an_error_names_five_trials(trials, tmp_path):
    sweep = Sweep(tmp_path / "kept", workers=1)
    with pytest.raises(TrialError) as caught:
        sweep.map(trials.fail_unless, [{"flag": f"{tmp_path}/{n}{'x' * 200}"} for n in range(7)])
    lines = str(caught.value).splitlines()
    assert lines[0] == "7 of 7 trials failed; the others are kept."
    assert len(lines) == 7
    assert all("...): FileNotFoundError: " in line for line in lines[1:6])
    assert lines[-1] == "and 2 more"


def test_unseeded_trials_draw_the_same_numbers_in_every_process(trials, tmp_path):
    import torch

    torch.manual_seed(1)
    state = torch.get_rng_state()
    results = []
    for n, workers in enumerate((1, 2, 1)):
        with Sweep(tmp_path / str(n), executor="serial" if workers == 1 else "processes", workers=workers) as sweep:
            results += [trial.result for trial in sweep.map(trials.unseeded, [{}])]
    assert results[0] == results[1] == results[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_serial_trials_of_several_threads_take_turns(trials, tmp_path):
    jobs = [{"x": x} for x in range(8)]
    expected = [trial.result for trial in Sweep(tmp_path / "one", "serial").map(trials.unseeded, jobs)]
    with ThreadPoolExecutor(4) as threads:
        sweep = Sweep(tmp_path / "many", "serial")
        found = list(threads.map(lambda job: sweep.map(trials.unseeded, [job])[0].result, jobs))
    assert found == expected


@pytest.mark.parametrize("force", [False, True])
def test_a_trial_asked_for_by_several_threads_is_computed_once(trials, tmp_path, force):
    log = tmp_path / "log"
    job = {"x": 1, "log": str(log)}
    with Sweep(tmp_path / "kept", workers=2, force=force) as sweep, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: sweep.map(trials.slow_double, [job, job | {"x": 2 + n % 2}, job]), range(4)))
        again = sweep.map(trials.slow_double, [job])
    assert [[t.result["y"] for t in part] for part in found] == [[2, 4 + 2 * (n % 2), 2] for n in range(4)]
    assert again[0].result["y"] == 2
    assert sorted(log.read_text().split()) == ["1", "2", "3"]


def test_a_trial_that_fails_fails_for_all_who_wait_for_it(trials, tmp_path):
    def attempt(_):
        with pytest.raises(TrialError, match="1 of 2 trials failed"):
            sweep.map(trials.fail_on_two, [{"x": 2}, {"x": 3}])

    with Sweep(tmp_path / "kept", workers=2) as sweep, ThreadPoolExecutor(3) as threads:
        list(threads.map(attempt, range(3)))


def test_two_sweeps_of_one_trial_both_end_right(trials, tmp_path):
    log = tmp_path / "log"

    def one(_):
        with Sweep(tmp_path / "kept", executor="processes", workers=1) as sweep:
            return sweep.map(trials.slow_double, [{"x": 1, "log": str(log)}])[0].result["y"]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(one, range(2))) == [2, 2]
    assert len(kept(tmp_path / "kept")) == 1
    assert Sweep(tmp_path / "kept", workers=1).map(trials.slow_double, [{"x": 1, "log": str(log)}])[0].cached


def test_a_sweep_given_up_is_computed_by_who_waits_for_it(trials, tmp_path):
    job = [{"x": 1, "log": str(tmp_path / "log")}]

    def give_up(_):
        raise KeyboardInterrupt

    with Sweep(tmp_path / "kept", workers=2) as sweep, ThreadPoolExecutor(2) as threads:
        first = threads.submit(sweep.map, trials.slow_double, [*job, {"x": 2, "log": str(tmp_path / "log")}], give_up)
        time.sleep(0.05)
        assert sweep.map(trials.slow_double, job)[0].result["y"] == 2
        with pytest.raises(KeyboardInterrupt):
            first.result()


def test_an_edited_study_is_imported_again_by_workers(trials, tmp_path, monkeypatch):
    job = [{"x": 1, "log": str(tmp_path / "log")}]
    with Sweep(tmp_path / "kept", workers=2) as sweep:
        assert sweep.map(trials.double, job)[0].result["y"] == 2
        (tmp_path / "helper_of_trials.py").write_text("FACTOR = 30\n")
        (tmp_path / "more_trials.py").write_text(
            "from some_trials import double as again\ndef double(x, log):\n    return again(x, log)\n"
        )
        import more_trials

        assert sweep.map(more_trials.double, job)[0].result["y"] == 30
        assert sweep.map(trials.double, job)[0].result["y"] == 30
    monkeypatch.delitem(sys.modules, "more_trials")


def test_a_result_that_cannot_be_stored_ends_the_sweep_and_keeps_the_rest(trials, tmp_path, monkeypatch):
    written = []

    def write(path, *_):
        if written:
            raise StorageError("disk full")
        written.append(path)

    monkeypatch.setattr("workbench.sweeps.sweep.write_trial", write)
    log = tmp_path / "log"
    with pytest.raises(StorageError, match="disk full"):
        Sweep(tmp_path / "kept", workers=1).map(trials.double, [{"x": x, "log": str(log)} for x in range(5)])
    assert log.read_text().split() == ["0", "1"]


def test_functions_a_worker_cannot_import_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must stand at the top of an importable module, got .*<lambda>"):
        Sweep(tmp_path).map(lambda: 1, [{}])
    with pytest.raises(InputError, match="workers must be a whole number, at least 1, got 0"):
        Sweep(tmp_path, workers=0)


@pytest.mark.parametrize("executor", ["threads", "dask", "dask:", "processes:2", 3])
def test_executors_that_do_not_exist_are_refused(tmp_path, executor):
    with pytest.raises(InputError, match="executor must be serial, processes or dask:ADDRESS, got"):
        Sweep(tmp_path, executor=executor)


def test_dask_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs the package distributed; pip install 'workbench\[cluster\]'"):
        Sweep(tmp_path, executor="dask:127.0.0.1:8786")


def test_the_environment_says_where_trials_run_and_whether_again(tmp_path, monkeypatch):
    for name in ("EXECUTOR", "WORKERS", "FORCE"):
        monkeypatch.delenv(f"WORKBENCH_{name}", raising=False)
    assert Sweep(tmp_path, workers=2).executor == "processes"
    assert Sweep(tmp_path, workers=1).executor == "serial"
    assert not Sweep(tmp_path).force
    monkeypatch.setenv("WORKBENCH_EXECUTOR", "serial")
    monkeypatch.setenv("WORKBENCH_FORCE", "1")
    assert Sweep(tmp_path, workers=2).executor == "serial"
    assert Sweep(tmp_path, "processes", 1).executor == "processes"
    assert Sweep(tmp_path).force
    assert not Sweep(tmp_path, force=False).force


def test_the_environment_says_how_many_workers(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_WORKERS", raising=False)
    assert 1 <= Sweep(tmp_path).workers <= (os.cpu_count() or 1)
    monkeypatch.setenv("WORKBENCH_WORKERS", "3")
    assert Sweep(tmp_path).workers == 3
    monkeypatch.setenv("WORKBENCH_WORKERS", "many")
    with pytest.raises(InputError, match="WORKBENCH_WORKERS must be a whole number"):
        Sweep(tmp_path)


def test_a_directory_that_cannot_be_written_is_refused_before_any_work(trials, tmp_path):
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(StorageError, match=r"kept could not be written .*then resume"):
        Sweep(tmp_path / "kept", workers=1).map(trials.double, [{"x": 1, "log": str(tmp_path / "log")}])
    assert not (tmp_path / "log").exists()

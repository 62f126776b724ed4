"""Trials are computed once, kept as they finish, and survive killed workers."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.sweeps import Sweep, TrialError


@pytest.fixture
def trials(tmp_path, monkeypatch):
    """A module of trial functions in a folder of its own, importable here and in workers."""
    (tmp_path / "helper_of_trials.py").write_text("FACTOR = 2\n")
    (tmp_path / "some_trials.py").write_text(
        "import os, signal\nfrom pathlib import Path\nimport torch\nfrom helper_of_trials import FACTOR\n"
        "def double(x, log):\n"
        "    with Path(log).open('a') as file:\n        file.write(f'{x}\\n')\n"
        "    return {'y': FACTOR * x, 'threads': torch.get_num_threads()}\n"
        "def fail_on_two(x):\n    return 10 // (x - 2)\n"
        "def kill_once(flag):\n"
        "    if not Path(flag).exists():\n        Path(flag).touch()\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return 'survived'\n"
        "def poison():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "def nap_or_die(x):\n    import time\n    time.sleep(0.3)\n    return x if x else poison()\n"
        "def unkeepable(x):\n    return {0: object(), 1: 'kept'}[x] if x < 2 else os.sys.exit(3)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import some_trials

    yield some_trials
    import sys

    del sys.modules["some_trials"], sys.modules["helper_of_trials"]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_trial_is_computed_once(trials, tmp_path, workers):
    log = tmp_path / "log"
    jobs = [{"x": x, "log": str(log)} for x in range(3)]
    with Sweep(tmp_path / "kept", workers) as sweep:
        first = sweep.map(trials.double, jobs)
        again = sweep.map(trials.double, jobs)
    assert [t.result["y"] for t in first] == [t.result["y"] for t in again] == [0, 2, 4]
    assert {t.result["threads"] for t in first} == {1}
    assert not any(t.cached for t in first)
    assert all(t.cached for t in again)
    assert sorted(log.read_text().split()) == ["0", "1", "2"]


def test_a_forced_run_keeps_the_earlier_file(trials, tmp_path):
    job = [{"x": 1, "log": str(tmp_path / "log")}]
    Sweep(tmp_path / "kept", 1).map(trials.double, job)
    Sweep(tmp_path / "kept", 1, force=True).map(trials.double, job)
    assert len(list((tmp_path / "kept").glob("*.json"))) == 2


def test_a_failing_trial_does_not_stop_the_others(trials, tmp_path):
    with pytest.raises(TrialError, match=r"1 of 3 trials failed.*\n.*'x': 2[\s\S]*ZeroDivisionError"):
        Sweep(tmp_path / "kept", 1).map(trials.fail_on_two, [{"x": x} for x in (1, 2, 3)])
    assert len(list((tmp_path / "kept").glob("*.json"))) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_worker_loses_nothing(trials, tmp_path):
    jobs = [{"x": x, "log": str(tmp_path / "log")} for x in range(4)]
    with Sweep(tmp_path / "kept", 2) as sweep:
        assert sweep.map(trials.kill_once, [{"flag": str(tmp_path / "flag")}])[0].result == "survived"
        assert [t.result["y"] for t in sweep.map(trials.double, jobs)] == [0, 2, 4, 6]
        with pytest.raises(TrialError, match="1 of 1 trials failed"):
            sweep.map(trials.poison, [{}])
        assert sweep.map(trials.double, [{"x": 9, "log": str(tmp_path / "log")}])[0].result["y"] == 18


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_poisoned_trial_takes_no_other_with_it(trials, tmp_path):
    with Sweep(tmp_path / "kept", 2) as sweep:
        with pytest.raises(TrialError, match=r"1 of 6 trials failed.*\n.*'x': 0"):
            sweep.map(trials.nap_or_die, [{"x": x} for x in range(6)])
        assert [t.cached for t in sweep.map(trials.nap_or_die, [{"x": x} for x in range(1, 6)])] == [True] * 5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_result_that_cannot_be_kept_or_an_exit_is_one_failure(trials, tmp_path, workers):
    with Sweep(tmp_path / "kept", workers) as sweep, pytest.raises(TrialError, match="2 of 3 trials failed"):
        sweep.map(trials.unkeepable, [{"x": x} for x in (0, 2, 1)])
    assert len(list((tmp_path / "kept").glob("*.json"))) == 1


def test_threads_share_the_workers(trials, tmp_path):
    def jobs(n):
        return [{"x": 10 * n + k, "log": str(tmp_path / "log")} for k in range(3)]

    with Sweep(tmp_path / "kept", 2) as sweep, ThreadPoolExecutor(5) as threads:
        found = list(threads.map(lambda n: sweep.map(trials.double, jobs(n)), range(5)))
    assert [[t.result["y"] for t in part] for part in found] == [[20 * n, 20 * n + 2, 20 * n + 4] for n in range(5)]
    assert len(sweep.keys) == len(set(sweep.keys)) == 15


def test_the_key_follows_what_decides_the_result(trials, tmp_path):
    sweep = Sweep(tmp_path, data_checksum="a")
    key = sweep.key(trials.double, {"x": 1})
    assert key == sweep.key(trials.double, {"x": 1})
    others = [sweep.key(trials.double, {"x": 2}), sweep.key(trials.poison, {"x": 1})]
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


def test_a_truncated_result_is_computed_again(trials, tmp_path):
    sweep = Sweep(tmp_path / "kept", 1)
    key = sweep.map(trials.double, [{"x": 1, "log": str(tmp_path / "log")}])[0].key
    path = tmp_path / "kept" / f"{key}.json"
    path.write_text(path.read_text()[:30])
    assert not sweep.map(trials.double, [{"x": 1, "log": str(tmp_path / "log")}])[0].cached
    assert json.loads(path.read_text())["result"]["y"] == 2


def test_functions_a_worker_cannot_import_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must stand at the top of an importable module, got .*<lambda>"):
        Sweep(tmp_path).map(lambda: 1, [{}])
    with pytest.raises(InputError, match="workers must be a whole number, at least 1, got 0"):
        Sweep(tmp_path, workers=0)


def test_the_environment_says_how_many_workers(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_WORKERS", raising=False)
    assert 1 <= Sweep(tmp_path).workers <= (os.cpu_count() or 1)
    monkeypatch.setenv("WORKBENCH_WORKERS", "3")
    assert Sweep(tmp_path).workers == 3
    monkeypatch.setenv("WORKBENCH_WORKERS", "many")
    with pytest.raises(InputError, match="WORKBENCH_WORKERS must be a whole number"):
        Sweep(tmp_path)


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the process table")
def test_workers_end_with_their_parent(tmp_path):
    import subprocess
    import sys

    (tmp_path / "sleeper.py").write_text(
        "import os, time\ndef nap(pid_file):\n    open(pid_file, 'w').write(str(os.getpid()))\n    time.sleep(60)\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport sleeper\nfrom workbench.sweeps import Sweep\n"
        f"Sweep({str(tmp_path / 'kept')!r}, 2).map(sleeper.nap, [dict(pid_file={str(tmp_path / 'pid')!r})])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(200):
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
        time.sleep(0.1)
    worker = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent by ten seconds")

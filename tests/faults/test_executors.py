"""Workers, parents and schedulers that die while trials run: real processes, real signals."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from workbench.errors import ExecutorError, InputError
from workbench.sweeps import Sweep, TrialError

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")

FAULTY = """
import os, signal, time
from pathlib import Path
import torch
from parts import FACTOR

def note(log, text):
    with Path(log).open("a") as file:
        file.write(f"{text}\\n")

def work(x, log, seconds=0.0):
    note(log, x)
    time.sleep(seconds)
    return FACTOR * x

def numbers(seed):
    g = torch.Generator().manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(), torch.nn.Linear(64, 1))
    loss = net(torch.randn(512, 64, generator=g)).square().mean()
    loss.backward()
    return {"loss": loss.item(), "grad": net[0].weight.grad.sum().item(), "threads": torch.get_num_threads()}

def pid_then_wait(flag):
    if Path(flag).exists():
        return "second attempt"
    Path(f"{flag}.new").write_text(str(os.getpid()))
    Path(f"{flag}.new").rename(flag)
    time.sleep(600)

def die(x, log):
    note(log, x)
    if x == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return x

def broken(x):
    return 1 / x

def big(n):
    return "x" * n
"""


def write_study(folder, factor=2):
    folder.mkdir()
    (folder / "faulty.py").write_text(FAULTY)
    (folder / "parts.py").write_text(f"FACTOR = {factor}\n")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A module of trials that lies in a folder no worker knows of by itself."""
    write_study(tmp_path / "study")
    monkeypatch.syspath_prepend(str(tmp_path / "study"))
    import faulty

    yield faulty
    del sys.modules["faulty"], sys.modules["parts"]


def wait_for(path, text=""):
    """Return a file's text once it is there and holds a text."""
    for _ in range(600):
        if path.exists() and text in path.read_text():
            return path.read_text()
        time.sleep(0.05)
    pytest.fail(f"{path} did not come")


def is_alive(pid):
    """Tell a running process from one that is gone or only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid):
    for _ in range(200):
        if not is_alive(pid):
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} outlived its parent by ten seconds")


def counts(log):
    return Counter(log.read_text().split())


def driver(tmp_path, lines):
    """Start a program that sweeps: no guard for workers that would import it, its own folder on the path."""
    script = tmp_path / "study" / "drive.py"
    script.write_text(
        f"import faulty\nfrom workbench.sweeps import Sweep\nkept = {str(tmp_path / 'kept')!r}\n{lines}\n"
    )
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# Processes of this machine


def kill_and_go_on(sweep, study, folder):
    """Kill the worker of a trial: the trial is made again, and the sweep has all its workers."""
    flag, log = folder / "flag", folder / "log"
    killer = threading.Timer(0, lambda: os.kill(int(wait_for(flag)), signal.SIGKILL))
    killer.start()
    assert sweep.map(study.pid_then_wait, [{"flag": str(flag)}])[0].result == "second attempt"
    killer.join()
    results = sweep.map(study.work, [{"x": x, "log": str(log)} for x in range(6)])
    assert [trial.result for trial in results] == [0, 2, 4, 6, 8, 10]


def test_a_worker_killed_in_a_trial_is_replaced(study, tmp_path):
    with Sweep(tmp_path / "kept", "processes", 2) as sweep:
        kill_and_go_on(sweep, study, tmp_path)


def test_a_poisoned_trial_is_set_aside_after_three_workers(study, tmp_path):
    log = tmp_path / "log"
    with Sweep(tmp_path / "kept", "processes", 2) as sweep:
        with pytest.raises(TrialError, match=r"1 of 6 trials failed.*\n.*x=0, .*WorkerKilled: .* died 3 times"):
            sweep.map(study.die, [{"x": x, "log": str(log)} for x in range(6)])
        assert [trial.cached for trial in sweep.map(study.die, [{"x": x, "log": str(log)} for x in range(1, 6)])]
    assert counts(log) == {"0": 3, "1": 1, "2": 1, "3": 1, "4": 1, "5": 1}
    (path,) = (tmp_path / "kept").glob("*.failed.json")
    record = json.loads(path.read_text())
    assert (record["error"], record["attempts"]) == ("WorkerKilled", 3)


def test_a_program_without_a_guard_may_sweep(study, tmp_path):
    job = f"dict(x=3, log={str(tmp_path / 'log')!r})"
    program = driver(tmp_path, f"print(Sweep(kept, 'processes', 2).map(faulty.work, [{job}])[0].result)")
    out, err = program.communicate(timeout=120)
    assert (out, err, program.returncode) == ("6\n", "", 0)


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the process table")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent_and_the_sweep_goes_on(study, tmp_path, end):
    flag, log = tmp_path / "flag", tmp_path / "log"
    lines = [
        "sweep = Sweep(kept, 'processes', 2)",
        f"sweep.map(faulty.work, [dict(x=x, log={str(log)!r}) for x in range(3)])",
        f"sweep.map(faulty.pid_then_wait, [dict(flag={str(flag)!r})])",
    ]
    program = driver(tmp_path, "\n".join(lines))
    worker = int(wait_for(flag))
    assert is_alive(worker)
    program.send_signal(end)
    program.communicate(timeout=60)
    assert program.returncode == -end
    wait_until_gone(worker)
    with Sweep(tmp_path / "kept", "processes", 2) as sweep:
        trials = sweep.map(study.work, [{"x": x, "log": str(log)} for x in range(4)])
    assert [trial.cached for trial in trials] == [True, True, True, False]
    assert set(counts(log).values()) == {1}


def test_a_full_disk_ends_the_sweep_and_keeps_what_was_there(study, tmp_path):
    lines = [
        "import resource",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))",
        "sizes = [10, 11, 12, 50_000, 13, 14]",
        "Sweep(kept, 'serial').map(faulty.big, [dict(n=n) for n in sizes])",
    ]
    program = driver(tmp_path, "\n".join(lines))
    _, err = program.communicate(timeout=60)
    assert program.returncode == 1
    assert "StorageError: " in err.splitlines()[-1]
    assert "could not be written (File too large)" in err.splitlines()[-1]
    names = [path.name for path in (tmp_path / "kept").iterdir()]
    assert len(names) == 3
    assert not [name for name in names if name.startswith(".")]
    trials = Sweep(tmp_path / "kept", "serial").map(study.big, [{"n": n} for n in (10, 11, 12, 50_000)])
    assert [trial.cached for trial in trials] == [True, True, True, False]


# Dask


class Cluster:
    """A scheduler and its workers, as a user starts them, on loopback."""

    def __init__(self, folder):
        pytest.importorskip("distributed", reason="distributed is not installed: pip install 'workbench[cluster]'")
        self.folder, self.file, self.processes = folder, folder / "scheduler.json", []
        self.scheduler = self._start("scheduler", "--port", "0")
        self.address = json.loads(wait_for(self.file, "}"))["address"]

    def _start(self, kind, *options, **environment):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", str(self.file)]
        command += ["--host", "127.0.0.1", "--no-dashboard", *options]
        with (self.folder / f"{kind}-{len(self.processes)}.log").open("w") as log:
            quick = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
            self.processes.append(
                subprocess.Popen(command, cwd=self.folder, env=os.environ | quick | environment, stdout=log, stderr=log)
            )
        return self.processes[-1]

    def worker(self, *options, **environment):
        return self._start("worker", "--nthreads", "1", "--local-directory", str(self.folder), *options, **environment)

    def wait(self, workers):
        """Return once so many workers are there."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)

    def close(self):
        for process in reversed(self.processes):  # workers before their scheduler: they would wait for it
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.worker()
    cluster.worker()
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(shared_cluster):
    """The shared cluster, its two workers there."""
    shared_cluster.wait(2)
    return shared_cluster


@pytest.fixture
def own_cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    yield cluster
    cluster.close()


def test_the_same_trials_give_the_same_bits_on_every_executor(study, cluster, tmp_path):
    address = cluster.address.removeprefix("tcp://")
    found = {}
    for executor in ("serial", "processes", f"dask:{address}", f"dask:{cluster.address}", f"dask:file:{cluster.file}"):
        kept = tmp_path / executor.replace("/", "-")
        with Sweep(kept, executor, 2) as sweep:
            trials = sweep.map(study.numbers, [{"seed": seed} for seed in range(8)])
        found[executor] = [(trial.key, trial.result) for trial in trials]
        assert not any(trial.cached for trial in trials)
    first = found["serial"]
    assert len({result["loss"] for _, result in first}) == 8
    assert {result["threads"] for _, result in first} == {1}
    assert all(results == first for results in found.values())


def test_a_worker_never_takes_one_study_for_another(study, cluster, tmp_path, monkeypatch):
    jobs = [{"x": x, "log": str(tmp_path / "log")} for x in range(4)]
    with Sweep(tmp_path / "kept", f"dask:{cluster.address}") as sweep:
        assert [trial.result for trial in sweep.map(study.work, jobs)] == [0, 2, 4, 6]
        write_study(tmp_path / "other", factor=50)
        monkeypatch.syspath_prepend(str(tmp_path / "other"))
        for name in ("faulty", "parts"):
            monkeypatch.delitem(sys.modules, name)
        import faulty as other

        assert [trial.result for trial in sweep.map(other.work, jobs)] == [0, 50, 100, 150]
        more = [{"x": x, "log": str(tmp_path / "log")} for x in range(4, 8)]
        assert [trial.result for trial in sweep.map(study.work, more)] == [8, 10, 12, 14]


def test_a_trials_own_error_comes_back_from_dask(study, cluster, tmp_path):
    with (
        Sweep(tmp_path / "kept", f"dask:{cluster.address}") as sweep,
        pytest.raises(
            TrialError, match=r"1 of 3 trials failed.*\n.*broken\(x=0\): ZeroDivisionError: division by zero"
        ),
    ):
        sweep.map(study.broken, [{"x": x} for x in range(3)])
    (path,) = (tmp_path / "kept").glob("*.failed.json")
    assert "in broken\n    return 1 / x" in json.loads(path.read_text())["traceback"]


def test_a_dask_worker_killed_in_a_trial_is_replaced(study, cluster, tmp_path):
    with Sweep(tmp_path / "kept", f"dask:{cluster.address}") as sweep:
        kill_and_go_on(sweep, study, tmp_path)


def test_a_poisoned_dask_trial_is_set_aside_and_the_others_finish(study, cluster, tmp_path):
    log = tmp_path / "log"
    with (
        Sweep(tmp_path / "kept", f"dask:{cluster.address}") as sweep,
        pytest.raises(TrialError, match=r"1 of 6 trials failed.*\n.*x=0, .*KilledWorker: "),
    ):
        sweep.map(study.die, [{"x": x, "log": str(log)} for x in range(6)])
    (path,) = (tmp_path / "kept").glob("*.failed.json")
    assert json.loads(path.read_text())["error"] == "KilledWorker"
    assert len(list((tmp_path / "kept").glob("*.json"))) == 6


def test_a_lost_scheduler_loses_nothing_that_was_finished(study, own_cluster, tmp_path):
    log = tmp_path / "log"
    jobs = [{"x": x, "log": str(log), "seconds": 0.3} for x in range(12)]
    own_cluster.worker()
    own_cluster.worker()
    own_cluster.wait(2)

    def lose(fraction):
        if fraction >= 4 / 12 and own_cluster.scheduler.poll() is None:
            own_cluster.scheduler.kill()
            own_cluster.scheduler.wait()

    with (
        Sweep(tmp_path / "kept", f"dask:{own_cluster.address}") as sweep,
        pytest.raises(ExecutorError, match="was lost; what is finished is kept: run again"),
    ):
        sweep.map(study.work, jobs, lose)
    kept = {json.loads(path.read_text())["parameters"]["x"] for path in (tmp_path / "kept").glob("*.json")}
    assert 4 <= len(kept) < 12
    before = counts(log)
    with Sweep(tmp_path / "kept", "processes", 2) as sweep:
        trials = sweep.map(study.work, jobs)
    assert [trial.result for trial in trials] == [2 * x for x in range(12)]
    assert {x for x, trial in enumerate(trials) if trial.cached} == kept
    again = counts(log) - before
    assert not kept & {int(x) for x in again}


def test_a_scheduler_that_is_not_there_is_named(study, tmp_path):
    pytest.importorskip("distributed", reason="distributed is not installed: pip install 'workbench[cluster]'")
    for address in ("127.0.0.1:1", "tcp://127.0.0.1:1", f"file:{tmp_path}/none.json"):
        with pytest.raises(ExecutorError, match=f"no Dask scheduler answers at {address} .*what is finished is kept"):
            Sweep(tmp_path / "kept", f"dask:{address}").map(study.broken, [{"x": 1}])
    for address in ("127.0.0.1", "127.0.0.1:banana", "gopher://127.0.0.1:1", "127.0.0.1:99999"):
        with pytest.raises(InputError, match=r"executor dask:ADDRESS must be HOST:PORT or file:PATH of a scheduler"):
            Sweep(tmp_path / "kept", f"dask:{address}")


@pytest.mark.parametrize(
    ("preload", "words"),
    [
        (
            "import importlib.metadata as m\n"
            "m.version = lambda name, old=m.version: '1.0' if name == 'torch' else old(name)\n",
            r"cannot compute this: it has torch and NumPy 1\.0, .*install the same there",
        ),
        (
            "import workbench.sources as s\n"
            "s._read = lambda path, old=s._read: ('0', ()) if path.name == 'seeds.py' else old(path)\n",
            "cannot compute this: its source files of workbench are others",
        ),
        ("import sys\nsys.modules['workbench'] = None\n", "install this version of workbench there"),
    ],
    ids=["versions", "sources", "no workbench"],
)
def test_a_worker_that_would_compute_something_else_is_refused(own_cluster, tmp_path, monkeypatch, preload, words):
    (tmp_path / "preload.py").write_text(preload)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "plain_trial.py").write_text("from workbench import seeds\ndef f(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path / "study"))
    import plain_trial

    own_cluster.worker("--preload", str(tmp_path / "preload.py"))
    own_cluster.wait(1)
    with Sweep(tmp_path / "kept", f"dask:{own_cluster.address}") as sweep, pytest.raises(ExecutorError, match=words):
        sweep.map(plain_trial.f, [{"x": 1}])
    assert not list((tmp_path / "kept").iterdir())
    monkeypatch.delitem(sys.modules, "plain_trial")


def test_a_cluster_without_workers_or_with_idle_threads_is_said_so(study, own_cluster, tmp_path):
    job = [{"x": 1, "log": str(tmp_path / "log")}]

    def sweep():
        with Sweep(tmp_path / "kept", f"dask:{own_cluster.address}") as sweep:
            return sweep.map(study.work, job)[0].result

    threading.Timer(1, own_cluster.worker, ["--nthreads", "3"]).start()
    with pytest.warns(UserWarning, match="has no workers now; trials wait for one"):
        assert sweep() == 2
    job[0]["x"] = 5
    with pytest.warns(UserWarning, match="have several threads, of which trials use one"):
        assert sweep() == 10

"""What real kernels, processes and signals do to a run: nothing is lost, stays behind or is done twice."""

import contextlib
import ctypes
import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from workbench.records import Run, all_runs

psutil = pytest.importorskip("psutil")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
N_TRIALS = 6
TRIALS = """\
import os, pathlib, secrets, time

def square(k, folder, seconds):
    folder = pathlib.Path(folder)
    (folder / f"begun-{k}-{secrets.token_hex(6)}").touch()
    time.sleep(seconds)
    if k == 3 and (folder / "fail").exists():
        raise ValueError("three")
    if k == 3 and (folder / "fill").exists():
        with open((folder / "fill").read_text(), "wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
    return k * k
"""
PARAMETERS = "a: int = 1  # a number\nfolder: str = ''  # where trials leave marks\nseconds: float = 0.1  # of a trial"
STUDY = """\
import os, pathlib, signal, time
from squares import square
from workbench.study import Claim, Study
from workbench.sweeps import Sweep
claim = Claim("sum", "a-paper", "Squares add up.", "sum = 55")
study = Study("demo", parameters={"a": a}, claims=[claim], stages={"squares": 1}, dataset=None)
here = pathlib.Path(folder)"""
RUN = f"""\
with study.stage("squares") as tick, Sweep(study.runs_dir / "trials") as sweep:
    trials = sweep.map(square, [dict(k=k, folder=folder, seconds=seconds) for k in range({N_TRIALS})], tick)"""
REPORT = """\
total = sum(trial.result for trial in trials)
study.judge("sum", value=total, interval=(total, total), n=6, unit="", verdict="holds")
study.report(total=total, a=a)"""


class Bench:
    """A study in a folder of its own; every process started from it carries a mark that tells it from all others."""

    def __init__(self, folder: Path, after: str = "pass") -> None:
        self.folder, self.mark = folder, secrets.token_hex(8)
        self.out, self.marks = folder / "runs", folder / "marks"
        self.marks.mkdir(parents=True)
        (folder / "squares.py").write_text(TRIALS)
        cells = [nbformat.v4.new_code_cell(text) for text in (PARAMETERS, STUDY, RUN, after, REPORT)]
        cells[0].metadata["tags"] = ["parameters"]
        self.notebook = folder / "demo.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), self.notebook)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start ``run`` with further arguments, or another command."""
        first = arguments[0] if arguments else ""
        if first not in {"resume", "sweep"}:
            arguments = ("run", self.notebook, "-p", f"folder={self.marks}", *arguments)
        return subprocess.Popen(
            [sys.executable, "-m", "workbench", *map(str, arguments), "--out", str(self.out)],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "300", "BENCH_MARK": self.mark, "WORKBENCH_WORKERS": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Start a command and wait for its end."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def alive(self) -> list[str]:
        """Name every process that this bench's commands started and that still lives, whoever its parent is now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("BENCH_MARK") == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
            except psutil.Error:
                continue
        return found

    def left(self, seconds: float = 10.0) -> list[str]:
        """Wait until nothing lives any more; return what still does."""
        end = time.monotonic() + seconds
        while (found := self.alive()) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    def runs(self) -> list[Run]:
        """Return all records there are."""
        return [Run.read(folder) for folder in all_runs(self.out)]

    def finished(self, seconds: float = 0.1) -> set[int]:
        """Return the trials that have a file."""
        paths = [path for path in self.out.glob("trials/[!.]*.json") if "." not in path.stem]
        parameters = [json.loads(path.read_text())["parameters"] for path in paths]
        return {given["k"] for given in parameters if given["seconds"] == seconds}

    def begun(self) -> Counter[int]:
        """Count how often each trial was begun."""
        return Counter(int(path.name.split("-")[1]) for path in self.marks.glob("begun-*"))


def results(folder: Path) -> dict:
    data = json.loads((folder / "results.json").read_text())
    return {name: data[name] for name in ("findings", "extra")}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nobody disturbs: what it finds and how long it takes."""
    bench = Bench(tmp_path_factory.mktemp("undisturbed"))
    begun = time.monotonic()
    done = bench.run()
    assert done.returncode == 0, done.stderr
    (run,) = bench.runs()
    assert run.status == "done"
    assert not bench.alive()
    return results(run.folder), time.monotonic() - begun


def listens(process: subprocess.Popen[str]) -> None:
    """Wait until the command, and not the interpreter's start, receives SIGTERM."""
    status = Path(f"/proc/{process.pid}/status")
    end = time.monotonic() + 20
    while status.exists() and time.monotonic() < end:
        caught = re.search(r"SigCgt:\s*([0-9a-f]+)", status.read_text())
        if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.002)
    time.sleep(0.3)


def go_on(bench: Bench) -> list[str]:
    """Return the arguments that go on with the bench's run, if it has come to one."""
    return ["resume", *(run.folder.name for run in bench.runs())] if bench.runs() else []


def disturb(bench: Bench, number: int, moment: float) -> None:
    """Stop a run at a moment and look at what is left; what was finished before is not computed again."""
    kept, before = bench.finished(), bench.begun()
    process = bench.start(*go_on(bench))
    listens(process)
    time.sleep(moment)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    where = f"signal {number} at {moment:.2f} s: {process.returncode}\n{err}"
    print(where)
    assert not bench.left(), where
    assert process.returncode in ({0, -number} if number == signal.SIGKILL else {0, 128 + number}), where
    assert "Traceback" not in err, where
    assert kept <= bench.finished(), where
    assert all(bench.begun()[k] == before[k] for k in kept), where
    states = {run.status for run in bench.runs()}
    assert states <= ({"done"} if process.returncode == 0 else {"interrupted", "done"}), where
    assert len(bench.runs()) <= 1, where


def finish(bench: Bench, expected: dict) -> None:
    """Go on with a disturbed run to its end; only what was missing may be computed."""
    kept, before = bench.finished(), bench.begun()
    again = bench.run(*go_on(bench))
    assert again.returncode == 0, again.stderr
    (run,) = bench.runs()
    assert run.status == "done"
    assert (run.folder / "page.html").is_file()
    assert set(bench.begun()) == set(range(N_TRIALS))
    assert all(bench.begun()[k] == before[k] for k in kept)
    assert not bench.left()
    assert results(run.folder) == expected


def disturb_often(folder: Path, number: int, times: int, undisturbed, again: bool) -> None:
    """Stop runs at one moment out of each equal part of a run's time, from the command's start to after its end.

    With ``again``, what goes on is what is stopped the next time.
    """
    expected, seconds = undisturbed
    generator, bench = random.Random(1000 * number + times), Bench(folder / "0")
    for i in range(times):
        disturb(bench, number, (i + generator.random()) / times * 1.1 * seconds)
        if not again or i == times - 1:
            finish(bench, expected)
            bench = Bench(folder / str(i + 1))


SIGNALS = pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])


@SIGNALS
def test_a_runner_stopped_at_any_moment_goes_on(tmp_path, number, undisturbed):
    disturb_often(tmp_path, number, 5, undisturbed, again=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@SIGNALS
def test_a_runner_stopped_at_fifty_moments_goes_on(tmp_path, number, undisturbed):
    disturb_often(tmp_path, number, 50, undisturbed, again=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere orphans go to process 1")
@pytest.mark.parametrize("moment", [0.0, 0.3])
def test_a_kernel_that_is_just_starting_is_no_orphan_where_sessions_adopt(bench, moment):
    become_adopter = 36  # PR_SET_CHILD_SUBREAPER, what a desktop session's service manager is
    prctl = ctypes.CDLL(None).prctl
    process, kernel = bench.start(), 0
    assert prctl(become_adopter, 1, 0, 0, 0) == 0
    try:
        end = time.monotonic() + 60
        while not kernel and time.monotonic() < end:
            kernel = next((int(line.split()[0]) for line in bench.alive() if "kernel.json" in line), 0)
        time.sleep(moment)
        process.kill()
        process.communicate()
        assert kernel
        assert not bench.left()
    finally:
        prctl(become_adopter, 0, 0, 0, 0)
        with contextlib.suppress(OSError):
            os.kill(kernel, signal.SIGKILL)
            os.waitpid(kernel, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "secnds=3"], "did you mean seconds?"),
        (["-p", "a=banana"], "a must be int, got 'banana'"),
        (["-p", "a=True"], "a must be int, got True"),
        (["--executor", "banana"], "must be serial, processes or dask:ADDRESS"),
    ],
)
def test_bad_input_starts_nothing(bench, arguments, message):
    done = bench.run(*arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not bench.out.exists()


def test_a_notebook_without_parameters_starts_nothing(bench):
    book = nbformat.read(bench.notebook, 4)
    book.cells[0].metadata["tags"] = []
    nbformat.write(book, bench.notebook)
    done = bench.run()
    assert done.returncode == 2
    assert "must have exactly one cell tagged parameters, got 0" in done.stderr
    assert not bench.out.exists()


def test_a_scheduler_that_does_not_answer_starts_nothing(bench):
    done = bench.run("--executor", "dask:tcp://127.0.0.1:9")
    assert done.returncode == 4
    assert "environment: no Dask scheduler answers at 127.0.0.1:9" in done.stderr
    assert not bench.runs()


def test_a_kernel_that_dies_goes_on(tmp_path):
    kill = "if not (here / 'killed').exists():\n    (here / 'killed').touch()\n    os.kill(os.getpid(), signal.SIGKILL)"
    bench = Bench(tmp_path, after=kill)
    done = bench.run()
    assert done.returncode == 1
    assert "cell 4: KernelDied" in done.stderr
    assert not bench.left()
    assert bench.finished() == set(range(N_TRIALS))
    (run,) = bench.runs()
    assert (run.status, run.record["error"]["name"]) == ("failed", "KernelDied")
    again = bench.run("resume", run.folder.name)
    assert again.returncode == 0, again.stderr
    assert bench.begun() == Counter(range(N_TRIALS))
    (run,) = bench.runs()
    assert [attempt["status"] for attempt in run.record["attempts"]] == ["failed"]


def test_a_cell_that_hangs_ends_in_time(tmp_path):
    bench = Bench(tmp_path, after="time.sleep(600)")
    done = bench.run("--timeout", "20", "--executor", "serial")  # the cells before it need a few on a busy machine
    assert done.returncode == 1
    assert "cell 4: CellTimeout: the cell took longer than --timeout allows" in done.stderr
    assert "Task was destroyed" not in done.stderr
    assert not bench.left()
    assert bench.finished() == set(range(N_TRIALS))


def test_failed_trials_are_told_apart_and_only_they_run_again(bench):
    (bench.marks / "fail").touch()
    done = bench.run()
    assert done.returncode == 3, done.stderr
    assert "TrialError" in done.stderr
    assert bench.finished() == set(range(N_TRIALS)) - {3}
    (bench.marks / "fail").unlink()
    assert bench.run().returncode == 0
    assert bench.begun() == Counter([*range(N_TRIALS), 3])
    assert len(bench.runs()) == 1


def test_an_exception_in_a_rerun_is_told_and_the_good_result_left(tmp_path):
    bench = Bench(tmp_path, after="def inner(x):\n    return 1 / x\n\nif (here / 'break').exists():\n    inner(0)")
    serial = ("--executor", "serial", "--json")
    assert bench.run(*serial).returncode == 0
    (good,) = bench.runs()
    before = contents(good.folder)
    (bench.marks / "break").touch()
    done = bench.run("--force", *serial)
    assert done.returncode == 1
    assert "failed: cell 4, line 5: ZeroDivisionError: division by zero" in done.stderr
    (run,) = [run for run in bench.runs() if run.folder != good.folder]
    assert (run.status, json.loads(done.stdout)["run"]) == ("failed", run.folder.name)
    error = run.record["error"]
    assert (error["cell"], error["line"], error["name"]) == (4, 5, "ZeroDivisionError")
    assert "return 1 / x" in error["traceback"]
    assert "ZeroDivisionError" in (run.folder / "page.html").read_text()
    shown = bench.run("--json")
    assert shown.returncode == 0
    data = json.loads(shown.stdout)
    assert (data["run"], data["reused"]) == (good.folder.name, True)
    assert contents(good.folder) == before


def test_runs_at_once(bench):
    processes = [bench.start("--json", "--executor", "serial", "-p", f"a={a}") for a in (1, 1, 2, 3)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    first, second, *others = (json.loads(out) for out, _ in outputs)
    assert first["run"] == second["run"]
    assert sorted([first["reused"], second["reused"]]) == [False, True]
    assert any("another process computes this run" in err for _, err in outputs)
    assert [other["results"]["extra"]["a"] for other in others] == [2, 3]
    runs = bench.runs()
    assert len(runs) == 3
    said = "".join([*(err for _, err in outputs), *((run.folder / "log.txt").read_text() for run in runs)]).lower()
    assert not re.search(r"\bport|plaintext|warning|traceback", said), said
    assert not bench.left()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=2m", "tmpfs"]
    try:
        subprocess.run(["mount", *options, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system needs permission")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_loses_nothing(tmp_path, small_disk):
    bench = Bench(tmp_path)
    bench.out = small_disk / "runs"
    good = bench.run("-p", "a=7", "--workers", "1")
    assert good.returncode == 0, good.stderr
    (first,) = bench.runs()
    before = contents(first.folder)
    filler = small_disk / "filler"
    (bench.marks / "fill").write_text(str(filler))
    done = bench.run("-p", "seconds=0.2", "--workers", "1")
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert contents(first.folder) == before
    assert not bench.left()
    filler.unlink()
    (bench.marks / "fill").unlink()
    kept, begun = bench.finished(0.2), bench.begun()
    (broken,) = [run for run in bench.runs() if run.folder != first.folder]
    again = bench.run("resume", broken.folder.name)
    assert again.returncode == 0, again.stderr
    assert results(broken.folder)["findings"] == results(first.folder)["findings"]
    assert kept >= {0, 1, 2}
    assert all(bench.begun()[k] == begun[k] for k in kept)


def test_a_sweep_stopped_goes_on(bench):
    arguments = ["sweep", bench.notebook, "-p", f"folder={bench.marks}", "-g", "a=1,2", "-p", "seconds=0.3"]
    for number in (signal.SIGKILL, signal.SIGTERM):
        process, before = bench.start(*arguments), sum(bench.begun().values())
        end = time.monotonic() + 60
        while sum(bench.begun().values()) < before + 3 and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == (-9 if number == signal.SIGKILL else 143), err
        assert not bench.left()
        assert {run.status for run in bench.runs()} <= {"interrupted", "done"}
    assert "finished runs are kept, go on with: " in err
    kept, before = bench.finished(0.3), bench.begun()
    again = bench.run(*arguments)
    assert again.returncode == 0, again.stderr
    assert kept
    assert all(bench.begun()[k] == before[k] for k in kept)
    assert [run.status for run in bench.runs()] == ["done"] * 2

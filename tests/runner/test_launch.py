"""What is done is shown, what broke off goes on, nothing good is touched; no kernel starts here."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from filelock import FileLock

from workbench.errors import ExecutorError, InputError, StorageError
from workbench.runner import checks, launch, pages, papermill, stops
from workbench.runner.launch import run_key
from workbench.runner.outcome import Outcome, error_line, exit_code

RESULTS = {"schema": 1, "study": "demo", "data": "digits", "findings": [], "unjudged": [], "dataset": None}
FAILURE = {"cell": 2, "line": 3, "name": "ValueError", "message": "no"}


@pytest.fixture
def study(tmp_path, notebook, monkeypatch):
    """Launch a notebook whose kernel is a stand-in: it ends as told and says what it was given."""
    monkeypatch.chdir(tmp_path)
    for name in ("WORKBENCH_WORKERS", "WORKBENCH_EXECUTOR", "WORKBENCH_FORCE"):
        monkeypatch.delenv(name, raising=False)
    calls: list[dict] = []
    ending = SimpleNamespace(outcome=Outcome("done"), act=lambda folder: None)

    def execute(book, parameters, folder, **settings):
        calls.append({"parameters": parameters, "folder": folder, **settings})
        if ending.outcome.status == "done":
            (folder / "results.json").write_text(json.dumps(RESULTS))
        ending.act(folder)
        return ending.outcome

    monkeypatch.setattr(papermill, "execute", execute)
    book, out = notebook("pass"), tmp_path / "runs"

    def call(**settings):
        values = settings.pop("values", {"a": 1})
        return launch.launch(book, values, **{"profile": "laptop", "out": out} | settings)

    return SimpleNamespace(launch=call, calls=calls, ending=ending, book=book, out=out)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_done_is_shown_and_not_touched(study):
    first = study.launch()
    before = contents(first.run.folder)
    second = study.launch()
    assert (first.reused, second.reused, len(study.calls)) == (False, True, 1)
    assert second.run.folder == first.run.folder
    assert second.outcome.status == "done"
    assert second.report is not None
    assert contents(first.run.folder) == before


@pytest.mark.parametrize("change", ["parameters", "source", "versions"])
def test_what_decides_results_makes_a_new_run(study, change, monkeypatch, notebook):
    first = study.launch()
    if change == "source":
        notebook("1 + 1")
    if change == "versions":
        monkeypatch.setattr(launch, "versions", lambda: ["3.0", "2.0"])
    second = study.launch(values={"a": 2} if change == "parameters" else {"a": 1})
    assert first.run.folder != second.run.folder
    assert first.run.record["key"] != second.run.record["key"]


def test_a_key_is_pinned_by_form_and_not_by_order(study):
    key = run_key(study.book, {"a": 1, "b": (1, 2)})
    assert key == run_key(study.book, {"b": [1, 2], "a": 1})
    assert len(key) == 32


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_what_broke_off_goes_on_in_its_folder(study, status):
    study.ending.outcome = Outcome(status, FAILURE)
    study.ending.act = lambda folder: [(folder / name).write_text("{}") for name in ("results.json", "executed.ipynb")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "_with_page", lambda _: None)
        first = study.launch(workers=1, timeout=5)
    seen = []
    study.ending.outcome = Outcome("done")
    study.ending.act = lambda folder: seen.append(sorted(path.name for path in folder.glob("*.ipynb")))
    second = study.launch(workers=2, timeout=7)
    assert second.run.folder == first.run.folder
    assert seen == [[]]  # the half notebook of the first attempt is gone before the second begins
    record = json.loads((second.run.folder / "run.json").read_text())
    assert (record["status"], record["workers"], record["timeout"], record["executor"]) == ("done", 2, 7, "processes")
    (attempt,) = record["attempts"]
    assert attempt["status"] == status
    assert attempt["error"]["message"] == "no"


def test_a_run_whose_process_died_goes_on(study):
    first = study.launch()
    path = first.run.folder / "run.json"
    path.write_text(path.read_text().replace('"status": "done"', '"status": "running"'))
    second = study.launch()
    assert second.run.folder == first.run.folder
    assert second.run.record["attempts"][0]["status"] == "interrupted"


def test_force_runs_again_and_keeps_both(study):
    first = study.launch()
    before = contents(first.run.folder)
    study.ending.outcome = Outcome("failed", FAILURE)
    forced = study.launch(force=True)
    assert forced.run.folder != first.run.folder
    assert [call["environment"]["WORKBENCH_FORCE"] for call in study.calls] == ["0", "1"]
    assert contents(first.run.folder) == before
    assert study.launch().run.folder == first.run.folder


def test_a_notebook_without_results_is_always_run_anew(study):
    study.ending.act = lambda folder: (folder / "results.json").unlink()
    folders = {study.launch().run.folder for _ in range(2)}
    assert len(folders) == 2


def test_kernel_and_record_say_the_same(study, monkeypatch):
    monkeypatch.setenv("WORKBENCH_WORKERS", "3")
    first = study.launch(more={"sweep": "abc"})
    assert first.run.record["workers"] == 3
    assert first.run.record["sweep"] == "abc"
    assert study.calls[0]["environment"]["WORKBENCH_WORKERS"] == "3"
    study.launch(values={"a": 2}, workers=1)
    assert study.calls[1]["environment"] == {
        "WORKBENCH_WORKERS": "1",
        "WORKBENCH_EXECUTOR": "serial",
        "WORKBENCH_FORCE": "0",
    }
    monkeypatch.setenv("WORKBENCH_WORKERS", "many")
    with pytest.raises(InputError, match="WORKBENCH_WORKERS must be a whole number"):
        study.launch()


def test_tuples_reach_the_notebook_again(study):
    study.ending.outcome = Outcome("failed", FAILURE)
    for _ in range(2):
        study.launch(values={"a": (1, 2)})
    assert [call["parameters"] for call in study.calls] == [{"a": (1, 2)}] * 2


def test_what_the_study_refuses_leaves_no_folder(study):
    study.ending.outcome = Outcome("refused", FAILURE)
    done = study.launch()
    assert done.outcome.status == "refused"
    assert not done.run.folder.exists()
    study.ending.outcome = Outcome("failed", FAILURE)
    folder = study.launch().run.folder
    study.ending.outcome = Outcome("refused", FAILURE)
    assert study.launch().run.folder == folder
    assert (folder / "run.json").is_file()


def test_a_notebook_that_could_not_be_written_is_not_done(study):
    study.ending.outcome = Outcome("done", storage="executed.ipynb: No space left on device")
    first = study.launch()
    assert (first.outcome.status, first.run.record["error"]["name"]) == ("failed", "StorageError")
    assert exit_code(first.outcome) == 4
    study.ending.outcome = Outcome("done")
    assert study.launch().run.folder == first.run.folder


def test_a_record_that_cannot_be_written_is_a_storage_problem(study, monkeypatch):
    def full(*_):
        raise StorageError("run.json: no space")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch.Run, "finish", full)
        done = study.launch()
    assert done.outcome.storage == "run.json: no space"
    assert exit_code(done.outcome) == 4


def test_a_missing_page_is_written_when_shown(study, monkeypatch):
    folder = study.launch().run.folder
    (folder / "executed.ipynb").touch()
    written = []
    monkeypatch.setattr(pages, "write_page", lambda _, page, **__: [written.append(page), page.touch()])
    assert [study.launch().reused for _ in range(2)] == [True, True]
    assert written == [folder / "page.html"]


def test_out_must_be_writable_before_anything_starts(study, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="out must be a folder that can be written"):
        study.launch(out=tmp_path / "file")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "trials").touch()
    with pytest.raises(InputError, match="out must be a folder that can be written"):
        study.launch(out=tmp_path / "half")
    assert not study.calls


def test_temporary_folders_of_killed_processes_go(monkeypatch, tmp_path):
    monkeypatch.setattr(checks.tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"workbench-{dead.pid}-a", f"workbench-{os.getpid()}-b", "workbench-7x-c"]
    for name in names:
        (tmp_path / name / "inner").mkdir(parents=True)
    with checks.temporary_folder() as folder:
        assert sorted(tmp_path.iterdir()) == sorted([folder, *(tmp_path / name for name in names[1:])])
    assert not folder.exists()


def test_a_full_disk_is_said_before_anything_starts(study, monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", full)
    with pytest.raises(StorageError, match="must have free space"):
        study.launch()
    assert not study.calls


@pytest.mark.parametrize("executor", ["banana", "dask", "dask:", "dask:host", "dask:tcp://host:port", "dask:a b:1"])
def test_executors_that_are_none(study, executor):
    with pytest.raises(InputError, match=r"^executor .*must be"):
        study.launch(executor=executor)
    assert not study.out.exists()


@pytest.mark.parametrize(("name", "value"), [("workers", 0), ("workers", "2"), ("timeout", "5"), ("timeout", 0)])
def test_settings_of_a_tampered_record_are_refused(study, name, value):
    with pytest.raises(InputError, match=f"{name} must be"):
        study.launch(**{name: value})
    assert not study.out.exists()


def test_a_scheduler_must_answer(study, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ExecutorError, match=f"no Dask scheduler answers at 127.0.0.1:{port}"):
        study.launch(executor=f"dask:tcp://127.0.0.1:{port}")
    with pytest.raises(ExecutorError, match="must be the scheduler file of a running cluster"):
        study.launch(executor="dask:file:missing.json")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "scheduler.json").write_text(json.dumps({"address": address}))
        done = study.launch(executor="dask:file:scheduler.json")
    assert done.run.record["executor"] == f"dask:file:{tmp_path / 'scheduler.json'}"
    assert study.launch(executor=f"dask:{address}").reused  # what is done needs no cluster


def test_the_second_process_waits_and_shares(study, capsys):
    turn = FileLock(study.out / ".locks" / f"{run_key(study.book, {'a': 1})}.lock")
    (study.out / ".locks").mkdir(parents=True)
    turn.acquire()
    found = []
    other = threading.Thread(target=lambda: found.append(study.launch()))
    other.start()
    other.join(0.5)
    assert not study.calls
    turn.release()
    other.join(30)
    assert "another process computes this run: waiting" in capsys.readouterr().err
    assert [launched.reused for launched in found] == [False]
    assert study.launch().reused


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_signals_are_collected_while_a_run_is_at_work(study):
    study.ending.act = lambda _: os.kill(os.getpid(), signal.SIGTERM)
    done = study.launch()
    assert (done.outcome.status, done.outcome.signal) == ("done", signal.SIGTERM)
    assert exit_code(done.outcome) == 143
    assert study.launch().reused


def test_a_signal_before_anything_began_leaves_nothing(study, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["workbench", "run", "my study"])
    monkeypatch.setattr(launch, "leave_if", lambda _: stops.leave_if([signal.SIGTERM]))
    with pytest.raises(SystemExit) as stop:
        study.launch()
    assert stop.value.code == 143
    assert "nothing was begun; start it with: " in (said := capsys.readouterr().err)
    assert said.endswith("run 'my study'\n")
    assert not study.calls
    assert not (study.out / "demo").exists()


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome("done"), 0),
        (Outcome("done", storage="full"), 4),
        (Outcome("failed", FAILURE), 1),
        (Outcome("failed", FAILURE | {"name": "TrialError"}), 3),
        (Outcome("failed", FAILURE | {"name": "StorageError"}), 4),
        (Outcome("failed", FAILURE | {"name": "ExecutorError"}), 4),
        (Outcome("refused", FAILURE), 2),
        (Outcome("interrupted", FAILURE, signal=2), 130),
    ],
)
def test_exit_codes(outcome, code):
    assert exit_code(outcome) == code


def test_an_error_is_a_line():
    assert error_line(FAILURE) == "cell 2, line 3: ValueError: no"
    assert error_line(FAILURE | {"cell": None, "line": None}) == "ValueError: no"


def test_a_run_that_is_done_is_shown_without_anything_heavy(study):
    study.launch()
    code = (
        "import sys, pathlib; from workbench.runner.launch import launch\n"
        "done = launch(pathlib.Path(sys.argv[1]), {'a': 1}, profile='laptop', out=pathlib.Path(sys.argv[2]))\n"
        "assert done.reused\n"
        "print([m for m in ('torch', 'papermill', 'nbformat', 'nbconvert', 'pandas') if m in sys.modules])"
    )
    (next(study.out.glob("demo/*")) / "page.html").touch()
    arguments = [sys.executable, "-c", code, study.book, study.out]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_line_that_resumes_can_be_typed(monkeypatch):
    monkeypatch.setattr(stops.shutil, "which", lambda _: None)
    assert stops.command_line("resume", "a b") == f"{sys.executable} -m workbench resume 'a b'"
    monkeypatch.setattr(stops.shutil, "which", lambda _: "/bin/workbench")
    assert stops.command_line("resume", 3) == "workbench resume 3"


_CHILD = """\
import pathlib, sys, time
from workbench.runner import stops
ready, said = map(pathlib.Path, sys.argv[1:])
with stops.collected_signals() as received:
    sweep = stops.follow_parent()
    ready.touch()
    end = time.monotonic() + 60
    while not received and time.monotonic() < end:
        time.sleep(0.05)
    said.write_text(f"{sweep} {[int(number) for number in received]}")
"""
_PARENT = """\
import os, pathlib, subprocess, sys, time
from workbench.runner import stops
subprocess.Popen([sys.executable, *sys.argv[1:]], env={**os.environ, **stops.for_child("abc")})
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.05)
os._exit(0)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_run_ends_with_the_sweep_that_started_it(tmp_path):
    (tmp_path / "child.py").write_text(_CHILD)
    names = [tmp_path / name for name in ("child.py", "ready", "said")]
    subprocess.run([sys.executable, "-c", _PARENT, *names], check=True, timeout=60)
    end = time.monotonic() + 30
    while not names[2].exists() or not names[2].read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert names[2].read_text() == f"abc [{int(signal.SIGTERM)}]"

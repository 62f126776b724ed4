"""What happens in a kernel is said as it happened, and no kernel stays."""

import json
import os
import signal
import sys
import time

import pytest

from workbench.runner import papermill
from workbench.runner.papermill import execute

psutil = pytest.importorskip("psutil")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: int, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_kernel_is_ours_and_finds_what_stands_beside_the_notebook(tmp_path, notebook):
    run = tmp_path / "run {x} $HOME"  # papermill formats paths, jupyter_client expands variables
    run.mkdir()
    (tmp_path / "beside.py").write_text("value = 7\n")
    book = notebook(
        "import json, os, sys, beside, pathlib\n"
        "names = 'WORKBENCH_BATCH WORKBENCH_RUN_DIR OMP_NUM_THREADS MKL_NUM_THREADS EXTRA'.split()\n"
        "print('said')\n"
        "pathlib.Path(os.environ['WORKBENCH_RUN_DIR'], 'seen.json').write_text(json.dumps(\n"
        "    [a, beside.value, sys.executable, {name: os.environ[name] for name in names}]))"
    )
    before = os.getcwd()  # noqa: PTH109
    ticks = []
    outcome = execute(book, {"a": 5}, run, environment={"EXTRA": "$PATH"}, watch=lambda: ticks.append(1))
    assert outcome.status == "done"
    assert os.getcwd() == before  # noqa: PTH109
    assert ticks
    environment = dict(zip(["WORKBENCH_BATCH", "OMP_NUM_THREADS", "MKL_NUM_THREADS"], "111", strict=True))
    expected = [5, 7, sys.executable, {**environment, "WORKBENCH_RUN_DIR": str(run), "EXTRA": "$PATH"}]
    assert json.loads((run / "seen.json").read_text()) == expected
    assert (run / "log.txt").read_text().startswith("said\n")
    cells = json.loads((run / "executed.ipynb").read_text())["cells"]
    assert "a = 5" in "".join(cells[1]["source"])


def test_exception_in_a_cell(tmp_path, notebook):
    outcome = execute(notebook("pass", "pass\n1 / 0", "print('never')"), {"a": 5}, tmp_path)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert (outcome.error["cell"], outcome.error["line"], outcome.error["name"]) == (3, 2, "ZeroDivisionError")
    assert "1 / 0" in outcome.error["traceback"]
    assert "\x1b" not in outcome.error["traceback"]


@pytest.mark.parametrize(("begun", "status"), [(False, "refused"), (True, "failed")])
def test_bad_input_is_refused_only_before_work(tmp_path, notebook, begun, status):
    begin = "import os, pathlib; pathlib.Path(os.environ['WORKBENCH_RUN_DIR'], 'progress.jsonl').touch()"
    check = "from workbench.errors import InputError\nraise InputError('a must be 2, got 1')"
    outcome = execute(notebook(begin if begun else "pass", check), {"a": 1}, tmp_path)
    assert outcome.status == status
    assert outcome.error is not None
    assert outcome.error["message"] == "a must be 2, got 1"


@pytest.mark.skipif(os.name != "posix", reason="kills as POSIX does")
def test_killed_kernel_is_a_failure_and_its_workers_go_too(tmp_path, notebook):
    book = notebook(
        "import os, pathlib, signal, subprocess, sys\n"
        "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path(os.environ['WORKBENCH_RUN_DIR'], 'pid').write_text(str(worker.pid))\n"
        "os.kill(os.getpid(), signal.SIGKILL)",
        "print('never')",
    )
    outcome = execute(book, {"a": 1}, tmp_path)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert (outcome.error["cell"], outcome.error["name"]) == (2, "KernelDied")
    assert gone(int((tmp_path / "pid").read_text()))


def test_nothing_is_computed_after_a_signal(tmp_path, notebook):
    book = notebook("import os, pathlib; pathlib.Path(os.environ['WORKBENCH_RUN_DIR'], 'begun').touch()")
    outcome = execute(book, {"a": 2}, tmp_path, stops=[signal.SIGTERM])
    assert (outcome.status, outcome.signal) == ("interrupted", signal.SIGTERM)
    assert outcome.error is not None
    assert (outcome.error["cell"], outcome.error["name"]) == (None, "Interrupted")
    assert not (tmp_path / "begun").exists()


def test_a_cell_that_ignores_its_interrupt_is_the_last(tmp_path, notebook):
    folder = "pathlib.Path(os.environ['WORKBENCH_RUN_DIR'])"
    ignore = (
        f"import os, pathlib, signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n({folder} / 'begun').touch()"
    )
    book = notebook(f"{ignore}\ntime.sleep(1)", f"({folder} / 'next').touch()")
    stops: list[int] = []

    def watch():
        if not stops and (tmp_path / "begun").exists():
            stops.append(signal.SIGINT)

    outcome = execute(book, {"a": 2}, tmp_path, stops=stops, watch=watch)
    assert outcome.status == "interrupted"
    assert not (tmp_path / "next").exists()


def test_full_disk_stops_the_writing_and_not_the_computation(tmp_path, notebook, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(papermill, "write_text", full)
    book = notebook("import os, pathlib; pathlib.Path(os.environ['WORKBENCH_RUN_DIR'], 'end').touch()")
    outcome = execute(book, {"a": 1}, tmp_path)
    assert (tmp_path / "end").exists()
    assert outcome.status == "done"
    assert "No space left" in (outcome.storage or "")


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_says_how_to_go_on(tmp_path, notebook, command, number):
    book = notebook(
        "import os, pathlib, time\n"
        "pathlib.Path(os.environ['WORKBENCH_RUN_DIR'], 'pid').write_text(str(os.getpid()))\n"
        "time.sleep(60)"
    )
    process = command("run", book, "-p", "a=3", "--out", tmp_path / "runs", wait=False)
    end = time.monotonic() + 40
    while not (found := [p for p in tmp_path.glob("runs/demo/*/pid") if p.read_text()]) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert f"resume {found[0].parent.name}" in error
    record = json.loads((found[0].parent / "run.json").read_text())
    assert (record["status"], record["error"]["cell"], record["error"]["name"]) == ("interrupted", 2, "Interrupted")
    assert "cell 2, line 3: Interrupted: by " in (found[0].parent / "page.html").read_text(encoding="utf-8")
    json.loads((found[0].parent / "executed.ipynb").read_text())
    assert gone(int(found[0].read_text()))

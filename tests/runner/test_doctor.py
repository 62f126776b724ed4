"""Every check on a sound machine and on one where it must complain."""

import importlib.metadata
import json
import sqlite3
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from workbench.datasets.sources import PLACES
from workbench.records import Run
from workbench.runner import doctor, places

OK, WARNING, PROBLEM = doctor.OK, doctor.WARNING, doctor.PROBLEM


def test_a_table_of_all_checks_and_exit_0(command):
    done = command("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert all(any(line[: len(name.split())] == name.split() for line in lines) for name in doctor.CHECKS)
    assert "starts and answers" in done.stdout


def test_a_problem_is_exit_4_and_stops_no_other_check(command):
    done = command("doctor", "--json", "--quick", WORKBENCH_DATA="/nowhere")
    assert done.returncode == 4
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert list(rows) == [name for name in doctor.CHECKS if name != "kernel"]
    assert rows["data"] == {
        "check": "data",
        "state": "problem",
        "found": "WORKBENCH_DATA=/nowhere is no folder",
        "remedy": "correct it, or unset it to download data",
    }
    assert [name for name, row in rows.items() if row["state"] == "problem"] == ["data"]


def test_a_check_that_breaks_is_a_row(tmp_path, monkeypatch):
    def broken(out):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(doctor, "CHECKS", {"first": broken, "second": lambda out: (OK, "fine")})
    first, second = doctor.examine(tmp_path)
    assert (first.state, first.found) == (PROBLEM, "ZeroDivisionError: by nothing")
    assert second == doctor.Row("second", OK, "fine")


def check(name, out=Path("runs")):
    return doctor.CHECKS[name](out)


def test_an_old_python_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.9.2")
    state, found, remedy = check("Python")
    assert (state, remedy) == (PROBLEM, "make an environment of Python >=3.11")
    assert sys.executable in found


def test_packages_that_lack_or_are_old_are_named_with_the_command(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "typer":
            raise importlib.metadata.PackageNotFoundError
        return {"numpy": "1.26.4", "playwright": "1.0"}.get(name) or real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    state, found, remedy = check("packages")
    assert state == PROBLEM
    assert found == "numpy>=2.0 (1.26.4), typer>=0.15 (missing)"
    assert remedy.endswith("-m pip install 'numpy>=2.0' 'typer>=0.15'")
    state, found = check("extras")
    assert state == OK
    assert "browser: lacks playwright>=1.45 (1.0)" in found
    state, found = check("tested versions")
    assert state == OK
    assert "numpy 1.26.4 (tested " in found
    assert "playwright 1.0 (tested " in found


def says(monkeypatch, *said):
    monkeypatch.setattr(doctor, "_torch_says", lambda: said)


@pytest.mark.parametrize(
    ("cuda", "names", "driver", "state", "word"),
    [
        (None, [], False, OK, "built for CPU"),
        ("12.8", ["H200", "H200"], True, OK, "H200, H200"),
        ("12.8", [], False, OK, "needs a driver"),
        ("12.8", [], True, WARNING, "finds no GPU"),
    ],
)
def test_gpu(monkeypatch, cuda, names, driver, state, word):
    says(monkeypatch, "2.13.0", 2, cuda, names)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/bin/nvidia-smi" if driver else None)
    monkeypatch.setattr(doctor.Path, "exists", lambda path: False)
    found = check("GPU")
    assert found[0] == state
    assert word in found[1]
    assert (len(found) == 3) == (state == WARNING)


def test_a_torch_that_does_not_load_is_a_problem_of_torch_alone(tmp_path, monkeypatch):
    doctor._torch_says.cache_clear()
    monkeypatch.setattr(doctor, "_PROBE", "import sys; sys.exit('libcudart.so.12 is missing')")
    rows = {row.check: row for row in doctor.examine(tmp_path, quick=True)}
    doctor._torch_says.cache_clear()
    assert (rows["torch"].state, rows["torch"].found) == (PROBLEM, "RuntimeError: libcudart.so.12 is missing")
    assert rows["packages"].state == OK


def test_data_and_cache_name_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    assert check("data") == (OK, f"no image set in {tmp_path / 'data'}")
    for (folder, sources), root in ((PLACES["mnist"][0], "cache"), (PLACES["cifar10"][1], "data")):
        for source in sources:
            path = tmp_path / root / folder / source.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert check("data") == (OK, f"cifar10 (in part) in {tmp_path / 'data'}")
    assert check("cache") == (OK, f"mnist in {tmp_path / 'cache'}")
    (tmp_path / "cache" / "mnist" / PLACES["mnist"][0][1][0].file).unlink()
    assert check("cache") == (OK, f"no image set in {tmp_path / 'cache'}")


def test_a_runs_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    assert check("runs folder", tmp_path / "not" / "yet") == (OK, str(tmp_path / "not" / "yet"))
    assert list(tmp_path.iterdir()) == []  # nothing is left behind

    def refused(dir):
        assert dir == tmp_path
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(places.tempfile, "TemporaryFile", refused)
    state, found, remedy = check("runs folder", tmp_path / "not" / "yet")
    assert (state, found) == (PROBLEM, f"{tmp_path / 'not' / 'yet'}: Permission denied")
    assert "--out" in remedy


@pytest.mark.parametrize(("free", "state"), [(0.9e9, PROBLEM), (4.9e9, WARNING), (5.1e9, OK)])
def test_free_disk(tmp_path, monkeypatch, free, state):
    monkeypatch.setattr(places.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(free))
    found = check("free disk", tmp_path)
    assert found[:2] == (state, f"{free / 1e9:.1f} GB free")
    assert bool(found[2]) == (state != OK)


@pytest.mark.parametrize(
    ("mount", "state"),
    [
        ("ext4", OK),
        ("btrfs", OK),
        ("squashfs", OK),
        ("nfs4", WARNING),
        ("cifs", WARNING),
        ("fuse.sshfs", WARNING),
    ],
)
def test_runs_on_a_network_are_warned_about(tmp_path, monkeypatch, mount, state):
    place = tmp_path / "a b"
    place.mkdir()
    escaped = str(place).replace(" ", r"\040")
    text = (
        f"dev / nfs rw 0 0\nold {escaped} vfat rw 0 0\nserver:/x {escaped} {mount} rw 0 0\ndev {escaped}c nfs rw 0 0\n"
    )
    (tmp_path / "mounts").write_text(text)
    monkeypatch.setattr(places, "_MOUNTS", tmp_path / "mounts")
    found = check("file system", place / "runs")
    assert found[:2] == (state, f"{mount} at {place}")
    monkeypatch.setattr(places, "_MOUNTS", tmp_path / "none")
    assert check("file system", place)[0] == OK


def test_the_index_is_read_or_its_removal_advised(tmp_path):
    path = tmp_path / "index.sqlite"
    assert check("index", tmp_path)[0] == OK
    with sqlite3.connect(path) as index:
        index.execute("CREATE TABLE t (x)")
    index.close()
    assert check("index", tmp_path) == (OK, str(path))
    path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    state, _, remedy = check("index", tmp_path)
    assert state == WARNING
    assert remedy.startswith(f"delete {path}")


def test_damaged_records_are_counted_and_the_first_named(tmp_path):
    for seed in range(3):
        Run.start(tmp_path, "demo", {"seed": seed}).finish("done")
    assert check("records", tmp_path) == (OK, "3 runs")
    broken = sorted(tmp_path.glob("demo/*/run.json"))[1]
    broken.write_text(broken.read_text()[:50])
    state, found, _ = check("records", tmp_path)
    assert state == WARNING
    assert found.startswith("1 of 3 cannot be read: ")
    assert str(broken) in found


def test_a_kernel_that_does_not_answer_is_ended(monkeypatch):
    from workbench.runner.lab import OwnPython

    started = []
    spec = OwnPython().get_kernel_spec("python3")
    spec.argv = [sys.executable, "-c", "import sys; sys.exit(3)"]
    monkeypatch.setattr(OwnPython, "get_kernel_spec", lambda self, name: started.append(name) or spec)
    with pytest.raises(RuntimeError, match="died"):
        check("kernel")
    assert started


def test_widgets_need_anywidget():
    code = (
        "import sys; sys.modules['anywidget'] = None\nfrom workbench.runner import doctor\nfrom pathlib import Path\n"
    )
    code += "print([r.state for r in doctor.examine(Path(), quick=True) if r.check == 'widgets'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['problem']"
    assert check("widgets")[0] == OK


def test_browser_tests_are_optional(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    state, found = check("browser")
    assert state == OK
    assert found.startswith("no chromium, playwright ")

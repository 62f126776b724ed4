"""Every check on a sound machine and on one where it must complain."""

import importlib.metadata
import json
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from workbench.datasets.sources import PLACES
from workbench.runner import doctor

Mount = namedtuple("Mount", "mountpoint fstype")
OK, WARNING, PROBLEM = doctor.OK, doctor.WARNING, doctor.PROBLEM


def test_a_table_of_all_checks_and_exit_0(command):
    done = command("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["check", "state", "found", "remedy"]  # what the kernel shows is not printed
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


def test_packages_that_lack_or_are_old_are_named_with_the_command(monkeypatch):
    real = importlib.metadata.version
    versions = {"numpy": "1.26.4", "playwright": "1.0", "typer": None}

    def version(name):
        if name in versions and not versions[name]:
            raise importlib.metadata.PackageNotFoundError
        return versions.get(name) or real(name)

    monkeypatch.setattr(doctor.sys, "executable", "/a b/python")
    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    state, found, remedy = check("packages")
    assert state == PROBLEM
    assert found == "numpy>=2.0 (1.26.4), typer>=0.15 (missing)"
    assert remedy == "'/a b/python' -m pip install 'numpy>=2.0' 'typer>=0.15'"
    versions.update(numpy="2.1", typer="1.0")
    assert check("packages") == (OK, "all there; optional browser lacks playwright>=1.45 (1.0)")
    state, found = check("tested versions")
    assert state == OK
    assert "numpy 2.1 (tested " in found
    assert "playwright 1.0 (tested " in found


@pytest.mark.parametrize(
    ("names", "driver", "state", "word"),
    [
        ([], False, OK, "computes on the processor"),
        (["H200", "H100"], True, OK, "H200, H100"),
        ([], True, WARNING, "finds no GPU"),
    ],
)
def test_gpu(monkeypatch, names, driver, state, word):
    monkeypatch.setattr("torch.cuda.is_available", lambda: bool(names))
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(names))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda i: names[i])
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/bin/nvidia-smi" if driver else None)
    monkeypatch.setattr(doctor.Path, "exists", lambda path: False)
    found = check("GPU")
    assert found[0] == state
    assert word in found[1]
    assert (len(found) == 3) == (state == WARNING)


def test_a_torch_that_does_not_load_stops_no_other_check(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    rows = {row.check: row for row in doctor.examine(tmp_path, quick=True)}
    assert rows["torch"].state == PROBLEM
    assert rows["torch"].found.startswith("ModuleNotFoundError: ")
    assert "install again" in rows["torch"].remedy
    assert rows["packages"].state == rows["free disk"].state == OK


def test_data_names_what_is_there(tmp_path, monkeypatch):
    data, cache = tmp_path / "data", tmp_path / "cache"
    monkeypatch.setenv("WORKBENCH_DATA", str(data))
    monkeypatch.setenv("WORKBENCH_CACHE", str(cache))
    data.mkdir()
    assert check("data") == (OK, f"digits are built in; no other set in {data}; no other set in {cache}")
    for (folder, sources), root in ((PLACES["mnist"][0], cache), (PLACES["cifar10"][1], data)):
        for source in sources:
            path = root / folder / source.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert check("data") == (OK, f"digits are built in; cifar10 (in part) in {data}; mnist in {cache}")
    (cache / "mnist" / PLACES["mnist"][0][1][0].file).unlink()
    monkeypatch.delenv("WORKBENCH_DATA")
    assert check("data") == (OK, f"digits are built in; no other set in {cache}")


def test_a_runs_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    assert check("runs folder", tmp_path / "not" / "yet") == (OK, str(tmp_path / "not" / "yet"))
    assert list(tmp_path.iterdir()) == []  # nothing is left behind

    def refused(dir):
        assert dir == tmp_path
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refused)
    state, found, remedy = check("runs folder", tmp_path / "not" / "yet")
    assert (state, found) == (PROBLEM, f"{tmp_path / 'not' / 'yet'}: Permission denied")
    assert "--out" in remedy


@pytest.mark.parametrize(("free", "state"), [(0.9e9, PROBLEM), (4.9e9, WARNING), (5.1e9, OK)])
def test_free_disk(tmp_path, monkeypatch, free, state):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(free))
    found = check("free disk", tmp_path)
    assert found[:2] == (state, f"{free / 1e9:.1f} GB free")
    assert (len(found) == 3) == (state != OK)


@pytest.mark.parametrize(
    ("mount", "state"),
    [("ext4", OK), ("btrfs", OK), ("squashfs", OK), ("nfs4", WARNING), ("CIFS", WARNING), ("fuse.sshfs", WARNING)],
)
def test_runs_on_a_network_are_warned_about(tmp_path, monkeypatch, mount, state):
    place = tmp_path / "a b"
    place.mkdir()
    mounts = [("/", "nfs"), (str(place), "vfat"), (str(place), mount), (f"{place}c", "nfs")]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: [Mount(*each) for each in mounts])
    assert check("file system", place / "runs")[:2] == (state, f"{mount} at {place}")
    monkeypatch.setattr("psutil.disk_partitions", lambda all: [])  # as for Windows' paths of the network
    assert check("file system", place)[0] == OK


def test_a_kernel_that_does_not_answer_is_ended(monkeypatch):
    from workbench.runner.lab import OwnPython

    started = []
    spec = OwnPython().get_kernel_spec("python3")
    spec.argv = [sys.executable, "-c", "import sys; sys.exit(3)"]
    monkeypatch.setattr(OwnPython, "get_kernel_spec", lambda self, name: started.append(name) or spec)
    with pytest.raises(RuntimeError, match="died"):
        check("kernel")
    assert started

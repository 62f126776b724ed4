"""On a full disk what was there stays whole, the error says so, and freed space is enough to go on."""

import subprocess
import sys

import pytest

import workbench
from workbench.errors import StorageError
from workbench.records import Run
from workbench.runner.transfer import export_run, import_file
from workbench.sweeps import Sweep, read_trial

MEGABYTE = 2**20
LARGE = """
import pathlib

def large(x, log):
    with pathlib.Path(log).open("a") as file:
        file.write(f"{x}\\n")
    return [x] * 40_000
"""


@pytest.fixture
def disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Leave no space at all."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(b"0" * 4096) == 4096:
                pass
        except OSError:
            return


def test_a_sweep_goes_on_when_there_is_space_again(tmp_path, disk, monkeypatch):
    (tmp_path / "large_trials.py").write_text(LARGE)
    monkeypatch.syspath_prepend(tmp_path)
    from large_trials import large

    log, out = tmp_path / "log", disk / "runs"
    run = Run.start(out, "demo", {"a": 1})
    (disk / "filler").write_bytes(b"0" * (MEGABYTE // 2))
    trials = [{"x": x, "log": str(log)} for x in range(4)]
    with Sweep(out / "trials", executor="serial", workers=1) as sweep, pytest.raises(StorageError, match="then resume"):
        sweep.map(large, trials)
    kept = {path: path.read_bytes() for path in (out / "trials").iterdir()}
    assert all(read_trial(path)["result"] for path in kept)
    assert 1 <= len(kept) < 4
    computed = log.read_text().split()
    (disk / "filler").unlink()
    with Sweep(out / "trials", executor="serial", workers=1) as sweep:
        found = sweep.map(large, trials)
    assert [trial.result[0] for trial in found] == [0, 1, 2, 3]
    assert {path: path.read_bytes() for path in kept} == kept
    assert log.read_text().split()[len(computed) :] == [str(x) for x in range(len(kept), 4)]
    run.finish("done")


def test_a_record_that_cannot_be_completed_is_an_interrupted_run(disk):
    run = Run.start(disk / "runs", "demo", {"a": 1})
    before = (run.folder / "run.json").read_bytes()
    fill(disk)
    with pytest.raises(StorageError, match="No space left on device"):
        run.finish("done")
    assert (run.folder / "run.json").read_bytes() == before
    run.release()  # as the end of its process would
    assert Run.read(run.folder).status == "interrupted"
    with pytest.raises(StorageError):
        Run.read(run.folder).reopen()
    with pytest.raises(StorageError):
        Run.start(disk / "runs", "demo", {})
    (disk / "filler").unlink()
    again = Run.read(run.folder)
    again.reopen()
    again.finish("done")
    assert Run.read(run.folder).status == "done"


def test_export_import_and_tables_on_a_full_disk(tmp_path, disk):
    run = Run.start(tmp_path / "runs", "demo", {})
    (run.folder / "log.txt").write_text("x" * 50_000)
    run.finish("done")
    export_run(run, tmp_path / "run.zip")
    export_run(run, disk / "run.zip")
    other = Run.start(disk / "runs", "demo", {"b": 1})
    other.finish("done")
    earlier = (disk / "run.zip").read_bytes()
    fill(disk)
    held = sorted(disk.rglob("*"))
    with pytest.raises(StorageError):
        export_run(other, disk / "run.zip")
    with pytest.raises(StorageError):
        import_file(tmp_path / "run.zip", disk / "runs")
    assert list(workbench.runs(disk / "runs")["status"]) == ["done"]
    assert (disk / "run.zip").read_bytes() == earlier
    assert sorted(path for path in disk.rglob("*") if path.name != "index.sqlite") == held
    for command in (
        ["import", tmp_path / "run.zip", "--out", disk / "runs"],
        ["export", "demo", disk / "new.zip", "--out", disk / "runs"],
        ["runs", "--csv", disk / "runs.csv", "--out", disk / "runs"],
    ):
        done = subprocess.run([sys.executable, "-m", "workbench", *map(str, command)], capture_output=True, text=True)
        assert (done.returncode, "No space left on device" in done.stderr) == (4, True), done.stderr
    (disk / "filler").unlink()
    assert len(import_file(tmp_path / "run.zip", disk / "runs").runs) == 1
    assert Run.read(other.folder).status == "done"

"""What a machine has, what is missing, what to do about it: one small check a row."""

import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

OK, WARNING, PROBLEM = "ok", "warning", "problem"
Said = tuple[str, ...]  # state, what was found and, if need be, the remedy
_NETWORK = re.compile(r"nfs|cifs|smb|9p|afs|ceph|lustre|gpfs|beegfs|gluster|sshfs|davfs|s3fs|gcsfuse")


@dataclass(frozen=True)
class Row:
    """What a check found; ``remedy`` is empty where nothing is wrong."""

    check: str
    state: str
    found: str
    remedy: str = ""


def examine(out: Path, *, quick: bool = False) -> Iterator[Row]:
    """Yield a row for each check.

    Args:
        out: Folder of all runs.
        quick: Start no kernel.

    Yields:
        Rows in a fixed order; a check that itself fails is a row that says so.
    """
    for name, check in CHECKS.items():
        if not (quick and name == "kernel"):
            try:
                said = check(out)
            except Exception as error:
                said = PROBLEM, f"{type(error).__name__}: {error}", "install again, or make readable, what it names"
            yield Row(name, *said)


def _python(_: Path) -> Said:
    return OK, f"{platform.python_version()} at {sys.executable}"


def _installed(name: str) -> str:
    """Return a package's version, or that it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _lacking(extra: str = "") -> list[str]:
    """Return what the package with one of its extras asks for and does not find."""
    from packaging.requirements import Requirement

    lacking = []
    for wanted in map(Requirement, importlib.metadata.requires("workbench") or []):
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
            found = _installed(wanted.name)
            if found == "missing" or not wanted.specifier.contains(found, prereleases=True):
                lacking.append(f"{wanted.name}{wanted.specifier} ({found})")
    return lacking


def _packages(_: Path) -> Said:
    if lacking := _lacking():
        names = [text.split(" ")[0] for text in lacking]
        return PROBLEM, ", ".join(lacking), shlex.join([sys.executable, "-m", "pip", "install", *names])
    # peers are what benchmarks compare with, of no use otherwise
    extras = {*(importlib.metadata.metadata("workbench").get_all("Provides-Extra") or [])} - {"peers"}
    said = [f"optional {extra} lacks {', '.join(lacking)}" for extra in sorted(extras) if (lacking := _lacking(extra))]
    return OK, "; ".join(["all there", *said])


def _tested(_: Path) -> Said:
    path = Path(__file__).resolve().parents[2] / "constraints.txt"
    if not path.is_file():
        return OK, "no list of tested versions here"
    pins = re.findall(r"(?m)^([\w.-]+)==([\w.!]+)", path.read_text(encoding="utf-8"))
    found = [(name, _installed(name).partition("+")[0], pin) for name, pin in pins]
    others = [f"{name} {version} (tested {pin})" for name, version, pin in found if version not in {"missing", pin}]
    return OK, f"{len(others)} differ: {', '.join(others)}" if others else f"as tested, {len(pins)} packages"


def _torch(_: Path) -> Said:
    import torch

    return OK, f"{torch.__version__}, {torch.get_num_threads()} threads; {os.cpu_count()} processors"


def _gpu(_: Path) -> Said:
    import torch

    if torch.cuda.is_available():
        return OK, ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists():
        return WARNING, f"a driver, but torch {torch.__version__} finds no GPU", "update it, or install torch for CUDA"
    return OK, "none: torch computes on the processor"


def _data(_: Path) -> Said:
    """Say which image sets lie in WORKBENCH_DATA, if it is set, and in the cache."""
    from workbench.datasets.sources import PLACES

    given = os.environ.get("WORKBENCH_DATA")
    if given and not Path(given).is_dir():
        return PROBLEM, f"WORKBENCH_DATA={given} is no folder", "correct it, or unset it to download data"
    cache = Path(os.environ.get("WORKBENCH_CACHE") or Path.home() / ".cache" / "workbench")
    said = ["digits are built in"]
    for folder in [Path(given), cache] if given else [cache]:
        sets = []
        for name, places in PLACES.items():
            there = [all((folder / kind / source.file).is_file() for source in sources) for kind, sources in places]
            if any(there):
                sets.append(name if there[0] else f"{name} (in part)")
        said.append(f"{', '.join(sets) or 'no other set'} in {folder}")
    return OK, "; ".join(said)


def _near(out: Path) -> Path:
    """Return the folder of runs or, before the first, the one it will be made in."""
    return next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())


def _writable(out: Path) -> Said:
    try:
        tempfile.TemporaryFile(dir=_near(out)).close()
    except OSError as error:
        return PROBLEM, f"{out.absolute()}: {error.strerror}", "make it writable, or choose another with --out"
    return OK, str(out.absolute())


def _disk(out: Path) -> Said:
    free = shutil.disk_usage(_near(out)).free / 1e9
    if free < 5:
        return PROBLEM if free < 1 else WARNING, f"{free:.1f} GB free", "`workbench clean` shows what runs take"
    return OK, f"{free:.1f} GB free"


def _file_system(out: Path) -> Said:
    """Say whether runs lie on a local disk."""
    import psutil  # type: ignore[import-untyped]

    here = _near(out).resolve()
    # Of mounts at one place the last covers those before it; a place that is none is Windows' of the network.
    kinds = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    place = next((folder for folder in (here, *here.parents) if folder in kinds), here)
    kind = kinds.get(place, "unknown")
    if _NETWORK.search(kind.lower()):
        return WARNING, f"{kind} at {place}", "keep runs on a local disk: a network's locks and SQLite are not safe"
    return OK, f"{kind} at {place}"


def _kernel(_: Path) -> Said:
    from jupyter_client.manager import KernelManager

    from workbench.runner.lab import OwnPython

    manager = KernelManager(kernel_name="python3", kernel_spec_manager=OwnPython())
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        # Without a hook what the cell shows would be printed before the table, and before JSON.
        client.execute_interactive("1", timeout=30, store_history=False, output_hook=lambda _: None)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return OK, "starts and answers"


CHECKS: dict[str, Callable[[Path], Said]] = {
    "Python": _python,
    "packages": _packages,
    "tested versions": _tested,
    "torch": _torch,
    "GPU": _gpu,
    "data": _data,
    "runs folder": _writable,
    "free disk": _disk,
    "file system": _file_system,
    "kernel": _kernel,
}

"""What a machine has, what is missing, what to do about it: one small check a row."""

import functools
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.runner import places
from workbench.runner.places import OK, PROBLEM, WARNING, Said

_PROBE = """import json, torch
gpu = torch.cuda.is_available()
print(json.dumps([torch.__version__, torch.get_num_threads(), torch.version.cuda,
                  [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if gpu else []]))"""


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
                row = Row(name, *check(out))
            except Exception as error:
                row = Row(name, PROBLEM, f"{type(error).__name__}: {error}", "install again what it names")
            yield row


def _python(_: Path) -> Said:
    from packaging.specifiers import SpecifierSet

    wanted = importlib.metadata.metadata("workbench")["Requires-Python"]
    found = f"{platform.python_version()} at {sys.executable}"
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        return OK, found
    return PROBLEM, found, f"make an environment of Python {wanted}"


def _installed(name: str) -> str | None:
    """Return a package's version, None where it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lacking(extra: str) -> list[str]:
    """Return what the package, or one of its extras, asks for and does not find."""
    from packaging.requirements import Requirement

    lacking = []
    for wanted in map(Requirement, importlib.metadata.requires("workbench") or []):
        always = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if (wanted.marker is None or wanted.marker.evaluate({"extra": extra})) and always == (not extra):
            found = _installed(wanted.name)
            if found is None or not wanted.specifier.contains(found, prereleases=True):
                lacking.append(f"{wanted.name}{wanted.specifier} ({found or 'missing'})")
    return lacking


def _packages(_: Path) -> Said:
    if lacking := _lacking(""):
        names = " ".join(f"'{text.split(' ')[0]}'" for text in lacking)
        return PROBLEM, ", ".join(lacking), f"{sys.executable} -m pip install {names}"
    return OK, "all there, in versions that fit"


def _extras(_: Path) -> Said:
    extras = importlib.metadata.metadata("workbench").get_all("Provides-Extra") or []
    said = [f"{name}: {'lacks ' + ', '.join(lacking) if (lacking := _lacking(name)) else 'there'}" for name in extras]
    return OK, "; ".join(said) + " (optional)"


def _tested(_: Path) -> Said:
    path = Path(__file__).resolve().parents[2] / "constraints.txt"
    if not path.is_file():
        return OK, "no list of tested versions here"
    pins = re.findall(r"(?m)^([\w.-]+)==([\w.!]+)", path.read_text(encoding="utf-8"))
    found = {name: (_installed(name) or "").partition("+")[0] for name, _ in pins}
    others = [f"{name} {found[name]} (tested {pin})" for name, pin in pins if found[name] not in {"", pin}]
    return OK, f"{len(others)} differ: {', '.join(others)}" if others else f"as tested, {len(pins)} packages"


@functools.cache
def _torch_says() -> Any:
    """Return version, threads, CUDA version and names of GPUs, asked in a process that may crash."""
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _torch(_: Path) -> Said:
    version, threads, *_rest = _torch_says()
    return OK, f"{version}, {threads} threads; {os.cpu_count()} processors"


def _gpu(_: Path) -> Said:
    _version, _threads, cuda, names = _torch_says()
    if names:
        return OK, ", ".join(names)
    if cuda is None:
        return OK, "none used: torch is built for CPU"
    if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists():
        return (
            WARNING,
            f"a driver, but torch for CUDA {cuda} finds no GPU",
            "update the driver, or install another torch",
        )
    return OK, f"none found; torch is built for CUDA {cuda}, which needs a driver (the CPU build is smaller)"


def _kernel(_: Path) -> Said:
    from jupyter_client.manager import KernelManager

    from workbench.runner.lab import OwnPython

    manager = KernelManager(kernel_name="python3", kernel_spec_manager=OwnPython())
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.execute_interactive("1", timeout=30, store_history=False)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return OK, "starts and answers"


def _widgets(_: Path) -> Said:
    from workbench import figures

    figures.live(figures.Figure())
    return OK, f"plotly {_installed('plotly')} with anywidget {_installed('anywidget')}"


def _browser(_: Path) -> Said:
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), "no chromium")
    playwright = _installed("playwright")
    return OK, f"{chromium}, playwright {playwright or 'missing'} (optional, for the browser tests)"


CHECKS: dict[str, Callable[[Path], Said]] = {
    "Python": _python,
    "packages": _packages,
    "extras": _extras,
    "tested versions": _tested,
    "torch": _torch,
    "GPU": _gpu,
    "data": places.data,
    "cache": places.cache,
    "runs folder": places.writable,
    "free disk": places.disk,
    "file system": places.file_system,
    "index": places.index,
    "records": places.records,
    "kernel": _kernel,
    "widgets": _widgets,
    "browser": _browser,
}

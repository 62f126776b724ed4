"""Executes a notebook by papermill: our interpreter, our record, no kernel left behind.

Papermill runs in a thread while the caller's thread watches progress and signals: an exception thrown by a signal into
the middle of papermill's event loop would leave the kernel alive and the notebook half said. What happened is decided
here and not read from papermill's metadata, which calls every cell of a killed kernel completed.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import LocalHandler, papermill_io
from papermill.log import logger

from workbench.errors import InputError
from workbench.files import write_text
from workbench.runner.checks import temporary_folder
from workbench.runner.outcome import PAPERMILLS_OWN, Outcome
from workbench.schema import read_cells

_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 6.0  # an interrupted cell's time to end in good order
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_MEANINGS: dict[type[BaseException], tuple[str, str]] = {
    DeadKernelError: ("KernelDied", "the kernel was killed or crashed (out of memory is the usual cause)"),
    CellTimeoutError: ("CellTimeout", "the cell took longer than --timeout allows; resume it with a larger one"),
}


def execute(
    notebook: Path,
    parameters: Mapping[str, Any],
    run_dir: Path,
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    watch: Callable[[], None] = lambda: None,
    stops: Sequence[int] = (),
) -> Outcome:
    """Execute a notebook in its own folder and say how it ended; ``watch`` is called often, ``stops`` may grow."""
    notebook, run_dir = notebook.absolute(), run_dir.absolute()
    writer = _AtomicWriter()
    papermill_io.register(run_dir.anchor, writer)  # registering "local" would silently do nothing
    with temporary_folder() as folder:
        kernel = _kernel_of(run_dir, folder, environment or {})

        def begin(**_: Any) -> None:
            if stops:
                raise _StoppedError
            kernel.begun = True

        seconds = timeout and max(1, round(timeout))
        settings = {"kernel_manager_class": kernel, "execution_timeout": seconds, "on_cell_start": begin}
        work = ThreadPoolExecutor(1).submit(_call_papermill, notebook, parameters, run_dir, settings)
        try:
            _pass_time(work, kernel, stops, watch)
        finally:
            kernel.send(_KILL)  # workers of a kernel that died outlive it; their group does too
    watch()
    outcome = _outcome(work.exception(), run_dir, stops)
    return replace(outcome, storage=writer.failure or outcome.storage)


class _StoppedError(Exception):
    """Ends an execution between two cells, when no kernel can be interrupted."""


def _call_papermill(notebook: Path, parameters: Mapping[str, Any], run_dir: Path, settings: Mapping[str, Any]) -> None:
    """Run papermill without its bar, its log in the run's folder."""
    # This thread's own event loop: what a timeout left waiting in it ends with it, or asyncio would complain.
    loop = asyncio.Runner(loop_factory=ensure_event_loop)
    with loop, (run_dir / "log.txt").open("a", encoding="utf-8") as log:
        logger.setLevel("CRITICAL")  # what it would say is in our record
        paths = _braced(notebook), _braced(run_dir / "executed.ipynb")
        kernel = {"kernel_name": "python3", "language": "python"}
        # The kernel's folder; papermill's own cwd argument would change the whole process's.
        place, said = {"metadata": {"path": str(notebook.parent)}}, {"stdout_file": log, "stderr_file": log}
        papermill.execute_notebook(
            *paths, dict(parameters), resources=place, progress_bar=False, **kernel, **said, **settings
        )


def _braced(path: Path) -> str:
    """Return a path as papermill takes it, which is as a format string."""
    return str(path).replace("{", "{{").replace("}", "}}")


class _AtomicWriter(LocalHandler):
    """Writes notebooks whole; a full disk stops the writing, not the computation."""

    failure: str | None = None

    def write(self, buf: str, path: str) -> None:
        """Write a notebook or remember why not; papermill writes it again, whole, after each cell."""
        try:
            write_text(path, buf)
            self.failure = None
        except OSError as error:
            self.failure = str(error)


class _Kernel(AsyncKernelManager):
    """The kernel of one run. Papermill makes it and keeps it, so each run has a class of its own, which is asked."""

    run_dir: ClassVar[Path]
    folder: ClassVar[Path]  # its connection's
    begun: ClassVar[bool] = False  # whether it was given a cell
    process: ClassVar[Any] = None  # kept when jupyter_client forgets it: workers may outlive a kernel

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.shutdown_wait_time = 2.0
        self.connection_file = str(self.folder / "kernel.json")
        if os.name == "posix":  # sockets in a private folder: no port to race for, nobody else's to reach
            self.transport, self.ip = "ipc", str(self.folder / "k")

    async def start_kernel(self, **settings: Any) -> Any:  # type: ignore[override]  # the base is async in disguise
        """Start the kernel; what its process says outside its cells goes to the run's log."""
        with (self.run_dir / "log.txt").open("ab") as log:
            try:
                await super().start_kernel(stdout=log, stderr=log, **settings)
            finally:
                type(self).process = getattr(self.provisioner, "process", None)

    @classmethod
    def send(cls, number: int) -> None:
        """Send a signal to the kernel and the workers it started, or kill it where there are no groups."""
        with contextlib.suppress(OSError):
            if cls.process and hasattr(os, "killpg"):
                os.killpg(cls.process.pid, number)  # jupyter_client starts it as a session of its own
            elif cls.process:
                cls.process.kill()


def _kernel_of(run_dir: Path, folder: Path, more: Mapping[str, str]) -> type[_Kernel]:
    """Return the class of a run's kernel: of this interpreter, whatever kernels are installed."""
    argv = [sys.executable, "-m", "workbench.runner.kernel", "-f", "{connection_file}"]
    # One thread: their number changes bits, and more of them than processors cost many times one.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**threads, "WORKBENCH_BATCH": "1", "WORKBENCH_RUN_DIR": str(run_dir), **more}
    # jupyter_client expands $NAME in these values; ours are literal.
    literal = {name: value.replace("$", "$$") for name, value in environment.items()}
    spec = KernelSpec(argv=argv, display_name="Python 3", language="python", env=literal)
    return type("RunKernel", (_Kernel,), {"kernel_spec": spec, "run_dir": run_dir, "folder": folder})


def _pass_time(work: Future[None], kernel: type[_Kernel], stops: Sequence[int], watch: Callable[[], None]) -> None:
    """Wait for the end, passing signals on: the first interrupts a cell, so that what it finished is kept.

    The second, or a lack of patience, kills.
    """
    asked = 0.0
    while not work.done():
        wait([work], _POLL_SECONDS)
        watch()
        if not stops:
            continue
        if kernel.begun and not asked:
            asked = time.monotonic()
            kernel.send(signal.SIGINT)
        elif not kernel.begun or len(stops) > 1 or time.monotonic() - asked > _PATIENCE_SECONDS:
            kernel.send(_KILL)


def _outcome(error: BaseException | None, run_dir: Path, stops: Sequence[int]) -> Outcome:
    """Turn what papermill raised into what happened."""
    if error is None:
        return Outcome("done")
    said = {"cell": _failed_cell(run_dir), "name": type(error).__name__, "message": str(error)}
    if isinstance(error, PapermillExecutionError):
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        line = re.search(r"Cell In\[\d+\], line (\d+)", trace)  # IPython's: the first is the failed cell's own
        said |= {"name": error.ename, "message": error.evalue, "traceback": trace, "line": line and int(line[1])}
    elif type(error) in _MEANINGS:
        said |= zip(("name", "message"), _MEANINGS[type(error)], strict=True)
    elif isinstance(error, OSError):
        return Outcome("failed", said, storage=str(error))
    if stops:
        said |= {"name": "Interrupted", "message": "by Ctrl-C or a signal to end; finished trials are kept"}
        return Outcome("interrupted", said, signal=stops[0])
    # The study's first cell checks what types cannot say; once work has begun the same error is a failure.
    refused = said["name"] in {"InputError", "DataError"} and not (run_dir / "progress.jsonl").exists()
    return Outcome("refused" if refused else "failed", said)


def _failed_cell(run_dir: Path) -> int | None:
    """Return the number, from 1 in the source notebook, of the last cell begun."""
    try:
        cells = read_cells(run_dir / "executed.ipynb")
    except InputError:
        return None
    own = [cell["metadata"] for cell in cells if not PAPERMILLS_OWN & set(cell["metadata"].get("tags", []))]
    begun = [number for number, data in enumerate(own, 1) if data.get("papermill", {}).get("start_time")]
    return max(begun, default=None)

"""Executes a notebook by papermill: our interpreter, our record, no kernel left behind.

Papermill runs in a thread while the caller's thread watches progress and signals: an exception thrown by a signal into
the middle of papermill's event loop would leave the kernel alive and the notebook half said. What happened is decided
here and not read from papermill's metadata, which calls every cell of a killed kernel completed.
"""

import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
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
from workbench.schema import read_cells

PAPERMILLS_OWN = {"injected-parameters", "papermill-error-cell-tag"}  # tags of cells that are not the author's
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 6.0  # an interrupted cell's time to end in good order
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@dataclass(frozen=True)
class Outcome:
    """How an execution ended."""

    status: str  # done, failed, refused (by the notebook's own check of its input) or interrupted
    error: dict[str, Any] | None = None  # why it ended early: cell (its number in the source, from 1), name, message
    signal: int | None = None  # what interrupted it
    storage: str | None = None  # the first failure to write the executed notebook; the computation went on


def execute(
    notebook: Path,
    parameters: Mapping[str, Any],
    run_dir: Path,
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Outcome:
    """Execute a notebook in a kernel of this interpreter, in the notebook's own folder.

    Ctrl-C and SIGTERM interrupt the running cell, so that what it finished is kept; a second signal kills.

    Args:
        notebook: The study.
        parameters: Checked values, injected behind the parameters cell.
        run_dir: Where ``executed.ipynb`` and ``log.txt`` go.
        environment: Further environment variables of the kernel.
        timeout: Seconds a cell may take; ``None`` for no limit.
        watch: Called about ten times a second meanwhile.

    Returns:
        How it ended; an exception in a cell is an outcome too.
    """
    notebook, run_dir = notebook.absolute(), run_dir.absolute()
    writer = _AtomicWriter()
    papermill_io.register(run_dir.anchor, writer)  # registering "local" would silently do nothing
    with _kernel_kind(run_dir, environment or {}) as kind, _stop_signals() as stops:
        work = ThreadPoolExecutor(1).submit(_call_papermill, notebook, parameters, run_dir, kind, timeout)
        _pass_time(work, kind, stops, watch)
    watch()
    outcome = _outcome(work.exception(), run_dir, stops)
    return replace(outcome, storage=writer.failure or outcome.storage)


def _call_papermill(
    notebook: Path, parameters: Mapping[str, Any], run_dir: Path, kind: "type[_Kernel]", timeout: float | None
) -> None:
    """Run papermill without its bar, its log in the run's folder."""
    with contextlib.closing(ensure_event_loop()), (run_dir / "log.txt").open("a", encoding="utf-8") as log:
        logger.setLevel("CRITICAL")  # what it would say is in our record
        papermill.execute_notebook(
            _braced(notebook),
            _braced(run_dir / "executed.ipynb"),
            dict(parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            stdout_file=log,
            stderr_file=log,
            execution_timeout=None if timeout is None else max(1, round(timeout)),
            kernel_manager_class=kind,
            # The kernel's folder; papermill's own cwd argument would change the whole process's.
            resources={"metadata": {"path": str(notebook.parent)}},
        )


def _braced(path: Path) -> str:
    """Return a path as papermill takes it, which is as a format string."""
    return str(path).replace("{", "{{").replace("}", "}}")


class _AtomicWriter(LocalHandler):
    """Writes notebooks whole; a full disk stops the writing, not the computation."""

    failure: str | None = None

    def write(self, buf: str, path: str) -> None:
        """Write a notebook or remember why not."""
        try:
            write_text(path, buf)
        except OSError as error:
            self.failure = self.failure or f"{path}: {error}"


class _Kernel(AsyncKernelManager):
    """A kernel of this interpreter, whatever kernels are installed."""

    started: ClassVar["_Kernel | None"] = None  # of a run's own subclass: papermill takes a class and keeps the kernel

    def send(self, number: int) -> None:
        """Send a signal to the kernel and the workers it started, or kill it where there are no groups."""
        process = getattr(self.provisioner, "process", None)
        with contextlib.suppress(OSError):
            if process is not None and hasattr(os, "killpg"):
                os.killpg(process.pid, number)  # jupyter_client starts it as a session of its own
            elif process is not None:
                process.kill()


@contextlib.contextmanager
def _kernel_kind(run_dir: Path, more: Mapping[str, str]) -> Iterator[type[_Kernel]]:
    """Yield a class of kernel for one run; at the end nothing of its kernel is left."""
    folder = Path(tempfile.mkdtemp(prefix="workbench-"))
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    # One thread: their number changes bits, and more of them than processors cost many times one.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**threads, "WORKBENCH_BATCH": "1", "WORKBENCH_RUN_DIR": str(run_dir), **more}
    # jupyter_client expands $NAME in these values; ours are literal.
    literal = {name: value.replace("$", "$$") for name, value in environment.items()}

    class RunKernel(_Kernel):
        kernel_spec = KernelSpec(argv=argv, display_name="Python 3", language="python", env=literal)

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.shutdown_wait_time = 2.0
            self.connection_file = str(folder / "kernel.json")
            if os.name == "posix":
                # Sockets in a private folder: no port to race for, nobody else's to reach.
                self.transport, self.ip = "ipc", str(folder / "k")
            RunKernel.started = self

        async def start_kernel(self, **settings: Any) -> Any:  # type: ignore[override]  # the base is async in disguise
            with (run_dir / "log.txt").open("ab") as log:  # what its process says outside its cells
                return await super().start_kernel(stdout=log, stderr=log, **settings)

    try:
        yield RunKernel
    finally:
        if RunKernel.started is not None:
            RunKernel.started.send(_KILL)  # workers of a kernel that died outlive it; their group does too
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of acting on them."""
    received: list[int] = []
    # Python allows handlers in the main thread only.
    mine = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in mine}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_time(work: Future[None], kind: type[_Kernel], stops: list[int], watch: Callable[[], None]) -> None:
    """Wait for the end, passing signals on: the first interrupts, the second or a lack of patience kills."""
    asked = 0.0
    while not work.done():
        wait([work], _POLL_SECONDS)
        watch()
        kernel = kind.started
        if not stops or kernel is None:
            continue
        if not asked:
            asked = time.monotonic()
            kernel.send(signal.SIGINT)
        elif len(stops) > 1 or time.monotonic() - asked > _PATIENCE_SECONDS:
            kernel.send(_KILL)


def _outcome(error: BaseException | None, run_dir: Path, stops: list[int]) -> Outcome:
    """Turn what papermill raised into what happened."""
    if error is None:
        return Outcome("done")
    said = {"cell": _failed_cell(run_dir), "name": type(error).__name__, "message": str(error)}
    if isinstance(error, PapermillExecutionError):
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        said |= {"name": error.ename, "message": error.evalue, "traceback": trace}
    elif isinstance(error, DeadKernelError):
        said |= {"name": "KernelDied", "message": "the kernel was killed or crashed (out of memory is the usual cause)"}
    elif isinstance(error, CellTimeoutError):
        said |= {"name": "CellTimeout", "message": "the cell took longer than --timeout allows"}
    elif isinstance(error, OSError):
        return Outcome("failed", said, storage=str(error))
    if stops:
        said |= {"name": "Interrupted", "message": "by Ctrl-C or a signal to end; finished trials are kept"}
        return Outcome("interrupted", said, signal=stops[0])
    # The study's first cell checks what types cannot say; once work has begun the same error is a failure.
    refused = said["name"] in {"InputError", "DataError"} and not (run_dir / "progress.jsonl").exists()
    return Outcome("refused" if refused else "failed", said)


def error_line(error: Mapping[str, Any]) -> str:
    """Return an outcome's error as a line of text; what ends before the first cell has no cell."""
    where = "" if error["cell"] is None else f"cell {error['cell']}: "
    return f"{where}{error['name']}: {error['message']}"


def _failed_cell(run_dir: Path) -> int | None:
    """Return the number, from 1 in the source notebook, of the last cell begun."""
    try:
        cells = read_cells(run_dir / "executed.ipynb")
    except InputError:
        return None
    own = [cell["metadata"] for cell in cells if not PAPERMILLS_OWN & set(cell["metadata"].get("tags", []))]
    begun = [number for number, data in enumerate(own, 1) if data.get("papermill", {}).get("start_time")]
    return max(begun, default=None)

"""What the trials of one call share, the keys that follow from it, and the call itself: alike on every executor."""

import contextlib
import importlib
import inspect
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import require
from workbench.files import digest, plain
from workbench.sources import source_digest, versions

# How a trial ended, as plain data: result and seconds, or error, message, traceback and attempts.
Outcome = dict[str, Any]
Calls = Mapping[str, Mapping[str, Any]]  # parameters by key
Outcomes = Iterator[tuple[str, Outcome]]

turn = threading.RLock()  # held by a call: torch's threads, random generators and modules are the whole process's


@dataclass(frozen=True)
class Job:
    """A function by its names, and everything beside parameters that decides what it returns."""

    module: str
    name: str
    file: Path
    data: str
    source: str
    versions: tuple[str, ...]
    function: Callable[..., Any] | None = None  # where it is at hand: in the process that asked for it

    @classmethod
    def of(cls, function: Callable[..., Any], data: str) -> "Job":
        """Describe a function that a worker can import by its name, or raise InputError."""
        name, module = getattr(function, "__qualname__", "<lambda>"), function.__module__
        importable = module != "__main__" and name.isidentifier()
        require(importable, "function", "must stand at the top of an importable module", name, "move it to a .py file")
        file = Path(inspect.getfile(inspect.unwrap(function)))
        return cls(module, name, file, data, source_digest(file), tuple(versions()), function)

    def key(self, parameters: Mapping[str, Any]) -> str:
        """Return the name of a trial's file: 32 hexadecimal digits."""
        identity = {"schema": 1, "function": f"{self.file.stem}.{self.name}", "parameters": dict(parameters)}
        return digest(identity | {"data": self.data, "versions": self.versions, "source": self.source})[:32]

    def call(self, parameters: Mapping[str, Any]) -> Outcome:
        """Call the function; whatever it raises becomes data, which any process and version can read."""
        try:
            function = self.function or getattr(importlib.import_module(self.module), self.name)
            with alone(int(self.key(parameters)[:8], 16)):
                started = time.process_time()
                result = plain(function(**parameters))
                return {"result": result, "seconds": time.process_time() - started}
        except (Exception, SystemExit) as error:
            # Indented lines show where a syntax error is; notes come last.
            said = next(text for text in traceback.format_exception_only(error) if not text.startswith(" "))
            return failure(type(error).__name__, said.strip().partition(": ")[2], traceback.format_exc())


def failure(error: str, message: str, trace: str = "", attempts: int = 1) -> Outcome:
    """Return how a trial ended that has no result."""
    return {"error": error, "message": message, "traceback": trace, "attempts": attempts}


@contextlib.contextmanager
def alone(seed: int, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Take the process's one turn on torch's threads, random generators and modules; give all back as it was.

    Args:
        seed: Starts the global generators of Python, NumPy and torch; what runs should draw from a seed of its own,
            and one that does not still gets the same numbers in every process.
        waiting: Called ten times a second until it is our turn; what it raises ends the wait.

    Yields:
        With one thread, while no trial and no live run of this process goes on.
    """
    import numpy as np
    import torch

    while not turn.acquire(timeout=0.1):
        waiting()
    with contextlib.ExitStack() as held:
        held.callback(turn.release)
        threads, state, legacy = torch.get_num_threads(), random.getstate(), np.random.get_state()  # noqa: NPY002
        with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()):
            torch.set_num_threads(1)
            for start in (random.seed, np.random.seed, torch.manual_seed):
                start(seed)
            try:
                yield
            finally:
                torch.set_num_threads(threads)
                random.setstate(state)
                np.random.set_state(legacy)  # noqa: NPY002

"""A sweep: trials over an executor, each computed once and kept as it finishes.

A trial is a function at the top of an importable module, called with keyword parameters that JSON can hold. Its key
is a hash of the function's name, its parameters, the data's checksum, the versions that decide the bits, and the
source of everything it imports statically from its project; so nothing is computed twice and nothing stale is used.
"""

import contextlib
import hashlib
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import DataError, is_count, reading, require
from workbench.files import plain, require_writable, write_json
from workbench.sweeps.executors import default_workers, make_executor, require_executor
from workbench.sweeps.job import Calls, Job, Outcome

_SHOWN = 5  # failed trials that an error names


class TrialError(RuntimeError):
    """Some trials failed; the others are finished and kept."""


@dataclass(frozen=True)
class Trial:
    """One finished trial: its key, what the function returned, CPU seconds, and whether it was already there."""

    key: str
    result: Any
    seconds: float
    cached: bool


class Sweep(contextlib.AbstractContextManager["Sweep"]):
    """Runs trials and keeps what they return. Use as a context manager; safe from threads.

    Args:
        directory: Where finished trials lie, ``<key>.json`` each; ``<key>.failed.json`` says why one failed.
        executor: ``"serial"`` (this process), ``"processes"`` (this machine) or ``"dask:ADDRESS"``, a scheduler's
            ``tcp://host:port`` or ``file:PATH`` of its scheduler file. None takes ``WORKBENCH_EXECUTOR``, else
            processes, or serial where there is one worker. The numbers are the same on all: a trial has one torch
            thread, and global random generators start from its key.
        workers: Processes of this machine; None takes ``WORKBENCH_WORKERS``, else one for each core.
        data_checksum: Of the data the trials read; part of every key.
        force: Compute again, once, what is already there; the earlier file is kept beside the new attempt. None takes
            ``WORKBENCH_FORCE``.

    Raises:
        InputError: If ``workers`` is not a positive whole number, or ``executor`` names none.
    """

    def __init__(
        self,
        directory: str | Path = "runs/trials",
        executor: str | None = None,
        workers: int | None = None,
        data_checksum: str = "",
        force: bool | None = None,
    ) -> None:
        workers = default_workers() if workers is None else workers
        require(is_count(workers, 1), "workers", "must be a whole number, at least 1", workers)
        executor = executor or os.environ.get("WORKBENCH_EXECUTOR") or ("processes" if workers > 1 else "serial")
        require_executor(executor)
        self.directory, self.workers, self.executor = Path(directory), workers, executor
        self.data_checksum = data_checksum
        self.force = os.environ.get("WORKBENCH_FORCE") == "1" if force is None else force
        self._executor = make_executor(executor, workers)
        self._keys: dict[str, None] = {}
        self._forced: dict[str, Trial] = {}
        self._taken: set[str] = set()  # keys that some thread has in hand
        self._freed = threading.Condition()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def keys(self) -> list[str]:
        """Keys of all trials asked for, in order."""
        return list(self._keys)

    def close(self) -> None:
        """End the workers, once their trials are done; a later call of ``map`` starts new ones."""
        self._executor.close()

    def key(self, function: Callable[..., Any], parameters: Mapping[str, Any]) -> str:
        """Return the name of a trial's file: 32 hexadecimal digits."""
        return Job.of(function, self.data_checksum).key(parameters)

    def map(
        self,
        function: Callable[..., Any],
        trials: Sequence[Mapping[str, Any]],
        progress: Callable[[float], None] | None = None,
    ) -> list[Trial]:
        """Run a function once for each set of parameters, at once where workers are free.

        Args:
            function: Defined at the top of an importable module; returns what JSON can hold.
            trials: Keyword parameters of each call.
            progress: Called with the fraction of these trials that is done.

        Returns:
            The trials in the order given.

        Raises:
            InputError: If the function cannot be imported by a worker.
            StorageError: If a result cannot be kept; nothing is computed where the directory cannot be written.
            ExecutorError: If a cluster is out of reach, or lost on the way; finished trials are kept.
            TrialError: After all others have finished, if some failed; names the files that hold their tracebacks.
        """
        job = Job.of(function, self.data_checksum)
        keys = [job.key(parameters) for parameters in trials]
        calls = dict(zip(keys, trials, strict=True))
        self._keys |= dict.fromkeys(keys)
        done: dict[str, Trial | str] = {}
        while missing := {key: calls[key] for key in calls if key not in done}:
            with self._take(missing) as own:
                for key, trial in self._settle(job, own):
                    done[key] = trial
                    if progress:
                        progress(len(done) / len(calls))
        failures = [trial for trial in done.values() if isinstance(trial, str)]
        if failures:
            more = [f"and {len(failures) - _SHOWN} more"] if len(failures) > _SHOWN else []
            heading = f"{len(failures)} of {len(calls)} trials failed; the others are kept."
            raise TrialError("\n".join([heading, *failures[:_SHOWN], *more]))
        return [trial for key in keys if isinstance(trial := done[key], Trial)]

    @contextlib.contextmanager
    def _take(self, calls: Calls) -> Iterator[Calls]:
        """Yield those of some calls that no other thread has in hand, waiting for one; meanwhile they are ours."""
        with self._freed:
            while not (own := {key: calls[key] for key in calls if key not in self._taken}):
                self._freed.wait()
            self._taken |= own.keys()
        try:
            yield own
        finally:
            with self._freed:
                self._taken -= own.keys()
                self._freed.notify_all()

    def _settle(self, job: Job, calls: Calls) -> Iterator[tuple[str, Trial | str]]:
        """Yield trials, or why one failed: first those that are there, then the others as they end."""
        missing = dict(calls)
        for key in calls:
            if trial := self._find(key):
                del missing[key]
                yield key, trial
        if missing:  # else a cluster is left alone
            require_writable(self.directory)
            for key, outcome in self._executor.run(job, missing):
                yield key, self._keep(job, key, calls[key], outcome)

    def _find(self, key: str) -> Trial | None:
        """Return a trial that is already there; a file that is not whole is as good as absent."""
        if self.force:
            return self._forced.get(key)
        try:
            record = read_trial(self.directory / f"{key}.json")
        except DataError as error:
            warnings.warn(f"{error}: it is computed again", stacklevel=3)
            return None
        return None if record is None else Trial(key, record["result"], record["seconds"], True)

    def _keep(self, job: Job, key: str, parameters: Mapping[str, Any], outcome: Outcome) -> Trial | str:
        """Write how a trial ended to its file; return the trial, or one line on why it failed."""
        failed = self.directory / f"{key}.failed.json"
        if "error" in outcome:
            write_trial(failed, job, key, parameters, outcome)
            given = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
            shown = given if len(given) <= 100 else f"{given[:97]}..."
            why = f"{outcome['error']}: {outcome['message'].partition(chr(10))[0] or 'no message'}"
            return f"{job.name}({shown}): {why}; {failed} has the rest"
        path, attempt = self.directory / f"{key}.json", 1
        while self.force and path.exists():
            attempt += 1
            path = self.directory / f"{key}.{attempt}.json"
        write_trial(path, job, key, parameters, outcome)
        with contextlib.suppress(OSError):
            failed.unlink()
        trial = Trial(key, outcome["result"], outcome["seconds"], False)
        if self.force:
            self._forced[key] = trial
        return trial


def trial_digest(record: Mapping[str, Any]) -> str:
    """Return what a trial's ``digest`` must be: the SHA-256 of its other fields as canonical JSON."""
    fields = {name: value for name, value in plain(dict(record)).items() if name != "digest"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_trial(path: str | Path) -> dict[str, Any] | None:
    """Read a finished trial's file.

    Args:
        path: ``<key>.json``, or ``<key>.<attempt>.json`` of a forced rerun.

    Returns:
        What it holds, or None if there is no such file.

    Raises:
        DataError: If the file is not whole, was changed, or is another trial's.
    """
    path = Path(path)
    if not path.exists():
        return None
    with reading(f"{path} must be a whole trial", "remove it"):
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = {"key", "result", "seconds", "digest"} <= record.keys() and record["digest"] == trial_digest(record)
    if not whole or record["key"] != path.name.partition(".")[0]:
        raise DataError(f"{path} must be a whole trial, its digest or its name does not match; remove it")
    return record


def write_trial(path: Path, job: Job, key: str, parameters: Mapping[str, Any], outcome: Outcome) -> None:
    """Keep how a trial ended, or raise StorageError."""
    record = {"schema": 1, "key": key, "function": f"{job.module}.{job.name}", "parameters": dict(parameters)}
    record |= {"data_checksum": job.data, "finished": time.time(), **outcome}
    write_json(path, record | {"digest": trial_digest(record)})

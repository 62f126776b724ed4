"""A study's run: parameters, progress, claims judged, one record."""

import contextlib
import json
import math
import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import records
from workbench.errors import require, require_choice
from workbench.files import write_json
from workbench.verdicts import VERDICTS, Claim, Finding, Report, judge_interval, n_to_decide

if TYPE_CHECKING:
    from workbench.datasets import Dataset

__all__ = ["Claim", "Finding", "Report", "Study", "judge_interval", "n_to_decide"]
_WRITE_SECONDS = 0.2


class Study:
    """One run of a study, from its parameters to its record.

    Args:
        name: The notebook's name.
        parameters: Values of the parameters cell.
        claims: What will be judged; names differ.
        stages: Stage name -> expected cost in any common unit; progress is weighted by it.
        dataset: The data, or ``None`` where a study makes its own.

    Attributes:
        run_dir: Where this run's files belong: the runner's folder, or a new one where there is no runner.
    """

    def __init__(
        self,
        name: str,
        *,
        parameters: Mapping[str, Any],
        claims: Sequence[Claim],
        stages: Mapping[str, float],
        dataset: "Dataset | None",
    ) -> None:
        names = [claim.name for claim in claims]
        require(len(set(names)) == len(names), "claims", "must have names that differ", names)
        require(all(cost > 0 for cost in stages.values()), "stages", "must have positive costs", dict(stages))
        self.name, self.parameters, self.dataset = name, dict(parameters), dataset
        self.claims = {claim.name: claim for claim in claims}
        self._costs = dict(stages)
        self._fractions, self._seconds = dict.fromkeys(stages, 0.0), dict.fromkeys(stages, 0.0)
        self._findings: dict[str, Finding] = {}
        self._written = -math.inf
        self._started = time.monotonic()
        self._own: records.Run | None = None
        self.run_dir = Path(os.environ.get("WORKBENCH_RUN_DIR", ""))
        if not self.run_dir.name:  # somebody runs the notebook by hand
            self._own = records.Run.start(records.project_folder() / "runs", name, self.parameters)
            self.run_dir = self._own.folder
            weakref.finalize(self, self._own.release)  # its cell was run again: this run goes on no more

    @property
    def runs_dir(self) -> Path:
        """Folder of all runs, where every study's trials lie."""
        return self.run_dir.parents[1]

    def judge(
        self,
        name: str,
        *,
        value: float | None,
        interval: tuple[float, float] | None,
        n: int,
        unit: str,
        verdict: str,
        detail: str = "",
    ) -> Finding:
        """Set a measurement beside its claim.

        Args:
            name: The claim's name.
            value: The measurement.
            interval: Its interval.
            n: How many seeds or examples it rests on.
            unit: Its unit.
            verdict: What the claim's rule says, see ``judge_interval``.
            detail: What a reader must know beside the number.

        Returns:
            The finding; an illustration where the rule does not decide on this run's data.

        Raises:
            InputError: If there is no such claim or verdict.
        """
        require_choice("name", name, tuple(self.claims))
        require_choice("verdict", verdict, VERDICTS)
        claim, on = self.claims[name], self.dataset.name if self.dataset else None
        if claim.datasets is not None and on not in claim.datasets:
            verdict = "illustration"
            why = f"the rule decides on {', '.join(claim.datasets)}, this run used {on or 'data of its own'}"
            detail = f"{detail}; {why}" if detail else why
        bounds = None if interval is None else (float(interval[0]), float(interval[1]))
        finding = Finding(claim, None if value is None else float(value), bounds, int(n), unit, verdict, detail)
        self._findings[name] = finding
        return finding

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """Time one of the stages; yield ``tick(fraction)``, to be called with the part that is done, in 0..1."""
        require_choice("stage", name, tuple(self._costs))
        started = time.monotonic()
        self._tick(name, 0.0)
        yield partial(self._tick, name)
        self._tick(name, 1.0)
        self._seconds[name] += time.monotonic() - started

    def report(self, **extra: Any) -> Report:
        """Write ``results.json``, ``extra`` (numbers, arrays, strings, mappings) included; return the verdict table."""
        judged = tuple(self._findings[name] for name in self.claims if name in self._findings)
        unjudged = tuple(claim for name, claim in self.claims.items() if name not in self._findings)
        report = Report(self.name, self.dataset.note if self.dataset else "made by the study itself", judged, unjudged)
        data = self.dataset and {name: getattr(self.dataset, name) for name in ("name", "checksum", "note")}
        results = {"schema": records.SCHEMA, **asdict(report), "parameters": self.parameters, "dataset": data}
        write_json(self.run_dir / "results.json", results | {"stage_seconds": self._seconds, "extra": extra})
        if self._own:
            self._own.finish("done")
        return report

    def _tick(self, name: str, fraction: float) -> None:
        """Note that a fraction of a stage is done."""
        now = time.monotonic()
        fraction, before = min(max(float(fraction), 0.0), 1.0), self._fractions[name]
        self._fractions[name] = max(before, fraction)
        if before == 1 or (now - self._written < _WRITE_SECONDS and 0 < fraction < 1):
            return
        self._written = now
        done = sum(self._costs[stage] * part for stage, part in self._fractions.items())
        overall = done / sum(self._costs.values())
        line = {"stage": name, "fraction": fraction, "overall": overall, "seconds": round(now - self._started, 2)}
        # Progress is not a result: a full disk must not end a computation that may still be reported.
        with contextlib.suppress(OSError), (self.run_dir / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._own and not os.environ.get("WORKBENCH_BATCH"):
            print(f"\r{overall:4.0%}  {name:<40}", end="\n" if overall >= 1 else "", flush=True)

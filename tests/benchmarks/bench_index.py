"""Recorded trials and runs to tables: seconds with the index warm, cold, and without one.

Run: ``python tests/benchmarks/bench_index.py``. Each round is a process of its own; importing pandas is not counted.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas

import workbench
from workbench.files import write_text
from workbench.sweeps import trial_digest

CLAIM = {"name": "c", "paper": "p", "sentence": "s", "rule": "r", "datasets": None}
FINDING = {"claim": CLAIM, "value": 0.5, "interval": [0.4, 0.6], "n": 3, "unit": "", "verdict": "holds", "detail": ""}


def make(out: Path, n_trials: int, n_runs: int) -> None:
    """Write trials of 2 kB with a curve and four numbers, and runs with two claims."""
    (out / "trials").mkdir(parents=True)
    for i in range(n_trials):
        key = f"{i:032x}"
        result = {"accuracy": i / n_trials, "loss": 0.1, "n": i, "seconds": 1.0, "curve": [0.123456789] * 100}
        parameters = {"subspace_dim": i % 100, "seed": i, "projection": "hashed", "learning_rate": 1e-3}
        trial = {"schema": 1, "key": key, "function": "measure.trial", "parameters": parameters, "result": result}
        trial |= {"seconds": 1.5, "finished": 1.7e9 + i}
        (out / "trials" / f"{key}.json").write_text(json.dumps(trial | {"digest": trial_digest(trial)}))
    for i in range(n_runs):
        name = f"20260101T{i:06d}Z-abcdef"
        about = {"schema": 1, "study": "demo", "run": name, "status": "done", "started": "2026-01-01T00:00:00+00:00"}
        parameters = {"seed": i, "subspace_dims": [10, 30, 100], "device": "cpu"}
        findings = [FINDING, {**FINDING, "claim": {**CLAIM, "name": "d"}}]
        report = {"schema": 1, "study": "demo", "data": "d", "findings": findings, "unjudged": [], "extra": {}}
        write_text(out / "demo" / name / "run.json", json.dumps({**about, "parameters": parameters}))
        write_text(out / "demo" / name / "results.json", json.dumps(report))


def measure(out: str) -> None:
    """Print seconds of a table of trials and one of runs."""
    warm_up = pandas.DataFrame({"a": [1.5], "b": ["c"]})
    pandas.to_datetime(pandas.Series([0.0]), utc=True, unit="s")
    seconds = []
    for table in (workbench.trials, workbench.runs):
        started = time.perf_counter()
        rows = len(table(out)) + 0 * len(warm_up)
        seconds.append(time.perf_counter() - started)
        assert rows
    print(json.dumps(seconds))


def main() -> None:
    """Measure in fresh processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    print(f"pandas {pandas.__version__}, Python {platform.python_version()}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs"
        make(out, options.trials, options.runs)
        for kind in ("cold", "warm"):
            measured = []
            for _ in range(options.rounds):
                if kind == "cold":
                    (out / "index.sqlite").unlink(missing_ok=True)
                command = [sys.executable, __file__, "--measure", str(out)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                measured.append(json.loads(done.stdout))
            for name, values in zip(("trials", "runs"), zip(*measured, strict=True), strict=True):
                n = getattr(options, name)
                spread = f"[{min(values):.3f}, {max(values):.3f}]"
                print(f"{n:6} {name:6} {kind}: {statistics.median(values):.3f} s {spread} of {len(values)} processes")


if __name__ == "__main__":
    main()

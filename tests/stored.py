"""Runs as they lie on disk, made without a kernel."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import plotly.graph_objects as go

from workbench import records
from workbench.figures import slider_figure
from workbench.files import write_json
from workbench.records import Run
from workbench.verdicts import Claim, Finding, Report

CLAIM = Claim("toy", "a-paper", "Ten constraints need ten dimensions.", "d = 10 in 9 of 10 seeds")


def finding(verdict: str = "holds", claim: Claim = CLAIM, value: float = 10.0, detail: str = "") -> Finding:
    return Finding(claim, value, (9.0, 12.5), 10, "dimensions", verdict, detail)


def code(source: str, *outputs: dict[str, Any]) -> Any:
    """Return a cell that displayed data of the given types."""
    shown = [nbformat.v4.new_output("display_data", data=data) for data in outputs]
    return nbformat.v4.new_code_cell(source, outputs=shown)


def plotly_data(figure: go.Figure) -> dict[str, Any]:
    return {"application/vnd.plotly.v1+json": json.loads(figure.to_json()), "text/plain": "Figure"}


def curves() -> go.Figure:
    """Return a figure with a slider of three steps, each another curve."""
    traces = [go.Scatter(x=[0, 1, 2], y=[0, k, 3], mode="lines+markers", name="curve") for k in range(3)]
    figures = [go.Figure(trace, {"title": f"k = {k}", "showlegend": True}) for k, trace in enumerate(traces)]
    return slider_figure(figures, ["zero", "one", "two"], prefix="k: ", active=1)


def stored_run(
    out: Path,
    *findings: Finding,
    study: str = "demo",
    at: float = 1.8e9,
    status: str = "done",
    error: dict[str, Any] | None = None,
    parameters: dict[str, Any] | None = None,
    cells: list[Any] | None = None,
    unjudged: tuple[Claim, ...] = (),
    data: str = "made up",
    **more: Any,
) -> Run:
    """Write a run that started ``at`` (seconds) and ended: record, results, executed notebook."""
    with mock.patch.object(records, "utc", lambda form, _=None: time.strftime(form, time.gmtime(at))):
        run = Run.start(out, study, parameters or {"dims": [1, 2]}, **{"profile": "smoke", **more})
    nbformat.write(nbformat.v4.new_notebook(cells=cells or []), run.folder / "executed.ipynb")
    if findings or unjudged:
        report = Report(study, data, findings, unjudged)
        write_json(run.folder / "results.json", {"schema": records.SCHEMA, **asdict(report), "dataset": {"name": data}})
    run.finish(status, error)
    return run

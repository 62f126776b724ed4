"""The study's explorer: one density of the plane at a time, and a cell of the reader's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from annotated_types import Ge, Le
from plane_figures import density_view, own_run
from plane_trials import train_column
from planes import Plane
from pruned import unpack
from three_regimes import REGIMES, regimes

from workbench import widgets
from workbench.schema import Parameter


@dataclass(frozen=True)
class OwnCell:
    """A cell of the plane that the reader asked for."""

    name: str = ""
    steps: tuple[int, ...] = ()
    validation: tuple[float, ...] = ()
    cell: Mapping[str, Any] | None = None  # as ``train_column`` returns it; None while it trains


def explore_plane(
    plane: Plane, density: float, trial: Mapping[str, Any], *, live: bool | None = None
) -> go.Figure | ipywidgets.VBox:
    """Show the plane density by density; live, also measure a cell of the reader's own.

    Args:
        plane: Measurements.
        density: Where the view opens.
        trial: Parameters of ``train_column`` but for value, densities and seed.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of the density's slider and figure and a `widgets.Live`, or a plain figure with plotly's own slider.
    """
    shown = Parameter("density", Literal[plane.densities], "", density, "share of weights kept")
    views = widgets.explore(partial(density_view, plane), shown, density, plane.densities, live=live)
    if not (widgets.is_live() if live is None else live):
        return views
    middle = plane.temperatures[len(plane.temperatures) // 2]
    choices = [
        Parameter(plane.knob, Literal[tuple(sorted(plane.temperatures))], "", middle, "of dense training"),
        Parameter("percent", Annotated[int, Ge(2), Le(95)], "int", 7, "weights kept"),
    ]
    work = live_cell(trial, max(plane.seeds) + 1)
    return ipywidgets.VBox([views, widgets.Live(work, draw_cell, OwnCell(), choices, label="Train")])


def live_cell(trial: Mapping[str, Any], seed: int) -> Callable[..., OwnCell]:
    """Return the work of the button: one trial of the study at one density, with a seed of its own, watched."""

    def work(report: Callable[[float, OwnCell], None], percent: int, **knob: int) -> OwnCell:
        ((name, value),) = knob.items()
        run = OwnCell(f"{name} {value}, density {percent} %")
        report(0.0, run)
        stream = widgets.Stream(run, lambda run: report(min(0.9, 0.04 * len(run.steps)), run))
        column = train_column(**trial, value=value, densities=[percent / 100], seed=seed, watch=stream)
        return replace(stream.run, cell=column["cells"][0])

    return work


def draw_cell(run: OwnCell) -> go.Figure:
    """Draw a cell of the reader's own."""
    if not run.name:
        return own_run((), "A cell of your own", "Choose, then press Train: one seed, two retrained copies.")
    if run.cell is None:
        return own_run((), f"Your cell: {run.name}", "The dense network trains.", run.steps, run.validation)
    regime = REGIMES[int(regimes(np.array(run.cell["lmc"]), np.array(run.cell["cka"])))]
    error = 100 * (1 - np.mean([unpack(each).mean() for each in run.cell["right"]]))
    note = f"Regime {regime}: LMC {run.cell['lmc']:.3f} nats, CKA {run.cell['cka']:.3f}; test error {error:.1f} %, "
    note += f"top eigenvalue {run.cell['eigenvalue']:.1f}. One seed."
    return own_run(run.cell["losses"], f"Your cell: {run.name}", note, run.steps, run.validation)

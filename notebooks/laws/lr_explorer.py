"""The study's explorer: each grid, and laws of the reader's own choice refitted at once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import ipywidgets
import pandas as pd
import plotly.graph_objects as go
from lr_figures import bowl_figure, labels, own_view, thousands
from lr_laws import Law, hold_out, optima

from workbench import widgets
from workbench.schema import Parameter

NEARS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)  # percent of the best loss
N_STEPS = 10


@dataclass(frozen=True)
class Held:
    """A law refitted without a size."""

    near: float
    points: pd.DataFrame
    held: pd.DataFrame


def explore_grids(
    runs: pd.DataFrame, points: pd.DataFrame, law: Law, near: float, *, live: bool | None = None
) -> go.Figure | ipywidgets.VBox:
    """Show any grid; live, also refit the law without a size and with another threshold.

    Args:
        runs: A row a run.
        points: Of ``lr_laws.optima``.
        law: Of all grids.
        near: Share of the best loss where the study stands.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of a slider, its figure and a `widgets.Live`, or a plain figure with plotly's own slider.
    """
    stops = tuple(labels(points))
    shown = Parameter("grid", Literal[stops], "", stops[-1], "parameters on tokens")
    views = widgets.explore(partial(bowl_figure, runs, points, law), shown, stops[-1], stops, live=live)
    if not (widgets.is_live() if live is None else live):
        return views
    sizes = tuple(thousands(size) for size in sorted(points.N.unique()))
    choices = [
        Parameter("held_out", Literal[sizes], "", sizes[-1], "size that the law does not see"),
        Parameter(
            "near_percent", Literal[NEARS], "", min(NEARS, key=lambda each: abs(each - 100 * near)), "of the best loss"
        ),
    ]
    work = refit(runs)
    opens = work(lambda fraction, held: None, sizes[-1], 100 * near)
    return ipywidgets.VBox([views, widgets.Live(work, draw, opens, choices, label="Refit")])


def refit(runs: pd.DataFrame) -> Callable[..., Held]:
    """Return the work of the button: choose near-optimal runs anew, fit without a size, ask what the advice costs."""

    def work(report: Callable[[float, Held], None], held_out: str, near_percent: float) -> Held:
        near, size = near_percent / 100, next(n for n in runs.N.unique() if thousands(n) == held_out)
        points = optima(runs, near)
        for i in range(1, N_STEPS + 1):  # the intervals settle as resamples come in
            found = Held(near, points, hold_out(runs, [size], near=near, n_bootstrap=50 * i))
            report(i / N_STEPS, found)
        return found

    return work


def draw(found: Held) -> go.Figure:
    """Draw a refitted law."""
    return own_view(found.points, found.held, found.near)

"""The study's explorer: sections of accuracy over density and dimension, and a subspace of the reader's own."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import crossing_tables as tables
import ipywidgets
import pandas as pd
import plotly.graph_objects as go
from annotated_types import Ge, Le
from crossing_dimensions import KINDS, recipe, ticket
from crossing_figures import run_figure, section, section_scene, sections

from workbench import widgets
from workbench.figures.live import LiveFigure
from workbench.measures import inside
from workbench.schema import Parameter
from workbench.training import train

OPEN = 0.125  # the density that is shown first, where it was measured
N_EVALUATIONS = 50


@dataclass(frozen=True)
class OwnRun:
    """A subspace of the reader's own: what was chosen, and validation accuracy by step so far."""

    n_steps: int
    said: str = "Choose a mask, a density and a dimension, then press Train."
    steps: tuple[int, ...] = ()
    validation: tuple[float, ...] = ()


def explore(rows: pd.DataFrame, network: dict[str, Any], *, live: bool | None = None) -> go.Figure | ipywidgets.VBox:
    """Show two sections of accuracy over density and d; live, with two sliders and a training on request.

    Args:
        rows: Of ``crossing_tables.dimensions``.
        network: Arguments of ``ticket`` that are the same for all: data, width, steps, learning rate.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box, or a plain figure whose slider changes the density.
    """
    densities, dims = (tuple(sorted(set(each) - {0})) for each in (rows.density, rows.d))
    density, d = OPEN if OPEN in densities else densities[0], dims[len(dims) // 2]
    shown = Parameter("density", Literal[densities], "", density, "density")
    draw = partial(section, section_scene(rows), sections(rows))
    if not (widgets.is_live() if live is None else live):
        return widgets.explore(lambda each: draw(each, d), shown, density, densities, live=False)
    handles = [widgets.control(each) for each in (shown, Parameter("dimension", Literal[dims], "", d, "dimension, d"))]
    figure = LiveFigure(draw(density, d))
    for each in handles:
        each.observe(lambda _: figure.follow(draw(*(one.value for one in handles))), names="value")
    goal = tables.FRACTION * float(tables.baseline_of(rows).scores.mean())
    start = OwnRun(network["n_steps"])
    own = widgets.Live(live_run(network), partial(draw_run, goal), start, choices(dims[-1]), label="Train")
    return ipywidgets.VBox([*handles, figure, own])


def choices(most: int) -> list[Parameter]:
    """Return what the reader chooses of a subspace of their own."""
    return [
        Parameter("mask", Literal[KINDS], "", KINDS[0], "which weights are kept, and their start"),
        Parameter("percent", Annotated[int, Ge(2), Le(100)], "int", 10, "density in percent"),
        Parameter("subspace_dim", Annotated[int, Ge(1), Le(most)], "int", max(1, most // 4), "dimension, d"),
    ]


def live_run(network: dict[str, Any], seed: int = 0) -> Callable[..., OwnRun]:
    """Return the work of the button: train one subspace of one pruned network."""

    def work(report: Callable[[float, OwnRun], None], mask: str, percent: int, subspace_dim: int) -> OwnRun:
        n_steps = network["n_steps"]
        objective, start, kept = ticket(mask, **network, density=percent / 100, seed=seed)
        n = int(kept.sum())
        d = min(subspace_dim, n)
        own = OwnRun(n_steps, f"{mask}, density {percent} %: d = {d} of {n:,} kept entries.")
        stream = widgets.Stream(own, lambda run: report(run.steps[-1] / n_steps, run))
        report(0.0, own)
        every = max(1, n_steps // N_EVALUATIONS)
        within = inside(start, d, seed, kept)
        own_recipe = replace(recipe(n_steps, network["lr"], d, n), eval_every_steps=every)
        found = train(objective, within, own_recipe, seed, watch=stream)
        right = objective.evaluate(found.point(within), "test").metric
        return replace(stream.run, said=f"{own.said}<br>Test accuracy {right:.3f}.")

    return work


def draw_run(goal: float, run: OwnRun) -> go.Figure:
    """Draw what the reader's training has come to."""
    return run_figure(asdict(run), goal)

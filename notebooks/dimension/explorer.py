"""The study's explorer: its runs at any threshold, and runs of the reader's own, trained live exactly as they were."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from annotated_types import Ge, Le
from curves import accuracy_versus_dimension, curves_at
from measure import Measured, Settings, trial_parameters
from replicate import train_replicate

from workbench import widgets
from workbench.figures.live import LiveFigure
from workbench.figures.style import INK, ORANGE, VERMILION, finish
from workbench.schema import Parameter

STOPS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)  # of the threshold's slider in batch
ALL = "all"
N_SEEDS = 10  # that a run of the reader's own may have, beside the study's


@dataclass(frozen=True)
class OwnRun:
    """A run that the reader started: its validation accuracy so far, and how it ended."""

    network: str
    d: int
    seed: int
    steps: tuple[int, ...] = ()
    validation: tuple[float, ...] = ()
    outcome: str = ""  # of the training, once it has ended
    accuracy: float | None = None  # test accuracy; None while it trains, and where it diverged

    def __str__(self) -> str:
        """Return which run this is."""
        return f"{self.network}, d = {self.d:,}, seed {self.seed}"


def explore_runs(
    measured: Sequence[Measured], settings: Settings, *, live: bool | None = None, **texts: str
) -> go.Figure | ipywidgets.VBox:
    """Show finished runs with the threshold as a slider and a choice of network; live, train more of them.

    Args:
        measured: The networks of the accuracy figure, whose view it opens on.
        settings: The run's, which a run of the reader's own takes over.
        live: Whether to return widgets; None asks `widgets.is_live`.
        texts: ``title`` and ``y_title`` of `accuracy_versus_dimension`.

    Returns:
        A box of two controls, their FigureWidget and a `widgets.Live`, or a plain figure with plotly's own slider and
        menu.
    """
    kind, words = Annotated[float, Ge(min(0.3, settings.fraction)), Le(1)], "threshold as a fraction of the baseline"
    threshold = Parameter("threshold", kind, "float", settings.fraction, words)
    if widgets.is_live() if live is None else live:
        return _explore_live(measured, settings, threshold, **texts)

    def draw(fraction: float) -> go.Figure:
        return accuracy_versus_dimension(curves_at(measured, fraction), **texts)

    return _menu(widgets.explore(draw, threshold, settings.fraction, STOPS, live=False))


def _explore_live(
    measured: Sequence[Measured], settings: Settings, threshold: Parameter, **texts: str
) -> ipywidgets.VBox:
    """Return the controls, the figure that follows them, and what trains a run that comes into it."""
    networks = Literal[ALL, *(m.arm.network for m in measured)]
    fraction, shown = map(widgets.control, (threshold, Parameter("shown", networks, "", ALL, "networks shown")))
    fraction.continuous_update, own = True, list[OwnRun]()

    def draw() -> go.Figure:
        return draw_runs(measured, fraction.value, own, shown.value, **texts)

    figure = LiveFigure(draw())
    trainer = widgets.Live(
        live_run(measured, settings), draw_training(settings), OwnRun("", 0, 0), choices(settings), label="Train"
    )

    def redraw(_: Any = None) -> None:
        with figure.lock:  # so that what is shown last is what was asked for last
            figure.follow(draw())

    def keep(change: Any) -> None:
        if change["new"] == "finished":
            own.append(trainer.numbers)
            redraw()

    fraction.observe(redraw, names="value")
    shown.observe(redraw, names="value")
    trainer.observe(keep, names="state")
    return ipywidgets.VBox([ipywidgets.HBox([fraction, shown]), figure, trainer])


def choices(settings: Settings) -> list[Parameter]:
    """Return what the reader chooses of a run: a network, d within the study's on a log scale, a seed of their own."""
    low, high = min(settings.subspace_dims), max(settings.subspace_dims)
    dims = sorted({*settings.subspace_dims, *np.geomspace(low, high, 40).round().astype(int).tolist()})
    middle = min(dims, key=lambda d: abs(math.log(d * d / low / high)))
    networks, fresh = tuple(arm.network for arm in settings.main), max(settings.seeds) + 1
    seeds = Annotated[int, Ge(0), Le(fresh + N_SEEDS - 1)]
    return [
        Parameter("network", Literal[networks], "", settings.middle.network, "network to train"),
        Parameter("d", Literal[tuple(dims)], "", middle, "directions trained"),
        Parameter("seed", seeds, "int", fresh, "replicate: start, P and minibatch order"),
    ]


def live_run(measured: Sequence[Measured], settings: Settings) -> Callable[..., OwnRun]:
    """Return the work of the explorer's button: one trial of the study's, watched.

    Args:
        measured: The networks to choose from; each brings the learning rate that the study found for it.
        settings: The run's.

    Returns:
        A function of ``report(fraction, run)``, ``network``, ``d`` and ``seed`` that returns the run as it ended.
    """
    arms = {m.arm.network: m for m in measured}

    def work(report: Callable[[float, OwnRun], None], network: str, d: int, seed: int) -> OwnRun:
        run, chosen = OwnRun(network, d, seed), arms[network]
        report(0.0, run)
        stream = widgets.Stream(run, lambda run: report(run.steps[-1] / settings.n_steps, run))
        trial = trial_parameters(chosen.arm, settings) | {"jobs": [[d, chosen.multipliers[1]]], "seed": seed}
        found = train_replicate(**trial, watch=stream)["runs"][0]
        return replace(stream.run, outcome=found["outcome"], accuracy=found["score"])

    return work


def draw_runs(
    measured: Sequence[Measured], fraction: float, own: Sequence[OwnRun], shown: str, **texts: str
) -> go.Figure:
    """Draw the accuracy figure at a threshold, with runs of the reader's own as stars, of one network or of all."""
    stars = [run for run in own if run.accuracy is not None and shown in {ALL, run.network}]
    trace = dict(
        x=[run.d for run in stars], y=[run.accuracy for run in stars], text=[str(run) for run in stars],
        name="your run", mode="markers", showlegend=bool(stars),
        marker={"symbol": "star", "size": 16, "color": ORANGE, "line": {"color": INK, "width": 1.5}},
        hovertemplate="your run: %{text}<br>test accuracy %{y:.4f}<extra></extra>",
    )  # fmt: skip
    figure = accuracy_versus_dimension(curves_at(measured, fraction), more=[trace], checked=False, **texts)
    if shown != ALL:
        for drawn in figure.data[:-1]:
            drawn.visible = drawn.legendgroup == shown
    return figure


def draw_training(settings: Settings) -> Callable[[OwnRun], go.Figure]:
    """Return the function that draws a run's validation accuracy while it trains."""
    n_images = len(settings.images.validation)

    def draw(run: OwnRun) -> go.Figure:
        figure, said = go.Figure(), f"{run}<br>step %{{x:,}}<br>validation accuracy %{{y:.4f}}<extra></extra>"
        figure.add_scatter(
            x=run.steps, y=run.validation, mode="lines+markers", line={"color": VERMILION, "width": 2},
            marker={"size": 5}, hovertemplate=said,
        )  # fmt: skip
        figure.update_xaxes(title=f"Step (minibatches of {settings.batch_size} images)", range=[0, settings.n_steps])
        figure.update_yaxes(title=f"Validation accuracy<br>(fraction of {n_images:,} images)", range=[0, 1.03])
        note = "Validation accuracy as it trains."
        if run.accuracy is not None:
            note += f" Test accuracy at the end {run.accuracy:.4f}: the star above."
        elif run.outcome:
            note += f" It {run.outcome}, so it has no test accuracy."
        title, note = (f"Your run: {run}", note) if run.network else ("A run of your own", "Choose, then press Train.")
        return finish(figure, title, note, height=360)

    return draw


def _menu(figure: go.Figure) -> go.Figure:
    """Add plotly's own drop-down menu that chooses which network is seen; changes and returns the figure."""
    groups = [trace.legendgroup for trace in figure.data]
    seen = {ALL: [True] * len(groups)} | {group: [other == group for other in groups] for group in groups}
    buttons = [{"method": "restyle", "label": label, "args": [{"visible": flags}]} for label, flags in seen.items()]
    place = {"x": 1.02, "xanchor": "left", "y": 0, "yanchor": "bottom", "direction": "up"}
    return figure.update_layout(updatemenus=[{"buttons": buttons, **place}])

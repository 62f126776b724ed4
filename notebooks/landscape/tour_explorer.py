"""The tour's explorer: a point moved over planes already measured, and a plane of the reader's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from annotated_types import Ge, Le
from tour_figures import scene, spot
from tour_planes import View, shown_digits, visit

from workbench import probes, widgets
from workbench.figures.live import LiveFigure
from workbench.figures.style import BLUE, INK, ORANGE, finish
from workbench.objective import Supervised
from workbench.schema import Parameter

SHARES = tuple(round(float(share), 2) for share in np.linspace(-1, 1, 41))  # of the way from edge to edge
N_OWN = 25  # points along a side of the reader's own plane


@dataclass(frozen=True)
class OwnPlane:
    """A plane that the reader asked for: its choice, and the loss, shape ``(N_OWN, N_OWN)``, nan where unknown."""

    normalise: str
    seed: int
    reach: float
    loss: np.ndarray


def explore(
    objective: Supervised, views: Mapping[str, View], *, live: bool | None = None
) -> go.Figure | ipywidgets.VBox:
    """Show a point of a plane; live, with a choice of planes, two sliders, and a plane measured on request.

    Args:
        objective: Network and images.
        views: Planes by kind; the first is opened.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box, or a plain figure whose slider follows the training in the first plane.
    """
    (kind, first), (picture, truth) = next(iter(views.items())), shown_digits(objective)
    scenes = {name: scene(view, picture) for name, view in views.items()}

    def draw(kind: str, a: float, b: float) -> go.Figure:
        return spot(scenes[kind], a, b, visit(objective, views[kind], a, b), truth)

    if not (widgets.is_live() if live is None else live):
        moments = tuple(dict.fromkeys(np.linspace(0, len(first.at) - 1, 9).round().astype(int).tolist()))
        shown = Parameter("moment", Literal[moments], "", moments[-1], "moment of the training")
        return widgets.explore(lambda i: draw(kind, *first.at[i].tolist()), shown, moments[-1], moments, live=False)
    choice = widgets.control(Parameter("plane", Literal[tuple(views)], "", kind, "directions of the plane"))
    sliders = [
        widgets.control(Parameter(name, Literal[SHARES], "", 0.0, "from edge to edge")) for name in ("across", "up")
    ]

    def here() -> go.Figure:
        return draw(choice.value, *views[choice.value].coordinates(*(one.value for one in sliders)))

    figure = LiveFigure(here())
    for each in (choice, *sliders):
        each.observe(lambda _: figure.follow(here()), names="value")
    own = widgets.Live(live_plane(objective, first.origin), draw_plane, unknown(), choices(), label="Measure")
    return ipywidgets.VBox([choice, *sliders, figure, own])


def choices() -> list[Parameter]:
    """Return what the reader chooses of a plane of their own."""
    return [
        Parameter("normalise", Literal["filter", "layer", "none"], "", "filter", "of the random directions"),
        Parameter("directions", Annotated[int, Ge(1), Le(20)], "int", 1, "seed of the directions"),
        Parameter(
            "percent", Annotated[int, Ge(5), Le(200)], "int", 100, "reach of the plane; 100 = the weights' norms"
        ),
    ]


def unknown(normalise: str = "filter", seed: int = 1, reach: float = 1.0) -> OwnPlane:
    """Return a plane of which nothing is measured."""
    return OwnPlane(normalise, seed, reach, np.full((N_OWN, N_OWN), np.nan))


def live_plane(objective: Supervised, theta: Any) -> Callable[..., OwnPlane]:
    """Return the work of the button: the loss on a plane of random directions, row by row."""

    def work(report: Callable[[float, OwnPlane], None], normalise: Any, directions: int, percent: int) -> OwnPlane:
        own = unknown(normalise, directions, percent / 100)
        report(0.0, own)
        span = probes.directions(theta, objective.layout, normalise=normalise, seed=directions)
        grid = np.linspace(-own.reach, own.reach, N_OWN)
        for i, a in enumerate(grid):
            loss = own.loss.copy()
            loss[i] = probes.plane(objective, theta, span, [a], grid).loss[0]
            own = replace(own, loss=loss)
            report((i + 1) / N_OWN, own)
        return own

    return work


def _with_holes(values: np.ndarray) -> list[list[float | None]]:
    """Return rows in which nan is None: a page takes no nan."""
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values]


def draw_plane(own: OwnPlane) -> go.Figure:
    """Draw a plane of the reader's own; holes are not measured yet."""
    grid = np.linspace(-own.reach, own.reach, N_OWN)
    figure = go.Figure()
    figure.add_heatmap(
        x=grid, y=grid, z=_with_holes(np.log10(np.maximum(own.loss.T, 1e-12))),
        customdata=_with_holes(own.loss.T), name="loss",
        hoverongaps=False,
        colorscale=[[0, "white"], [1, ORANGE]], colorbar={"title": {"text": "log10 nats"}, "thickness": 12},
        hovertemplate="a = %{x:.2f}, b = %{y:.2f}<br>loss %{customdata:.3g} nats<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[0], y=[0], mode="markers", name="trained", hovertemplate="the trained network, a = b = 0<extra></extra>",
        marker={"color": BLUE, "size": 12, "symbol": "diamond", "line": {"color": INK, "width": 1}},
    )  # fmt: skip
    figure.update_xaxes(title="First random direction", range=[-own.reach, own.reach])
    figure.update_yaxes(title="Second random direction", range=[-own.reach, own.reach])
    n = int(np.isfinite(own.loss).sum())
    note = f"Directions {own.seed}, normalisation {own.normalise}; {n} of {own.loss.size} points measured"
    note += f", loss {np.nanmin(own.loss):.3g} to {np.nanmax(own.loss):.3g} nats." if n else ": press Measure."
    return finish(figure, "A plane of your own", note, height=480)

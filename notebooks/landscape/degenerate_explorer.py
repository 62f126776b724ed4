"""The study's explorer: spectra of the planted networks, and a design of the reader's own against its Hessian."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import ipywidgets
import pandas as pd
import plotly.graph_objects as go
from annotated_types import Ge, Le
from degenerate_figures import own_view, spectrum_view
from degenerate_planted import PLANTS, Design, Group, build, filled, n_zero

from workbench import probes, widgets
from workbench.schema import Parameter

N_OWN, INPUTS, OUTPUTS, N_EXAMPLES = 5, 7, 5, 300


@dataclass(frozen=True)
class Planted:
    """A design of the reader's own; of each network built so far all eigenvalues and how many are zero."""

    design: Design
    found: tuple[tuple[tuple[float, ...], int], ...] = ()


def explore_planted(planted: pd.DataFrame, *, live: bool | None = None) -> go.Figure | ipywidgets.VBox:
    """Show the spectra of one plant; live, also plant what the reader chooses and find its Hessians.

    Args:
        planted: Of ``degenerate_planted.measure``.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of a choice, its figure and a `widgets.Live`, or a plain figure with plotly's own slider.
    """
    shown = Parameter("planted", Literal[tuple(PLANTS)], "", "all", "what was planted")
    views = widgets.explore(partial(spectrum_view, planted), shown, "all", tuple(PLANTS), live=live)
    if not (widgets.is_live() if live is None else live):
        return views
    return ipywidgets.VBox([views, widgets.Live(plant, draw, Planted(own()), choices(), label="Plant")])


def choices() -> list[Parameter]:
    """Return what the reader chooses."""
    group = Annotated[int, Ge(1), Le(4)]
    return [
        Parameter("width", Annotated[int, Ge(8), Le(16)], "int", 10, "units of the hidden layer"),
        Parameter("input_rank", Annotated[int, Ge(4), Le(INPUTS)], "int", INPUTS, f"dimension of the {INPUTS} inputs"),
        Parameter("twins", group, "int", 3, "units that fire together; 1 plants none"),
        Parameter("copies", group, "int", 1, "copies of one unit; 1 plants none"),
        Parameter("unread", Annotated[int, Ge(0), Le(3)], "int", 0, "units that nothing reads"),
    ]


def own(width: int = 10, input_rank: int = INPUTS, twins: int = 3, copies: int = 1, unread: int = 0) -> Design:
    """Return the design of a network with one hidden layer."""
    groups = [Group("unread", 1)] * unread
    groups += [Group(kind, size) for kind, size in (("twins", twins), ("copies", copies)) if size > 1]
    room = max(width, sum(group.size for group in groups))
    return Design(INPUTS, input_rank, (filled(groups, room),), OUTPUTS, bias=False)


def plant(report: Callable[[float, Planted], None], **chosen: int) -> Planted:
    """Build networks one after the other and find each one's whole Hessian; the work of the button."""
    found = Planted(own(**chosen))
    report(0.0, found)
    for seed in range(N_OWN):
        objective = build(found.design, N_EXAMPLES, seed)
        values = probes.hessian(objective, objective.theta_0).eigenvalues()
        one = (tuple((values / values[0]).tolist()), n_zero(values))
        found = Planted(found.design, (*found.found, one))
        report((seed + 1) / N_OWN, found)
    return found


def draw(planted: Planted) -> go.Figure:
    """Draw what is found so far."""
    return own_view(planted.found, planted.design.n_parameters, planted.design.free)

"""Choosing parts, watching them done, stopping and going on: the examination's explorer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import ipywidgets
import pandas as pd
import plotly.graph_objects as go
from examine_figures import broken

from workbench import widgets
from workbench.examine import Examination
from workbench.figures.style import BLUE, GREY, finish
from workbench.measures import PARTS
from workbench.schema import Parameter

_STATES = ("to do", "at work", "answered", "refused")
_COLOURS = dict(zip(_STATES, ("#DDDDDD", "#E69F00", BLUE, GREY), strict=True))


@dataclass(frozen=True)
class View:
    """How far each item is, in 0..1, its seconds as planned, and what became of it."""

    done: tuple[float, ...]
    seconds: tuple[float, ...]
    states: tuple[str, ...]
    items: tuple[str, ...]
    why: tuple[str, ...]  # where refused, in short lines
    said: str = ""


def view(found: Examination, plan: pd.DataFrame) -> View:
    """Return how an examination stands."""
    items, refused = tuple(plan["item"]), dict(zip(plan["item"], plan.refused, strict=True)) | found.refused
    states = tuple("answered" if item in found.answers else "refused" if refused[item] else "to do" for item in items)
    done = tuple(float(state in ("answered", "refused")) for state in states)
    why = tuple("" if state != "refused" else broken(refused[item]) for item, state in zip(items, states, strict=True))
    return View(done, tuple(float(each) for each in plan.seconds), states, items, why)


def draw(seen: View) -> go.Figure:
    """Draw a bar an item: how far it is."""
    figure = go.Figure()
    rows = zip(seen.items, seen.states, seen.seconds, seen.why, strict=True)
    said = [
        f"{item}: {state}, planned for {seconds:,.1f} s" + (f"<br>{why}" if why else "")
        for item, state, seconds, why in rows
    ]
    figure.add_bar(
        x=[1.0] * len(seen.items), y=[*seen.items], orientation="h", marker={"color": "#EEEEEE"}, name="to do",
        text=said, textposition="none", hovertemplate="%{text}<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure.add_scatter(
        x=[*seen.done], y=[*seen.items], mode="markers", name="how far it is", text=said, showlegend=False,
        marker={"size": 13, "color": [_COLOURS[each] for each in seen.states], "symbol": [*map(_symbol, seen.states)]},
        hovertemplate="%{x:.0%} done of %{text}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(barmode="overlay", bargap=0.5)
    figure.update_xaxes(title="Part of the item that is done", range=[-0.04, 1.04], tickformat=".0%")
    figure.update_yaxes(title="Item", type="category", autorange="reversed")
    note = "Square: answered. Cross: refused. Circle: to do, or as far as its marker stands."
    return finish(
        figure, "What has been done", f"{note}<br>{seen.said or 'Choose a part and press Examine.'}", height=620
    )


def _symbol(state: str) -> str:
    return {"answered": "square", "refused": "x"}.get(state, "circle")


def work_of(found: Examination) -> Callable[..., View]:
    """Return what the button starts: a part of the examination, at a number of steps; finished trials are kept.

    Args:
        found: The examination; what the reader has done is written into it where the steps are its own.

    Returns:
        A function of ``report(fraction, view)``, part and number of steps, that returns the last view.
    """

    def work(report: Callable[[float, View], None], part: str, n_steps: int) -> View:
        own = n_steps == found.recipe.n_steps
        here = found if own else replace(found, recipe=replace(found.recipe, n_steps=n_steps))
        plan = here.plan()
        start = view(here, plan)
        report(0.0, replace(start, said=f"{part}, {n_steps:,} steps: starts"))

        def progress(fraction: float, item: str) -> None:
            now = view(here, plan)
            at = min(1.0, max(0.0, here.fraction))
            done = tuple(at if each == item else old for each, old in zip(now.items, now.done, strict=True))
            states = tuple("at work" if each == item else old for each, old in zip(now.items, now.states, strict=True))
            report(fraction, replace(now, done=done, states=states, said=f"{part}, {n_steps:,} steps: {item}"))

        here.run([part], progress)
        return replace(view(here, plan), said=f"{part}, {n_steps:,} steps: all done")

    return work


def explore(found: Examination, live: bool | None = None) -> go.Figure | ipywidgets.VBox:
    """Let a reader examine a part at a number of steps of their own; in batch, a figure of what has been done."""
    steps = found.recipe.n_steps
    parts = Parameter("part", Literal[tuple(PARTS)], "str", "shape", "which part")  # type: ignore[valid-type]
    counts = tuple(sorted({max(1, steps // 2), steps, 2 * steps}))
    how = Parameter("n_steps", Literal[counts], "int", steps, "steps of a fresh network")  # type: ignore[valid-type]
    controls: list[Any] = [parts, how]
    return widgets.compute(work_of(found), draw, view(found, found.plan()), controls, label="Examine", live=live)

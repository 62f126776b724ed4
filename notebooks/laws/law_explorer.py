"""Law forensics: drop runs, change loss, form, reduction or rounding, and the fit moves at once."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Annotated, Any, Literal

import ipywidgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from annotated_types import Ge, Le
from law_figures import own_scene, own_view
from law_results import tokens_per_parameter

from workbench import widgets
from workbench.figures.live import LiveFigure
from workbench.figures.style import BLUE, finish
from workbench.laws import Law, fit_law
from workbench.schema import Parameter

MOST = 30  # runs that may be dropped
COMPUTE = np.geomspace(1e18, 1e26, 17)
FITS = {
    "additive": "additive", "over-training": "overtraining", "isoFLOP": "isoflop",
}  # fmt: skip
OPENS: dict[str, Any] = {"drop": 5, "form": "additive", "loss": "huber", "reduction": "sum", "digits": "all"}


def explore_fits(runs: pd.DataFrame, share: float, *, live: bool | None = None) -> go.Figure | ipywidgets.VBox:
    """Show a fit of the Chinchilla runs under choices of the reader's own.

    Args:
        runs: The fewest tokens per parameter first.
        share: Of most compute, held out for the error in the title.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of controls and a figure that follows each of them, or a plain figure with plotly's slider of the runs
        dropped.
    """
    scene, fit = own_scene(), cache(partial(fits, runs, share))

    def draw(drop: int, *chosen: str) -> go.Figure:
        *how, digits = chosen
        return view(scene, runs, share, drop, digits, *fit(drop, *how))

    if not (widgets.is_live() if live is None else live):
        shown = Parameter("drop", Annotated[int, Ge(0), Le(MOST)], "int", OPENS["drop"], "runs dropped")
        return widgets.explore(
            lambda drop: draw(drop, *[*OPENS.values()][1:]), shown, OPENS["drop"], (0, 2, 5, 10, 20), live=False
        )
    parameters = [
        Parameter("drop", Annotated[int, Ge(0), Le(MOST)], "int", OPENS["drop"], "runs of fewest tokens per parameter"),
        Parameter("form", Literal[tuple(FITS)], "", OPENS["form"], "of the law"),
        Parameter("loss", Literal["huber", "squared"], "", OPENS["loss"], "of the log residuals"),
        Parameter("reduction", Literal["sum", "mean"], "", OPENS["reduction"], "mean stops early"),
        Parameter("digits", Literal["all", "3", "2"], "", OPENS["digits"], "parameters rounded"),
    ]
    handles = {each.name: widgets.control(each) for each in parameters}
    figure = LiveFigure(draw(*OPENS.values()))

    def follow(_: Any) -> None:
        figure.follow(draw(*(handle.value for handle in handles.values())))

    for handle in handles.values():
        handle.observe(follow, names="value")
    start = OPENS["drop"], ()
    live_run = widgets.Live(partial(resample, runs), interval_view, start, parameters[:1], label="Resample")
    return ipywidgets.VBox([*handles.values(), figure, live_run])


def resample(
    runs: pd.DataFrame, report: Callable[[float, tuple[int, tuple[float, ...]]], None], drop: int
) -> tuple[int, tuple[float, ...]]:
    """Refit resamples of the runs, ten at a time; return the runs dropped and the best tokens per parameter of each."""
    found: tuple[float, ...] = ()
    for seed in range(20):
        report(seed / 20, (drop, found))
        draws = fit_law(runs.iloc[drop:], "additive", n_bootstrap=10, seed=seed).draws.to_dict("records")
        found += tuple(tokens_per_parameter(draw) for draw in draws)
    return drop, found


def interval_view(numbers: tuple[int, tuple[float, ...]]) -> go.Figure:
    """Draw the advice of each resample, in order."""
    drop, found = numbers
    figure = go.Figure()
    figure.add_scatter(
        x=np.sort(found), y=(np.arange(len(found)) + 0.5) / max(1, len(found)), mode="markers", marker={"color": BLUE},
        name="resample", hovertemplate="%{x:.1f} tokens per parameter: share %{y:.2f} at most<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Best tokens per parameter at 5.76e23 operations", range=[0, 50])
    figure.update_yaxes(title="Share of the resamples", range=[0, 1])
    note = "Press Resample: 200 bootstrap refits, ten at a time."
    if found:
        low, high = np.quantile(found, [0.05, 0.95])
        note = f"{len(found)} bootstrap refits; 90 % between {low:.1f} and {high:.1f}."
    return finish(figure, f"How sure is the advice? {drop} dropped", note, height=420)


def fits(runs: pd.DataFrame, share: float, drop: int, form: str, loss: str, reduction: str) -> tuple[Law, Law]:
    """Fit what is not dropped: all of it, and without the share of most compute."""
    arguments: dict[str, Any] = {"form": FITS[form], "loss": loss, "reduction": reduction, "n_bootstrap": 0}
    return fit_law(runs.iloc[drop:], **arguments), fit_law(runs.iloc[drop:], **arguments, hold_out=share)


def view(scene: go.Figure, runs: pd.DataFrame, share: float, drop: int, digits: str, law: Law, held: Law) -> go.Figure:
    """Draw a fit into its scene, the law's parameters rounded."""
    parameters, kept = law.parameters, np.arange(len(runs)) >= drop
    if digits != "all":
        parameters = {name: float(f"{value:.{digits}g}") for name, value in parameters.items()}
        law = replace(law, parameters=parameters)
    off = law.predict(runs).prediction / runs.loss - 1
    best = law.optimal(5.76e23).iloc[0]
    said = ", ".join(f"{name} {value:.4g}" for name, value in parameters.items())
    note = (
        f"{said}. Fitted error {100 * off[kept].abs().mean():.2f} %;<br>without the top {100 * share:.0f} % of compute "
    )
    note += f"their error is {100 * held.held_out_error:.2f} %. {law.form.formula}"
    title = f"{drop} dropped: {best.tokens_per_parameter:.1f} tokens per parameter at 5.76e23 operations"
    ratio = (runs.D / runs.N).to_numpy()
    return own_view(scene, ratio, kept, 100 * off.to_numpy(), law.optimal(COMPUTE), title, note)

"""Law forensics: drop runs, change loss, form, reduction or rounding, and the fit moves at once."""

from functools import cache, partial
from typing import Annotated, Any, Literal

import ipywidgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from annotated_types import Ge, Le
from law_figures import own_view

from workbench import widgets
from workbench.figures.live import LiveFigure
from workbench.laws import FORMS, fit_law
from workbench.schema import Parameter

COMPUTE = np.geomspace(1e18, 1e26, 17)
FITS = {
    "additive": "additive", "over-training": "overtraining", "isoFLOP": "isoflop",
}  # fmt: skip
OPENS = {"drop": 5, "form": "additive", "loss": "huber", "reduction": "sum", "digits": "all"}


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
    draw = cache(partial(view, runs, share))
    if not (widgets.is_live() if live is None else live):
        shown = Parameter("drop", Annotated[int, Ge(0), Le(30)], "int", OPENS["drop"], "runs dropped")
        return widgets.explore(
            lambda drop: draw(**{**OPENS, "drop": drop}), shown, OPENS["drop"], (0, 2, 5, 10, 20), live=False
        )
    parameters = [
        Parameter("drop", Annotated[int, Ge(0), Le(30)], "int", OPENS["drop"], "runs of fewest tokens per parameter"),
        Parameter("form", Literal[tuple(FITS)], "", OPENS["form"], "of the law"),
        Parameter("loss", Literal[("huber", "squared")], "", OPENS["loss"], "of the log residuals"),
        Parameter("reduction", Literal[("sum", "mean")], "", OPENS["reduction"], "mean stops early"),
        Parameter("digits", Literal[("all", "3", "2")], "", OPENS["digits"], "parameters rounded"),
    ]
    handles = {each.name: widgets.control(each) for each in parameters}
    figure = LiveFigure(draw(**OPENS))

    def follow(_: Any) -> None:
        figure.follow(draw(**{name: handle.value for name, handle in handles.items()}))

    for handle in handles.values():
        handle.observe(follow, names="value")
    return ipywidgets.VBox([*handles.values(), figure])


def view(runs: pd.DataFrame, share: float, drop: int, form: str, loss: str, reduction: str, digits: str) -> go.Figure:
    """Fit and draw."""
    kept = np.arange(len(runs)) >= drop
    arguments = {"form": FITS[form], "loss": loss, "reduction": reduction, "n_bootstrap": 0}
    law = fit_law(runs[kept], **arguments)
    parameters = law.parameters
    if digits != "all":
        parameters = {name: float(f"{value:.{digits}g}") for name, value in parameters.items()}
        law = type(law)(**{**vars(law), "parameters": parameters})
    off = law.predict(runs).prediction / runs.loss - 1
    held = fit_law(runs[kept], **arguments, hold_out=share)
    best = law.optimal(5.76e23).iloc[0]
    said = ", ".join(f"{name} {value:.4g}" for name, value in parameters.items())
    note = (
        f"{said}. Fitted error {100 * off[kept].abs().mean():.2f} %;<br>without the top {100 * share:.0f} % of compute "
    )
    note += f"their error is {100 * held.held_out_error:.2f} %. {FORMS[FITS[form]].formula}"
    title = f"{drop} dropped: {best.tokens_per_parameter:.1f} tokens per parameter at 5.76e23 operations"
    return own_view(runs, kept, 100 * off.to_numpy(), law.optimal(COMPUTE), title, note)

"""The study's explorer: masks and weights of runs already computed, and a run of the reader's own."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import ipywidgets
import pandas as pd
import plotly.graph_objects as go
from annotated_types import Ge, Le
from mask_explorer import OwnRun, draw_run
from pruned import unpack
from shared_arms import BINS, NAIVE, SHARED, image_shape, train_arms
from sharing_figures import sharing_view

from workbench import widgets
from workbench.schema import Parameter

OWN_ARMS = (SHARED, NAIVE, "SNIP", "random")


def explore_sharing(runs: pd.DataFrame, compression: int, *, live: bool | None = None) -> go.Figure | ipywidgets.VBox:
    """Show masks and weights at each compression that was run; live, also train the MLP at one of the reader's own.

    Args:
        runs: As ``measure_sharing`` returns them.
        compression: Where the view opens.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of the slider, its figure and a `widgets.Live`, or a plain figure with plotly's own slider.
    """
    own = runs[runs.network == "mlp"]
    stops = tuple(sorted(set(own.compression)))
    draw = partial(sharing_view, runs, image_shape(own.dataset.iloc[0]), BINS)
    shown = Parameter("compression", Literal[stops], "", compression, "weights over kept numbers")
    masks = widgets.explore(draw, shown, compression, stops, live=live)
    if not (widgets.is_live() if live is None else live):
        return masks
    choices = [
        Parameter("arm", Literal[OWN_ARMS], "", SHARED, "how the few numbers are used"),
        Parameter("fewer", Annotated[int, Ge(2), Le(200)], "int", 30, "weights over kept numbers"),
    ]
    drawn = partial(draw_run, int(own.n_steps.iloc[0]))
    return ipywidgets.VBox([masks, widgets.Live(live_run(runs), drawn, OwnRun(), choices, label="Train")])


def live_run(runs: pd.DataFrame) -> Callable[..., OwnRun]:
    """Return the work of the button: one trial of the study, watched, at the rate of the nearest that was tuned."""

    def work(report: Callable[[float, OwnRun], None], arm: str, fewer: int) -> OwnRun:
        own = runs[(runs.network == "mlp") & (runs.arm == arm) & (runs.compression > 1)]
        nearest = own.iloc[(own.compression - fewer).abs().argmin()]
        run, n_steps = OwnRun(arm, fewer), int(nearest.n_steps)
        fixed: dict[str, Any] = {n: int(nearest[n]) for n in ("seed", "n_steps", "batch_size")}
        fixed["n_train"] = None if pd.isna(nearest.n_train) else int(nearest.n_train)
        report(0.0, run)
        stream = widgets.Stream(run, lambda run: report(run.steps[-1] / n_steps, run))
        runs_ = [(arm, float(nearest.lr))]
        (result,) = train_arms(nearest.dataset, network="mlp", compression=fewer, runs=runs_, watch=stream, **fixed)
        return replace(stream.run, accuracy=float(unpack(result["right"]).mean()))

    return work

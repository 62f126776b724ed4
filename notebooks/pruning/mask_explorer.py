"""The study's explorer: masks of runs already computed, and a run of the reader's own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import ipywidgets
import pandas as pd
import plotly.graph_objects as go
from annotated_types import Ge, Le
from prune_figures import mask_view, own_run
from pruned import unpack
from sparse_arms import BINS, images_of, train_arm

from workbench import widgets
from workbench.schema import Parameter


@dataclass(frozen=True)
class OwnRun:
    """A run that the reader started."""

    arm: str = ""
    reduction: int = 0
    steps: tuple[int, ...] = ()
    validation: tuple[float, ...] = ()
    accuracy: float | None = None  # on the test images; None while it trains


def explore_masks(runs: pd.DataFrame, reduction: int, *, live: bool | None = None) -> go.Figure | ipywidgets.VBox:
    """Show what pruning left at each density that was run; live, also train the MLP at a density of one's own.

    Args:
        runs: As ``measure_arms`` returns them.
        reduction: Where the view opens.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of the masks' slider and figure and a `widgets.Live`, or a plain figure with plotly's own slider.
    """
    own = runs[runs.network == "mlp"]
    stops = tuple(sorted(set(own.reduction)))
    draw = partial(mask_view, runs, images_of(own.dataset.iloc[0]), BINS)
    shown = Parameter("reduction", Literal[stops], "", reduction, "dense parameters over nonzeros")
    masks = widgets.explore(draw, shown, reduction, stops, live=live)
    if not (widgets.is_live() if live is None else live):
        return masks
    choices = [
        Parameter("arm", Literal["gradual", "random", "small dense"], "", "gradual", "how the nonzeros are spent"),
        Parameter("fewer", Annotated[int, Ge(2), Le(64)], "int", 12, "dense parameters over nonzeros"),
    ]
    n_steps = int(own.n_steps.iloc[0])
    trainer = widgets.Live(live_run(runs), partial(draw_run, n_steps), OwnRun(), choices, label="Train")
    return ipywidgets.VBox([masks, trainer])


def live_run(runs: pd.DataFrame) -> Callable[..., OwnRun]:
    """Return the work of the button: one trial of the study, watched, at the rate of the nearest that was tuned."""

    def work(report: Callable[[float, OwnRun], None], arm: str, fewer: int) -> OwnRun:
        own = runs[(runs.network == "mlp") & (runs.arm == arm)]
        nearest = own.iloc[(own.reduction - fewer).abs().argmin()]
        run, trial = OwnRun(arm, fewer), {n: nearest[n] for n in ("dataset", "n_train", "network", "lr")}
        trial |= {n: int(nearest[n]) for n in ("seed", "n_steps", "batch_size")}
        trial["n_train"] = None if pd.isna(trial["n_train"]) else int(trial["n_train"])
        report(0.0, run)
        stream = widgets.Stream(run, lambda run: report(run.steps[-1] / trial["n_steps"], run))
        result = train_arm(**trial, arm=arm, reduction=fewer, watch=stream)
        return replace(stream.run, accuracy=float(unpack(result["scores"]).mean()))

    return work


def draw_run(n_steps: int, run: OwnRun) -> go.Figure:
    """Draw a run of the reader's own."""
    if not run.arm:
        return own_run((), (), n_steps, "A run of your own", "Choose, then press Train.")
    note = "Validation accuracy as it trains."
    note += "" if run.accuracy is None else f" Test accuracy at the end {run.accuracy:.4f}."
    return own_run(run.steps, run.validation, n_steps, f"Your run: {run.arm}, 1 / {run.reduction}", note)

"""The study's explorer: a mixture moved domain by domain, and a regression of the reader's own choice."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import ipywidgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from mix_figures import moved_view, own_view
from mix_models import LARGE, REGRESSORS, fit, part, shares

from workbench import widgets
from workbench.schema import Parameter
from workbench.seeds import generator

N_DOMAINS, N_TARGETS, N_STEPS = 6, 5, 10


@dataclass(frozen=True)
class Own:
    """What a regression predicts of the large models, and their true losses."""

    regressor: str
    n_runs: int
    target: str
    predicted: np.ndarray
    truth: np.ndarray


def explore_mixtures(runs: pd.DataFrame, target: str, *, live: bool | None = None) -> go.Figure | ipywidgets.VBox:
    """Show what more of one domain does; live, also fit a regression of the reader's own.

    Args:
        runs: A row a run.
        target: Column of the loss.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of a choice, its figure and a `widgets.Live`, or a plain figure with plotly's own slider.
    """
    small = part(runs, "1M", "train")
    fitted = {name: fit(name, small, target) for name in REGRESSORS}
    mean = small.filter(like="mix_").mean().sort_values(ascending=False)
    names = tuple(name.removeprefix("mix_") for name in mean.index[:N_DOMAINS])
    opens = target.removeprefix("loss_")
    stops = names if opens in names else (opens, *names)
    shown = Parameter("domain", Literal[stops], "", opens, "whose share grows")
    views = widgets.explore(partial(moved_view, runs, fitted, target), shown, opens, stops, live=live)
    if not (widgets.is_live() if live is None else live):
        return views
    work = refit(runs)
    first = work(lambda fraction, own: None, "boosting", len(small), opens)
    return ipywidgets.VBox([views, widgets.Live(work, draw, first, choices(runs, opens), label="Fit")])


def choices(runs: pd.DataFrame, target: str) -> list[Parameter]:
    """Return what the reader chooses."""
    n = len(part(runs, "1M", "train"))
    counts = tuple(sorted({count for count in (16, 32, 64, 128, 256, 512) if count < n} | {n}))
    targets = [name.removeprefix("loss_") for name in runs.filter(like="loss_")]
    offered = tuple(dict.fromkeys([target, *targets]))[:N_TARGETS]
    return [
        Parameter("regressor", Literal[REGRESSORS], "", "boosting", "what is fitted"),
        Parameter("target", Literal[offered], "", target, "domain whose loss is predicted"),
        Parameter("n_runs", Literal[counts], "", n, "small runs that it sees"),
    ]


def refit(runs: pd.DataFrame) -> Callable[..., Own]:
    """Return the work of the button: fit a regression to some small runs and ask it about the large ones."""

    def work(report: Callable[[float, Own], None], regressor: str, n_runs: int, target: str) -> Own:
        small, large = part(runs, "1M", "train"), part(runs, LARGE)
        drawn = generator(0, "mixtures", "own").permutation(len(small))[:n_runs]
        truth = large[f"loss_{target}"].to_numpy()
        for i in range(1, N_STEPS + 1):  # as if the runs came in one after the other
            some = drawn[: max(8, n_runs * i // N_STEPS)]
            predicted = fit(regressor, small.iloc[some], f"loss_{target}").predict(shares(large))
            own = Own(regressor, len(some), f"loss_{target}", predicted, truth)
            report(i / N_STEPS, own)
        return own

    return work


def draw(own: Own) -> go.Figure:
    """Draw a regression of the reader's own."""
    return own_view(own.predicted, own.truth, own.regressor, own.n_runs, own.target)

"""The study's explorer: how much of a curve is seen, and a curve that the reader's own learner draws."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, Literal

import ipywidgets
import numpy as np
import plotly.graph_objects as go
from annotated_types import Ge, Le
from curve_figures import curve_view
from curve_network import CurveNetwork, forecast
from curve_tables import Curves
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from workbench import widgets
from workbench.laws import FAMILIES, extrapolate
from workbench.schema import Parameter
from workbench.seeds import generator

LEAST, N_AHEAD = 5, 30  # points that are fitted; points of the curves that are drawn
FAN = (0.05, 0.25, 0.5, 0.75, 0.95)
SIZES = tuple(int(16 * 2 ** (k / 2)) for k in range(13))  # 16 to 1,024
Reading = tuple[Any, Any, Any, Any]  # examples ahead, then by family predictions and weights, then the fan
LEARNERS = {
    "nearest neighbour": partial(KNeighborsClassifier, 1),
    "naive Bayes": partial(GaussianNB, var_smoothing=1e-3),
    "logistic regression": partial(LogisticRegression, max_iter=200),
    "decision tree": partial(DecisionTreeClassifier, random_state=0),
}


@dataclass(frozen=True)
class OwnCurve:
    """The curve of a learner of the reader's own, as far as it is trained."""

    learner: str = ""
    seen: int = 0
    sizes: tuple[int, ...] = ()
    errors: tuple[float, ...] = ()


def explore_curves(
    curves: Curves, network: CurveNetwork, factor: float, *, live: bool | None = None
) -> go.Figure | ipywidgets.VBox:
    """Show the smoothest long curve, seen as far as the reader likes; live, also train a learner on digits.

    Args:
        curves: Whole curves.
        network: Prior-fitted.
        factor: By which calibration widens its intervals.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        A box of a slider, its figure and a `widgets.Live`, or a plain figure with plotly's own slider.
    """
    k = smoothest(curves)
    x, y = curves.x[k, curves.seen[k]], curves.y[k, curves.seen[k]]
    stops = [n for n in range(8, len(x), max(1, len(x) // 9)) if x[n - 1] <= 0.6 * x[-1]]
    opens = stops[len(stops) // 2]
    read = cache(lambda n_seen: reading(x, y, n_seen, network, factor))
    shown = Parameter("seen", Annotated[int, Ge(LEAST), Le(len(x) - 1)], "", opens, "points that are seen")
    is_live = widgets.is_live() if live is None else live
    for n_seen in range(LEAST, len(x)) if is_live else ():  # the fits would take most of a redraw
        read(n_seen)
    views = widgets.explore(partial(table_view, x, y, read, factor), shown, opens, tuple(stops), live=is_live)
    if not is_live:
        return views
    choices = [
        Parameter("learner", Literal[tuple(LEARNERS)], "", next(iter(LEARNERS)), "what is trained on digits"),
        Parameter("seen", Annotated[int, Ge(LEAST), Le(len(SIZES) - 1)], "int", 8, "points that are shown to the fits"),
    ]
    own = widgets.Live(train, partial(own_view, network, factor), OwnCurve(), choices, label="Train")
    return ipywidgets.VBox([views, own])


def smoothest(curves: Curves) -> int:
    """Return which of the longer half of the curves falls most for how much it jumps from point to point."""
    long = curves.seen.sum(1) >= np.median(curves.seen.sum(1))
    pairs = curves.seen[:, 1:]
    jumps = np.sqrt((np.diff(curves.y) ** 2 * pairs).sum(1) / pairs.sum(1))
    return int(np.where(long, (curves.y[:, 0] - curves.target) / jumps.clip(1e-9), -np.inf).argmax())


def table_view(x: np.ndarray, y: np.ndarray, read: Callable[[int], Reading], factor: float, n_seen: int) -> go.Figure:
    """Draw a published curve, seen until a point."""
    note = (
        f"{n_seen} of {len(x)} points seen, until {x[n_seen - 1]:,.0f} of {x[-1]:,.0f} examples. Bands: 50 and 90 %, "
    )
    note += f"widened {factor:.2f} times."
    return curve_view(x, y, n_seen, *read(n_seen), "A learning curve of LCDB", note)


def reading(x: np.ndarray, y: np.ndarray, n_seen: int, network: CurveNetwork, factor: float) -> Reading:
    """Fit families to the first points of a curve and ask the network about them; what `curve_view` draws of it."""
    ahead = np.geomspace(x[n_seen - 1], x[-1], N_AHEAD + 1)[1:]
    said = extrapolate(x[:n_seen], y[:n_seen], ahead)
    u = np.log(x[None, :n_seen] / x[n_seen - 1])
    told = forecast(network, u, y[None, :n_seen], np.ones_like(u, bool), np.log(ahead[None] / x[n_seen - 1]))
    middle = told.quantile(0.5)[0]
    fan = {p: (middle + factor * (told.quantile(p)[0] - middle)).clip(0, 1) for p in FAN}
    return ahead, said.each, {name: float(weight) for name, weight in said.weights.items()}, fan


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits, shuffled once."""
    x, y = load_digits(return_X_y=True)
    order = generator(0, "own curve").permutation(len(x))
    return x[order] / 16, y[order]


def train(report: Callable[[float, OwnCurve], None], learner: str, seen: int, repeats: int = 5) -> OwnCurve:
    """Train a learner on growing subsets of the digits, each size five times; the work of the button."""
    x, y = _digits()
    test, rng = slice(1200, None), generator(0, "subsets")
    first = [np.flatnonzero(y[:1200] == c)[0] for c in range(10)]  # every class is seen once
    run = OwnCurve(learner, seen)
    report(0.0, run)
    for i, size in enumerate(SIZES):
        errors = []
        for _ in range(repeats):
            rows = np.concatenate([first, rng.permutation(1200)[: size - len(first)]])
            errors.append(1 - LEARNERS[learner]().fit(x[rows], y[rows]).score(x[test], y[test]))
        run = replace(run, sizes=(*run.sizes, size), errors=(*run.errors, float(np.mean(errors))))
        report((i + 1) / len(SIZES), run)
    return run


def own_view(network: CurveNetwork, factor: float, run: OwnCurve) -> go.Figure:
    """Draw a learner's curve as far as it is trained."""
    title = f"Your curve: {run.learner} on digits" if run.learner else "A curve of your own"
    if len(run.sizes) < max(LEAST, run.seen) or len(run.sizes) == run.seen:
        x = np.array(SIZES, float)
        nothing = np.full(N_AHEAD, np.nan)
        each, weights = dict.fromkeys(FAMILIES, nothing), dict.fromkeys(FAMILIES, 0.0)
        y = np.full(len(x), np.nan)
        y[: len(run.errors)] = run.errors
        note = "It trains on growing subsets." if run.learner else "Choose a learner, then press Train."
        top = max(run.errors, default=1.0)
        figure = curve_view(x, y, len(run.errors), np.full(N_AHEAD, x[-1]), each, weights, dict.fromkeys(FAN, nothing),
                            title, note)  # fmt: skip
        return figure.update_yaxes(range=[0, 105 * top], row=1, col=1)
    x, y = np.array(run.sizes, float), np.array(run.errors)
    note = f"{run.seen} points seen, until {x[run.seen - 1]:.0f} examples; each the mean of 5 subsets, 597 test images."
    return curve_view(x, y, run.seen, *reading(x, y, run.seen, network, factor), title, note)

"""What `start_here.ipynb` calls of masks: trial, table, verdict, figure, explorer, and the check of an exercise."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import start_here

import workbench
from workbench import pruning
from workbench.errors import require
from workbench.exercises import check
from workbench.figures.style import BLUE, INK, ORANGE, VERMILION, again, finish, log_axis, panels
from workbench.pruning.allocation import kept_count
from workbench.schema import Parameter
from workbench.verdicts import Finding

DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.5)  # shares of the weights that are kept
SCORES = ("magnitude", "random")  # what decides which weights are kept, and its control
TENTH, SHORT = 0.1, 10  # the rule's density; steps of the training over those of the retraining
_LOOKS = {("magnitude", "after"): (BLUE, "circle", "solid"), ("magnitude", "before"): (BLUE, "circle-open", "dot")}
_LOOKS |= {("random", "after"): (ORANGE, "square", "solid"), ("random", "before"): (ORANGE, "square-open", "dot")}


def prune_once(seed: int, n_steps: int, densities: Sequence[float]) -> dict[str, Any]:
    """Train the whole network of one seed, prune it at every density, retrain each; the trial, which a worker imports.

    Args:
        seed: Replicate, the same as of ``start_here.train_once``; it also draws the random weights that are kept.
        n_steps: Steps of the training; a tenth as many retrain.
        densities: Shares of the weights that are kept.

    Returns:
        Which test images the whole network had right, packed; for each score and density the number of weights kept,
        and which images were right before and after retraining; none, if that diverged.
    """
    objective = start_here.objective_of(seed)
    whole, rate = workbench.Full(objective.theta_0), workbench.matched_learning_rate(objective.D, objective.D)
    recipe = workbench.Recipe(n_steps, rate, batch_size=start_here.BATCH_SIZE)
    trained = workbench.train(objective, whole, recipe, seed).point(whole)
    weights, maps, arms = pruning.prunable(objective.layout), list[workbench.Masked](), list[dict[str, Any]]()
    for name in SCORES:
        scores = pruning.score(name, objective, trained.theta, seed)
        for density in densities:
            mask = pruning.select(scores, density, prunable=weights, layout=objective.layout, seed=seed)
            maps.append(workbench.Masked(trained.theta, mask))
            before = _right(objective, maps[-1].initial())
            arms.append({"score": name, "density": density, "kept": int((mask & weights).sum()), "before": before})
    retrain = replace(recipe, n_steps=max(1, n_steps // SHORT))
    histories = workbench.train_group(objective, maps, [retrain] * len(maps), seed)
    for arm, masked, history in zip(arms, maps, histories, strict=True):
        arm["after"] = _right(objective, history.point(masked), history.outcome != "diverged")
    return {"whole": _right(objective, trained), "arms": arms}


def _right(objective: workbench.Supervised, point: Any, finished: bool = True) -> str:
    """Return which test images are right at a point, packed."""
    return np.packbits(objective.evaluate(point, "test").correct & finished).tobytes().hex()


def measure(
    sweep: workbench.Sweep, seeds: Sequence[int], n_steps: int, tick: Callable[[float], None] | None = None
) -> pd.DataFrame:
    """Prune and retrain at all ``DENSITIES`` with every seed.

    Args:
        sweep: Runs and keeps the trials.
        seeds: Replicates.
        n_steps: Optimizer steps of the training.
        tick: Called with the fraction of the runs that is done.

    Returns:
        A row for each seed, score and density: how many weights were kept, and for the whole network, the pruned one
        ``before`` and ``after`` retraining which test images were right, each of shape ``(n_images,)``.
    """
    require(0 < len(seeds) == len(set(seeds)), "seeds", "must be at least one, each once", list(seeds))
    asked = [{"seed": seed, "n_steps": n_steps, "densities": list(DENSITIES)} for seed in seeds]
    trials = sweep.map(prune_once, asked, tick)
    found = zip(seeds, (trial.result for trial in trials), strict=True)
    runs = pd.DataFrame([{"seed": seed, "whole": each["whole"]} | arm for seed, each in found for arm in each["arms"]])
    for column in ("whole", "before", "after"):
        runs[column] = runs[column].map(start_here.unpack)
    return runs


def shares(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each density: weights kept, mean test accuracies, and the retrained network's share.

    ``before`` and ``after`` retraining with ``sd`` over the seeds, ``random`` after as many random weights were kept,
    and of ``after`` the share of the whole network's with the ends of its 95 % interval.
    """
    rows = []
    for density, each in runs.groupby("density"):
        chosen, control = (each[each.score == name] for name in SCORES)
        before, after, whole = (np.stack(list(chosen[name])) for name in ("before", "after", "whole"))
        sd = after.mean(axis=1).std(ddof=1) if len(after) > 1 else np.nan
        means = before.mean(), after.mean(), sd, np.stack(list(control.after)).mean()
        rows.append([density, chosen.kept.iloc[0], *means, *start_here.share_interval(after, whole), len(after)])
    columns = ["density", "kept", "before", "after", "sd", "random", "share", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns).set_index("density")


def judge(study: workbench.Study, table: pd.DataFrame, n_steps: int) -> Finding:
    """Judge the claim at density 0.1 by its rule."""
    row = table.loc[TENTH]
    return start_here.judge_share(study, "pruned", row, f"density {TENTH}, {row.kept:.0f} weights", n_steps)


def draw(runs: pd.DataFrame, weights: np.ndarray, density: float = TENTH) -> go.Figure:
    """Draw test accuracy against density, on the left, and what a mask keeps of trained weights, on the right.

    Args:
        runs: As ``measure`` returns them.
        weights: One network's trained weights, shape ``(n,)``.
        density: Of the mask looked at, one of the runs'.

    Returns:
        The figure, always with the same traces.
    """
    return _look(_scene(runs), shares(runs), weights, density)


def _scene(runs: pd.DataFrame) -> go.Figure:
    """Draw what no density changes: the runs, and the axes."""
    figure = panels(1, 2, horizontal_spacing=0.12)
    span, whole = [0.8 * runs.density.min(), 1.0], np.stack(list(runs.whole)).mean()
    left, right = {"row": 1, "col": 1}, {"row": 1, "col": 2}
    level = {"mode": "lines", "hovertemplate": "%{fullData.name}: %{y:.3f}<extra></extra>", **left}
    bar = f"{100 * start_here.BAR:g} % of it"
    for name, y, dash in (("whole network", whole, "solid"), (bar, start_here.BAR * whole, "dash")):
        figure.add_scatter(x=span, y=[y] * 2, name=name, line={"color": INK, "dash": dash, "width": 1.5}, **level)
    for score, when in _LOOKS:
        _add_runs(figure, runs[runs.score == score], score, when)
    figure.update_xaxes(title="Density, share of weights kept (log scale)", **log_axis(span), **left)
    images = f"Test accuracy (fraction of {len(runs.whole.iloc[0])} images)"
    figure.update_yaxes(title=images, range=[0, 1.03], **left)
    figure.update_xaxes(title="Weight after training", **right)
    figure.update_yaxes(title="Number of weights", **right)
    legend = {"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"}
    return figure.update_layout(barmode="stack", legend=legend)


def _look(scene: go.Figure, table: pd.DataFrame, weights: np.ndarray, density: float) -> go.Figure:
    """Draw a density into a scene; ``table`` as from ``shares``."""
    figure, row, said = again(scene), table.loc[density], f"density {density:g}"
    left, right = {"row": 1, "col": 1}, {"row": 1, "col": 2}
    figure.add_scatter(
        x=[density], y=[row.after], mode="markers", name=f"looked at: {said}", **left,
        marker={"color": VERMILION, "symbol": "diamond", "size": 15, "line": {"color": INK, "width": 1}},
        hovertemplate=f"{said}, mean of magnitude after retraining<br>test accuracy %{{y:.3f}}<extra></extra>",
    )  # fmt: skip
    edges = np.linspace(-1, 1, 42) * np.abs(weights).max()
    best, middles = np.argsort(-np.abs(weights))[: int(row.kept)], (edges[1:] + edges[:-1]) / 2
    kept = np.histogram(weights[best], edges)[0]
    for name, heights, colour in (("kept", kept, BLUE), ("pruned", np.histogram(weights, edges)[0] - kept, "#BBBBBB")):
        figure.add_bar(
            x=middles, y=heights, name=name, marker={"color": colour, "line": {"width": 0}}, **right,
            hovertemplate=f"about %{{x:.2f}}: %{{y}} weights {name}<extra></extra>",
        )  # fmt: skip
    note = f"Left: runs of {row.seeds:g} seeds and their mean, before and after retraining. Right: one network's "
    note += f"weights.<br>{said.capitalize()} keeps {row.kept:,.0f} of {len(weights):,} weights: test accuracy "
    note += f"{row.before:.3f}, retrained {row.after:.3f}, with as many at random {row.random:.3f}."
    return finish(figure, "Accuracy of a pruned network", note, height=520)


def _add_runs(figure: go.Figure, runs: pd.DataFrame, score: str, when: str) -> None:
    """Add the runs of one score, before or after retraining: a marker for each, a line through their means."""
    colour, symbol, dash = _LOOKS[score, when]
    name, accuracy = f"{score}, {when}", runs[when].map(np.mean)
    means = accuracy.groupby(runs.density).mean()
    said = [f"seed {run.seed}, {run.kept:,} weights, {when} retraining" for run in runs.itertuples()]
    figure.add_scatter(
        x=runs.density, y=accuracy, text=said, mode="markers", name=name, legendgroup=name, row=1, col=1,
        marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
        hovertemplate=f"{score}, density %{{x:g}}, %{{text}}<br>test accuracy %{{y:.3f}}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=means.index, y=means, mode="lines", line={"color": colour, "width": 1.5, "dash": dash}, name=name,
        legendgroup=name, showlegend=False, hoverinfo="skip", row=1, col=1,
    )  # fmt: skip


def explore(runs: pd.DataFrame, weights: np.ndarray, trainer: Any, live: bool | None = None) -> Any:
    """Add a slider of the density, over results already computed, to the explorer of the subspace.

    Args:
        runs: As ``measure`` returns them.
        weights: Of the figure's right side.
        trainer: The other explorer.
        live: Whether to return widgets; None asks `widgets.is_live`.

    Returns:
        Live, a box of both; else the other explorer, with this one displayed above it.
    """
    import ipywidgets  # here, for the sake of workers, which show nothing
    from IPython.display import display

    from workbench import widgets

    density = Parameter("density", Literal[DENSITIES], "", TENTH, "density")
    masks = widgets.explore(partial(_look, _scene(runs), shares(runs), weights), density, TENTH, DENSITIES, live=live)
    if isinstance(masks, ipywidgets.Widget):
        return ipywidgets.VBox([masks, trainer])
    display(masks)
    return trainer


def check_compression(answer: Any) -> None:
    """Check the factor by which pruning to density 0.1 shrinks a 64-20-15-10 network."""
    widths = (64, 20, 15, 10)
    sizes = [p.numel() for p in workbench.mlp(widths).parameters()]
    biases, whole = sum(widths[1:]), sum(sizes)
    kept, here = kept_count(TENTH, whole - biases), start_here.objective_of(0)
    weights = int(pruning.prunable(here.layout).sum())
    slips = (
        (1 / TENTH, "This is of the weights alone; the biases are never pruned."),
        ((whole - biases) / kept, "This is of the weights alone; the biases are never pruned."),
        (whole / kept, "The biases are kept too; they belong to what is left."),
        ((whole - biases) / (kept + biases), "The network has biases before it is pruned, too."),
        ((kept + biases) / whole, "Turn it round: this is the share that is left."),
        (kept + biases, "This is how many are left; divide all parameters by it."),
        (
            here.D / (kept_count(TENTH, weights) + here.D - weights),
            "This is the network above; this one has two hidden layers.",
        ),
    )
    hint = "A layer from a to b units has a * b weights and b biases; a tenth of the weights and all biases are kept."
    note = f"{whole:,} parameters become {kept} weights and {biases} biases."
    check(answer, whole / (kept + biases), slips=slips, rtol=5e-3, hint=hint, note=note)

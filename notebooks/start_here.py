"""What `start_here.ipynb` calls: its trial, table, verdict, figure and live run, and checks of its exercises."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

import workbench
from workbench.datasets import Dataset
from workbench.errors import require
from workbench.exercises import check
from workbench.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SYMBOLS,
    VERMILION,
    finish,
    log_axis,
    panels,
)
from workbench.seeds import generator
from workbench.statistics import crossed_variance, student_draws
from workbench.verdicts import Finding, judge_interval, n_to_decide

WIDTHS = (64, 32, 10)  # pixels, hidden units, classes
BATCH_SIZE, N_EVALUATIONS = 64, 40  # images of a step, points of a training curve
BAR, N_SEEDS, N_STEPS = 0.9, 5, 4000  # what the rule asks for
CLAIMS = (
    workbench.Claim(
        "tenth",
        "intrinsic-dimension-landscapes",
        "A random subspace of a tenth of the network's dimensions is enough for 90 % of its accuracy.",
        "at d = D / 10, with at least 5 seeds of 4,000 steps or more: mean test accuracy is at least 0.9 of the whole "
        "network's",
        ("digits",),
    ),
    workbench.Claim(
        "pruned",
        "learning-weights-and-connections",
        "A tenth of the trained weights, the largest, is enough for 90 % of the accuracy after a short retraining.",
        "at density 0.1, with at least 5 seeds of 4,000 steps or more, retrained for a tenth of the steps: mean test "
        "accuracy is at least 0.9 of the whole network's",
        ("digits",),
    ),
    workbench.Claim(
        "apart",
        "loss-surfaces-mode-connectivity",
        "Halfway on the straight line between two trained networks at most 90 % of their accuracy is left.",
        "with at least 5 pairs of seeds of 4,000 steps or more: mean test accuracy halfway is at most 0.9 of the two "
        "networks' own",
        ("digits",),
    ),
)
_COLOURS, _DASHES = (BLUE, ORANGE, GREEN, PURPLE, SKY), ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@functools.cache
def digits() -> Dataset:
    """Load the images, once per process."""
    return workbench.load("digits")


def objective_of(seed: int) -> workbench.Supervised:
    """Return the network's loss as a function of theta; the seed chooses where training starts."""
    images = digits()
    return workbench.Supervised(workbench.mlp(WIDTHS, seed), images.train, images.validation, images.test)


def train_once(d: int | None, seed: int, n_steps: int, watch: Callable[..., None] | None = None) -> dict[str, Any]:
    """Train the network of one seed in d random directions; the trial, which a worker imports.

    Args:
        d: Dimension of the subspace; None trains the whole network.
        seed: Replicate: start, subspace and order of the minibatches.
        n_steps: Optimizer steps, the same for every d.
        watch: Called with each evaluation as it is made; see `workbench.train`.

    Returns:
        The d trained, steps and validation accuracy of its curve, test accuracy, and which test images were right, as
        packed bits. A run that diverged has none right.
    """
    objective = objective_of(seed)
    P = workbench.projection("dense", objective.D, d, seed) if d else None
    coordinates = workbench.Subspace(objective.theta_0, P) if P else workbench.Full(objective.theta_0)
    rate, every = workbench.matched_learning_rate(coordinates.d, objective.D), max(1, n_steps // N_EVALUATIONS)
    recipe = workbench.Recipe(n_steps, rate, batch_size=BATCH_SIZE, eval_every_steps=every)
    history = workbench.train(objective, coordinates, recipe, seed, watch=watch)
    right = objective.evaluate(history.point(coordinates), "test").correct & (history.outcome != "diverged")
    curve = {name: [e[name] for e in history.evaluations] for name in ("step", "metric")}
    found = {"d": coordinates.d, "seed": seed, "steps": curve["step"], "validation": curve["metric"]}
    return found | {"accuracy": float(right.mean()), "right": np.packbits(right).tobytes().hex()}


def unpack(text: str) -> np.ndarray:
    """Return what a trial has packed: 1 for each test image that was right, else 0."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[: len(digits().test)]


def measure(
    sweep: workbench.Sweep,
    subspace_dims: Sequence[int],
    seeds: Sequence[int],
    n_steps: int,
    tick: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Train at every d, and the whole network, with every seed.

    Args:
        sweep: Runs and keeps the trials.
        subspace_dims: The d to train at; a tenth of D is always among them.
        seeds: Replicates.
        n_steps: Optimizer steps of a run.
        tick: Called with the fraction of the runs that is done.

    Returns:
        A row for each run, by d and seed: what `train_once` returns, ``right`` unpacked.
    """
    require(0 < len(seeds) == len(set(seeds)), "seeds", "must be at least one, each once", list(seeds))
    D = objective_of(0).D
    dims = [*sorted({*subspace_dims, D // 10} - {D}), None]
    trials = sweep.map(train_once, [{"d": d, "seed": seed, "n_steps": n_steps} for d in dims for seed in seeds], tick)
    runs = pd.DataFrame([trial.result for trial in trials])
    runs["right"] = [unpack(bits) for bits in runs.right]
    return runs


def share_interval(subspace: np.ndarray, whole: np.ndarray) -> tuple[float, float, float]:
    """Return mean accuracy over the whole network's mean accuracy, with its 95 % interval.

    Both arms, of shape ``(n_seeds, n_images)``, share seeds and images, so they are paired. Two sources of noise move
    the ratio: seeds (Student's t) and the choice of test images (normal), told apart by `crossed_variance`.
    """
    share, n = float(subspace.mean() / whole.mean()), len(subspace)
    if n == 1:
        return share, float("nan"), float("nan")
    error = (subspace - share * whole) / whole.mean()  # to first order, of each seed on each image
    of_seeds = error.mean(axis=1).std(ddof=1) / n**0.5 * student_draws(n - 1, 2000, generator(0, "share", "seeds"))
    of_images = crossed_variance(error) ** 0.5 * student_draws(0, 2000, generator(0, "share", "images"))
    low, high = share + np.quantile(of_seeds + of_images, [0.025, 0.975])
    return share, float(low), float(high)


def shares(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each d: test accuracy, mean and standard deviation over seeds, and its share of the whole's."""
    right = {d: np.stack(list(each.right)) for d, each in runs.groupby("d")}
    whole = right[max(right)]
    rows = [
        [d, arm.mean(), arm.mean(axis=1).std(ddof=1) if len(arm) > 1 else np.nan, *share_interval(arm, whole), len(arm)]
        for d, arm in right.items()
    ]
    return pd.DataFrame(rows, columns=["d", "accuracy", "sd", "share", "low", "high", "seeds"]).set_index("d")


def judge(study: workbench.Study, table: pd.DataFrame, n_steps: int) -> Finding:
    """Judge the claim at d = D / 10 by its rule."""
    D = int(table.index.max())
    return judge_share(study, "tenth", table.loc[D // 10], f"d = {D // 10} of D = {D:,}", n_steps)


def judge_share(
    study: workbench.Study, name: str, row: pd.Series, detail: str, n_steps: int, *, below: bool = False
) -> Finding:
    """Judge a row of a table of shares: at least ``BAR``, or at most; a run smaller than the rule's decides nothing."""
    ends = {"high" if below else "low": BAR}
    value, interval, n, verdict = row.share, (row.low, row.high), int(row.seeds), "inconclusive"
    if n < N_SEEDS or n_steps < N_STEPS:
        detail += f"; the rule asks for {N_SEEDS} seeds of {N_STEPS:,} steps"
    else:
        verdict = judge_interval(value, interval, **ends)
        more = n_to_decide(value, interval, n, **ends) if verdict == "inconclusive" else None
        detail += f"; about {more} seeds would decide" if more else ""
    unit = "of the ends' accuracy" if below else "of the whole network's accuracy"
    return study.judge(name, value=value, interval=interval, n=n, unit=unit, verdict=verdict, detail=detail)


@dataclass(frozen=True)
class View:
    """The numbers of the figure: all kept runs, and one run that is looked at, kept or live."""

    runs: pd.DataFrame  # as `measure` returns them
    d: int  # of the run looked at
    steps: tuple[int, ...] = ()
    validation: tuple[float, ...] = ()
    accuracy: float | None = None  # on the test images; None while it trains

    @classmethod
    def of(cls, runs: pd.DataFrame, d: int) -> "View":
        """Look at the kept run of the first seed at one d."""
        run = runs[runs.d == d].iloc[0]
        return cls(runs, d, tuple(run.steps), tuple(run.validation), run.accuracy)


def draw(view: View) -> go.Figure:
    """Draw test accuracy against d, on the left, and validation accuracy against the step, on the right."""
    runs, D = view.runs, int(view.runs.d.max())
    means, first, span = runs.groupby("d").accuracy.mean(), runs.seed.iloc[0], [0.9, 1.2 * D]
    figure, left, right = panels(1, 2, horizontal_spacing=0.12), {"row": 1, "col": 1}, {"row": 1, "col": 2}
    level = {"mode": "lines", "hovertemplate": "%{fullData.name}: %{y:.3f}<extra></extra>", **left}
    for name, y, dash in (("whole network", means[D], "solid"), (f"{100 * BAR:g} % of it", BAR * means[D], "dash")):
        figure.add_scatter(x=span, y=[y] * 2, name=name, line={"color": INK, "dash": dash, "width": 1.5}, **level)
    mean = {"name": "mean", "line": {"color": GREY, "width": 1}, "mode": "lines", "hoverinfo": "skip"}
    figure.add_scatter(x=means.index, y=means, **mean, **left)
    for i, (_, each) in enumerate(runs.groupby("d")):
        _add_runs(figure, each, i, D)
    looked = {"name": f"run at d = {view.d:,}", "legendgroup": "looked at"}
    ended, said = view.accuracy is not None, f"run looked at: d = {view.d:,}, seed {first}"
    figure.add_scatter(
        x=[view.d] * ended, y=[view.accuracy] * ended, mode="markers", showlegend=False, **looked, **left,
        marker={"color": VERMILION, "symbol": "diamond", "size": 15, "line": {"color": INK, "width": 1}},
        hovertemplate=f"{said}<br>test accuracy %{{y:.3f}}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=view.steps, y=view.validation, mode="lines", line={"color": VERMILION, "width": 4}, **looked, **right,
        hovertemplate=f"{said}, step %{{x:,}}<br>validation accuracy %{{y:.3f}}<extra></extra>",
    )  # fmt: skip
    return _finish(figure, view, first, span)


def _add_runs(figure: go.Figure, runs: pd.DataFrame, i: int, D: int) -> None:
    """Add the runs of one d: their test accuracies on the left, the first one's training curve on the right."""
    first, d = runs.iloc[0], int(runs.d.iloc[0])
    name, colour = (f"d = {d:,}", _COLOURS[i % len(_COLOURS)]) if d < D else (f"all {D:,}", INK)
    said = [f"seed {run.seed}: {run.right.sum()} of {len(run.right)} test images right" for run in runs.itertuples()]
    figure.add_scatter(
        x=runs.d, y=runs.accuracy, text=said, mode="markers", name=name, legendgroup=name, row=1, col=1,
        marker={"color": colour, "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8, "opacity": 0.75},
        hovertemplate=f"{name}, %{{text}}<br>test accuracy %{{y:.3f}}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=first.steps, y=first.validation, mode="lines", name=name, legendgroup=name, showlegend=False, row=1, col=2,
        line={"color": colour, "width": 1.5, "dash": _DASHES[i % len(_DASHES)] if d < D else "solid"},
        hovertemplate=f"{name}, seed {first.seed}, step %{{x:,}}<br>validation accuracy %{{y:.3f}}<extra></extra>",
    )  # fmt: skip


def _finish(figure: go.Figure, view: View, first: int, span: Sequence[float]) -> go.Figure:
    """Give the figure its axes and say what it shows."""
    figure.update_xaxes(title="Numbers trained, d (log scale)", **log_axis(span), row=1, col=1)
    steps = f"Step (minibatches of {BATCH_SIZE} images)"
    figure.update_xaxes(title=steps, rangemode="tozero", tickformat=",", row=1, col=2)
    for col, split in enumerate(("test", "validation"), 1):
        title = f"{split.capitalize()} accuracy (fraction of {len(getattr(digits(), split))} images)"
        figure.update_yaxes(title=title, range=[0, 1.03], row=1, col=col)
    note = f"Left: runs of {view.runs.seed.nunique()} seeds and their mean. Right: seed {first} as it trains.<br>"
    ended = "tested only at its end" if view.accuracy is None else f"test accuracy {view.accuracy:.3f}"
    note += f"Diamond and thick line: seed {first} at d = {view.d:,}: {ended}."
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.02, "yanchor": "bottom"})
    return finish(figure, "Accuracy in a random subspace of d dimensions", note, height=520)


def live_run(runs: pd.DataFrame, n_steps: int) -> Callable[..., View]:
    """Return the work of the explorer's button: train at one d exactly as the first seed's kept runs were trained.

    Args:
        runs: The kept runs, which stay in view.
        n_steps: Optimizer steps, as theirs.

    Returns:
        A function of ``report(fraction, view)`` and ``d`` that returns the last view.
    """
    seed = int(runs.seed.iloc[0])

    def work(report: Callable[[float, View], None], d: int) -> View:
        view = View(runs, d)

        def watch(_: int, evaluation: dict[str, Any]) -> None:
            nonlocal view
            steps, validation = (*view.steps, evaluation["step"]), (*view.validation, evaluation["metric"])
            view = replace(view, steps=steps, validation=validation)
            report(steps[-1] / n_steps, view)

        accuracy = train_once(d, seed, n_steps, watch)["accuracy"]
        return replace(view, accuracy=accuracy)

    return work


def check_share(answer: Any, runs: pd.DataFrame) -> None:
    """Check the share of the whole network's mean accuracy that the smallest d of the runs reaches."""
    d, D = int(runs.d.min()), int(runs.d.max())
    few, whole, tenth = (runs.accuracy[runs.d == each] for each in (d, D, D // 10))
    right, row = few.mean() / whole.mean(), shares(runs).loc[d]
    slips = (
        (few.mean(), "This is the accuracy itself; divide it by the whole network's."),
        (whole.mean() / few.mean(), "Turn it round: this is the whole network's accuracy over the subspace's."),
        (few.sum() / whole.mean(), "This divides a sum over the seeds by a mean; take the mean of both."),
        (100 * right, "This is in percent; the table and the rule use a fraction."),
        (few.iloc[0] / whole.iloc[0], "This is the first seed's; take the mean over all seeds."),
        (few.max() / whole.max(), "These are the best seeds; take the mean over all seeds."),
        (1 - right, "This is the share that is lost; the share that is reached is asked for."),
        (d / D, "This is the share of the dimensions; the share of the accuracy is asked for."),
        (tenth.mean() / whole.mean(), f"This is d = {D // 10}; the smallest d is {d}."),
    )
    hint = f"Take the mean of accuracy where d is {d} and divide it by the mean where d is {D}."
    note = f"With d = {d} in place of {D // 10} the rule would say: {judge_interval(right, (row.low, row.high), BAR)}."
    check(answer, right, slips=slips, hint=hint, note=note)


def check_theta(answer: Any, subspace: workbench.Subspace, phi: torch.Tensor) -> None:
    """Check theta at phi against the package's own map."""
    theta_0, right, step = subspace.theta_0, subspace(phi), subspace.projection(phi)
    slips = (
        (step, "This is P phi alone: without theta_0 the network would start with all its weights at zero."),
        (theta_0, "This is theta_0: phi did not move it."),
        (theta_0 - step, "P phi is to be added, not subtracted."),
        (phi, f"This is phi, {len(phi)} numbers; theta has {len(theta_0):,}."),
    )
    for each in (right, *(wrong for wrong, _ in slips)):  # equal but for the order in which a machine adds
        if isinstance(answer, torch.Tensor) and answer.shape == each.shape and torch.allclose(answer, each, atol=1e-5):
            answer = each
    note = f"{len(phi)} numbers have set all {len(theta_0):,}."
    check(answer, right, slips=slips, hint="P phi is a step in R^D; it starts at theta_0.", note=note)

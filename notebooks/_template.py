"""The study's claims, trial, figure, judgement and exercises: what its notebook calls and its tests run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.exercises import check
from workbench.figures.style import BLUE, GREY, INK, finish
from workbench.seeds import generator
from workbench.statistics import mean_interval
from workbench.study import Claim, Study, judge_interval, n_to_decide
from workbench.sweeps import Sweep

CLAIMS = (
    Claim(
        "cost",
        "textbook",
        "Fitting p parameters that nothing needs costs p / (n - p - 1) of the noise variance.",
        "at the largest p, measured over exact cost lies in [0.9, 1.1]",
    ),
)
MARGIN = 0.1


def excess_error(n_examples: int, n_parameters: int, noise: float, n_fits: int, seed: int) -> dict[str, float]:
    """Fit noise by least squares; the trial, which a worker imports.

    The inputs are standard normal, so the error on new examples exceeds that of the truth, all zeros, by the squared
    norm of the fitted parameters.

    Args:
        n_examples: Examples of each fit.
        n_parameters: Parameters of the model, all of them unneeded.
        noise: Standard deviation of the targets.
        n_fits: Fits on fresh examples.
        seed: Replicate.

    Returns:
        ``excess``: mean squared error on new examples less the noise variance, mean over the fits.
    """
    rng = generator(seed, "examples", n_examples, n_parameters)
    x = rng.standard_normal((n_fits, n_examples, n_parameters))
    y = noise * rng.standard_normal((n_fits, n_examples, 1))
    x_t = x.transpose(0, 2, 1)
    theta = np.linalg.solve(x_t @ x, x_t @ y)
    return {"excess": float((theta**2).sum(axis=(1, 2)).mean())}


def exact_cost(n_examples: int, n_parameters: Any) -> Any:
    """Return the expected excess in units of the noise variance: the trace of an inverse Wishart matrix's mean."""
    return n_parameters / (n_examples - n_parameters - 1)


def measure(
    report: Callable[[float, pd.DataFrame], None] = lambda fraction, costs: None,
    *,
    sweep: Sweep,
    n_examples: int,
    n_parameters: Sequence[int],
    noise: float,
    seeds: Sequence[int],
    n_fits: int,
) -> pd.DataFrame:
    """Run the trials of every p and seed and set the measured cost beside the exact one.

    Args:
        report: Called after each trial with the fraction done and the table so far; what it raises ends the work.
        sweep: Runs and keeps the trials.
        n_examples: Examples of each fit.
        n_parameters: The tested p.
        noise: Standard deviation of the targets.
        seeds: Replicates.
        n_fits: Fits of one replicate.

    Returns:
        A row for each p, in units of the noise variance: mean over the seeds, its 95 % interval, number of seeds, the
        guess p / n, the exact cost. What is not measured yet is NaN.
    """
    p = np.array(n_parameters)
    costs = pd.DataFrame(
        {"n": n_examples, "cost": np.nan, "low": np.nan, "high": np.nan, "seeds": 0, "guess": p / n_examples},
        pd.Index(p, name="p"),
    ).assign(exact=exact_cost(n_examples, p))
    for i, tested in enumerate(n_parameters):
        table, fixed = (
            costs.copy(),
            {"n_examples": n_examples, "n_parameters": tested, "noise": noise, "n_fits": n_fits},
        )

        def tick(part: float, i: int = i, table: pd.DataFrame = table) -> None:
            report((i + part) / len(n_parameters), table)

        tick(0.0)
        trials = sweep.map(excess_error, [{**fixed, "n_parameters": tested, "seed": seed} for seed in seeds], tick)
        mean, low, high = mean_interval([trial.result["excess"] / noise**2 for trial in trials])
        costs.loc[tested, ["cost", "low", "high", "seeds"]] = mean, low, high, len(trials)
    return costs


def largest(costs: pd.DataFrame, unit: str) -> tuple[float, tuple[float, float], int]:
    """Return the cost at the largest p in units of another column, its interval, and its number of seeds."""
    last = costs.loc[costs.index.max()]
    return last.cost / last[unit], (last.low / last[unit], last.high / last[unit]), int(last.seeds)


def figure(costs: pd.DataFrame) -> go.Figure:
    """Draw the measured costs, the guess and the exact curve against the number of parameters."""
    n, p = int(costs.n.iloc[0]), np.linspace(0, costs.index.max(), 100)
    drawn = go.Figure()
    drawn.add_scatter(x=p, y=p / n, name="p / n", mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip")
    drawn.add_scatter(
        x=p, y=exact_cost(n, p), name="p / (n - p - 1)", mode="lines", line={"color": INK}, hoverinfo="skip"
    )
    bars = {"array": costs.high - costs.cost, "arrayminus": costs.cost - costs.low}
    said = [
        f"p = {row.Index}<br>measured {row.cost:.3f} [{row.low:.3f}, {row.high:.3f}], {row.seeds} seeds"
        f"<br>exact {row.exact:.3f}"
        for row in costs.itertuples()
    ]
    drawn.add_scatter(
        x=costs.index, y=costs.cost, error_y=bars, name="measured", mode="markers", marker={"color": BLUE, "size": 9},
        hovertext=said, hoverinfo="text",
    )  # fmt: skip
    drawn.update_xaxes(title="Parameters that nothing needs (p)", range=[0, 1.05 * costs.index.max()])
    drawn.update_yaxes(title="Excess error (units of the noise variance)", rangemode="tozero")
    return finish(drawn, f"The cost of a parameter, {n} examples", "Bars: 95 % intervals over the seeds.")


def judge(study: Study, costs: pd.DataFrame) -> None:
    """Judge the claim at the largest p."""
    (ratio, interval, n), ends = largest(costs, "exact"), (1 - MARGIN, 1 + MARGIN)
    verdict = judge_interval(ratio, interval, *ends)
    more = n_to_decide(ratio, interval, n, *ends) if verdict == "inconclusive" else None
    detail = f"p = {costs.index.max()}" + (f"; about {more} seeds would decide" if more else "")
    study.judge("cost", value=ratio, interval=interval, n=n, unit="of the exact cost", verdict=verdict, detail=detail)


def check_twice(answer: Any, n_examples: int) -> None:
    """Check the p at which the exact cost is twice the guess p / n."""
    slips = (
        (n_examples / 2, "nearly: the denominator is n - p - 1, so one parameter less."),
        (n_examples / 2 + 1, "nearly, but the 1 goes the other way: n - p - 1 = n / 2."),
        (n_examples - 1, "there the formula has no value: n - p - 1 is zero."),
        (0, "at p = 0 both are zero."),
    )
    check(answer, n_examples / 2 - 1, slips=slips, hint="Solve p / (n - p - 1) = 2 p / n for p.")


def check_training_error(function: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Check a function of inputs and targets that returns the training error of the least-squares fit."""
    rng = generator(0, "check")
    x, y = rng.standard_normal((50, 20)), rng.standard_normal(50)
    theta = np.linalg.lstsq(x, y, rcond=None)[0]
    squares = (y - x @ theta) ** 2
    slips = (
        (squares.sum(), "this is the sum; take the mean over the examples."),
        (np.sqrt(squares.mean()), "this is its root; leave the mean squared."),
        ((theta**2).sum(), "this is the excess error on new examples; take those of the fit."),
        ((y**2).mean(), "this is the error of the truth, which predicts zero; fit theta first."),
    )
    hint = "Fit theta by least squares and average (y - x theta)^2."
    note = "On average it is 1 - p / n times the noise variance: it falls with every p."
    check(function(x, y), squares.mean(), slips=slips, hint=hint, note=note)

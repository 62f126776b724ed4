"""The study's trial, its claims and their judgement, and the figure: what its notebook calls and its tests run."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

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


def exact_cost(n_examples: int, n_parameters: int) -> float:
    """Return the expected excess in units of the noise variance: the trace of an inverse Wishart matrix's mean."""
    return n_parameters / (n_examples - n_parameters - 1)


def measure(
    sweep: Sweep,
    n_examples: int,
    n_parameters: Sequence[int],
    noise: float,
    seeds: Sequence[int],
    n_fits: int,
    tick: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Run the trials of every p and seed and set the measured cost beside the exact one.

    Args:
        sweep: Runs and keeps the trials.
        n_examples: Examples of each fit.
        n_parameters: The tested p.
        noise: Standard deviation of the targets.
        seeds: Replicates.
        n_fits: Fits of one replicate.
        tick: Called with the fraction of the trials that is done.

    Returns:
        A row for each p, in units of the noise variance: mean over the seeds, its 95 % interval, number of seeds, the
        exact cost.
    """
    fixed = {"n_examples": n_examples, "noise": noise, "n_fits": n_fits}
    grid = [{**fixed, "n_parameters": p, "seed": seed} for p in n_parameters for seed in seeds]
    trials = sweep.map(excess_error, grid, tick)
    costs = np.reshape([trial.result["excess"] for trial in trials], (len(n_parameters), len(seeds))) / noise**2
    rows = [[p, *mean_interval(each), len(each), exact_cost(n_examples, p)]
            for p, each in zip(n_parameters, costs, strict=True)]  # fmt: skip
    return pd.DataFrame(rows, columns=["p", "cost", "low", "high", "seeds", "exact"]).set_index("p")


def figure(costs: pd.DataFrame, n_examples: int) -> go.Figure:
    """Draw the measured costs and the exact curve against the number of parameters."""
    p = np.linspace(0, costs.index.max(), 100)
    drawn = go.Figure()
    drawn.add_scatter(x=p, y=p / n_examples, name="p / n", mode="lines", line={"color": GREY, "dash": "dot"})
    drawn.add_scatter(x=p, y=exact_cost(n_examples, p), name="p / (n - p - 1)", mode="lines", line={"color": INK})
    bars = {"array": costs.high - costs.cost, "arrayminus": costs.cost - costs.low}
    drawn.add_scatter(
        x=costs.index, y=costs.cost, error_y=bars, name="measured", mode="markers", marker={"color": BLUE, "size": 9}
    )
    drawn.update_xaxes(title="Parameters that nothing needs (p)", range=[0, 1.05 * costs.index.max()])
    drawn.update_yaxes(title="Excess error (units of the noise variance)", rangemode="tozero")
    return finish(drawn, f"The cost of a parameter, {n_examples} examples", "Bars: 95 % intervals over the seeds.")


def judge(study: Study, costs: pd.DataFrame) -> None:
    """Judge the claim at the largest p."""
    last = costs.loc[costs.index.max()]
    ratio, interval = last.cost / last.exact, (last.low / last.exact, last.high / last.exact)
    ends, n = (1 - MARGIN, 1 + MARGIN), int(last.seeds)
    verdict = judge_interval(ratio, interval, *ends)
    more = n_to_decide(ratio, interval, n, *ends) if verdict == "inconclusive" else None
    detail = f"p = {costs.index.max()}" + (f"; about {more} seeds would decide" if more else "")
    study.judge("cost", value=ratio, interval=interval, n=n, unit="of the exact cost", verdict=verdict, detail=detail)

"""Sampler and network on the same new draws of the prior: what each says of their futures, and its CPU time."""

import hashlib
import time
from collections.abc import Callable, Mapping

import pandas as pd
from curve_network import WEIGHTS, forecast, load
from curve_prior import draw
from curve_sampler import condition

from workbench.seeds import generator
from workbench.sweeps import Sweep


def compare_batch(n_curves: int, steps: int, walkers: int, batch: int, weights: str) -> dict[str, list[float] | float]:
    """Let sampler and network predict the same new draws of the prior; a trial.

    Args:
        n_curves: Of the batch.
        steps: Of each of two ensembles.
        walkers: Of each.
        batch: Its seed.
        weights: Checksum of the network's, read by nobody: new weights make new trials.

    Returns:
        By curve: mean log density of four futures for both, R-hat; CPU seconds a curve.
    """
    drawn, network = draw(generator(batch, "held out"), n_curves), load()
    started = time.process_time()
    posterior = condition(drawn, steps, walkers, generator(batch, "chains"))
    sampled = time.process_time() - started
    started, repeats = time.process_time(), 10
    for _ in range(repeats):
        told = forecast(network, drawn.u, drawn.y, drawn.seen, drawn.ahead)
    asked = (time.process_time() - started) / repeats
    return {
        "sampler": posterior.log_density(drawn.future).mean(1).tolist(),
        "network": told.log_density(drawn.future).mean(1).tolist(),
        "r_hat": posterior.r_hat.tolist(),
        "sampler_seconds": sampled / n_curves,
        "network_seconds": asked / n_curves,
    }


def compare(sweep: Sweep, tick: Callable[[float], None], n: int, chains: Mapping[str, int]) -> pd.DataFrame:
    """Run ``compare_batch`` until n curves are compared; a row a curve, its batch's CPU seconds with it."""
    weights = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    trials = [{**chains, "batch": batch, "weights": weights} for batch in range(-(-n // chains["n_curves"]))]
    done = sweep.map(compare_batch, trials, tick)
    return pd.concat([pd.DataFrame(each.result).assign(batch=k) for k, each in enumerate(done)], ignore_index=True)

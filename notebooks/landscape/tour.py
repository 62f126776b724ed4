"""The tour's claims, their rules, its networks and trials, and the judgement."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtrit
from torch import Tensor

import workbench
from workbench import merging, probes
from workbench.datasets import Dataset
from workbench.errors import require
from workbench.study import Claim, Finding, Study, judge_interval, n_to_decide

N_CLASSES, N_LOOKED = 10, 30  # eigenvalues among which the outliers end
SEEDS, WIDTH, STEPS = 5, 32, 2000  # what the rules ask for
FACTOR, RADIUS, ADAPTIVE_RADIUS = 5.0, 0.05, 0.5  # of the rescaled layer; of the balls of sharpness
MOVED, KEPT, SAME, HALF, NEAR = 2.0, 0.01, 1e-6, 0.5, 2
PARTNER = 100  # seed s is joined with a network of its own: s + 100
_ASKED = f"; at least {SEEDS} seeds, {WIDTH} hidden units, {STEPS:,} steps"
CLAIMS = (
    Claim(
        "outliers",
        "emergent-local-geometry",
        "After training, as many eigenvalues of the Hessian stand out from the bulk as there are classes.",
        f"k = where eigenvalue k over eigenvalue k + 1 is largest, among the first {N_LOOKED}: the mean over seeds is "
        f"{N_CLASSES} - {NEAR} to {N_CLASSES} + {NEAR}" + _ASKED,
        ("digits",),
    ),
    Claim(
        "tiny",
        "gradient-tiny-subspace",
        "After training, the gradient lies mostly in the span of as many top eigenvectors as there are classes.",
        f"the top {N_CLASSES} eigenvectors hold at least half of the training loss's squared gradient" + _ASKED,
        ("digits",),
    ),
    Claim(
        "rescaled",
        "sharp-minima-generalize",
        "Rescaling a layer moves the top eigenvalue and leaves the function; a measure in each weight's unit stays.",
        f"first layer times {FACTOR:g}, second over {FACTOR:g}: the top eigenvalue grows at least {MOVED:g} times, in "
        f"every seed outputs change by at most {SAME:g} and adaptive sharpness by at most {100 * KEPT:g} %" + _ASKED,
        ("digits",),
    ),
    Claim(
        "aligned",
        "git-re-basin",
        "Reordering units to match takes most of the barrier between two independently trained networks away.",
        "barrier of training loss after weight matching over that before: at most a half" + _ASKED,
        ("digits",),
    ),
)


@functools.cache
def digits() -> Dataset:
    """Load the images, once per process."""
    return workbench.load("digits")


def objective_of(seed: int, width: int) -> workbench.Supervised:
    """Return the network's loss as a function of theta, in float64; the seed chooses where training starts."""
    images, network = digits(), workbench.mlp([64, width, N_CLASSES], seed)
    return workbench.Supervised(network, images.train, images.validation, images.test, dtype=torch.float64)


def trained(seed: int, width: int, n_steps: int, n_kept: int = 1) -> Tensor:
    """Train one network by SGD at a constant rate.

    Args:
        seed: Start and order of the minibatches.
        width: Hidden units.
        n_steps: Steps.
        n_kept: Moments of the training to return, evenly spaced, its end the last and, of several, its start the first.

    Returns:
        Theta at these moments, shape ``(n_kept, D)``.
    """
    objective = objective_of(seed, width)
    recipe = workbench.Recipe(n_steps, 0.05, "sgd", batch_size=64, schedule="constant")
    whole = workbench.Full(objective.theta_0)
    steps = np.linspace(n_steps, 0, n_kept)[::-1].round().astype(int).tolist()
    history = workbench.train(objective, whole, recipe, seed, keep_steps=steps)
    return torch.stack([history.kept[step].phi for step in steps])


def rescaled(theta: Tensor, objective: workbench.Supervised, factor: float) -> Tensor:
    """Return theta with the first layer times a factor and the second layer's matrix divided by it."""
    theta = theta.clone()
    first, bias, second, _ = objective.layout.views(theta).values()
    first.mul_(factor)
    bias.mul_(factor)
    second.div_(factor)
    return theta


def look(seed: int, width: int, n_steps: int) -> dict[str, Any]:
    """Measure one trained network; the trial, which a worker imports.

    Args:
        seed: Replicate.
        width: Hidden units.
        n_steps: Steps of its training.

    Returns:
        Training loss, test accuracy, the first eigenvalues with their largest error, the share of the squared
        gradient that the top ones hold, and what rescaling does to top eigenvalue, sharpness and outputs.
    """
    objective, theta = objective_of(seed, width), trained(seed, width, n_steps)[0]
    k = min(N_LOOKED + 1, objective.D)
    pairs = probes.top_eigenpairs(objective, theta, k, 1e-3, max_products=min(objective.D, 1500), seed=seed)
    require(len(pairs.values) == k, "n_steps", f"must leave {k} eigenvalues that can be certified", len(pairs.values))
    gradient = objective.gradient(theta)
    held = float((pairs.vectors[:N_CLASSES] @ gradient).square().sum() / gradient.square().sum())
    other = rescaled(theta, objective, FACTOR)
    before, after = (objective.logits(each, "train") for each in (theta, other))
    plain, adaptive = (
        [
            probes.sharpness(objective, each, radius=radius, adaptive=own, seed=seed).worst_case
            for each in (theta, other)
        ]
        for own, radius in ((False, RADIUS), (True, ADAPTIVE_RADIUS))
    )
    top = float(probes.top_eigenpairs(objective, other, 1, 1e-3, seed=seed).values[0])
    return {
        "seed": seed, "loss": objective.loss(theta), "accuracy": objective.evaluate(theta, "test").metric,
        "values": pairs.values.tolist(), "error": float(pairs.errors.max()), "held": held,
        "top": top / float(pairs.values[0]), "outputs": float((after - before).abs().max() / before.abs().max()),
        "plain": plain[1] / plain[0], "adaptive": adaptive[1] / adaptive[0],
    }  # fmt: skip


def join(seed: int, width: int, n_steps: int, n_bend_steps: int) -> dict[str, Any]:
    """Measure the barriers between one network and a second of its own; the trial.

    Args:
        seed: Of the first; the second's is larger by ``PARTNER``.
        width: Hidden units.
        n_steps: Steps of their training.
        n_bend_steps: Steps in which the bend of a curve is trained.

    Returns:
        For the straight way, the straight way after alignment, and the curve: ``t``, ``loss``, ``height`` and its
        standard error over examples.
    """
    objective = objective_of(seed, width)
    first, second = (trained(each, width, n_steps)[0] for each in (seed, seed + PARTNER))
    matched = merging.alignment(objective, first, second, seed=seed)
    bent = merging.curve(objective, first, second, n_steps=n_bend_steps, learning_rate=0.01, seed=seed)
    ways = {
        "straight": probes.barrier(objective, first, second),
        "aligned": probes.barrier(objective, first, matched.point.theta),
        "curved": probes.barrier(objective, first, second, path=bent),
    }
    found = {
        name: {"t": way.t.tolist(), "loss": way.loss.tolist(), "height": way.height, "error": way.standard_error}
        for name, way in ways.items()
    }
    return {"seed": seed, "similarity": matched.similarity, **found}


def measure(
    sweep: workbench.Sweep, trial: Callable[..., Any], seeds: Sequence[int], tick: Callable[[float], None], **given: int
) -> list[dict[str, Any]]:
    """Run a trial with every seed and return what they found, in order."""
    require(0 < len(seeds) == len(set(seeds)), "seeds", "must be at least one, each once", list(seeds))
    return [each.result for each in sweep.map(trial, [{"seed": seed, **given} for seed in seeds], tick)]


def n_outliers(values: Sequence[float]) -> int:
    """Return after which of the first eigenvalues, the largest first, the next one falls by the largest factor."""
    values = np.asarray(values)
    return int(np.argmax(values[:-1] / np.maximum(values[1:], 1e-12 * values[0]))) + 1


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean and Student's 95 % interval over seeds; nan ends for one."""
    values = np.asarray(values, dtype=float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, float("nan"), float("nan")
    half = float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / n**0.5)
    return mean, mean - half, mean + half


def seed_table(looks: Sequence[dict[str, Any]], joins: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a row a seed: what the rules read, and what helps to read them."""
    rows = [
        {
            "seed": one["seed"], "train loss": one["loss"], "test accuracy": one["accuracy"],
            "top eigenvalue": one["values"][0], "outliers": n_outliers(one["values"]), "gradient held": one["held"],
            "top, rescaled": one["top"], "sharpness": one["plain"], "adaptive": one["adaptive"],
            "outputs": one["outputs"], "barrier": two["straight"]["height"], "aligned": two["aligned"]["height"],
            "curved": two["curved"]["height"],
        }
        for one, two in zip(looks, joins, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("seed")


def judge(study: Study, table: pd.DataFrame, width: int, n_steps: int) -> list[Finding]:
    """Judge every claim by its rule; a run smaller than the rules ask for decides nothing."""
    enough = len(table) >= SEEDS and width >= WIDTH and n_steps >= STEPS
    unmet = "" if enough else _ASKED.replace("; at least", "; the rule asks for at least")
    same = table.outputs.max() <= SAME and (table.adaptive - 1).abs().max() <= KEPT
    kept = f"outputs change by {table.outputs.max():.1g} at most, adaptive sharpness by "
    kept += f"{100 * (table.adaptive - 1).abs().max():.2g} %, plain sharpness {table.sharpness.mean():.3g}-fold"
    ratio = table.aligned / table.barrier
    said = {
        "outliers": ", ".join(map(str, table.outliers)),
        "tiny": f"a random subspace of as many dimensions holds {N_CLASSES / (74 * width + width + 10):.2g}",
        "rescaled": kept,
        "aligned": f"mean barrier {table.barrier.mean():.3g} before, {table.aligned.mean():.3g} nats after; "
        f"curve {table.curved.mean():.3g}",
    }
    rules = {
        "outliers": (table.outliers, "outliers", {"low": N_CLASSES - NEAR, "high": N_CLASSES + NEAR}),
        "tiny": (table["gradient held"], "of the squared gradient", {"low": HALF}),
        "rescaled": (table["top, rescaled"], "times the top eigenvalue", {"low": MOVED}),
        "aligned": (ratio, "of the barrier", {"high": HALF}),
    }
    found = []
    for name, (values, unit, ends) in rules.items():
        value, low, high = interval(values)
        verdict = judge_interval(value, (low, high), **ends) if enough else "inconclusive"
        if name == "rescaled" and enough and not same:
            verdict = "fails"
        more = n_to_decide(value, (low, high), len(table), **ends) if verdict == "inconclusive" and enough else None
        detail = said[name] + unmet + (f"; about {more} seeds would decide" if more else "")
        n = len(table)
        found.append(
            study.judge(name, value=value, interval=(low, high), n=n, unit=unit, verdict=verdict, detail=detail)
        )
    return found

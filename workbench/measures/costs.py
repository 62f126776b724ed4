"""The items of an examination by part, how long each takes, and what stands in its way."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.measures import goes, needs, shape
from workbench.measures.asked import CHAINS, CROSSED, DENSITIES, INSIDE, SCORES, Asked, Found
from workbench.recipes import Recipe

PARTS: dict[str, dict[str, Callable[[Asked], Found]]] = {
    "needs": {"dimension": needs.dimension},
    "goes": {"scores": goes.scores, "retraining": goes.retraining, "saved": goes.saved},
    "shape": {name: getattr(shape, name) for name in ("curvature", "spectrum", "plane", "barrier", "coefficient")},
    "crossings": {
        "pruned_dimension": needs.pruned_dimension,
        "inside": shape.inside,
        "inside_coefficient": shape.inside_coefficient,
        "path": goes.path,
        "further": needs.further,
    },
}
_BY_STEPS = ("dimension", "retraining", "saved", "barrier", "pruned_dimension", "path", "further")
_NEEDS_SCORE = ("scores", "retraining", "saved", "path")  # of the network given
_SHARE = 0.7  # of the memory that there is, others need some too
_COPIES = 19  # of theta: networks given, fresh and found, their starts and gradients, Adam's averages; 18.3 counted


def seconds(here: Asked, item: str, pace: Mapping[str, float]) -> float:
    """Return about how long an item takes, others it builds on included, from a clocked pace of each kind of work."""
    S, look, slope, D = len(here.seeds), pace["look"], pace["gradient"], here.subject.objective.D
    run = here.recipe.n_steps * pace["step"] + (2 + len(DENSITIES)) * look
    search, products = (log(max(D, 4), 4) + 6 * S) * run, 100 * pace["product"]
    few = len(SCORES) * (5 * slope + len(DENSITIES) * (look + slope / 3))
    retraining, dims = few + 2 * len(DENSITIES) * S * (run / 5 + look), [d for d in INSIDE if d < D]
    norms = any(isinstance(module, _BatchNorm) for module in here.subject.objective.model.modules())
    point = slope / 3 * (1 + norms)  # statistics are taken anew at every point
    chains = 4.5 * CHAINS["n_chains"] * CHAINS["n_leapfrog"] * CHAINS["n_steps"] * slope
    return {
        "dimension": search,
        "scores": few,
        "retraining": retraining,
        "saved": retraining + 600 * slope / here.n * min(here.n, 256),
        "curvature": 2 * products,
        "spectrum": 3 * products,
        "plane": 441 * point,
        "barrier": (not here.other) * 2 * run + 11 * point,
        "coefficient": chains,
        "pruned_dimension": search * (1 + len(CROSSED)),
        "inside": 2 * products + sum(min(d, 200) + d for d in dims) * pace["product"],
        "inside_coefficient": len(dims) * chains,
        "path": retraining + S * (run / 5 + 22 * point),
        "further": search + 2 * S * run,
    }[item]


def largest_batch(here: Asked) -> int:
    """Return how many examples a training step may take."""
    at = here.subject.objective
    return int((_SHARE * memory(at.device) - _COPIES * 4 * at.D) / here.subject.bytes)


def fitting(here: Asked) -> Recipe:
    """Return the recipe; with minibatches of two, just to be timed, where its own do not fit into memory."""
    n = len(here.subject.objective.splits["train"])
    fits = min(here.recipe.batch_size or n, n) <= largest_batch(here)
    return here.recipe if fits else replace(here.recipe, batch_size=2)


def memory(device: torch.device) -> float:
    """Return the bytes of memory that a device has."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    import psutil  # type: ignore[import-untyped]

    return float(psutil.virtual_memory().total)


def obstacle(here: Asked, item: str, pace: Mapping[str, float], budget: float) -> str:
    """Return why an item is refused and a remedy; nothing where it is not.

    Args:
        here: What is examined.
        item: Of ``PARTS``.
        pace: As ``paces`` returns it.
        budget: Seconds that an item may take.

    Returns:
        A sentence, or an empty text.
    """
    at = here.subject
    split, of_classes, score = at.objective.splits[at.split], at.objective.metric_name == "accuracy", at.given["score"]
    n, least = len(split), 100 if item in (*_NEEDS_SCORE, "further") and of_classes else 30
    if item in (*_NEEDS_SCORE, "dimension", "pruned_dimension", "further") and n < least:
        return f"{n} {at.split} examples cannot tell a loss of {100 / least:.0f} points; give {least} or more"
    if item in _NEEDS_SCORE and score <= at.chance + 1.96 * (at.chance * (1 - at.chance) / n) ** 0.5:
        return f"the network's score, {score:.3f}, is not above chance, {at.chance:.3f}; train it first"
    if item in ("coefficient", "inside_coefficient") and here.n < 3:
        return f"{here.n} examples give no temperature; give 3 or more"
    if item in ("saved", "coefficient", "inside_coefficient") and at.objective.device.type != "cpu":
        return f"latency and chains run on the CPU only, not on {at.objective.device.type}; use device='cpu'"
    trains = item in _BY_STEPS and not (item == "barrier" and here.other)
    if trains and fitting(here) is not here.recipe:
        has, most = memory(at.objective.device) / 2**30, largest_batch(here)
        remedy = f"a batch_size of at most {most}" if most > 1 else "a machine with more, or a smaller network"
        return f"a minibatch of the recipe does not fit into {has:,.0f} GiB of memory; use {remedy}"
    if (took := seconds(here, item, pace)) <= budget:
        return ""
    size, name = (here.recipe.n_steps, "n_steps of the recipe") if trains else (here.n, "n_examples")
    less = int(size * budget / took)
    enough = less >= (3 if "coefficient" in item else 1)  # fewer examples give no temperature
    smaller = f", {name} of {less} in place of {size}" if enough else ""
    gpu = "" if "coefficient" in item else ", or use a GPU"  # chains run on the CPU only
    return f"takes about {took:,.0f} s, more than the budget of {budget:,.0f}; raise it{smaller}{gpu}"

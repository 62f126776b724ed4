"""How long work takes on this machine."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from workbench import probes
from workbench.measures.outcomes import Plain
from workbench.measures.solve import solve
from workbench.objective import Supervised
from workbench.recipes import Recipe


def paces(objective: Supervised, sample: Supervised, recipe: Recipe, split: str = "test") -> Plain:
    """Time a little real work of each kind, in seconds by the clock.

    Args:
        objective: Of a fresh network; left trained for a few steps.
        sample: Whose gradient and product are taken, of one chunk, and scaled to all its examples.
        recipe: Whose steps.
        split: Which is passed over.

    Returns:
        Seconds of a training ``step``, a ``look`` at the split, a ``gradient`` and a Hessian ``product`` of the sample.
    """
    few = sample.sample(min(len(sample.splits["train"]), sample.chunk_size))
    share = len(sample.splits["train"]) / len(few.splits["train"])
    landscape = probes.Landscape(few, few.theta_0)

    def steps(n: int) -> Callable[[], object]:
        return lambda: solve(objective, None, 0, replace(recipe, n_steps=n))

    paces = {
        "step": (_clock(steps(5)) - _clock(steps(1))) / 4,
        "look": _clock(lambda: objective.evaluate(objective.theta_0, split)),
        "gradient": _clock(landscape.gradient) * share,
    }
    with landscape.products() as product:
        paces["product"] = _clock(lambda: product(few.theta_0)) * share
    return {name: max(pace, 1e-6) for name, pace in paces.items()}


def _clock(work: Callable[[], object]) -> float:
    """Return the seconds of the faster of two runs: the first one warms up."""
    marks = [time.perf_counter()]
    for _ in range(2):
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
    return min(marks[1] - marks[0], marks[2] - marks[1])

"""Made-up tables of runs whose intrinsic dimension is known."""

import numpy as np

from workbench.dimension import Runs
from workbench.seeds import generator

D = 199_210


def power_law(d, slope=0.55, truth=560.0):
    """Accuracy whose log error is linear in log d: 0.88 at ``truth``."""
    return 1 - 0.12 * (np.asarray(d, dtype=float) / truth) ** -slope


def baseline(scores=(0.88 / 0.9,), total=D):
    return Runs(np.full(len(scores), total), np.arange(len(scores)), np.array(scores))


def table(dims, scores, n_seeds=1):
    dims = np.asarray(dims)
    seeds = np.repeat(np.arange(n_seeds), len(dims))
    return Runs(np.tile(dims, n_seeds), seeds, np.tile(scores, n_seeds))


def noisy(seed=0, n_seeds=3, sd=0.004, dims=(200, 330, 560, 900, 1600)):
    rng = generator(seed, "noisy")
    runs = table(dims, power_law(dims), n_seeds)
    return Runs(runs.dims, runs.seeds, runs.scores + sd * rng.standard_normal(len(runs)))


def answered(dims, latent, accuracies):
    """One seed's runs over the same examples, of which those below the accuracy are right."""
    correct = latent < np.asarray(accuracies)[:, None]
    return Runs(np.array(dims), np.zeros(len(dims), int), correct.mean(1), correct)

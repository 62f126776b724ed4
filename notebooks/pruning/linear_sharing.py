"""A linear model of few numbers, hashed or pruned: its expected error in closed form, and by simulation."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from workbench.seeds import generator
from workbench.statistics import mean_interval
from workbench.sweeps import Sweep

INPUTS, EXAMPLES, NOISE = 100, 400, 1.0  # D, n, variance of the targets' noise; the signal's is about D / D = 1
CORRELATIONS = (0.0, 0.9)  # of neighbouring inputs
LINEAR_ARMS = ("hashed", "pruned at random", "pruned by magnitude")


def exact_error(beta: np.ndarray, covariance: np.ndarray, design: np.ndarray, n: int, noise: float = NOISE) -> float:
    """Return the expected squared error, on a new example, of least squares on few numbers.

    The model is x' S a for a fixed matrix S of shape ``(D, m)``. What the best a leaves of the signal, beta' C beta -
    beta' C S (S' C S)^-1 S' C beta, adds to the noise, since for normal inputs it is independent of what S sees; and m
    fitted numbers cost a factor 1 + m / (n - m - 1).

    Args:
        beta: The true coefficients, shape ``(D,)``.
        covariance: C, of the normal inputs, shape ``(D, D)``.
        design: S.
        n: Examples of the fit, more than m + 1.
        noise: Variance of the noise.

    Returns:
        The error.
    """
    seen, m = design.T @ covariance @ design, design.shape[1]
    along = design.T @ covariance @ beta
    missed = beta @ covariance @ beta - along @ np.linalg.solve(seen, along)
    return float((noise + missed) * (n - 1) / (n - m - 1))


def isotropic_error(m: int, D: int = INPUTS, n: int = EXAMPLES, noise: float = NOISE) -> float:
    """Return its mean over random hashes, or random masks, for independent inputs and a signal of variance 1."""
    return (noise + 1 - m / D) * (n - 1) / (n - m - 1)


def design_of(arm: str, beta: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """Return S, shape ``(D, m)``: as many signed inputs to each number, or each number one input."""
    D = len(beta)
    design = np.zeros((D, m))
    if arm == "hashed":
        design[rng.permutation(D), np.arange(D) % m] = rng.choice([-1.0, 1.0], D)
        return design
    order = rng.permutation(D) if arm == "pruned at random" else np.argsort(-np.abs(beta), kind="stable")
    design[order[:m], np.arange(m)] = 1
    return design


def linear_trial(arm: str, m: int, correlation: float, n_fits: int, seed: int) -> dict[str, float]:
    """Fit simulated data; each fit has coefficients, a design and examples of its own.

    Args:
        arm: One of ``LINEAR_ARMS``.
        m: Numbers of the model.
        correlation: Of neighbouring inputs; falls as its power with distance.
        n_fits: Fits.
        seed: Replicate.

    Returns:
        Mean over the fits of the ``simulated`` and of the ``exact`` error.
    """
    rng = generator(seed, "linear", arm, m, int(100 * correlation))
    covariance = correlation ** np.abs(np.subtract.outer(np.arange(INPUTS), np.arange(INPUTS)))
    root, errors, exact = np.linalg.cholesky(covariance), [], []
    for _ in range(n_fits):
        beta = rng.standard_normal(INPUTS) / INPUTS**0.5
        design = design_of(arm, beta, m, rng)
        x = rng.standard_normal((EXAMPLES, INPUTS)) @ root.T
        y = x @ beta + NOISE**0.5 * rng.standard_normal(EXAMPLES)
        seen = x @ design
        off = beta - design @ np.linalg.solve(seen.T @ seen, seen.T @ y)
        errors.append(NOISE + off @ covariance @ off)
        exact.append(exact_error(beta, covariance, design, EXAMPLES))
    return {"simulated": float(np.mean(errors)), "exact": float(np.mean(exact))}


def measure_linear(
    sweep: Sweep,
    compressions: Sequence[int],
    seeds: Sequence[int],
    n_fits: int,
    tick: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Run every arm at every compression; return a row each: both errors and their ratio, with its 95 % interval."""
    cells = [
        {"arm": arm, "m": round(INPUTS / c), "correlation": rho, "n_fits": n_fits}
        for rho in CORRELATIONS for c in sorted(set(compressions)) for arm in LINEAR_ARMS
    ]  # fmt: skip
    trials = sweep.map(linear_trial, [cell | {"seed": seed} for cell in cells for seed in seeds], tick)
    rows = []
    for i, cell in enumerate(cells):
        own = [trial.result for trial in trials[i * len(seeds) : (i + 1) * len(seeds)]]
        ratio, low, high = mean_interval([each["simulated"] / each["exact"] for each in own])
        simulated, exact = (float(np.mean([each[name] for each in own])) for name in ("simulated", "exact"))
        rows.append(
            {"correlation": cell["correlation"], "compression": INPUTS / cell["m"], "arm": cell["arm"]}
            | {"simulated": simulated, "exact": exact, "ratio": ratio, "low": low, "high": high, "seeds": len(own)}
        )
    return pd.DataFrame(rows)

"""Tables of runs with a planted law, for the tests of laws and their benchmark."""

import numpy as np
import pandas as pd

from workbench.laws import FORMS

TRUTH = {
    "additive": {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37},
    "power": {"A": 30.0, "alpha": 0.1},
    "power_offset": {"E": 1.7, "A": 400.0, "alpha": 0.28},
    "overtraining": {"E": 1.6, "a": 80.0, "b": 200.0, "eta": 0.12},
    "lr_batch": {"A": 1.8, "p": -0.71, "q": 0.31},
    "isoflop": {"E": 1.7, "A": 3000.0, "kappa": 0.01, "gamma": 0.17, "a": 0.5, "ln_G": -2.5},
    "data_filtering": {"d": 0.1, "a": 20.0, "b": 0.2, "tau": 3.0},
}


def planted(form: str = "additive", n: int = 49, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Return runs spread evenly over two decades and a half of N and three of D, their loss a form with its TRUTH."""
    rng = np.random.default_rng(seed)
    size, tokens = np.exp(rng.uniform(np.log(5e7), np.log(2e10), n)), np.exp(rng.uniform(np.log(5e8), np.log(5e11), n))
    table = pd.DataFrame({"N": size, "D": tokens, "C": 6 * size * tokens, "M": tokens / size, "x": tokens, "n": tokens})
    table["pool"] = np.exp(rng.uniform(np.log(3e10), np.log(1e11), n))
    return measured(table, form, noise, rng)


def isoflops(noise: float = 0.0, seed: int = 0, n_budgets: int = 7, n_sizes: int = 7) -> pd.DataFrame:
    """Return runs of several budgets, their sizes from a sixth to six times the best, their loss additive."""
    c, k = np.meshgrid(np.geomspace(1e18, 1e22, n_budgets), np.geomspace(1 / 6, 6, n_sizes))
    size = (0.9 * np.sqrt(c / 6) * k).ravel()
    table = pd.DataFrame({"N": size, "D": c.ravel() / 6 / size, "C": c.ravel()})
    return measured(table, "additive", noise, np.random.default_rng(seed))


def measured(table: pd.DataFrame, form: str, noise: float, rng: np.random.Generator) -> pd.DataFrame:
    """Return a table with the loss of a form, and noise in its logarithm."""
    loss = FORMS[form].predict({name: table[name] for name in FORMS[form].variables}, TRUTH[form])
    return table.assign(loss=loss * np.exp(noise * rng.standard_normal(len(table))))

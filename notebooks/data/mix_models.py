"""Regressions of a loss on a mixture: fits, rank correlations, what is chosen, and what chance does to all three."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata, spearmanr
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from workbench.seeds import generator

REGRESSORS = ("linear", "quadratic", "boosting")
LARGE = "1B"
ALONE = "its own share alone"
Array = np.ndarray
# Of a few settings the cheapest within a thousandth of the best rank correlation, 5-fold over the 512 small runs alone.
_BOOSTING: dict[str, Any] = {"n_estimators": 300, "max_depth": 3, "learning_rate": 0.05, "subsample": 0.5}


def regressor(name: str, seed: int = 0) -> Any:
    """Return a regression of scikit-learn's.

    Args:
        name: ``"linear"``; ``"quadratic"``, ridge on shares and their products, the penalty by leave-one-out;
            ``"boosting"``, 300 trees of depth 3.
        seed: Of the boosting's subsets.

    Returns:
        What fits shares ``(n, domains)`` to losses ``(n,)``.
    """
    if name == "linear":
        return LinearRegression()
    if name == "quadratic":
        penalties = np.geomspace(1e-4, 1e3, 15)
        return make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler(), RidgeCV(penalties))
    return GradientBoostingRegressor(**_BOOSTING, random_state=seed)


def histogram() -> Any:
    """Return boosting on histograms with scikit-learn's own settings."""
    return HistGradientBoostingRegressor(random_state=0)


def shares(runs: pd.DataFrame) -> Array:
    """Return the shares of the domains, shape ``(n, domains)``; printed ones sum to 1 only nearly, these do."""
    mixed = runs.filter(like="mix_").to_numpy(dtype=float)
    return mixed / mixed.sum(1, keepdims=True)


def part(runs: pd.DataFrame, size: str, split: str = "test") -> pd.DataFrame:
    """Return the runs of one size and split."""
    return runs[(runs["size"] == size) & (runs.split == split)].reset_index(drop=True)


def fit(name: str, runs: pd.DataFrame, target: str, seed: int = 0) -> Any:
    """Fit a regression of a loss column to some runs."""
    return regressor(name, seed).fit(shares(runs), runs[target].to_numpy())


def chosen(predicted: Array, truth: Array) -> tuple[int, float]:
    """Return the rank among true losses of the mixture with the lowest predicted one, and its regret in percent."""
    pick = int(np.argmin(predicted))
    return int((truth < truth[pick]).sum()) + 1, float(100 * (truth[pick] / truth.min() - 1))


def subsample(
    tick: Callable[[float], None],
    runs: pd.DataFrame,
    *,
    n_runs: Sequence[int],
    n_repeats: int,
    target: str,
    names: Sequence[str] = REGRESSORS,
) -> pd.DataFrame:
    """Fit regressions to random subsets of the small runs and rank the large models' mixtures.

    Args:
        tick: Called with the fraction done.
        runs: A row a run, see ``mix_runs``.
        n_runs: Sizes of subsets; all runs are one subset, fitted once.
        n_repeats: Subsets of each size; the regressions share them.
        target: Column of the loss.
        names: Of the regressions.

    Returns:
        A row a fit: ``regressor n_runs repeat spearman rank regret`` on the large models, ``predicted`` losses.
    """
    small, large = part(runs, "1M", "train"), part(runs, LARGE)
    truth, rows = large[target].to_numpy(), []
    jobs = [(n, repeat) for n in n_runs for repeat in range(n_repeats if n < len(small) else 1)]
    for i, (n, repeat) in enumerate(jobs):
        rng = generator(repeat, "mixtures", n)
        subset = small.iloc[np.sort(rng.permutation(len(small))[:n])]
        for name in names:
            predicted = fit(name, subset, target, repeat).predict(shares(large))
            rank, regret = chosen(predicted, truth)
            found = {"spearman": spearmanr(predicted, truth).statistic, "rank": rank, "regret": regret}
            rows.append({"regressor": name, "n_runs": len(subset), "repeat": repeat, **found, "predicted": predicted})
        tick((i + 1) / len(jobs))
    return pd.DataFrame(rows)


def resample(tick: Callable[[float], None], runs: pd.DataFrame, *, n_bootstrap: int, target: str) -> list[int]:
    """Fit boosting to resampled small runs; return the rank of what each one chooses for the large model."""
    small, large = part(runs, "1M", "train"), part(runs, LARGE)
    ranks = []
    for i in range(n_bootstrap):
        rows = generator(i, "mixtures", "bootstrap").integers(len(small), size=len(small))
        predicted = fit("boosting", small.iloc[rows], target, i).predict(shares(large))
        ranks.append(chosen(predicted, large[target].to_numpy())[0])
        tick((i + 1) / n_bootstrap)
    return ranks


def spearman_draws(predicted: Array, truth: Array, n_draws: int = 4000) -> Array:
    """Return Spearman's correlation of resampled mixtures, each draw by one of several predictions.

    Args:
        predicted: Shape ``(subsets, n)``.
        truth: Shape ``(n,)``.
        n_draws: Resamples; with several subsets each draws as many of them as there are and takes the mean.

    Returns:
        Shape ``(n_draws,)``.
    """
    subsets, n = predicted.shape
    rng = generator(0, "mixtures", "draws", n, subsets)
    rows = rng.integers(n, size=(n_draws, n))
    own = rankdata(truth[rows], axis=1) - (n + 1) / 2
    each = np.empty((subsets, n_draws))
    for i, one in enumerate(predicted):
        ranks = rankdata(one[rows], axis=1) - (n + 1) / 2
        each[i] = (ranks * own).sum(1) / np.sqrt((ranks**2).sum(1) * (own**2).sum(1))
    picked = rng.integers(subsets, size=(n_draws, subsets))
    return each[picked, np.arange(n_draws)[:, None]].mean(1)


def domains(tick: Callable[[float], None], runs: pd.DataFrame, names: Sequence[str] = REGRESSORS) -> pd.DataFrame:
    """Rank mixtures by the loss on each domain, at each size, from all small runs.

    Args:
        tick: Called with the fraction done.
        runs: A row a run.
        names: Of the regressions.

    Returns:
        A row each domain, regression and size: ``domain regressor size spearman n``; beside the regressions the
        domain's own share, which needs no runs.
    """
    small, rows = part(runs, "1M", "train"), []
    targets = [column for column in runs if column.startswith("loss_")]
    sizes = [size for size in ("1M", "60M", LARGE) if len(part(runs, size))]
    for i, target in enumerate(targets):
        domain = target.removeprefix("loss_")
        for name in names:
            fitted = fit(name, small, target)
            for size in sizes:
                test = part(runs, size)
                value = spearmanr(fitted.predict(shares(test)), test[target]).statistic
                rows.append({"domain": domain, "regressor": name, "size": size, "spearman": value, "n": len(test)})
        for size in sizes:
            test = part(runs, size)
            value = spearmanr(-test[target.replace("loss_", "mix_")], test[target]).statistic
            rows.append({"domain": domain, "regressor": ALONE, "size": size, "spearman": value, "n": len(test)})
        tick((i + 1) / len(targets))
    return pd.DataFrame(rows)


def ceilings(runs: pd.DataFrame, target: str) -> pd.DataFrame:
    """Set the regression between what needs no regression and what knows more than it.

    Args:
        runs: A row a run.
        target: Column of the loss.

    Returns:
        A row a comparison: ``what``, ``Spearman`` with a 95 % bootstrap interval over mixtures, ``n`` mixtures.
    """
    small, middle, large = part(runs, "1M"), part(runs, "60M"), part(runs, LARGE)
    own, train = target.replace("loss_", "mix_"), part(runs, "1M", "train")
    both = small.merge(middle, on=[*runs.filter(like="mix_").columns, "run"], suffixes=("", "_60M"))
    fitted_to = {"all 1M runs": train, "as many 1M runs": train.iloc[: len(middle)], "60M runs": middle}
    boosted = {name: fit("boosting", some, target).predict(shares(large)) for name, some in fitted_to.items()}
    # Added after the first run, to set beside; it decides nothing.
    boosted["all 1M runs, histograms"] = histogram().fit(shares(train), train[target]).predict(shares(large))
    pairs = {
        f"1B: share of {own.removeprefix('mix_')} alone, no runs": (-large[own].to_numpy(), large[target].to_numpy()),
        **{f"1B: boosting on {name}": (each, large[target].to_numpy()) for name, each in boosted.items()},
        "60M: boosting on all 1M runs": (fit("boosting", train, target).predict(shares(middle)), middle[target]),
        "60M: the same mixtures' true 1M losses": (both[target].to_numpy(), both[f"{target}_60M"]),
    }
    rows = []
    for what, (guess, truth) in pairs.items():
        truth = np.asarray(truth)
        low, high = np.quantile(spearman_draws(np.asarray(guess)[None], truth), [0.025, 0.975])
        value = spearmanr(guess, truth).statistic
        rows.append({"what": what, "Spearman": value, "low": low, "high": high, "n": len(truth)})
    return pd.DataFrame(rows).set_index("what")

"""Checks of the exercises on mixtures: the right answer, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr

from workbench.exercises import check


def check_spearman(function: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Check a function of predicted and true losses that returns their rank correlation."""
    predicted, truth = np.array([3.1, 2.7, 4.0, 2.9, 3.6, 2.5]), np.array([2.2, 2.0, 9.0, 2.1, 2.15, 1.9])
    slips = (
        (pearsonr(predicted, truth).statistic, "this is Pearson's, of the values: correlate the ranks."),
        (-spearmanr(predicted, truth).statistic, "the sign: low predicted losses should go with low true ones."),
        (spearmanr(predicted, truth).statistic ** 2, "this is its square."),
        (
            pearsonr(predicted.argsort(), truth.argsort()).statistic,
            "argsort gives the order; apply it twice for the ranks.",
        ),
    )
    note = (
        "Only the order counts: a regression of small models may be off by a constant, or bent, and still choose well."
    )
    check(function(predicted, truth), spearmanr(predicted, truth).statistic, slips=slips, note=note,
          hint="Pearson's correlation of the ranks.")  # fmt: skip


def check_rank(function: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Check a function of predicted and true losses that returns the true rank of the mixture predicted best."""
    predicted, truth = np.array([3.1, 2.2, 4.0, 2.9, 3.6]), np.array([2.6, 2.4, 2.1, 2.3, 2.8])
    slips = (
        (2, "count from 1: the best mixture has rank 1."),
        (
            int((truth > truth[predicted.argmin()]).sum()) + 1,
            "a low loss is good: count the mixtures below the chosen one.",
        ),
        (int((predicted < predicted[truth.argmin()]).sum()) + 1, "the other way: choose by prediction, rank by truth."),
        (2.4, "this is its loss: count how many true losses are lower."),
        (
            float(spearmanr(predicted, truth).statistic),
            "this is the correlation over all mixtures: only the chosen one counts.",
        ),
    )
    note = "A good correlation is no promise: one mixture is chosen, and it is the luckiest prediction of all."
    check(
        function(predicted, truth),
        3,
        slips=slips,
        note=note,
        hint="1 + how many true losses are below the chosen one's.",
    )


def check_products(answer: Any, n_domains: int) -> None:
    """Check how many features a quadratic of the shares has, without the constant."""
    right = n_domains + n_domains * (n_domains + 1) // 2
    slips = (
        (n_domains + n_domains**2, "a b and b a are one product."),
        (n_domains * (n_domains + 1) // 2, "the shares themselves count too."),
        (n_domains + n_domains * (n_domains - 1) // 2, "squares are products too."),
        (right + 1, "without the constant."),
        (2 * n_domains, "not only squares: every pair has a product."),
    )
    note = "More features than the smaller subsets have runs: hence the penalty."
    check(answer, right, slips=slips, note=note, hint="Shares, squares and products of pairs.")

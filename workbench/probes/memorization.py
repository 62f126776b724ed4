"""Memorisation: how much likelier a network gets an example right for having been trained on it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from workbench.errors import require
from workbench.probes.landscape import Measured


@dataclass(frozen=True, kw_only=True)
class Memorization(Measured):
    """Per-example estimates; NaN where no run, or every run, was trained on an example.

    No gradient is taken and nothing drawn here: the cost is that of the ``n_in + n_out`` runs, the same number for
    every example, paid and seeded where they were trained.

    Attributes:
        value: Shape ``(n,)``, in -1..1.
        standard_error: Shape ``(n,)``; NaN with fewer than two runs on a side. Zero where neither side varies, which
            few runs show by chance.
        n_in: Runs trained on each example.
        n_out: Runs not.
    """

    value: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    n_in: NDArray[np.int64]
    n_out: NDArray[np.int64]

    def to_frame(self) -> pd.DataFrame:
        """Return one row an example."""
        return pd.DataFrame({k: getattr(self, k) for k in ("value", "standard_error", "n_in", "n_out")})


def memorization(correct: ArrayLike, member: ArrayLike) -> Memorization:
    """Estimate ``P(right | trained on it) - P(right | not)`` for every example from many runs on random subsets.

    The standard error is that of two independent means, each with its unbiased variance.

    Args:
        correct: Whether a run labels an example as its label says, shape ``(n_runs, n)``, in 0..1.
        member: Whether a run was trained on it, bool, same shape.

    Returns:
        An estimate for every example, with its error.

    Raises:
        InputError: If shapes differ, or values are not of these kinds.

    References:
        Feldman 2020, https://arxiv.org/abs/1906.05271; Feldman and Zhang 2020, https://arxiv.org/abs/2008.03703,
        section 2 (the subsampled estimator).

    Example:
        >>> memorization([[1, 1], [0, 1]], [[True, True], [False, False]]).value
        array([1., 0.])
    """
    right, within = np.asarray(correct, dtype=float), np.asarray(member)
    shapes = right.shape, within.shape
    require(right.ndim == 2 and shapes[0] == shapes[1], "correct, member", "must have one shape (n_runs, n)", shapes)
    require(within.dtype == bool, "member", "must be of bool", within.dtype)
    require(bool(((right >= 0) & (right <= 1)).all()), "correct", "must be in 0..1", right)
    sides = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for side in (within, ~within):
            n = side.sum(0)
            mean = (right * side).sum(0) / n
            variance = (np.square(right - mean) * side).sum(0) / np.where(n > 1, n - 1, np.nan)
            sides.append((mean, variance / n, n))
    (mean, own, n_in), (base, other, n_out) = sides
    return Memorization(
        value=mean - base, standard_error=np.sqrt(own + other), n_in=n_in, n_out=n_out,
        n_gradients=0.0, n_examples=len(n_in), seed=0,
    )  # fmt: skip

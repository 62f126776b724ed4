"""How far the top eigenvalue would move with other examples from the same source."""

import copy
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch

from workbench.errors import is_count, require
from workbench.examples import Tensors
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.eigenpairs import top_eigenpairs
from workbench.probes.landscape import Landscape, Matrix, Measured, Where
from workbench.seeds import generator


@dataclass(frozen=True, kw_only=True)
class BootstrapEigenvalue(Measured):
    """The top eigenvalue with its interval.

    Attributes:
        value: Of the n examples themselves.
        low: 5 % of the resamples lie below.
        high: 5 % of them lie above.
        resampled: The top eigenvalue of each resample, shape ``(n_resamples,)``.
    """

    value: float
    low: float
    high: float
    resampled: np.ndarray


def bootstrap_eigenvalue(
    objective: Supervised,
    point: torch.Tensor | Point,
    *,
    n_resamples: int = 20,
    tolerance: float = 1e-3,
    matrix: Matrix = "hessian",
    **where: Unpack[Where],
) -> BootstrapEigenvalue:
    """Find the top eigenvalue on n examples, and its 90 % percentile interval over resamples of them.

    A resample is n of the n examples, drawn with replacement. The largest eigenvalue of a noisy mean matrix lies above
    that of its expectation, so the resamples' lie above ``value`` on average, and ``value`` above what infinitely many
    examples would give; the interval is of the spread, not of that bias. Values at different n do not compare.

    Args:
        objective: Network and examples; left as they are.
        point: Theta ``(D,)``, a point with buffers, or phi where there are coordinates.
        n_resamples: At least 2.
        tolerance: Largest relative error estimate of each eigenvalue.
        matrix: Which matrix.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        Value and interval.

    Raises:
        InputError: If an argument breaks its rule, or an eigenvalue does not converge.

    References:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.

    Example:
        >>> x, y = torch.ones(4, 1).double(), torch.zeros(4, 1)
        >>> same = Supervised(torch.nn.Linear(1, 1, bias=False), (x, y), loss="squared_error", dtype=x.dtype)
        >>> found = bootstrap_eigenvalue(same, same.theta_0)  # all examples are alike
        >>> found.low, found.value, found.high
        (2.0, 2.0, 2.0)
    """
    require(is_count(n_resamples, 2), "n_resamples", "must be at least 2", n_resamples)
    at = Landscape(objective, point, **where)
    own, seed, coordinates = at.objective, at.seed, where.get("coordinates")
    examples, rng, n = own.splits["train"], generator(seed, "bootstrap"), len(own.splits["train"])
    found = []
    for i in range(n_resamples + 1):
        other, index = copy.copy(own), rng.integers(0, n, n) if i else np.arange(n)
        drawn = examples.batch(torch.from_numpy(index).to(own.device))
        other.splits = {"train": Tensors(*drawn, own.device, own.dtype)}
        found.append(top_eigenpairs(other, point, 1, tolerance, matrix=matrix, coordinates=coordinates, seed=seed))
    values = np.array([float(pairs.values[0]) for pairs in found])
    low, high = np.quantile(values[1:], [0.05, 0.95])
    cost = sum(pairs.n_gradients for pairs in found)
    return BootstrapEigenvalue(
        value=float(values[0]), low=float(low), high=float(high), resampled=values[1:],
        n_gradients=cost, n_examples=n, seed=seed,
    )  # fmt: skip

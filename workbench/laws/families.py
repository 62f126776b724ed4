"""Families of learning curves: every one is ``c + A shape(x)``, the shape falling from its start to 0."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """A form of learning curve, ``c + A shape(x)``.

    Attributes:
        name: As in ``FAMILIES``.
        shape: From log x, in units of the largest, shape ``(..., n)``, and logarithms of its parameters, ``(..., k)``.
        parameters: The shape's, all positive: ``alpha`` and ``d`` without unit, ``tau`` in units of x.
        bounds: Of their logarithms, ``tau`` in units of the largest x.
        offset: Whether there is a ``c``.
        formula: With A, c and the parameters.
        source: Who uses it.
    """

    name: str
    shape: Callable[[Array, Array], Array]
    parameters: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]
    offset: bool
    formula: str
    source: str

    @property
    def n_parameters(self) -> int:
        """Number of parameters with A, c and the noise, as AICc counts."""
        return len(self.parameters) + self.offset + 2


def _power(u: Array, q: Array) -> Array:
    """Return x^-alpha."""
    return np.exp(-np.exp(q[..., :1]) * u)


def _exponential(u: Array, q: Array) -> Array:
    """Return exp(-x / tau)."""
    return np.exp(-np.exp(u - q[..., :1]))


def _hill(u: Array, q: Array) -> Array:
    """Return 1 / (1 + (x / tau)^d)."""
    return 1 / (1 + np.exp(np.exp(q[..., 1:]) * (u - q[..., :1])))


def _stretched(u: Array, q: Array) -> Array:
    """Return exp(-(x / tau)^d)."""
    return np.exp(-np.exp(np.exp(q[..., 1:]) * (u - q[..., :1])))


_ALPHA, _TAU, _D = ((np.log(low), np.log(high)) for low, high in ((0.01, 10.0), (1e-4, 1e3), (0.1, 5.0)))
_MOHR = "Mohr et al. 2022, LCDB 1.0, table of parametric models; Viering and Loog 2022, arXiv:2103.10948"
_ALL = (
    Family("power", _power, ("alpha",), (_ALPHA,), False, "A x^-alpha", _MOHR),
    Family("power_offset", _power, ("alpha",), (_ALPHA,), True, "c + A x^-alpha", _MOHR),
    Family("exponential", _exponential, ("tau",), (_TAU,), True, "c + A exp(-x / tau)", _MOHR),
    Family("mmf", _hill, ("tau", "d"), (_TAU, _D), True, "c + A / (1 + (x / tau)^d)", _MOHR),
    Family("weibull", _stretched, ("tau", "d"), (_TAU, _D), True, "c + A exp(-(x / tau)^d)", _MOHR),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}

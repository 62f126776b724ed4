"""Forms of laws: what is fitted to a table of runs, as plain functions with named parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.errors import require

Array = NDArray[np.float64]
Named = Mapping[str, Array]


class Range(NamedTuple):
    """Where an exponent may lie, and how many values of it the search for a start tries."""

    low: float
    high: float
    n: int = 29
    logarithmic: bool = True

    def values(self) -> Array:
        """Return the values tried, evenly spaced, or so in their logarithms."""
        return (np.geomspace if self.logarithmic else np.linspace)(self.low, self.high, self.n)


@dataclass(frozen=True)
class Form:
    """A law: a sum of basis functions, linear in its coefficients once its exponents are known.

    Prediction = ``sum_k coefficient_k * basis_k(variables, exponents)``, coefficients >= 0.

    Attributes:
        name: Short name.
        formula: For people.
        variables: Columns that the law needs, such as ``N`` and ``D``; positive.
        coefficients: Names of the linear parameters, in the basis's order.
        exponents: Names of the other parameters, each with its range.
        basis: From variables, shape ``(n,)``, and exponents, shape ``(..., 1)``, to one array a coefficient that
            broadcasts to ``(..., n)``.
        source: Where the law was put forward.
        compute: Variables whose product says how large a run was; empty means all of them.
        grid: From the variables to the exponents where the search starts, arrays of one shape ``(g,)``; by default
            all combinations of the ranges' values.

    Example:
        >>> square = Form("square", "a + b x^p", ("x",), ("a", "b"), {"p": Range(0.5, 4)}, lambda x, e: (
        ...     np.ones(1), x["x"] ** e["p"]))
        >>> square.parameters
        ('a', 'b', 'p')
        >>> square.predict({"x": [1.0, 3.0]}, {"a": 1.0, "b": 2.0, "p": 2.0}).tolist()
        [3.0, 19.0]
    """

    name: str
    formula: str
    variables: tuple[str, ...]
    coefficients: tuple[str, ...]
    exponents: Mapping[str, Range]
    basis: Callable[[Named, Named], Sequence[Array]]
    source: str = ""
    compute: tuple[str, ...] = ()
    grid: Callable[[Named], Named] | None = field(default=None, repr=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters: coefficients, then exponents."""
        return (*self.coefficients, *self.exponents)

    def columns(self, variables: Named, exponents: Array) -> Array:
        """Return the basis, shape ``(..., K, n)``, at exponents of shape ``(..., E)``."""
        named = {name: exponents[..., i, None] for i, name in enumerate(self.exponents)}
        shape = np.broadcast_shapes(exponents[..., :1].shape, *(variable.shape for variable in variables.values()))
        with np.errstate(all="ignore"):  # what overflows is no start, and is never a result
            return np.stack([np.broadcast_to(column, shape) for column in self.basis(variables, named)], axis=-2)

    def starts(self, variables: Named) -> Array:
        """Return the exponents that the search tries, shape ``(g, E)``."""
        if self.grid is not None:
            found = self.grid(variables)
            return np.stack([found[name] for name in self.exponents], axis=-1)
        return np.array(list(product(*(each.values() for each in self.exponents.values()))))

    def predict(self, variables: Mapping[str, ArrayLike], parameters: Mapping[str, ArrayLike]) -> Array:
        """Return the law's values.

        Args:
            variables: Each of shape ``(n,)``.
            parameters: All of the form's, numbers or arrays of one shape ``(...)``.

        Returns:
            Shape ``(..., n)``.

        Raises:
            InputError: If a variable or a parameter is missing.
        """
        both = ("variables", variables, self.variables), ("parameters", parameters, self.parameters)
        for what, given, needed in both:
            holds = set(needed) <= set(given)
            require(holds, what, f"must hold {', '.join(needed)} for {self.name}", sorted(given), "add what is missing")
        arrays = {name: np.atleast_1d(np.asarray(variables[name], dtype=float)) for name in self.variables}
        values = np.stack(np.broadcast_arrays(*(np.asarray(parameters[k], dtype=float) for k in self.parameters)), -1)
        k = len(self.coefficients)
        return np.einsum("...k,...kn->...n", values[..., :k], self.columns(arrays, values[..., k:]))


def _additive(v: Named, e: Named) -> Sequence[Array]:
    return np.ones(1), v["N"] ** -e["alpha"], v["D"] ** -e["beta"]


def _overtraining(v: Named, e: Named) -> Sequence[Array]:
    return np.ones(1), (v["M"] / v["C"]) ** e["eta"], (v["M"] * v["C"]) ** -e["eta"]


def _isoflop(v: Named, e: Named) -> Sequence[Array]:
    return np.ones(1), v["C"] ** -e["gamma"], (np.log(v["N"]) - e["ln_G"] - e["a"] * np.log(v["C"])) ** 2


def _isoflop_grid(v: Named) -> Named:
    """Try minima through the middle of the table and beside it; ``ln_G`` alone has no range free of units."""
    log_n, log_c = np.log(v["N"]), np.log(v["C"])
    steps = np.linspace(-1, 1, 9) * max(np.ptp(log_n), 1.0) / 2
    a, gamma, step = (each.ravel() for each in np.meshgrid(np.linspace(0, 1, 11), np.geomspace(0.02, 1.5, 13), steps))
    return {"a": a, "gamma": gamma, "ln_G": log_n.mean() - a * log_c.mean() + step}


def _filtering(v: Named, e: Named) -> Sequence[Array]:
    """Sum ``utility * change of ln n`` epoch by epoch, the utility halved every ``tau`` epochs."""
    kept, epochs = 0.5 ** (1 / e["tau"]), v["n"] / v["pool"]
    log_n = np.log(np.minimum(v["n"], v["pool"]))
    for epoch in range(1, min(int(np.ceil(epochs.max(initial=1))), 1000)):  # far beyond any utility left
        log_n = log_n + kept**epoch * np.log(np.clip(epochs, epoch, epoch + 1) / epoch)
    return np.ones(1), np.exp(-e["b"] * log_n)


_EXPONENT, _SIGNED = Range(0.01, 3.0), Range(-3.0, 3.0, 25, logarithmic=False)
_ALL = (
    Form(
        "additive", "E + A/N^alpha + B/D^beta", ("N", "D"), ("E", "A", "B"), {"alpha": _EXPONENT, "beta": _EXPONENT},
        _additive, "Hoffmann et al. 2022, Training compute-optimal large language models, approach 3",
    ),
    Form(
        "power", "A x^-alpha", ("x",), ("A",), {"alpha": Range(-3.0, 3.0, 121, logarithmic=False)},
        lambda v, e: (v["x"] ** -e["alpha"],), "Kaplan et al. 2020, Scaling laws for neural language models",
    ),
    Form(
        "power_offset", "E + A x^-alpha", ("x",), ("E", "A"), {"alpha": Range(0.003, 4.0, 61)},
        lambda v, e: (np.ones(1), v["x"] ** -e["alpha"]),
        "Henighan et al. 2020, Scaling laws for autoregressive generative modeling",
    ),
    Form(
        "overtraining", "E + (a M^eta + b M^-eta) C^-eta", ("C", "M"), ("E", "a", "b"), {"eta": Range(0.005, 2.0, 61)},
        _overtraining, "Gadre et al. 2024, Language models scale reliably with over-training, equation 4", ("C",),
    ),
    Form(
        "lr_batch", "A N^p D^q", ("N", "D"), ("A",), {"p": _SIGNED, "q": _SIGNED},
        lambda v, e: (v["N"] ** e["p"] * v["D"] ** e["q"],), "Li et al. 2025, Predictable scale: Step Law",
    ),
    Form(
        "isoflop", "E + A C^-gamma + kappa (ln N - ln_G - a ln C)^2", ("N", "C"), ("E", "A", "kappa"),
        {"gamma": _EXPONENT, "a": Range(-1.0, 2.0), "ln_G": Range(-np.inf, np.inf)}, _isoflop,
        "Hoffmann et al. 2022, approach 2, all budgets at once; N_opt = exp(ln_G) C^a", ("C",), _isoflop_grid,
    ),
    Form(
        "data_filtering", "d + a n^-b, b halved every tau epochs of the pool", ("n", "pool"), ("d", "a"),
        {"b": Range(0.01, 3.0), "tau": Range(0.05, 100.0, 25)}, _filtering,
        "Goyal et al. 2024, Scaling laws for data filtering, section 3", ("n",),
    ),
)  # fmt: skip
FORMS: dict[str, Form] = {form.name: form for form in _ALL}

"""A fitted law: what it predicts first, its parameters second."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from workbench.errors import InputError, require
from workbench.laws.forms import Array, Form

FLOPS = 6.0  # training operations a parameter and token, the usual count


@dataclass(frozen=True)
class Law:
    """What ``fit_law`` returns; of a table's rows, the held-out ones were never seen by the fit.

    Attributes:
        form: What was fitted.
        target: The column predicted.
        columns: From the form's variables to the table's columns, where their names differ.
        parameters: By name, coefficients first.
        draws: The parameters of each bootstrap resample, a column each.
        level: Of all intervals.
        objective: Sum (or mean) of the losses of the fitted rows' log residuals.
        n: Rows fitted.
        residuals: ``ln(prediction / target)`` of the fitted rows, shape ``(n,)``, in order of size of the run.
        centre: Geometric mean of each of N, D, C, M that the fitted rows tell, for ``optimal`` to start at.
        warnings: What the table cannot decide, by name; empty where all is well.
        unidentified: Parameters of which the table says nothing alone; their intervals have no ends.
        held_out: A row each held-out row, the table's labels: target, prediction, low, high, error (relative:
            prediction / target - 1); None where nothing was held out.
    """

    form: Form
    target: str
    columns: Mapping[str, str]
    parameters: dict[str, float]
    draws: pd.DataFrame = field(repr=False)
    level: float
    objective: float
    n: int
    residuals: Array = field(repr=False)
    centre: Mapping[str, float] = field(repr=False)
    warnings: tuple[str, ...] = ()
    unidentified: tuple[str, ...] = ()
    held_out: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Percentile interval of each parameter over the bootstrap; infinite where it is not identified."""
        ends = {name: self._ends(self.draws[name].to_numpy()) for name in self.parameters}
        return {k: (-np.inf, np.inf) if k in self.unidentified else (float(v[0]), float(v[1])) for k, v in ends.items()}

    @property
    def held_out_error(self) -> float:
        """Mean absolute relative error of the held-out rows; NaN where nothing was held out."""
        return float("nan") if self.held_out is None else float(self.held_out.error.abs().mean())

    def predict(self, table: pd.DataFrame | Mapping[str, ArrayLike], *, run: bool = False) -> pd.DataFrame:
        """Predict the target at each row.

        Args:
            table: With the form's variables, under the names that the fit knows; no target is needed. C, D and M are
                worked out from C = 6 N D, M = D / N where they have no column.
            run: Whether the interval is for a new run, with the residuals' spread, rather than for the law.

        Returns:
            ``prediction``, ``low``, ``high``, with the table's labels.

        Raises:
            InputError: If a variable is missing.
        """
        frame = as_frame(table)
        variables = {name: variable(frame, name, self.columns) for name in self.form.variables}
        values = self.form.predict(variables, self.parameters)
        draws = self.form.predict(variables, {name: self.draws[name].to_numpy() for name in self.parameters})
        if run:  # each draw meets each residual in turn, none of them twice more than another
            at = np.arange(len(draws))[:, None] * 7919 + np.arange(draws.shape[1])
            draws = draws * np.exp(-self.residuals[at % self.n])
        low, high = self._ends(draws)
        return pd.DataFrame({"prediction": values, "low": low, "high": high}, index=frame.index)

    def optimal(self, compute: ArrayLike, *, flops: float = FLOPS) -> pd.DataFrame:
        """Split compute into parameters and tokens so that the predicted target is least.

        Args:
            compute: C = flops * N * D, a number or several, in the fitted table's units.
            flops: Operations a parameter and token; not 6 where N, D and C have units of their own.

        Returns:
            A row each compute: ``C``, and with ``_low`` and ``_high`` each of ``N``, ``D``, ``tokens_per_parameter``,
            ``exponent`` (d ln N / d ln C) and the target; 0 or infinite where the law has no best split.

        Raises:
            InputError: If the form is not one in N, D, C or M, or has a single one of them.
        """
        form, c = self.form, np.atleast_1d(np.asarray(compute, dtype=float))
        known = set(form.variables) <= {"N", "D", "C", "M"} and len(form.variables) > 1
        require(known, "form", "must predict from two of N, D, C and M to have an optimum", form.name, "try additive")
        parameters = {k: np.append(value, self.draws[k].to_numpy())[:, None] for k, value in self.parameters.items()}
        both = np.concatenate([c, c * np.exp(0.01)])
        middle = self.centre.get("N") or (self.centre["C"] / flops / self.centre["M"]) ** 0.5
        log_n = _best_size(form, parameters, both, float(np.log(middle)), flops)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # no best split: infinite
            log_n, exponent = log_n[:, : len(c)], (log_n[:, len(c) :] - log_n[:, : len(c)]) / 0.01
            split = _split(np.exp(log_n), c, flops)
            target = _values(form, parameters, split)
        found = {"N": split["N"], "D": split["D"], "tokens_per_parameter": split["M"], "exponent": exponent}
        table: dict[str, Array] = {"C": c}
        for name, values in {**found, self.target: target}.items():
            low, high = self._ends(values[1:])
            table |= {name: values[0], f"{name}_low": low, f"{name}_high": high}
        return pd.DataFrame(table)

    def to_frame(self) -> pd.DataFrame:
        """Return a table for people: the held-out error first, then the fit, then the parameters with intervals."""
        rows: list[tuple[str, float, float, float]] = []
        if self.held_out is not None:
            errors = self.held_out.error.abs()
            rows.append(("held-out error, mean", self.held_out_error, errors.min(), errors.max()))
            rows.append(("held-out rows", len(errors), np.nan, np.nan))
        spread = float(np.abs(np.expm1(self.residuals)).mean())
        rows += [("fitted error, mean", spread, np.nan, np.nan), ("fitted rows", self.n, np.nan, np.nan)]
        rows += [(name, value, *self.intervals[name]) for name, value in self.parameters.items()]
        return pd.DataFrame(rows, columns=["quantity", "value", "low", "high"]).set_index("quantity")

    def _ends(self, draws: Array) -> Array:
        """Return the percentile interval over the first axis."""
        if not len(draws):
            return np.full((2, *draws.shape[1:]), np.nan)
        tail = (1 - self.level) / 2
        return np.quantile(draws, [tail, 1 - tail], axis=0, method="nearest" if np.isinf(draws).any() else "linear")


def as_frame(table: pd.DataFrame | Mapping[str, ArrayLike]) -> pd.DataFrame:
    """Return a table as a data frame, lists and arrays by name included."""
    return table if isinstance(table, pd.DataFrame) else pd.DataFrame({k: np.asarray(v) for k, v in table.items()})


def variable(table: pd.DataFrame, name: str, columns: Mapping[str, str]) -> Array:
    """Return a variable of a table: its column, or C, D and M from C = 6 N D and M = D / N.

    Raises:
        InputError: If the table does not have it or it is no number.

    Example:
        >>> variable(pd.DataFrame({"N": [2.0], "D": [40.0]}), "M", {}).tolist()
        [20.0]
    """
    has = {each for each in ("N", "D", "C") if columns.get(each, each) in table}
    if (column := columns.get(name, name)) in table:
        values = pd.to_numeric(table[column], errors="coerce")
        words = table[column].notna() & values.isna()
        require(not words.any(), column, "must be numbers", table[column][words].iloc[0] if words.any() else 0)
        return values.to_numpy(dtype=float)
    if name == "C" and {"N", "D"} <= has:
        return FLOPS * variable(table, "N", columns) * variable(table, "D", columns)
    if name == "D" and {"N", "C"} <= has:
        return variable(table, "C", columns) / variable(table, "N", columns) / FLOPS
    if name == "M" and "N" in has and has & {"D", "C"}:
        return variable(table, "D", columns) / variable(table, "N", columns)
    held = ", ".join(map(str, table.columns))
    raise InputError(f"table must have a column {column!r}, got {held}; name it: columns={{{name!r}: ...}}")


def _split(n: Array, c: Array, flops: float) -> dict[str, Array]:
    """Return N, D, C and M of runs of N parameters and C operations."""
    d = c / n / flops
    return {"N": n, "D": d, "C": np.broadcast_to(c, n.shape), "M": d / n}


def _values(form: Form, parameters: Mapping[str, Array], split: Mapping[str, Array]) -> Array:
    """Return the law's values of each draw, ``(b, 1)`` a parameter, at splits of shape ``(b, m)``."""
    exponents = np.concatenate([parameters[name] for name in form.exponents], axis=-1)
    coefficients = np.concatenate([parameters[name] for name in form.coefficients], axis=-1)
    columns = form.columns({name: split[name] for name in form.variables}, exponents)
    return np.einsum("bk,bkm->bm", coefficients, columns)


def _best_size(form: Form, parameters: Mapping[str, Array], c: Array, middle: float, flops: float) -> Array:
    """Return ln N of least value, shape ``(b, c)``, by zooming in; infinite where it runs off the wide first range."""
    b = len(next(iter(parameters.values())))
    centre, half = np.full((b, len(c)), middle), 40.0
    edge = np.zeros((b, len(c)))
    steps = np.linspace(-1, 1, 41)
    for turn in range(9):
        log_n = centre[:, :, None] + half * steps
        split = _split(np.exp(log_n), c[:, None], flops)
        flat = {name: values.reshape(b, -1) for name, values in split.items()}
        values = _values(form, parameters, flat).reshape(log_n.shape)
        at = np.where(np.isnan(values), np.inf, values).argmin(-1)
        if turn == 0:
            edge = np.where(at == 0, -np.inf, np.where(at == len(steps) - 1, np.inf, 0.0))
        centre, half = np.take_along_axis(log_n, at[:, :, None], -1)[:, :, 0], half / 10
    return np.where(edge == 0, centre, edge)

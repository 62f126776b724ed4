"""The rows of a table that a law is fitted to: read, checked, put in an order of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from workbench.errors import InputError, is_count, is_number, require
from workbench.laws.forms import Form
from workbench.laws.law import Array, variable


@dataclass(frozen=True)
class Sample:
    """Rows of a table, the smallest run first.

    Attributes:
        form: What is to be fitted.
        order: Where each row stood in the table.
        variables: By name, shape ``(n,)``.
        log_y: Logarithm of the target.
        size: Logarithm of the run's size, less its mean.
    """

    form: Form
    order: NDArray[np.intp]
    variables: dict[str, Array]
    log_y: Array
    size: Array

    @classmethod
    def read(cls, frame: pd.DataFrame, form: Form, target: str, columns: Mapping[str, str]) -> "Sample":
        """Read what a form needs of a table, in an order that neither units nor the rows' order change.

        Returns:
            The sample.

        Raises:
            InputError: If a column is missing, or a row has a value that is missing, infinite, zero or negative.
        """
        variables = {name: variable(frame, name, columns) for name in form.variables}
        y = variable(frame, target, {})
        require(len(frame) > 0, "table", "must have rows", len(frame))
        for name, values in (*variables.items(), (target, y)):
            if (bad := ~(np.isfinite(values) & (values > 0))).any():
                rows = ", ".join(map(str, frame.index[bad][:5])) + (", ..." if bad.sum() > 5 else "")
                rule = f"{name} must be positive and finite in every row, got {values[bad][0]:g}"
                raise InputError(f"{rule} in {bad.sum()} of {len(y)} rows ({rows}); leave these rows out")
        keys = {name: _centred(np.log(values)) for name, values in (*variables.items(), (target, y))}
        size = _centred(sum((np.log(variables[name]) for name in form.compute or form.variables), np.zeros(len(y))))
        order = np.lexsort([*reversed(keys.values()), size])
        kept = {name: values[order] for name, values in variables.items()}
        return cls(form, order, kept, np.log(y)[order], size[order])

    def take(self, rows: NDArray[np.bool_]) -> "Sample":
        """Return some of the rows."""
        kept = {name: values[rows] for name, values in self.variables.items()}
        return Sample(self.form, self.order[rows], kept, self.log_y[rows], self.size[rows])

    def held(self, hold_out: float | int | ArrayLike | None) -> NDArray[np.bool_]:
        """Say which rows are held out: those of most compute, equals included, or the mask's.

        Returns:
            True = held out, shape ``(n,)``.

        Raises:
            InputError: If it is neither a share, a number nor a mask, or leaves nothing to fit or to predict.
        """
        n = len(self.size)
        if hold_out is None:
            return np.zeros(n, dtype=bool)
        if np.ndim(hold_out):
            mask = np.asarray(hold_out)
            ok = mask.dtype == bool and mask.shape == (n,)
            require(ok, "hold_out", f"must be a mask of the {n} rows", f"{mask.dtype} {mask.shape}")
            held = mask[self.order]
        else:
            share = is_number(hold_out) and 0 < float(hold_out) < 1  # type: ignore[arg-type]
            rule = f"must be a share of the rows, a number in 1..{n - 1} or a mask"
            require(share or (is_count(hold_out, 1) and int(hold_out) < n), "hold_out", rule, hold_out)  # type: ignore[arg-type]
            number = max(1, round(float(hold_out) * n)) if share else int(hold_out)  # type: ignore[arg-type]
            held = self.size >= self.size[n - number]
        require(0 < held.sum() < n, "hold_out", "must leave rows to fit and rows to predict", int(held.sum()))
        return held

    def check(self) -> None:
        """Refuse tables that cannot tell the form's parameters.

        Raises:
            InputError: If a variable has one value, or there are no more distinct rows than parameters.
        """
        for name, values in self.variables.items():
            remedy = "add runs or take a form without it"
            require(np.ptp(np.log(values)) > 1e-9, name, "must have several values", float(values[0]), remedy)
        distinct = len(np.unique(np.round(np.log([*self.variables.values()]), 9), axis=1).T)
        p = self.form.parameters
        rule = f"must have more distinct rows than the {len(p)} parameters {', '.join(p)} of {self.form.name}"
        require(distinct > len(p), "table", rule, distinct, "add runs or take a form with fewer")


def _centred(values: Array) -> Array:
    """Return logarithms without units, rounded: ties stay ties in other units."""
    return np.round(values - values.mean(), 9)

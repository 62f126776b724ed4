"""Fit a law to a table of runs: a start that cannot miss, the sum of robust losses, a bootstrap, a hold-out."""

import contextlib
import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from workbench.errors import InputError, is_count, is_number, require, require_choice
from workbench.laws.forms import FORMS, Form
from workbench.laws.identify import identified
from workbench.laws.law import Array, Law, as_frame, variable
from workbench.laws.robust import Robust, start
from workbench.laws.sample import Sample
from workbench.seeds import generator
from workbench.statistics import check_level


def fit_law(
    table: pd.DataFrame | Mapping[str, ArrayLike],
    form: Form | str,
    *,
    target: str = "loss",
    columns: Mapping[str, str] | None = None,
    loss: str = "huber",
    delta: float = 1e-3,
    reduction: str = "sum",
    n_bootstrap: int = 200,
    level: float = 0.9,
    hold_out: float | int | ArrayLike | None = None,
    seed: int = 0,
) -> Law:
    """Fit a form to a table by least robust loss of the log residuals, ``sum_i loss(ln prediction_i - ln target_i)``.

    Variable projection finds the start: on a grid of exponents, coefficients follow by non-negative least squares;
    the best cells are polished. Units and the order of rows do not matter. C, D and M are worked out from C = 6 N D
    and M = D / N where the table has no such column.

    Args:
        table: A run a row; other columns are left alone.
        form: A ``Form`` or the name of one of ``FORMS``.
        target: Column to predict; positive.
        columns: From the form's variables to the table's columns, where names differ: ``{"N": "params"}``.
        loss: ``"huber"``, or ``"squared"`` of the log residuals.
        delta: Where Huber's loss turns from squared to linear, in log units.
        reduction: ``"sum"``. ``"mean"`` exists to show a published mistake: the same optimum in theory, but SciPy's
            L-BFGS-B, with its default tolerances, takes the small numbers for a minimum and stops early.
        n_bootstrap: Resamples of the rows for the intervals; 0 for none.
        level: Of the intervals.
        hold_out: Rows not to fit but to predict: the share (< 1) or number of those with most compute, together with
            those of equal compute, or a boolean mask.
        seed: Of the bootstrap.

    Returns:
        The law; look at ``held_out_error`` and ``warnings`` first.

    Raises:
        InputError: If a column is missing or no number, a row is missing, infinite, zero or negative, a variable has
            one value only, or there are no more distinct rows than parameters.

    References:
        Hoffmann et al. 2022, Training compute-optimal large language models, equation 3. Besiroglu et al. 2024,
        Chinchilla scaling: a replication attempt, for sum against mean. Golub and Pereyra 1973, variable projection.
    """
    form, frame, names = FORMS[_known(form)] if isinstance(form, str) else form, as_frame(table), dict(columns or {})
    require_choice("loss", loss, ("huber", "squared"))
    require_choice("reduction", reduction, ("sum", "mean"))
    require(is_number(delta) and delta > 0, "delta", "must be positive", delta, "1e-3 is usual")
    require(is_count(n_bootstrap), "n_bootstrap", "must be a whole number, 0 or more", n_bootstrap)
    check_level(level)
    sample = Sample.read(frame, form, target, names)
    held = sample.held(hold_out)
    fitted = sample.take(~held)
    fitted.check()
    whole, starts = start(form, fitted.variables, fitted.log_y, np.inf if loss == "squared" else delta)
    point, objective = (best if reduction == "sum" else stopped_early)(whole, starts)
    draws = pd.DataFrame(whole.named(_bootstrap(whole, point, n_bootstrap, seed)))
    parameters = {name: float(values[0]) for name, values in whole.named(point[None]).items()}
    centre: dict[str, float] = {}
    for name in "NDCM":
        with contextlib.suppress(InputError):  # what the table does not tell
            centre[name] = float(np.exp(np.log(variable(frame.iloc[fitted.order], name, names)).mean()))
    n, residuals = len(fitted.log_y), whole.residuals(point)
    law = Law(form, target, names, parameters, draws, level, objective, n, residuals, centre)
    warnings, unidentified = identified(law, fitted, whole, point)
    law = dataclasses.replace(law, warnings=warnings, unidentified=unidentified)
    if not held.any():
        return law
    rows = frame.iloc[np.sort(sample.order[held])]
    seen = law.predict(rows).assign(**{target: variable(rows, target, {})})
    return dataclasses.replace(law, held_out=seen.assign(error=seen.prediction / seen[target] - 1))


def _known(name: str) -> str:
    """Return the name of one of ``FORMS``."""
    require_choice("form", name, tuple(FORMS))
    return name


def best(whole: Robust, starts: Array) -> tuple[Array, float]:
    """Return the lowest optimum that the starts lead to, and its loss."""
    points, losses = whole.minimise(starts, np.zeros(len(starts), dtype=np.intp), 30)
    require(bool(np.isfinite(losses.min())), "form", "must predict positive values somewhere", whole.form.name)
    near = points[losses <= 1.2 * losses.min()]  # the others have far to go, in valleys of their own
    points, losses = whole.minimise(near, np.zeros(len(near), dtype=np.intp))
    return points[losses.argmin()], float(losses.min())


def _bootstrap(whole: Robust, point: Array, n_bootstrap: int, seed: int) -> Array:
    """Fit resamples of the rows, each from the sample's optimum; return their points."""
    if n_bootstrap == 0:
        return np.empty((0, len(point)))
    rows = np.round([*(np.log(values) for values in whole.variables.values()), whole.log_y], 9)
    _, copies = np.unique(rows, axis=1, return_inverse=True)  # exact copies are one run, not several
    n = int(copies.max()) + 1
    weights = generator(seed, "laws", n).multinomial(n, np.full(n, 1 / n), size=n_bootstrap)[:, copies].astype(float)
    resampled = dataclasses.replace(whole, weights=weights)
    return resampled.minimise(np.repeat(point[None], n_bootstrap, axis=0), np.arange(n_bootstrap))[0]


def stopped_early(whole: Robust, starts: Array) -> tuple[Array, float]:
    """Return where SciPy's L-BFGS-B stops on the mean loss from a coarse grid of starts, and that mean: too early."""
    n, none = len(whole.log_y), np.zeros(1, dtype=np.intp)

    def mean(point: Array) -> tuple[float, Array]:
        value, gradient, _ = whole(point[None], none)
        return float(value[0]) / n, gradient[0] / n

    ends = [minimize(mean, each, jac=True, method="L-BFGS-B") for each in starts]
    least = min(ends, key=lambda end: end.fun)
    return least.x, float(least.fun)

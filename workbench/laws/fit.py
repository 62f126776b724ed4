"""Fit a law to a table of runs: a start that cannot miss, the sum of robust losses, a bootstrap, a hold-out."""

from collections.abc import Mapping

import pandas as pd
from numpy.typing import ArrayLike

from workbench.laws.forms import Form
from workbench.laws.law import Law


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
    raise NotImplementedError

"""Checks of the exercises of `examine.ipynb`."""

from typing import Any

import numpy as np
import pandas as pd

from workbench.exercises import check
from workbench.measures.asked import DENSITIES


def check_share(answer: Any, table: pd.DataFrame, D: int) -> None:
    """Check the share of the parameters that 90 % of fresh networks' score needs."""
    found = table[table.quantity == "d for 90 % of fresh networks' score"].value
    if found.empty or not np.isfinite(found.iloc[0]):
        print("This was not measured here; the table says why.")
        return
    d = float(found.iloc[0])
    slips = (
        (d, "This is d itself; divide it by D."),
        (D / d, "Turn it round: this is how many times more parameters there are."),
        (1 - d / D, "This is the share that is not needed."),
        (100 * d / D, "This is in percent; give a fraction."),
    )
    check(answer, d / D, slips=slips, hint="Take the row's value, and D of the network.", note="It is an upper bound.")


def check_score(answer: Any, rows: list[dict[str, Any]], given: float) -> None:
    """Check the lowest density that loses at most one point of the score."""
    if not rows:
        print("This was not measured here; the table says why.")
        return
    passing = [row["density"] for row in rows if row["score"] >= given - 0.01]
    right = min(passing, default=1.0)
    slips = (
        (max(passing, default=1.0), "This is the highest density that passes; the lowest is asked for."),
        (1 - right, "This is the sparsity, the share removed; density is the share kept."),
        (min(DENSITIES), "This is the lowest density tested, whether it passes or not."),
    )
    note = "The answer above lies between this density and the next lower one: the score is interpolated."
    check(answer, right, slips=slips, hint="A row passes if its score is at least given - 0.01.", note=note)

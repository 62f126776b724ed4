"""Scaling laws and learning curves: forms, fits and predictions on tables of runs, which need no network."""

from workbench.laws.fit import fit_law
from workbench.laws.forms import FORMS, Form, Range
from workbench.laws.law import Law

__all__ = ["FORMS", "Form", "Law", "Range", "fit_law"]

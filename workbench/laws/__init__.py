"""Scaling laws and learning curves: forms, fits and predictions on tables of runs, which need no network."""

from workbench.laws.curves import CurveFit, Extrapolation, conformal_scale, extrapolate, fit_curve
from workbench.laws.families import FAMILIES, Family
from workbench.laws.fit import fit_law
from workbench.laws.forms import FORMS, Form, Range
from workbench.laws.law import Law
from workbench.laws.stopping import Trace, functional_stopping
from workbench.laws.tables import ORIGINS, table

__all__ = [
    "FAMILIES",
    "FORMS",
    "ORIGINS",
    "CurveFit",
    "Extrapolation",
    "Family",
    "Form",
    "Law",
    "Range",
    "Trace",
    "conformal_scale",
    "extrapolate",
    "fit_curve",
    "fit_law",
    "functional_stopping",
    "table",
]

"""Measurements that cross several tools, as plain numbers: what trials of any network return."""

from workbench.measures.asked import Answer, Asked
from workbench.measures.costs import PARTS, fitting, obstacle, seconds
from workbench.measures.local import coefficient, curvature, spectrum, surface, walk
from workbench.measures.outcomes import outcome, right
from workbench.measures.paces import paces
from workbench.measures.solve import apart, inside, retrained, solve, trained
from workbench.measures.subject import Subject, digest
from workbench.measures.thin import critical_density, pruned, saved

__all__ = [
    "PARTS",
    "Answer",
    "Asked",
    "Subject",
    "apart",
    "coefficient",
    "critical_density",
    "curvature",
    "digest",
    "fitting",
    "inside",
    "obstacle",
    "outcome",
    "paces",
    "pruned",
    "retrained",
    "right",
    "saved",
    "seconds",
    "solve",
    "spectrum",
    "surface",
    "trained",
    "walk",
]

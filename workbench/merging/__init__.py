"""Merging: from several networks to one, and the ways between them."""

from workbench.merging.alignment import Alignment, alignment
from workbench.merging.averages import Soup, fisher_average, greedy_soup, uniform_soup
from workbench.merging.curve import Curve, curve

__all__ = [
    "Alignment",
    "Curve",
    "Soup",
    "alignment",
    "curve",
    "fisher_average",
    "greedy_soup",
    "uniform_soup",
]

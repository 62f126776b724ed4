"""Coordinate maps phi in R^d -> theta in R^D with their adjoints: which directions of parameter space may move."""

from workbench.coordinates.base import Coordinates, Projection
from workbench.coordinates.composed import Composed
from workbench.coordinates.dynamic import Dynamic
from workbench.coordinates.entries import Entries
from workbench.coordinates.full import Full
from workbench.coordinates.gradual import Gradual, cubic
from workbench.coordinates.low_rank import MaskedLowRank
from workbench.coordinates.masked import Masked
from workbench.coordinates.scaled import LayerScaled
from workbench.coordinates.shared import Shared
from workbench.coordinates.subspace import KINDS, Subspace, projection

__all__ = [
    "KINDS", "Composed", "Coordinates", "Dynamic", "Entries", "Full", "Gradual", "LayerScaled", "Masked",
    "MaskedLowRank", "Projection", "Shared", "Subspace", "cubic", "projection",
]  # fmt: skip

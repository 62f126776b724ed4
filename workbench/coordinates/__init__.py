"""Coordinate maps phi in R^d -> theta in R^D with their adjoints: which directions of parameter space may move."""

from workbench.coordinates.base import Coordinates, Projection
from workbench.coordinates.full import Full
from workbench.coordinates.scaled import LayerScaled
from workbench.coordinates.subspace import KINDS, Subspace, projection

__all__ = ["KINDS", "Coordinates", "Full", "LayerScaled", "Projection", "Subspace", "projection"]

"""Probes: measurements of a loss at a point that leave everything as they found it."""

from workbench.probes.barrier import Barrier, barrier, pairs_interval
from workbench.probes.directions import Span, directions, principal, through
from workbench.probes.landscape import Landscape
from workbench.probes.learning_coefficient import LearningCoefficient, learning_coefficient
from workbench.probes.line import line
from workbench.probes.plane import plane
from workbench.probes.slices import Slice

__all__ = [
    "Barrier",
    "Landscape",
    "LearningCoefficient",
    "Slice",
    "Span",
    "barrier",
    "directions",
    "learning_coefficient",
    "line",
    "pairs_interval",
    "plane",
    "principal",
    "through",
]

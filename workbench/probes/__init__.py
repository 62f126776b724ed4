"""Probes: measurements of a loss at a point that leave everything as they found it."""

from workbench.probes.barrier import Barrier, barrier, pairs_interval
from workbench.probes.landscape import Landscape
from workbench.probes.learning_coefficient import LearningCoefficient, learning_coefficient

__all__ = [
    "Barrier",
    "Landscape",
    "LearningCoefficient",
    "barrier",
    "learning_coefficient",
    "pairs_interval",
]

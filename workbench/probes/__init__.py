"""Probes: measurements of a loss at a point that leave everything as they found it."""

from workbench.probes.barrier import Barrier, barrier, pairs_interval
from workbench.probes.degeneracy import Degeneracy, degeneracy
from workbench.probes.directions import Span, directions, principal, through
from workbench.probes.landscape import Landscape
from workbench.probes.learning_coefficient import LearningCoefficient, learning_coefficient
from workbench.probes.line import line
from workbench.probes.memorization import Memorization, memorization
from workbench.probes.neural_collapse import NeuralCollapse, neural_collapse
from workbench.probes.per_example import PerExample, per_example
from workbench.probes.plane import plane
from workbench.probes.similarity import linear_cka
from workbench.probes.slices import Slice
from workbench.probes.tangent_kernel import TangentKernel, tangent_kernel

__all__ = [
    "Barrier",
    "Degeneracy",
    "Landscape",
    "LearningCoefficient",
    "Memorization",
    "NeuralCollapse",
    "PerExample",
    "Slice",
    "Span",
    "TangentKernel",
    "barrier",
    "degeneracy",
    "directions",
    "learning_coefficient",
    "line",
    "linear_cka",
    "memorization",
    "neural_collapse",
    "pairs_interval",
    "per_example",
    "plane",
    "principal",
    "tangent_kernel",
    "through",
]

"""Probes: measurements of a loss at a point that leave everything as they found it."""

from workbench.probes.barrier import Barrier, barrier, pairs_interval
from workbench.probes.bootstrap_eigenvalue import BootstrapEigenvalue, bootstrap_eigenvalue
from workbench.probes.degeneracy import Degeneracy, degeneracy
from workbench.probes.directions import Span, directions, principal, through
from workbench.probes.eigenpairs import Eigenpairs, top_eigenpairs
from workbench.probes.hessian import Hessian, hessian
from workbench.probes.landscape import Landscape
from workbench.probes.learning_coefficient import LearningCoefficient, learning_coefficient
from workbench.probes.line import line
from workbench.probes.memorization import Memorization, memorization
from workbench.probes.neural_collapse import NeuralCollapse, neural_collapse
from workbench.probes.per_example import PerExample, per_example
from workbench.probes.plane import plane
from workbench.probes.sharpness import Sharpness, sharpness
from workbench.probes.similarity import LinearCKA, linear_cka
from workbench.probes.slices import Slice
from workbench.probes.spectral_density import SpectralDensity, spectral_density
from workbench.probes.tangent_kernel import TangentKernel, tangent_kernel
from workbench.probes.trace import Trace, trace

__all__ = [
    "Barrier",
    "BootstrapEigenvalue",
    "Degeneracy",
    "Eigenpairs",
    "Hessian",
    "Landscape",
    "LearningCoefficient",
    "LinearCKA",
    "Memorization",
    "NeuralCollapse",
    "PerExample",
    "Sharpness",
    "Slice",
    "Span",
    "SpectralDensity",
    "TangentKernel",
    "Trace",
    "barrier",
    "bootstrap_eigenvalue",
    "degeneracy",
    "directions",
    "hessian",
    "learning_coefficient",
    "line",
    "linear_cka",
    "memorization",
    "neural_collapse",
    "pairs_interval",
    "per_example",
    "plane",
    "principal",
    "sharpness",
    "spectral_density",
    "tangent_kernel",
    "through",
    "top_eigenpairs",
    "trace",
]

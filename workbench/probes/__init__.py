"""Probes: measurements of a loss at a point that leave everything as they found it."""

from workbench.probes.landscape import Landscape

__all__ = [
    "Landscape",
]

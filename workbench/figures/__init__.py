"""Numbers in, plotly figure out: the figures of the studies; plotly is imported nowhere else.

Every figure shows single runs as well as what was made of them, and reads without colour: groups differ in marker too.
Paper and text colours are set, so that a figure looks the same on a dark page.
"""

from workbench.figures.accuracy import AccuracyCurve, accuracy_curve, accuracy_versus_dimension
from workbench.figures.parameters import dimension_versus_parameters
from workbench.figures.slider import menu, slider_figure
from workbench.figures.solved import solved_fraction, toy_residual

__all__ = [
    "AccuracyCurve",
    "accuracy_curve",
    "accuracy_versus_dimension",
    "dimension_versus_parameters",
    "menu",
    "slider_figure",
    "solved_fraction",
    "toy_residual",
]

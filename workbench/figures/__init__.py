"""Numbers in, plotly figure out: plotly is imported nowhere else in the package.

Every figure shows single runs as well as what was made of them, and reads without colour: groups differ in marker too.
Paper and text colours are set, so that a figure looks the same on a dark page.
"""

from plotly.graph_objects import Figure

from workbench.figures.slider import slider_figure

__all__ = ["Figure", "slider_figure"]

"""What a reader moves, presses and answers at a live notebook; ipywidgets is imported nowhere else.

In batch a figure is plain and its slider plotly's own: it needs no kernel and cannot hang as ``interact`` does.
"""

from workbench.widgets.controls import control, is_live
from workbench.widgets.explorers import compute, explore
from workbench.widgets.live import Live, Stopped, Stream
from workbench.widgets.predictions import Prediction, predict

__all__ = ["Live", "Prediction", "Stopped", "Stream", "compute", "control", "explore", "is_live", "predict"]

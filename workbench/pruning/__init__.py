"""Pruning: scores, their allocation to layers, masks, what they save."""

from workbench.pruning.allocation import kept_count, select, shuffled
from workbench.pruning.export import export, load_export
from workbench.pruning.prunable import prunable
from workbench.pruning.report import Compression, report
from workbench.pruning.scores import SCORES, Movement, score, synflow_mask
from workbench.pruning.structured import select_units, shrink
from workbench.pruning.threshold import kth_largest

__all__ = [
    "SCORES",
    "Compression",
    "Movement",
    "export",
    "kept_count",
    "kth_largest",
    "load_export",
    "prunable",
    "report",
    "score",
    "select",
    "select_units",
    "shrink",
    "shuffled",
    "synflow_mask",
]

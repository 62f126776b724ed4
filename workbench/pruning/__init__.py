"""Pruning: scores, their allocation to layers, masks, what they save."""

from workbench.pruning.allocation import select, shuffled
from workbench.pruning.ensemble import SparseEnsemble, evaluate_masks
from workbench.pruning.export import export, load_export
from workbench.pruning.prunable import prunable
from workbench.pruning.report import report
from workbench.pruning.scores import score
from workbench.pruning.sparse import latency, sparsify
from workbench.pruning.structured import select_units, shrink

__all__ = [
    "SparseEnsemble",
    "evaluate_masks",
    "export",
    "latency",
    "load_export",
    "prunable",
    "report",
    "score",
    "select",
    "select_units",
    "shrink",
    "shuffled",
    "sparsify",
]

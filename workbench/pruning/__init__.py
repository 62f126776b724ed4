"""Pruning: scores, their allocation to layers, masks, what they save."""

from workbench.pruning.allocation import kept_count, select, shuffled
from workbench.pruning.prunable import prunable
from workbench.pruning.threshold import kth_largest

__all__ = ["kept_count", "kth_largest", "prunable", "select", "shuffled"]

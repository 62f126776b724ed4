"""The one training loop: (objective, coordinates, recipe, seed) -> History."""

from workbench.training.group import History, Snapshot
from workbench.training.loop import train, train_group

__all__ = ["History", "Snapshot", "train", "train_group"]

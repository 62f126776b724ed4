"""Reproducible experiments on what a neural network's parameter is worth."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Loaded when first used: importing the package must not import torch.
_HOMES = {
    "Claim": "verdicts",
    "Full": "coordinates",
    "History": "training",
    "LayerScaled": "coordinates",
    "Masked": "coordinates",
    "Recipe": "recipes",
    "Runs": "dimension",
    "Study": "study",
    "Subspace": "coordinates",
    "Supervised": "objective",
    "Sweep": "sweeps",
    "intrinsic_dim": "dimension",
    "lenet": "models",
    "load": "datasets",
    "matched_learning_rate": "recipes",
    "mlp": "models",
    "projection": "coordinates",
    "runs": "index",
    "train": "training",
    "train_group": "training",
    "trials": "index",
}
__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(import_module(f"workbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List public names without loading them."""
    return __all__

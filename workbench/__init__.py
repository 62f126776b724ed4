"""Reproducible experiments on what a neural network's parameter is worth."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Loaded when first used: importing the package must not import torch.
_HOMES = {
    name: module
    for module, names in (
        ("coordinates", "Full LayerScaled Masked Subspace projection"),
        ("datasets", "load"),
        ("dimension", "Runs intrinsic_dim"),
        ("examine", "examine"),
        ("index", "runs trials"),
        ("models", "lenet mlp"),
        ("objective", "Supervised"),
        ("recipes", "Recipe matched_learning_rate"),
        ("study", "Study"),
        ("sweeps", "Sweep"),
        ("training", "History train train_group"),
        ("verdicts", "Claim"),
    )
    for name in names.split()
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

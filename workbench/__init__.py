"""Reproducible experiments on what a neural network's parameter is worth."""

__version__ = "0.1.0"

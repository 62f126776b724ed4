"""Scaling laws and learning curves: forms, fits and predictions on tables of runs, which need no network."""

__all__: list[str] = []

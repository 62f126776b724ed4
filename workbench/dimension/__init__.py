"""Accuracy-versus-d runs -> intrinsic dimension with an interval.

The intrinsic dimension is the d at which the expected score reaches a threshold. We regress the score; "the first
tested d that passes" answers with the next grid point above, which is too large by about half a grid step.
"""

from workbench.dimension.estimate import intrinsic_dim, target_score
from workbench.dimension.tables import Estimate, Runs

__all__ = ["Estimate", "Runs", "intrinsic_dim", "target_score"]

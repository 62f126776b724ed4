"""Gradual pruning: a mask that shrinks along a cubic while training."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from workbench.coordinates.masked import Masked, require_steps
from workbench.errors import is_number, require


def cubic(step: int, density: float, begin_step: int, end_step: int) -> float:
    """Return the density after a step of gradual pruning, falling from 1 to ``density``, fast at first.

    density_t = density + (1 - density) (1 - (t - begin) / (end - begin))^3 between the two steps.

    Args:
        step: Steps taken.
        density: At the end, in (0, 1].
        begin_step: Up to here the density is 1.
        end_step: From here on it is ``density``.

    Returns:
        The kept share.

    References:
        Zhu, Gupta (2017), To prune, or not to prune, section 3, https://arxiv.org/abs/1710.01878.

    Example:
        >>> [cubic(step, 0.2, 10, 20) for step in (0, 10, 15, 20, 99)]
        [1.0, 1.0, 0.30000000000000004, 0.2, 0.2]
    """
    if step >= end_step:
        return density
    left = 1 - (step - begin_step) / (end_step - begin_step)
    return density + (1 - density) * left**3 if left < 1 else 1.0


class Gradual(Masked):
    """`Masked` with every entry kept at first and fewer and fewer as training goes, those of largest magnitude.

    Every mask lies in the one before. ``select`` makes it from the magnitudes, the density and ``within``, the mask as
    it stands: such as ``partial(pruning.select, prunable=..., layout=...)``.

    Args:
        theta_0: Initial parameters, shape ``(D,)``.
        density: Kept share of the prunable entries at the end, in (0, 1].
        select: ``(scores, density, within=mask) -> mask``.
        steps: After which steps to prune, such as ``range(0, 1000, 100)``; the cubic runs from its start to its stop,
            where the last mask is made in any case.

    Raises:
        InputError: If a setting breaks its rule.

    References:
        See ``cubic``.
    """

    def __init__(self, theta_0: Tensor, density: float, select: Callable[..., Tensor], steps: range) -> None:
        require(is_number(density) and 0 < density <= 1, "density", "must be in (0, 1]", density)
        require_steps(steps)
        super().__init__(theta_0, torch.ones_like(theta_0, dtype=torch.bool))
        self.density, self.select, self.steps = density, select, steps

    def after_step(self, phi: Tensor, optimizer_state: dict[str, Any]) -> None:
        """Prune where the schedule says so; a run that diverges is left for the loop to see."""
        super().after_step(phi, optimizer_state)
        if (self._step in self.steps or self._step == self.steps.stop) and phi.isfinite().all():
            density = cubic(self._step, self.density, self.steps.start, self.steps.stop)
            self.set_mask(self.mask & self.select(phi.abs(), density, within=self.mask), phi, optimizer_state)

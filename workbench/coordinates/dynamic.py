"""Dynamic sparse training: a mask of constant size that moves while training."""

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates.masked import Masked, require_steps
from workbench.errors import is_number, require, require_choice
from workbench.layout import Layout
from workbench.seeds import generator

Grow = Literal["random", "gradient"]


class Dynamic(Masked):
    """`Masked` that drops the smallest kept entries of each tensor now and then, and grows as many elsewhere.

    After step t, in a tensor with n kept entries, k = floor(n share (1 + cos(pi t / stop)) / 2) of the smallest
    magnitude are dropped; of all that are then not kept, k are grown: at random (SET), or those with the largest
    gradient of the same step's minibatch with respect to the whole theta (RigL). What is grown starts at zero; an entry
    that is dropped and grown at once stays as it was. Ties are broken by the seed. Tensors kept whole stay whole.

    Args:
        theta_0: Initial parameters, shape ``(D,)``.
        mask: Bool, shape ``(D,)``; where it is True at first.
        layout: Where each tensor stands in theta.
        grow: ``"random"`` (SET) or ``"gradient"`` (RigL).
        steps: After which steps the mask moves, such as ``range(100, 1000, 100)``; its stop is that of the cosine.
        share: Share of the kept entries that move at first, in [0, 1].
        seed: Of random growth and ties.

    Raises:
        InputError: If a setting breaks its rule.

    References:
        Mocanu et al. (2018), Scalable training of artificial neural networks with adaptive sparse connectivity, which
        keeps the share constant and drops the smallest positive and negative weights separately; Evci et al. (2020),
        Rigging the lottery, algorithm 1, https://arxiv.org/abs/1911.11134, which moves the mask in place of a step of
        the optimizer, here after one.
    """

    def __init__(
        self, theta_0: Tensor, mask: Tensor, layout: Layout, grow: Grow, steps: range, share: float = 0.3, seed: int = 0
    ) -> None:
        require_choice("grow", grow, ("random", "gradient"))
        require(is_number(share) and 0 <= share <= 1, "share", "must be in [0, 1]", share)
        require_steps(steps)
        super().__init__(theta_0, mask)
        self._layout, self._gradient = layout, torch.zeros_like(self.theta_0)
        self.grow, self.steps, self.share, self.seed = grow, steps, share, seed

    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Write mask * grad_theta into ``out``; keep the whole gradient if the coming step moves the mask."""
        if self.grow == "gradient" and self._step + 1 in self.steps:
            self._gradient = grad_theta.abs()
        return super().pull(phi, grad_theta, out)

    def after_step(self, phi: Tensor, optimizer_state: dict[str, Any]) -> None:
        """Move the mask if its time has come."""
        super().after_step(phi, optimizer_state)
        if self._step not in self.steps:
            return
        mask, share = self.mask.clone(), self.share * (1 + math.cos(math.pi * self._step / self.steps.stop)) / 2
        rng = generator(self.seed, "dynamic", self._step)
        for entry in self._layout.entries:
            here = slice(entry.offset, entry.offset + entry.size)
            kept = mask[here]  # a view
            if not kept.all():
                k = int(share * int(kept.sum()))
                kept[_largest(-phi[here].abs(), kept, k, rng)] = False
                kept[_largest(self._gradient[here], ~kept, k, rng)] = True  # at random where the gradient is not kept
        self.set_mask(mask, phi, optimizer_state)


def _largest(scores: Tensor, candidates: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """Return where the k largest scores among the candidates stand; which of equal ones is drawn."""
    where = candidates.nonzero()[:, 0]
    where = where[torch.from_numpy(rng.permutation(len(where))).to(where.device)]
    return where[scores[where].argsort(descending=True, stable=True)[:k]]

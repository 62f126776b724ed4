"""How to train: optimizer, learning rate and its schedule, batches, stopping."""

import math
from dataclasses import dataclass
from typing import Literal

from workbench.errors import is_count, is_number, require, require_choice


@dataclass(frozen=True)
class Recipe:
    """How to train. Settings are checked when made.

    Args:
        n_steps: Optimizer steps; at least 0.
        lr: Peak learning rate; positive.
        optimizer: ``"adam"``, ``"adamw"`` or ``"sgd"``.
        momentum: Of SGD, in [0, 1).
        weight_decay: L2 penalty on the coordinates phi (decoupled for AdamW); not negative.
        batch_size: Examples a step; None for the whole training split.
        schedule: ``"constant"``, ``"cosine"`` to zero, or ``"warmup_stable_decay"``: linear to zero at the end.
        warmup_steps: Linear rise from ``lr / warmup_steps``, for every schedule.
        decay_fraction: Share of the steps that decay, for warmup_stable_decay.
        eval_every_steps: Steps between evaluations on ``eval_splits``; None for the end only.
        patience: Stop after this many evaluations without a lower validation loss, and return the best point.

    Raises:
        InputError: If a setting breaks its rule.
    """

    n_steps: int = 1000
    lr: float = 2e-3
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch_size: int | None = 128
    schedule: Literal["constant", "cosine", "warmup_stable_decay"] = "cosine"
    warmup_steps: int = 0
    decay_fraction: float = 0.2
    eval_every_steps: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        require_choice("optimizer", self.optimizer, ("sgd", "adam", "adamw"))
        require_choice("schedule", self.schedule, ("constant", "cosine", "warmup_stable_decay"))
        require(is_number(self.lr) and self.lr > 0, "lr", "must be a positive number", self.lr)
        require(is_count(self.n_steps, 0), "n_steps", "must be a whole number, at least 0", self.n_steps)
        require(0 <= self.momentum < 1, "momentum", "must be in [0, 1)", self.momentum)
        require(self.weight_decay >= 0, "weight_decay", "must not be negative", self.weight_decay)
        require(is_count(self.warmup_steps, 0), "warmup_steps", "must be a whole number, at least 0", self.warmup_steps)
        require(0 < self.decay_fraction <= 1, "decay_fraction", "must be in (0, 1]", self.decay_fraction)
        for name in ("batch_size", "eval_every_steps", "patience"):
            value = getattr(self, name)
            require(value is None or is_count(value, 1), name, "must be None or a whole number, at least 1", value)
        stops = self.patience is None or self.eval_every_steps is not None
        require(stops, "patience", "needs eval_every_steps", self.patience, "say how often to evaluate")

    def lr_factor(self, step: int) -> float:
        """Return the learning rate of a step (from 0) over its peak."""
        rise = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.schedule == "cosine":
            return rise * 0.5 * (1 + math.cos(math.pi * step / self.n_steps))
        if self.schedule == "warmup_stable_decay":
            return rise * min(1.0, (self.n_steps - step) / max(1.0, self.decay_fraction * self.n_steps))
        return rise


def matched_learning_rate(d: int, D: int, base: float = 2e-3) -> float:
    """Return the learning rate of d subspace coordinates at which theta moves as far per step as at ``base``.

    An adaptive optimizer moves every coordinate by about its rate, so phi by ``rate * sqrt(d)`` and theta, P being
    nearly isometric, as far; the full network moves by ``base * sqrt(D)``. Hence ``rate = base * sqrt(D / d)``.

    Args:
        d: Subspace dimension, in 1..D.
        D: Number of parameters.
        base: Rate of the full network, positive.

    Returns:
        The rate.

    Raises:
        InputError: If d is not in 1..D or ``base`` is not a positive number.

    Example:
        >>> matched_learning_rate(100, 10_000)
        0.02
    """
    require(is_count(d, 1) and d <= D, "d", f"must be in 1..D={D}", d)
    require(is_number(base) and base > 0, "base", "must be a positive number", base)
    return base * math.sqrt(D / d)

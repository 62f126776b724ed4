"""Training in stages: pruning once or again and again, with or without rewinding."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from workbench import pruning
from workbench.coordinates import Full, Masked
from workbench.errors import is_count, require, require_choice
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.training import History, Snapshot, train


class Level(NamedTuple):
    """One density of a pruning run.

    Attributes:
        density: Kept share of the prunable entries that was asked for.
        mask: Bool, shape ``(D,)``; True = kept.
        history: What training under the mask did; its ``phi`` is theta.
    """

    density: float
    mask: Tensor
    history: History

    @property
    def point(self) -> Point:
        """The network found; pruned entries are zero."""
        return Point(self.history.phi, self.history.buffers)


def geometric(density: float, n_rounds: int) -> list[float]:
    """Return densities that fall by one factor a round, down to ``density``; one round is one-shot pruning.

    Args:
        density: After the last round, in (0, 1].
        n_rounds: At least 1.

    Returns:
        ``n_rounds`` densities.

    Raises:
        InputError: If an argument breaks its rule.

    Example:
        >>> geometric(0.25, 2)
        [0.5, 0.25]
    """
    require(0 < density <= 1, "density", "must be in (0, 1]", density)
    require(is_count(n_rounds, 1), "n_rounds", "must be a whole number, at least 1", n_rounds)
    return [float(density ** (i / n_rounds)) for i in range(1, n_rounds)] + [density]


def iterative(
    objective: Supervised,
    recipe: Recipe,
    densities: Sequence[float],
    seed: int,
    *,
    score: Callable[[Supervised, Tensor], Tensor] | None = None,
    scope: Literal["global", "layer", "erk"] = "global",
    prunable: Tensor | None = None,
    select: Callable[..., Tensor] | None = None,
    rewind: Literal["weights", "learning_rate", "none"] = "weights",
    rewind_step: int = 0,
    finetune: Recipe | None = None,
    **options: Any,
) -> list[Level]:
    """Train, then prune and train again at each density; every mask lies in the one before.

    ``rewind`` says from where a level trains to the recipe's end: ``"weights"``, from weights, buffers, optimizer,
    learning rate and minibatches of step ``rewind_step`` of the dense run (at 0 a lottery ticket);
    ``"learning_rate"``, from the last level's weights with learning rate and minibatches of that step and a fresh
    optimizer; ``"none"``, from the last level's weights by the recipe ``finetune``.

    Args:
        objective: Starts at ``theta_0``; ends at the last level's point.
        recipe: Of the dense run and of rewound ones.
        densities: Kept shares of the prunable entries, falling; each of all of them, so they do not compound.
        seed: Of minibatches and ties.
        score: ``(objective, theta) -> scores``, larger = keep, shape ``(D,)``; magnitude by default.
        scope: How ``pruning.select`` shares what is kept among layers.
        prunable: Which entries may be pruned, shape ``(D,)``; all weights by default.
        select: ``(scores, density, within=mask) -> mask`` in place of the one that ``scope`` and ``prunable`` say.
        rewind: See above.
        rewind_step: See above.
        finetune: For ``rewind="none"``, and for it alone.
        options: Further ones of ``train``.

    Returns:
        The dense run, then one level a density; nothing after a level that diverged.

    Raises:
        InputError: If an argument breaks its rule.

    References:
        Frankle, Carbin (2019), The lottery ticket hypothesis, https://arxiv.org/abs/1803.03635; Renda, Frankle, Carbin
        (2020), Comparing rewinding and fine-tuning in neural network pruning, https://arxiv.org/abs/2003.02389.
    """
    require_choice("rewind", rewind, ("weights", "learning_rate", "none"))
    require((rewind == "none") == (finetune is not None), "finetune", 'must be given for rewind "none" alone', finetune)
    require(is_count(rewind_step), "rewind_step", "must be a whole number, at least 0", rewind_step)
    if select is None:
        free = pruning.prunable(objective.layout) if prunable is None else prunable
        select = partial(pruning.select, prunable=free, layout=objective.layout, scope=scope, seed=seed)
    mask = torch.ones_like(objective.theta, dtype=torch.bool)
    history = train(objective, Full(objective.theta_0), recipe, seed, keep_steps=(rewind_step,), **options)
    levels, kept = [Level(1.0, mask, history)], history.kept.get(rewind_step)
    for density in densities:
        if history.outcome == "diverged":
            break
        require(kept is not None, "rewind_step", f"must be reached by the dense run of {history.n_steps}", rewind_step)
        scores = score(objective, history.phi) if score else history.phi.abs()
        mask = mask & select(scores, density, within=mask)
        step, moments = 0 if finetune else rewind_step, dict[str, Tensor]()
        phi, buffers = history.phi.clone(), history.buffers
        if kept and rewind == "weights":
            phi, buffers, moments = copy.deepcopy((kept.phi, kept.buffers, kept.optimizer))
        Masked(phi, levels[0].mask).set_mask(mask, phi, moments)
        start = [Snapshot(step, phi, buffers, moments, {})]
        history = train(objective, Masked(phi, mask), finetune or recipe, seed, start=start, **options)
        levels.append(Level(density, mask, history))
    return levels

"""Pruning in stages: planted truth, nested masks, rewinding against loops written out."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tests.coordinates.test_masked import norm_net
from workbench.errors import InputError
from workbench.layout import Point
from workbench.models import CharTransformer
from workbench.objective import Supervised
from workbench.procedures import geometric, iterative
from workbench.pruning import prunable
from workbench.recipes import Recipe

KINDS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize(("density", "n_rounds"), [(0.05, 1), (0.1, 7), (1.0, 3)])
def test_geometric_falls_by_one_factor(density, n_rounds):
    found = [1.0, *geometric(density, n_rounds)]
    np.testing.assert_allclose([b / a for a, b in pairwise(found)], density ** (1 / n_rounds))
    assert (len(found), found[-1]) == (n_rounds + 1, density)


@pytest.mark.parametrize("rewind", ["weights", "learning_rate"])
def test_a_planted_support_is_recovered(rewind):
    g = torch.Generator().manual_seed(0)
    x, truth = torch.randn(300, 40, generator=g), torch.zeros(40)
    planted = torch.randperm(40, generator=g)[:5]
    truth[planted] = torch.tensor([1.0, -1.5, 0.8, 2.0, -0.7])
    y = x @ truth + 0.1 * torch.randn(300, generator=g)
    line = Supervised(nn.Linear(40, 1), (x, y), loss="squared_error")
    recipe = Recipe(150, 0.05, batch_size=None)
    *_, last = iterative(line, recipe, geometric(5 / 40, 4), 0, rewind=rewind)
    assert set(last.mask[:40].nonzero()[:, 0].tolist()) == set(planted.tolist())
    np.testing.assert_allclose(last.point.theta[:40], truth, atol=0.05)


@pytest.mark.parametrize("scope", ["global", "layer", "erk"])
def test_masks_are_nested_with_exact_counts_of_all_and_every_level_is_pruned(scope):
    objective, densities = norm_net(), [0.6, 0.35, 0.2]
    levels = iterative(objective, Recipe(20, 0.01, batch_size=16), densities, 0, scope=scope)
    free = prunable(objective.layout)
    n = int(free.sum())
    assert [level.density for level in levels] == [1.0, *densities]
    assert [int(level.mask[free].sum()) for level in levels] == [n, *(int(d * n + 0.5) for d in densities)]
    assert all(not (b.mask & ~a.mask).any() for a, b in pairwise(levels))
    assert all(not level.history.phi[~level.mask].any() for level in levels)
    assert all(level.mask[~free].all() for level in levels)
    assert torch.equal(objective.theta, levels[-1].point.theta)


def plain(objective, module, recipe, steps, mask, optimizer):
    """Train a module of its own over some steps of a recipe, gradients masked, by torch alone."""
    stream, masks = objective.minibatches(0, 16, steps[0]), objective.layout.views(mask)
    for step in steps:
        x, y = objective.train_batch(next(stream))
        optimizer.param_groups[0]["lr"] = recipe.lr * recipe.lr_factor(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        for name, parameter in module.named_parameters():
            parameter.grad.mul_(masks[name])
        optimizer.step()


def cut(objective, module, mask, optimizer=None):
    """Set pruned entries to zero, and their moments."""
    for name, parameter in module.named_parameters():
        keep = objective.layout.views(mask)[name]
        for value in (parameter.data, *(optimizer.state[parameter].values() if optimizer else ())):
            if value.shape == keep.shape:
                value.mul_(keep)


@pytest.mark.parametrize("optimizer", KINDS)
@pytest.mark.parametrize(("rewind", "step"), [("weights", 0), ("weights", 7), ("learning_rate", 7), ("none", 0)])
def test_rewinding_is_what_it_says(optimizer, rewind, step):
    """Against loops written out: weights, moments, running statistics, rates and minibatches of step k, or not."""
    objective = norm_net(dtype=torch.float64)
    recipe = Recipe(20, 0.05, optimizer, batch_size=16, weight_decay=0.01, warmup_steps=3)
    finetune = Recipe(9, 0.02, optimizer, batch_size=16, weight_decay=0.01) if rewind == "none" else None
    options = {"rewind": rewind, "rewind_step": step, "finetune": finetune}
    levels = iterative(objective, recipe, [0.5, 0.25], 0, **options)

    def make(module):
        return KINDS[optimizer](
            module.parameters(), weight_decay=0.01, **({"momentum": 0.9} if optimizer == "sgd" else {})
        )

    module = objective.module_at(Point(objective.theta_0, objective.buffers_0)).train()
    full, moving = torch.ones(objective.D, dtype=torch.bool), make(module)
    if step:
        plain(objective, module, recipe, range(step), full, moving)
    kept = copy.deepcopy((module, moving.state_dict()))
    plain(objective, module, recipe, range(step, 20), full, moving)
    for level in levels[1:]:
        if rewind == "weights":
            module = copy.deepcopy(kept[0])
        moving = make(module)
        if rewind == "weights":
            moving.load_state_dict(copy.deepcopy(kept[1]))
        cut(objective, module, level.mask, moving)
        steps = range(9) if finetune else range(step, 20)
        plain(objective, module, finetune or recipe, steps, level.mask, moving)
        expected = torch.cat([p.detach().flatten() for p in module.parameters()])
        torch.testing.assert_close(level.history.phi, expected, rtol=1e-7, atol=1e-9)
        for name, value in module.named_buffers():
            torch.testing.assert_close(level.history.buffers[name], value, rtol=1e-7, atol=1e-9)
        assert level.history.n_steps == (9 if finetune else 20 - step)


def test_a_lottery_ticket_starts_at_theta_0():
    objective = norm_net()
    dense, ticket = iterative(objective, Recipe(1, 1e-30, "sgd"), [0.3], 0)
    torch.testing.assert_close(ticket.history.phi, objective.theta_0 * ticket.mask, rtol=0, atol=1e-20)
    torch.testing.assert_close(dense.history.phi, objective.theta_0, rtol=0, atol=1e-20)


def test_scores_and_selections_of_ones_own():
    objective, seen = norm_net(), []
    weights = prunable(objective.layout)

    def largest(objective, theta):
        seen.append(theta)
        return -theta.abs()  # the opposite of magnitude

    dense, pruned = iterative(objective, Recipe(10, 0.01), [0.5], 0, score=largest)
    assert torch.equal(seen[0], dense.history.phi)
    theta = dense.history.phi.abs()
    assert theta[weights & pruned.mask].max() <= theta[weights & ~pruned.mask].min()
    some = prunable(objective.layout, skip=["3.weight"])
    *_, pruned = iterative(objective, Recipe(10, 0.01), [0.5], 0, prunable=some)
    assert pruned.mask[~some].all()

    def first(scores, density, *, within):
        return torch.arange(len(scores)) < density * len(scores)

    *_, pruned = iterative(objective, Recipe(10, 0.01), [0.5], 0, select=first)
    assert torch.equal(pruned.mask, torch.arange(objective.D) < 0.5 * objective.D)
    levels = iterative(objective, Recipe(10, 0.01), [0.3, 0.6], 0, select=first)
    assert torch.equal(levels[1].mask, levels[2].mask)  # what is gone stays gone, whoever selects


def test_tied_weights_are_counted_once_and_pruned_together():
    tokens = torch.randint(0, 9, (8, 7), generator=torch.Generator().manual_seed(0))
    objective = Supervised(CharTransformer(9, 6, 8, 1, 2), (tokens[:, :-1], tokens[:, 1:]))
    some = prunable(objective.layout, roles=("weight", "embedding"))
    *_, level = iterative(objective, Recipe(6, 0.01), [0.5], 0, prunable=some)
    module = objective.module_at(level.point)
    assert int(some.sum()) == sum(p.numel() for p in module.parameters() if p.ndim > 1)
    zeros = sum(int((p == 0).sum()) for p in module.parameters() if p.ndim > 1)
    assert zeros == int((~level.mask).sum()) == int(some.sum()) - int(0.5 * int(some.sum()) + 0.5)
    assert module.head.weight is module.token.weight


def test_nothing_follows_a_level_that_diverged():
    levels = iterative(norm_net(), Recipe(30, 1e38, "sgd", schedule="constant"), [0.5, 0.2], 0)
    assert [level.history.outcome for level in levels] == ["diverged"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewind": "time"}, "rewind must be one of weights, learning_rate, none, got 'time'"),
        ({"rewind": "none"}, 'finetune must be given for rewind "none" alone, got None'),
        ({"finetune": Recipe(3)}, 'finetune must be given for rewind "none" alone, got Recipe'),
        ({"rewind_step": -1}, "rewind_step must be a whole number, at least 0, got -1"),
        ({"rewind_step": 11}, "rewind_step must be reached by the dense run of 10, got 11"),
        ({"densities": [0.5, 0.7]}, "density must ask for"),
        ({"densities": [0.0]}, r"density must be in \(0, 1\], got 0.0"),
        ({"scope": "planet"}, "scope must be one of global, layer, erk, got 'planet'"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    settings = {"densities": [0.5]} | options
    with pytest.raises(InputError, match=message):
        iterative(norm_net(), Recipe(10, 0.01), seed=0, **settings)


@pytest.mark.parametrize(("density", "n_rounds"), [(0.0, 2), (1.1, 2), (0.5, 0), (0.5, 1.0)])
def test_bad_schedules_are_refused(density, n_rounds):
    with pytest.raises(InputError, match=r"density must be in \(0, 1\]|n_rounds must be a whole number, at least 1"):
        geometric(density, n_rounds)

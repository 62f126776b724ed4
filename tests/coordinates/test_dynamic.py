"""Masks that move: exactly what grows and drops, constant counts, resumed bitwise."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.coordinates.test_masked import every_optimizer, norm_net
from workbench.coordinates import Dynamic, Masked
from workbench.errors import InputError
from workbench.layout import layout_of
from workbench.objective import Supervised
from workbench.pruning import prunable, select
from workbench.recipes import Recipe
from workbench.training import train, train_group

LINE = layout_of(nn.Linear(6, 1, bias=False))
STEPS = range(10, 50, 10)


def moved(grow, seed=0, gradient=(9.0, 1.0, -2.0, 7.0, -8.0, 0.5), phi=(3.0, -1.0, 2.0, 0.0, 0.0, 0.0)):
    """Move the mask of six weights once: one of three is dropped."""
    mask = torch.tensor([True, True, True, False, False, False])
    coordinates = Dynamic(torch.tensor(phi), mask, LINE, grow, range(1, 10**6), share=0.4, seed=seed)
    phi, state = coordinates.initial(), {"exp_avg": torch.arange(1.0, 7.0) * mask}
    coordinates.pull(phi, torch.tensor(gradient), torch.empty(6))
    coordinates.after_step(phi, state)
    return coordinates.mask, phi, state["exp_avg"]


def test_rigl_grows_where_the_dense_gradient_is_largest():
    mask, phi, moment = moved("gradient")  # -1 is the smallest kept, -8 the largest gradient of what is not kept
    assert mask.tolist() == [True, False, True, False, True, False]
    assert phi.tolist() == [3.0, 0.0, 2.0, 0.0, 0.0, 0.0]
    assert moment.tolist() == [1.0, 0.0, 3.0, 0.0, 0.0, 0.0]


def test_what_is_dropped_and_grown_at_once_stays_as_it_was():
    mask, phi, moment = moved("gradient", gradient=(0.0, 9.0, 0.0, 1.0, 1.0, 1.0))
    assert mask.tolist() == [True, True, True, False, False, False]
    assert phi.tolist() == [3.0, -1.0, 2.0, 0.0, 0.0, 0.0]
    assert moment.tolist() == [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("gradient", [(9.0,) * 6, (0.0, 0.0, 0.0, 0.0, 0.0, 9.0)])
def test_set_grows_at_random_by_seed_and_ties_are_drawn(gradient):
    grown = [
        int((moved("random", s, gradient)[0] & torch.tensor([0, 1, 0, 1, 1, 1]).bool()).nonzero()) for s in range(400)
    ]
    counts = np.bincount(grown, minlength=6)
    assert counts[[0, 2]].tolist() == [0, 0]
    np.testing.assert_allclose(counts[[1, 3, 4, 5]], 100, atol=40)  # more than four standard deviations
    assert torch.equal(moved("random", 3)[0], moved("random", 3)[0])
    tied = {tuple(moved("gradient", seed, (5.0,) * 6)[0].tolist()) for seed in range(30)}
    assert len(tied) == 4


class Seen(Dynamic):
    """Remembers every mask and looks at phi after each step."""

    seen: list

    def after_step(self, phi, optimizer_state):
        before = self.mask
        super().after_step(phi, optimizer_state)
        moments = [v for v in optimizer_state.values() if v is not None and v.shape == phi.shape]
        for values in (phi, *moments):
            assert not values[~self.mask].any()
            assert not values[self.mask & ~before].any()  # what is grown starts at zero, without a past
        self.seen.append(self.mask)


def dynamic(objective, grow, kind=Dynamic, **options):
    free = prunable(objective.layout)
    drawn = torch.rand(objective.D, generator=torch.Generator().manual_seed(1))
    mask = select(drawn, 0.4, prunable=free, layout=objective.layout, scope="layer")
    return kind(objective.theta_0, mask, objective.layout, grow, STEPS, **options)


@every_optimizer
@pytest.mark.parametrize("grow", ["random", "gradient"])
def test_counts_stay_in_every_tensor_and_the_share_falls_along_a_cosine(grow, options):
    objective = norm_net()
    coordinates = dynamic(objective, grow, Seen, share=0.5)
    coordinates.seen = [coordinates.mask]
    train(objective, coordinates, Recipe(60, 0.01, batch_size=16, **options), 0)
    for entry in objective.layout.entries:
        kept = torch.stack([objective.layout.views(mask)[entry.name].flatten() for mask in coordinates.seen])
        n = int(kept[0].sum())
        assert set(kept.sum(1).tolist()) == {n}
        dropped = (kept[:-1] & ~kept[1:]).sum(1).tolist()
        most = [int(n * 0.25 * (1 + math.cos(math.pi * t / 50))) * (t in STEPS) for t in range(1, 61)]
        assert all(a <= b for a, b in zip(dropped, most, strict=True))  # fewer where some were grown again at once
        assert entry.role == "weight" or n == entry.size
    assert not torch.equal(coordinates.seen[0], coordinates.mask)


def test_growth_follows_the_gradient_of_the_whole_theta_at_the_minibatch():
    """Against the same step under a mask that stays, and the gradient of its minibatch taken apart."""
    objective = norm_net()
    coordinates, recipe = dynamic(objective, "gradient"), Recipe(10, 0.05, "sgd", batch_size=16, schedule="constant")
    still = train(objective, Masked(objective.theta_0, coordinates.mask), recipe, 0, keep_steps=(9, 10))
    first, (nine, ten) = coordinates.mask, still.kept.values()
    objective.set_point(nine.phi)
    stream = objective.minibatches(0, 16, 9)
    objective.backward(*objective.train_batch(next(stream)))
    gradient = objective.grad.clone()
    train(objective, coordinates, recipe, 0)
    for entry in objective.layout.entries:
        if entry.role == "weight":
            old, new, g, w = (
                objective.layout.views(t)[entry.name].flatten() for t in (first, coordinates.mask, gradient, ten.phi)
            )
            k = int(int(old.sum()) * 0.15 * (1 + math.cos(math.pi / 5)))
            left = old.clone()
            left[w.abs().where(old, torch.inf).argsort()[:k]] = False
            left[g.abs().where(~left, -1.0).argsort(descending=True)[:k]] = True
            assert torch.equal(left, new)


@pytest.mark.parametrize("grow", ["random", "gradient"])
def test_a_run_resumes_bitwise_and_starts_again(tmp_path, grow):
    objective, path, recipe = norm_net(), tmp_path / "state.npz", Recipe(60, 0.02, batch_size=16)
    whole = dynamic(objective, grow)
    first = train(objective, whole, recipe, 0)
    for every in (17, 60):  # the second call goes on from step 51 with a fresh map
        part = dynamic(objective, grow)
        again = train(objective, part, recipe, 0, checkpoint=path, checkpoint_every_steps=every)
        assert torch.equal(again.phi, first.phi)
        assert torch.equal(part.mask, whole.mask)
    assert torch.equal(train(objective, whole, recipe, 0).phi, first.phi)
    for options in ({"seed": 1}, {"share": 0.2}):
        with pytest.raises(InputError, match="must come from the same maps, recipes and seed"):
            train(objective, dynamic(objective, grow, **options), recipe, 0, checkpoint=path)


def test_maps_of_a_group_do_not_mix_their_gradients():
    objective, recipe = norm_net(), Recipe(30, 0.02, batch_size=16)
    maps = [dynamic(objective, "gradient", seed=seed) for seed in (0, 1)]
    together = train_group(objective, maps, [recipe, Recipe(30, 0.1, batch_size=16)], 0)
    masks = [each.mask for each in maps]
    assert torch.equal(train(objective, maps[0], recipe, 0).phi, together[0].phi)
    assert torch.equal(maps[0].mask, masks[0])
    assert not torch.equal(*masks)


def test_tensors_kept_whole_stay_whole():
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
    objective = Supervised(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2)), (x, x[:, :2].argmax(1)))
    mask = torch.ones(objective.D, dtype=torch.bool)
    mask[::2][:15] = False  # in the first weight alone
    coordinates = Dynamic(objective.theta_0, mask, objective.layout, "random", range(1, 20, 2), 1.0)
    train(objective, coordinates, Recipe(20), 0)
    assert int(coordinates.mask[:30].sum()) == 15
    assert coordinates.mask[30:].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grow": "sideways"}, "grow must be one of random, gradient, got 'sideways'"),
        ({"share": 1.5}, r"share must be in \[0, 1\], got 1.5"),
        ({"share": float("nan")}, r"share must be in \[0, 1\], got nan"),
        ({"steps": range(5, 2)}, "steps must be a range that rises from 0 or more"),
    ],
)
def test_bad_settings_are_refused(options, message):
    settings = {"grow": "random", "steps": STEPS, "share": 0.3} | options
    with pytest.raises(InputError, match=message):
        Dynamic(torch.zeros(6), torch.ones(6, dtype=torch.bool), LINE, **settings)

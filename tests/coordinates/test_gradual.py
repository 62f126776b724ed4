"""Gradual pruning: the cubic, nested masks, exact counts, resumed bitwise."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.coordinates.test_masked import every_optimizer, norm_net
from workbench.coordinates import Gradual, cubic
from workbench.errors import InputError
from workbench.pruning import prunable, select
from workbench.recipes import Recipe
from workbench.training import train


@given(st.floats(1e-6, 1), st.integers(0, 50), st.integers(1, 500))
def test_the_cubic_is_exact_at_its_ends_and_never_rises(density, begin, length):
    found = [cubic(step, density, begin, begin + length) for step in range(begin + length + 3)]
    assert set(found[: begin + 1]) == {1.0}
    assert set(found[begin + length :]) == {density}
    assert all(a >= b for a, b in pairwise(found))
    middle = begin + length // 2
    sparsity = (1 - density) * (1 - (1 - (middle - begin) / length) ** 3)  # Zhu and Gupta, equation 1
    assert found[middle] == pytest.approx(1 - sparsity, abs=1e-12)


class Seen(Gradual):
    """Remembers every mask."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = []

    def after_step(self, phi, optimizer_state):
        super().after_step(phi, optimizer_state)
        assert not phi[~self.mask].any()
        self.seen.append(self.mask)


def gradual(objective, density=0.1, steps=range(10, 50, 10), kind=Gradual):
    chosen = partial(select, prunable=prunable(objective.layout), layout=objective.layout)
    return kind(objective.theta_0, density, chosen, steps)


@every_optimizer
def test_masks_are_nested_and_follow_the_cubic(options):
    objective = norm_net()
    coordinates, n = gradual(objective, kind=Seen), int(prunable(objective.layout).sum())
    train(objective, coordinates, Recipe(60, 0.01, batch_size=16, **options), 0)
    assert all(not (b & ~a).any() for a, b in pairwise(coordinates.seen))
    counts = [int(mask.sum()) - (objective.D - n) for mask in coordinates.seen]
    expected = [cubic(min(50, step // 10 * 10), 0.1, 10, 50) * n for step in range(1, 61)]
    np.testing.assert_allclose(counts, expected, atol=0.5 + 1e-9)
    assert counts[9] == n
    assert counts[-1] == round(0.1 * n)


def test_the_smallest_go_first():
    objective = norm_net()
    coordinates = gradual(objective, 0.3, range(0, 1, 1))  # one shot after the first step
    history = train(objective, coordinates, Recipe(1, 1e-30, "sgd"), 0)
    weights = prunable(objective.layout)
    gone = objective.theta_0[weights & ~coordinates.mask].abs().max()
    assert gone < objective.theta_0[weights & coordinates.mask].abs().min()
    torch.testing.assert_close(history.phi, objective.theta_0 * coordinates.mask, rtol=0, atol=1e-20)


@pytest.mark.parametrize("patience", [None, 2])
def test_a_run_resumes_bitwise_and_starts_again(tmp_path, patience):
    objective, path = norm_net(), tmp_path / "state.npz"
    objective.splits["validation"] = objective.splits["train"]
    recipe = Recipe(60, 0.1, batch_size=16, schedule="constant", eval_every_steps=5, patience=patience)
    whole = gradual(objective)
    first = train(objective, whole, recipe, 0)
    point = first.point(whole)
    assert torch.equal(point.theta, first.phi)  # early stopping brings its mask back with the point
    for every in (7, 23):  # the first call leaves a state from the middle, the second goes on with a fresh map
        part = gradual(objective)
        again = train(objective, part, recipe, 0, checkpoint=path, checkpoint_every_steps=every)
        assert torch.equal(again.phi, first.phi)
        assert torch.equal(part.mask, whole.mask)
        np.testing.assert_array_equal(again.losses, first.losses)
    assert torch.equal(train(objective, whole, recipe, 0).phi, first.phi)
    with pytest.raises(InputError, match="must come from the same maps, recipes and seed"):
        train(objective, gradual(objective, steps=range(10, 50, 20)), recipe, 0, checkpoint=path)


def test_a_run_that_diverges_says_so():
    objective = norm_net()
    history = train(objective, gradual(objective), Recipe(60, 1e38, "sgd", momentum=0.0, schedule="constant"), 0)
    assert history.outcome == "diverged"


@pytest.mark.parametrize(
    ("density", "steps", "message"),
    [
        (0.0, range(9), r"density must be in \(0, 1\], got 0.0"),
        (1.5, range(9), r"density must be in \(0, 1\], got 1.5"),
        (True, range(9), r"density must be in \(0, 1\], got True"),
        (
            0.5,
            range(9, 9),
            r"steps must be a range that rises from 0 or more, such as range\(0, 1000, 100\), got range",
        ),
        (0.5, range(9, 0, -1), "steps must be a range that rises"),
        (0.5, [1, 2], r"steps must be a range that rises from 0 or more, .* got \[1, 2\]"),
    ],
)
def test_bad_settings_are_refused(density, steps, message):
    with pytest.raises(InputError, match=message):
        gradual(norm_net(), density, steps)


def test_counts_are_exact_where_kept_weights_are_zero_too():
    """Of a network that starts at zero no weight has a gradient: the pruned ones tie with all others."""
    objective = norm_net()
    weights = prunable(objective.layout)
    objective.theta_0[weights] = 0.0
    coordinates = gradual(objective)
    train(objective, coordinates, Recipe(55, 1e-30, "sgd"), 0)
    assert int(coordinates.mask[weights].sum()) == round(0.1 * int(weights.sum()))

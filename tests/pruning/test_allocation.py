"""Which entries are kept: exact counts, ties by seed, nested masks, bad input by name. Reference: a full sort."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.errors import InputError
from workbench.layout import Entry, Layout, layout_of
from workbench.models import CharTransformer, lenet, mlp, small_cnn
from workbench.pruning import prunable, select, shuffled
from workbench.pruning.allocation import kept_count
from workbench.pruning.scores.magnitude import magnitude
from workbench.pruning.scores.random import random
from workbench.pruning.threshold import kth_largest

SCOPES = ("global", "layer", "erk")


def layout_from(shapes):
    offsets = [0, *itertools.accumulate(int(np.prod(shape)) for shape in shapes)]
    roles = ["weight" if len(shape) > 1 else "bias" for shape in shapes]
    return Layout(
        tuple(
            Entry(f"{i}.{role}", tuple(shape), offset, int(np.prod(shape)), role)
            for i, (shape, role, offset) in enumerate(zip(shapes, roles, offsets, strict=False))
        )
    )


def counts(mask, layout, marked):
    return [int((mask & marked)[e.offset : e.offset + e.size].sum()) for e in layout.entries if e.role == "weight"]


shapes = st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=4), min_size=1, max_size=5).filter(
    lambda drawn: any(len(shape) > 1 for shape in drawn)
)
densities = st.decimals("0.001", 1, places=3).map(float)
dtypes = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64])


@settings(max_examples=150, deadline=None)
@given(shapes, densities, st.sampled_from(SCOPES), st.integers(0, 3), st.integers(1, 9), st.integers(0, 99), st.data())
def test_counts_are_exact_and_masks_nested(drawn, density, scope, least, levels, seed, data):
    layout = layout_from(drawn)
    marked = prunable(layout)
    n = int(marked.sum())
    # few levels of scores: many ties
    scores = torch.from_numpy(np.random.default_rng(seed).integers(levels, size=layout.D)).to(data.draw(dtypes))
    asked = int(Fraction(str(density)) * n + Fraction(1, 2))
    sizes = [e.size for e in layout.entries if e.role == "weight"]
    settings_ = {"prunable": marked, "layout": layout, "scope": scope, "min_per_layer": least, "seed": seed}
    if asked < max(1, sum(min(least, size) for size in sizes)):
        with pytest.raises(InputError, match="density must"):
            select(scores, density, **settings_)
        return
    mask = select(scores, density, **settings_)
    assert mask.dtype == torch.bool
    assert mask[~marked].all()
    assert int((mask & marked).sum()) == kept_count(density, n) == asked
    kept = counts(mask, layout, marked)
    assert all(k >= min(least, size) for k, size in zip(kept, sizes, strict=True))
    if scope == "layer" and not least:
        assert all(abs(k - asked / n * size) < 1 for k, size in zip(kept, sizes, strict=True))
    if scope == "global" and not least:
        assert scores[mask & marked].min() >= (scores[~mask].max() if asked < n else -1)
    # a later level keeps other scores, yet revives nothing; its density is of all entries, never of those left
    half = float(Fraction(str(density)) / 2)
    if int(Fraction(str(half)) * n + Fraction(1, 2)) >= max(1, sum(min(least, size) for size in sizes)):
        later = select(-scores, half, within=mask, **settings_)
        assert not (later & ~mask).any()
        assert int((later & marked).sum()) == kept_count(half, n)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(-6e4, 6e4, width=16), min_size=1, max_size=40), dtypes, st.data())
def test_kth_largest_equals_a_sort(values, dtype, data):
    values = torch.tensor([*values, 0.0, -0.0], dtype=torch.float64).to(dtype)
    where = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    for chosen in (None, where) if where.any() else (None,):
        ordered = values[slice(None) if chosen is None else chosen].sort(descending=True).values
        k = data.draw(st.integers(1, len(ordered)))
        value, n_equal = kth_largest(values, k, chosen)
        assert value.dtype == dtype
        assert value == ordered[k - 1]
        assert n_equal == int((ordered[:k] == value).sum())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("few", [1 << 20, 50, 0])  # how many are gathered; 0: every bit by counting
def test_kth_largest_crosses_chunks_and_passes(dtype, few, monkeypatch):
    monkeypatch.setattr("workbench.pruning.threshold._FEW", few)
    scores = torch.randn(300_001).to(dtype)
    for where in (None, torch.rand(len(scores)) < 0.5):
        ordered = scores[slice(None) if where is None else where].sort(descending=True).values
        for k in (1, 77_777, len(ordered)):
            value, n_equal = kth_largest(scores, k, where)
            assert value == ordered[k - 1]
            assert n_equal == int((ordered[:k] == value).sum())


def test_kth_largest_refuses_a_rank_that_is_not_there():
    for k in (0, 4, True):
        with pytest.raises(InputError, match=r"^k must be in 1\.\.3, got"):
            kth_largest(torch.ones(3), k)


@pytest.mark.parametrize("scope", SCOPES)
def test_ties_are_drawn_by_seed_and_never_pruned_whole(scope):
    layout = layout_of(mlp([40, 30, 20]))
    marked, scores = prunable(layout), torch.ones(layout.D)
    masks = [select(scores, 0.5, prunable=marked, layout=layout, scope=scope, seed=s) for s in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    for view in layout.views(masks[0]).values():  # by position, whole rows would be dead
        assert view.ndim == 1 or (view.any(0).all() and view.any(1).all())


def test_erk_counts_by_hand_with_a_layer_capped_at_dense():
    # quotas: sums of shapes 110, 12, 20; at half of 1,045 entries the scale 522.5 -> 523 caps the two small layers
    layout = layout_from([(100, 10), (9, 3), (3, 6), (4,)])
    marked = prunable(layout)
    mask = select(random(layout.D, 0), 0.5, prunable=marked, layout=layout, scope="erk")
    assert counts(mask, layout, marked) == [523 - 27 - 18, 27, 18]
    mask = select(random(layout.D, 0), 0.02, prunable=marked, layout=layout, scope="erk")  # 20.9 -> 21, none capped
    # 21 * (110, 12, 9) / 131 = 17.63, 1.92, 1.44
    assert counts(mask, layout, marked) == [18, 2, 1]
    convolution = layout_from([(8, 4, 3, 3), (16, 8, 3, 3)])  # sums 18 and 30 share 144 entries
    mask = select(random(convolution.D, 0), 0.1, prunable=prunable(convolution), layout=convolution, scope="erk")
    assert counts(mask, convolution, prunable(convolution)) == [54, 90]


def test_a_minimum_per_layer_holds_against_collapse():
    layout = layout_of(mlp([50, 40, 30, 10]))
    marked = prunable(layout)
    scores = magnitude(torch.randn(layout.D))
    scores[layout.entries[2].offset : layout.entries[3].offset] *= 1e-6
    free = select(scores, 0.05, prunable=marked, layout=layout)
    held = select(scores, 0.05, prunable=marked, layout=layout, min_per_layer=5)
    assert counts(free, layout, marked)[1] == 0
    assert counts(held, layout, marked)[1] == 5
    assert int(free.sum()) == int(held.sum())
    second = layout.views(scores)["3.weight"].flatten()
    assert torch.equal(layout.views(held)["3.weight"].flatten(), second >= second.sort().values[-5])


def test_masks_do_not_change_what_they_are_made_from():
    layout = layout_of(lenet(8))
    theta, marked = torch.randn(layout.D), prunable(layout)
    before = theta.clone(), marked.clone()
    select(magnitude(theta), 0.1, prunable=marked, layout=layout, scope="erk", within=marked)
    assert torch.equal(theta, before[0])
    assert torch.equal(marked, before[1])


def test_prunable_takes_weights_alone_and_tied_ones_once():
    network = small_cnn(width=2)
    layout = layout_of(network)
    expected = sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert int(prunable(layout).sum()) == expected
    assert int(prunable(layout, skip=("13.weight",)).sum()) == expected - 80
    assert prunable(layout, ("weight", "bias", "norm")).all()
    transformer = CharTransformer(vocabulary=7, context=5, width=8, n_layers=1, n_heads=2)
    tied = layout_of(transformer)
    assert sum(p.numel() for p in transformer.parameters()) == tied.D
    assert int(prunable(tied, ("embedding",)).sum()) == 7 * 8 + 5 * 8  # the head is the token table
    assert not layout_of(transformer).views(prunable(tied))["token.weight"].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"roles": ("weights",)}, "roles must be one of weight, bias, norm, embedding, got 'weights'"),
        ({"skip": ("head",)}, "skip must name tensors of the network (1.weight, 1.bias), got 'head'"),
        ({"roles": ("norm",)}, "roles must leave something to prune, got (('norm',), ())"),
    ],
)
def test_prunable_refuses(arguments, message):
    with pytest.raises(InputError) as refused:
        prunable(layout_of(mlp([3, 2])), **arguments)
    assert str(refused.value) == message


def test_an_empty_layer_is_refused_by_name():
    with pytest.raises(InputError, match=r"layout must have no empty tensor, got '0.weight'; remove that layer"):
        prunable(layout_from([(0, 3), (3, 3)]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": 0}, "density must be in (0, 1], got 0; it is the kept share"),
        ({"density": 1.5}, "density must be in (0, 1], got 1.5; it is the kept share"),
        ({"density": float("nan")}, "density must be in (0, 1], got nan; it is the kept share"),
        ({"density": 0.01}, "density must keep at least one of 6 entries, got 0.01"),
        ({"scope": "row"}, "scope must be one of global, layer, erk, got 'row'"),
        ({"min_per_layer": -1}, "min_per_layer must be a non-negative integer, got -1"),
        ({"min_per_layer": 4}, "density must ask for 4 (min_per_layer) to 6 (within) of 6 entries, got 0.5"),
        ({"scores": torch.ones(7)}, "scores must be floats of shape (8,), got ('torch.float32', (7,))"),
        ({"within": torch.ones(8)}, "within must be bools of shape (8,), got ('torch.float32', (8,))"),
        ({"prunable": torch.ones(3) > 0}, "prunable must be bools of shape (8,), got ('torch.bool', (3,))"),
        ({"within": torch.arange(8) < 2}, "density must ask for 0 (min_per_layer) to 2 (within) of 6 entries, got 0.5"),
        (
            {"within": torch.arange(8) < 0, "min_per_layer": 1},
            "within must keep min_per_layer=1 entries of 1.weight, got 0",
        ),
        (
            {"scores": torch.ones(8).log_() / 0},
            "scores must be finite in 1.weight, got [nan]; use float64, smaller steps",
        ),
    ],
)
def test_select_refuses(changes, message):
    layout = layout_of(mlp([3, 2]))
    arguments = {"scores": torch.rand(8), "density": 0.5, "prunable": prunable(layout), "layout": layout} | changes
    with pytest.raises(InputError) as refused:
        select(arguments.pop("scores"), arguments.pop("density"), **arguments)
    assert str(refused.value) == message


def test_scores_of_entries_that_are_not_prunable_are_ignored():
    layout = layout_of(mlp([3, 2]))
    scores = torch.rand(8)
    scores[6:] = float("nan")
    assert int(select(scores, 0.5, prunable=prunable(layout), layout=layout).sum()) == 3 + 2


def test_the_shuffled_control_really_shuffles():
    layout = layout_of(mlp([30, 20, 10]))
    marked = prunable(layout)
    mask = select(magnitude(torch.randn(layout.D)), 0.3, prunable=marked, layout=layout)
    control = shuffled(mask, layout, 0)
    assert counts(control, layout, marked) == counts(mask, layout, marked)
    assert control[~marked].all()
    for name, view in layout.views(control).items():
        overlap = (view & layout.views(mask)[name]).sum() / view.sum()
        if view.ndim > 1:  # two masks that know nothing of each other overlap by their density
            assert abs(float(overlap) - float(view.float().mean())) < 0.1
    assert not torch.equal(control, shuffled(mask, layout, 1))
    with pytest.raises(InputError, match=r"mask must have shape \(830,\), got \(3,\)"):
        shuffled(mask[:3], layout, 0)


def test_random_scores_are_the_same_for_one_seed_only():
    assert torch.equal(random(9, 0), random(9, 0))
    assert not torch.equal(random(9, 0), random(9, 1))

"""Directions: norms by filter, planes through given points, principal components against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from workbench.errors import InputError
from workbench.layout import layout_of
from workbench.models import CharTransformer, small_cnn
from workbench.probes import directions, principal, through


def draw(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("model", [small_cnn(3, 1, 2), CharTransformer(5, 4, 4, 1, 2)])
@pytest.mark.parametrize("normalise", ["filter", "layer", "none"])
def test_norms_are_those_of_filters_layers_or_nothing(model, normalise):
    layout = layout_of(model)
    theta = draw(0, layout.D)
    moving = ("weight", "embedding", "norm")
    found = directions(theta, layout, n=3, normalise=normalise, roles=moving, seed=1)
    assert found.shape == (3, layout.D)
    for v in found:
        for entry, part, own in zip(
            layout.entries, layout.views(v).values(), layout.views(theta).values(), strict=True
        ):
            if entry.role == "bias":
                assert not part.any()
            elif normalise == "filter" and part.ndim > 1:
                for i in range(len(part)):
                    assert float(part[i].norm()) == pytest.approx(float(own[i].norm()))
            elif normalise != "none":
                assert float(part.norm()) == pytest.approx(float(own.norm()))
    if normalise == "none":
        kept = found[found != 0]
        assert abs(float(kept.std()) - 1) < 0.1
    assert torch.equal(found, directions(theta, layout, n=3, normalise=normalise, roles=moving, seed=1))
    assert not torch.equal(found, directions(theta, layout, n=3, normalise=normalise, roles=moving, seed=2))


def test_biases_and_norms_do_not_move_by_default():
    layout = layout_of(small_cnn(3, 1, 2))
    v = layout.views(directions(draw(0, layout.D), layout, n=1)[0])
    roles = {entry.name: entry.role for entry in layout.entries}
    assert {roles[name] for name, part in v.items() if part.any()} == {"weight"}
    assert {roles[name] for name, part in v.items() if not part.any()} == {"bias", "norm"}


def test_a_plane_through_three_networks_holds_them():
    points = draw(0, 3, 50)
    span = through(*points)
    torch.testing.assert_close(span.directions @ span.directions.T, torch.eye(2).double())
    torch.testing.assert_close(span.origin + span.at @ span.directions, points)
    assert span.at[1, 1].abs() < 1e-12
    assert span.at[1, 0] > 0
    assert span.at[2, 1] > 0
    assert float(span.explained.sum()) == pytest.approx(1)


def test_principal_plane_is_scikit_learns():
    walk = draw(1, 20, 60).cumsum(0)
    span, reference = principal(walk), PCA(2).fit(walk.numpy())
    np.testing.assert_allclose(span.explained.numpy(), reference.explained_variance_ratio_)
    np.testing.assert_allclose(np.abs((span.directions.numpy() * reference.components_).sum(1)), 1)
    torch.testing.assert_close(span.at[-1], torch.zeros(2).double())
    torch.testing.assert_close(span.at, (walk - walk[-1]) @ span.directions.T)
    assert torch.equal(principal(walk, walk[0]).origin, walk[0])
    flat = draw(2, 9, 2) @ draw(3, 2, 30)
    assert float(principal(flat).explained.sum()) == pytest.approx(1)


def test_bad_input_is_refused():
    theta, layout = draw(0, 5), layout_of(torch.nn.Linear(2, 2))
    for call, message in [
        (lambda: directions(theta), "layout must be given to normalise, got None; pass objective.layout"),
        (lambda: directions(theta, layout), "layout must have theta's D=5 entries, got 6"),
        (lambda: directions(theta, normalise="row"), "normalise must be one of filter, layer, none, got 'row'"),
        (lambda: directions(theta, normalise="none", n=0), "n must be a positive whole number, got 0"),
        (lambda: through(theta, 2 * theta, 3 * theta), "third must not lie on one line with first and second"),
        (lambda: principal(theta), r"trajectory must be three or more points, shape \(n, d\), got \(5,\)"),
        (lambda: principal(torch.outer(draw(1, 4), theta)), "trajectory must not lie on one line"),
    ]:
        with pytest.raises(InputError, match=message):
            call()

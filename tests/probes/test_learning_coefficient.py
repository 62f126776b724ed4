"""The local learning coefficient: models whose value is known, and runs that must be refused."""

import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

from workbench.coordinates import Masked, Subspace, projection
from workbench.errors import InputError
from workbench.objective import Supervised
from workbench.probes import learning_coefficient

HEAT = 145.0  # n beta
PROBE = sys.modules[learning_coefficient.__module__]  # the package's attribute of that name is the function


def draw(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def white(n, d):
    """Return inputs whose second moment is the identity, so that few of them stand for many."""
    return torch.linalg.qr(draw(0, n, d))[0] * n**0.5


def line(d):
    x, w = white(2 * d, d), draw(1, d)
    return Supervised(nn.Linear(d, 1, bias=False), (x, x @ w), loss="squared_error", dtype=torch.float64), w


def reduced_rank(inputs, hidden, outputs, rank):
    """Return two linear layers that realise a map of lower rank, at a true parameter."""
    x, A, B = white(20, inputs), torch.zeros(hidden, inputs), torch.zeros(outputs, hidden)
    A[:rank], B[:, :rank] = draw(2, rank, inputs) / inputs**0.5, draw(3, outputs, rank) / rank**0.5
    A, B = A.double(), B.double()
    net = nn.Sequential(nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False))
    objective = Supervised(net, (x, x @ A.T @ B.T), loss="squared_error", dtype=torch.float64)
    return objective, torch.cat([A.flatten(), B.flatten()])


def aoyagi_watanabe(M, H, N, r):
    """Return the coefficient of reduced-rank regression, Aoyagi and Watanabe 2005, case 1 with an even sum."""
    assert max(M - N, N - M) <= H - r <= M + N - 2 * r
    assert (M + H + N + r) % 2 == 0
    return (2 * (H + r) * (M + N) - (H + r) ** 2 - (M - N) ** 2) / 8


def in_subspace(theta):
    return Subspace(theta, projection("dense", len(theta), 12, 0, dtype=torch.float64)), torch.zeros(12).double(), 12


def under_a_mask(theta):
    mask = torch.arange(len(theta)) % 5 > 0
    return Masked(torch.zeros_like(theta), mask), theta, int(mask.sum())


@pytest.mark.parametrize("around", [lambda theta: (None, theta, 50), in_subspace])
def test_a_regular_minimum_has_half_its_number_of_coordinates(around):
    objective, theta = line(50)
    chart, phi, d = around(theta)
    found = learning_coefficient(
        objective, phi, coordinates=chart, beta=HEAT / 100, prior=1e-3, n_leapfrog=5, n_steps=200
    )
    assert found.refused is None
    assert found.value == pytest.approx(d / 2, rel=0.05)
    assert found.interval[0] < d / 2 < found.interval[1]
    np.testing.assert_array_less(np.abs(found.by_arm - d / 2), 5 * found.error_by_arm)
    np.testing.assert_allclose(found.curvature, 2, rtol=1e-6 if chart is None else 2)


def test_pruned_coordinates_do_not_count():
    objective, theta = line(10)
    theta = theta * (torch.arange(10) % 5 > 0)
    x = objective.splits["train"].x
    objective = Supervised(objective.model, (x, x @ theta), loss="squared_error", dtype=torch.float64)
    chart, phi, d = under_a_mask(theta)
    found = learning_coefficient(objective, phi, coordinates=chart, beta=HEAT / 20, n_steps=200)
    assert found.interval[0] < d / 2 < found.interval[1]


def test_the_prior_is_told_from_the_loss():
    """Its part is known: each direction of curvature h counts t h / (t h + prior) / 2, at both temperatures."""
    objective, theta = line(50)
    found = learning_coefficient(objective, theta, beta=HEAT / 100, prior=100.0, n_leapfrog=5, n_steps=200)
    heat = 100 * found.beta
    np.testing.assert_array_less(np.abs(found.by_arm - 25 * 2 * heat / (2 * heat + 100)), 5 * found.error_by_arm)


@pytest.mark.parametrize("sizes", [(10, 8, 10, 2), (5, 3, 5, 1)])
def test_a_degenerate_minimum_has_its_known_value(sizes):
    objective, theta = reduced_rank(*sizes)
    found = [learning_coefficient(objective, theta, beta=HEAT / 20, seed=seed) for seed in range(3)]
    truth, sure = aoyagi_watanabe(*sizes), [each for each in found if each.refused is None]
    assert truth == {10: 37.5, 5: 8.0}[sizes[0]]
    assert sure
    for each in sure:
        assert each.value == pytest.approx(truth, rel=0.05 if sizes[0] == 10 else 0.08)
        assert each.interval[1] - each.interval[0] < 0.2 * truth
    # One of the 95 % intervals may miss: which does so differs by processor, as chains carry its rounding on.
    assert sum(each.interval[0] < truth < each.interval[1] for each in sure) >= len(sure) / 2


def test_one_chain_after_another_is_the_same(monkeypatch):
    objective, theta = line(4)
    together = learning_coefficient(objective, theta, n_leapfrog=3, n_steps=50)
    monkeypatch.setattr(PROBE, "_TINY", 0)
    apart = learning_coefficient(objective, theta, n_leapfrog=3, n_steps=50)
    np.testing.assert_allclose(apart.trace, together.trace, rtol=1e-6)
    assert apart.trace.shape == (3, 8, 50)
    assert apart.n_gradients == 3 * 8 * (3 * 75 + 1) + 11


def test_a_step_that_is_too_large_is_refused_before_the_start():
    objective, theta = line(50)
    rule = r"step must be at most 0\.00344, 1 over the top curvature of n beta L and the prior, got 0\.01; take a"
    with pytest.raises(InputError, match=rule):
        learning_coefficient(objective, theta, beta=HEAT / 100, step=0.01)


@pytest.mark.parametrize(
    ("kwargs", "away", "reason"),
    [
        ({"step": 9e-4}, 0.0, r"acceptance 0\.\d\d is below 0\.4"),
        ({"step": 1e-6}, 0.0, r"R-hat \d+\.\d+ is above 1\.1"),
        ({}, 0.3, r"lambda -[\d.e+]+ is not positive, so the point is no minimum"),
    ],
)
def test_a_run_that_says_nothing_is_refused_with_its_trace(kwargs, away, reason):
    objective, theta = reduced_rank(10, 8, 10, 2)
    point = theta + away * draw(9, len(theta))
    found = learning_coefficient(objective, point, beta=HEAT / 20, n_leapfrog=5, n_steps=100, **kwargs)
    assert re.search(reason, found.refused), found.refused
    assert np.isnan([found.value, *found.interval]).all()
    assert np.isfinite(found.trace).all()
    assert np.isfinite(found.by_arm).all()
    assert list(found.to_frame()) == ["step", "beta", "value", "standard_error", "acceptance", "r_hat"]


def test_half_the_step_must_agree():
    excess = draw(0, 3, 8, 400).numpy() * 0.01 + np.array([1.0, 1.2, 1.0])[:, None, None]
    judged = PROBE._judged(np.full(3, 10.0), excess, excess, np.ones(3))
    assert judged["refused"] == "half the step moves lambda by 2: more steps"


def test_bad_input_is_refused():
    objective, theta = line(4)
    for name, value in (("step", 0.0), ("beta", -1.0), ("prior", 0.0)):
        with pytest.raises(InputError, match=f"{name} must be positive and finite, got {value}"):
            learning_coefficient(objective, theta, **{name: value})
    for name, least in (("n_chains", 2), ("n_leapfrog", 1), ("n_steps", 8), ("n_burn", 0)):
        with pytest.raises(InputError, match=f"{name} must be a whole number of at least {least}, got -1"):
            learning_coefficient(objective, theta, **{name: -1})
    with pytest.raises(InputError, match="n_examples must be at least 3"):
        learning_coefficient(objective, theta, n_examples=2)

"""Sharing: who reads what, at what scale, and what one gradient step does."""

import numpy as np
import pytest
import torch

from tests.coordinates.test_masked import norm_net
from tests.references import as_float64, jacobian
from workbench.coordinates import Full, Shared
from workbench.errors import InputError
from workbench.layout import layout_of
from workbench.pruning import prunable
from workbench.recipes import Recipe
from workbench.training import train

OBJECTIVE = norm_net(dtype=torch.float64)
WEIGHTS = prunable(OBJECTIVE.layout)
N = int(WEIGHTS.sum())


def shared(n_memory, seed=0, stable=True):
    return Shared(OBJECTIVE.theta_0, WEIGHTS, n_memory, OBJECTIVE.layout, seed, stable=stable)


def scales(stable):
    """Root mean square of each weight tensor, or of all, for every shared entry."""
    theta_0 = as_float64(OBJECTIVE.theta_0)
    tensors = [theta_0[e.offset : e.offset + e.size] for e in OBJECTIVE.layout.entries if e.role == "weight"]
    tensors = tensors if stable else [np.concatenate(tensors)]
    return np.concatenate([np.full(len(t), np.sqrt(np.mean(t**2))) for t in tensors])


@pytest.mark.parametrize("n_memory", [1, 7, 100, N])
@pytest.mark.parametrize("stable", [True, False])
def test_each_number_has_its_share_of_readers_at_the_scale_of_their_tensor(n_memory, stable):
    coordinates = shared(n_memory, stable=stable)
    assert coordinates.d == n_memory + OBJECTIVE.D - N
    J = jacobian(coordinates, coordinates.initial(), 1.0)
    block = J[WEIGHTS.numpy(), :n_memory]
    assert (np.count_nonzero(block, axis=1) == 1).all()
    readers = np.count_nonzero(block, axis=0)
    assert set(readers) <= {N // n_memory, -(-N // n_memory)}
    lengths = np.sqrt((scales(stable)[:, None] ** 2 * (block != 0)).sum(0)) if stable else np.ones(n_memory)
    np.testing.assert_allclose(np.abs(block).max(1), scales(stable) / lengths[np.abs(block).argmax(1)], rtol=1e-12)
    np.testing.assert_array_equal(J[~WEIGHTS.numpy(), n_memory:], np.eye(OBJECTIVE.D - N))
    if stable:
        np.testing.assert_allclose(J.T @ J, np.eye(coordinates.d), atol=1e-12)


@pytest.mark.parametrize("stable", [True, False])
def test_one_number_an_entry_is_no_compression(stable):
    coordinates = shared(N, stable=stable)
    torch.testing.assert_close(coordinates.theta_0, OBJECTIVE.theta_0, rtol=1e-14, atol=0)
    recipe = Recipe(40, 0.1, "sgd", batch_size=16)
    dense = train(OBJECTIVE, Full(OBJECTIVE.theta_0), recipe, 0).phi
    theta = train(OBJECTIVE, coordinates, recipe, 0).point(coordinates).theta
    assert torch.allclose(theta, dense, rtol=1e-9, atol=1e-11) == stable


def test_a_step_is_the_papers_scaled_step_on_the_memory():
    coordinates, rate = shared(9), 0.3
    phi, theta, g = coordinates.initial(), coordinates.theta_0, torch.randn(OBJECTIVE.D, dtype=torch.float64)
    block = jacobian(coordinates, phi, 1.0)[WEIGHTS.numpy(), :9]
    h, sign, scale = np.abs(block).argmax(1), np.sign(block.sum(1)), scales(True)
    memory = np.array([(theta[WEIGHTS].numpy() * sign / scale)[h == j][0] for j in range(9)])
    np.testing.assert_allclose(scale * sign * memory[h], theta[WEIGHTS], rtol=1e-12)
    scaler = np.bincount(h, scale**2)
    memory -= rate * np.bincount(h, scale * sign * g[WEIGHTS].numpy()) / scaler
    phi -= rate * coordinates.pull(phi, g, torch.empty_like(phi))
    moved = coordinates.push(phi, torch.empty_like(theta))
    np.testing.assert_allclose(moved[WEIGHTS], scale * sign * memory[h], rtol=1e-10)
    torch.testing.assert_close(moved[~WEIGHTS], theta[~WEIGHTS] - rate * g[~WEIGHTS])


def test_the_start_looks_like_theta_0():
    """Values come from theta_0's own, so each tensor keeps about its root mean square."""
    layout = layout_of(torch.nn.Linear(40_000, 1, bias=False))
    coordinates = Shared(torch.randn(40_000), torch.ones(40_000).bool(), 4000, layout, 0)
    assert float(coordinates.theta_0.square().mean()) == pytest.approx(1, abs=0.1)


def test_the_seed_draws_who_shares():
    starts = [shared(20, seed).theta_0 for seed in (0, 0, 1)]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("n_memory", [0, N + 1, True, 2.0])
def test_bad_settings_are_refused(n_memory):
    with pytest.raises(InputError, match=rf"n_memory must be in 1\.\.{N}, the shared entries, got"):
        shared(n_memory)
    with pytest.raises(InputError, match="shared must mark no tensor that is all zero, got"):
        Shared(OBJECTIVE.theta_0, torch.ones(OBJECTIVE.D).bool(), 7, OBJECTIVE.layout, 0)
    with pytest.raises(InputError, match=r"shared must be a bool tensor of shape \(231,\), got"):
        Shared(OBJECTIVE.theta_0, WEIGHTS[1:], 7, OBJECTIVE.layout, 0)

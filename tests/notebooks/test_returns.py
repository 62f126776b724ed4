import itertools
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from returns import CartPole

from workbench.errors import InputError
from workbench.seeds import generator


def policies(objective: CartPole, n: int, seed: int = 0) -> np.ndarray:
    """Random policies around theta_0, some of which balance for long."""
    draws = generator(seed, "test", "policies").standard_normal((n, objective.D))
    return objective.theta_0.numpy() + 0.3 * draws.astype(objective.theta_0.numpy().dtype)


def linear_controller() -> np.ndarray:
    """A hand-made policy without hidden layer that balances for all 500 steps: push where the pole falls."""
    weight = np.zeros((2, 4))
    weight[1] = [0.1, 0.3, 3.0, 1.0]
    return np.concatenate([weight.ravel(), np.zeros(2)])


def reference_return(weights: list[tuple[np.ndarray, np.ndarray]], start: np.ndarray, limit: int = 500) -> int:
    """Play one episode in Python floats: Barto, Sutton and Anderson's equations, Euler steps of 0.02 s."""
    x, x_dot, angle, angle_dot = map(float, start)
    for step in range(1, limit + 1):
        hidden = np.array([x, x_dot, angle, angle_dot], dtype=np.float32).astype(np.float64)
        for i, (weight, bias) in enumerate(weights):
            hidden = weight @ (hidden if i == 0 else np.maximum(hidden, 0)) + bias
        force = 10.0 if hidden[1] > hidden[0] else -10.0
        sin, cos = np.sin(angle), np.cos(angle)
        pushed = (force + 0.05 * angle_dot**2 * sin) / 1.1
        angle_acc = (9.8 * sin - cos * pushed) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        x_acc = pushed - 0.05 * angle_acc * cos / 1.1
        x, x_dot = x + 0.02 * x_dot, x_dot + 0.02 * x_acc
        angle, angle_dot = angle + 0.02 * angle_dot, angle_dot + 0.02 * angle_acc
        if abs(x) > 2.4 or abs(angle) > 12 * 2 * np.pi / 360:
            return step
    return limit


def unpack(objective: CartPole, theta: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    layers, offset = [], 0
    for n_in, n_out in itertools.pairwise(objective.widths):
        end = offset + n_out * n_in
        layers.append((theta[offset:end].reshape(n_out, n_in), theta[end : end + n_out]))
        offset = end + n_out
    assert offset == len(theta)
    return layers


def test_layout_is_that_of_a_torch_network():
    layers = [torch.nn.Linear(4, 20), torch.nn.Linear(20, 20), torch.nn.Linear(20, 2)]
    objective = CartPole()
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == objective.D == len(objective.theta_0)
    assert objective.D == 562  # of Li et al.'s pendulum network


def test_the_policy_is_the_torch_network():
    objective = CartPole(dtype=torch.float64)
    theta = policies(objective, 1)[0]
    network = torch.nn.Sequential(
        torch.nn.Linear(4, 20), torch.nn.ReLU(), torch.nn.Linear(20, 20), torch.nn.ReLU(), torch.nn.Linear(20, 2)
    ).double()
    torch.nn.utils.vector_to_parameters(torch.from_numpy(theta), network.parameters())
    start = objective.starts(1, 1, generator(0, "start"))[0, 0]
    state, steps, fallen = start, 0, False
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    env.state = start
    while not fallen and steps < 500:
        logits = network(torch.from_numpy(state.astype(np.float32)).double())
        state, _, fallen, _, _ = env.step(int(logits.argmax()))
        steps += 1
    assert objective.returns_from(theta[None], start[None, None]).item() == steps > 8


def test_returns_equal_the_equations_of_motion():
    objective = CartPole(hidden=(20, 20), dtype=torch.float64)
    thetas = policies(objective, 400)
    lasting = np.argsort(-objective.returns(thetas, 1, generator(0, "pick"))[:, 0])[:12]
    thetas, starts = thetas[lasting], objective.starts(12, 2, generator(1, "starts"))
    returns = objective.returns_from(thetas, starts)
    for k in range(12):
        weights = unpack(objective, thetas[k])
        assert [reference_return(weights, start) for start in starts[k]] == returns[k].tolist()
    assert len(np.unique(returns)) > 8  # the comparison is of different episodes


def test_a_controller_that_balances_reaches_the_limit_and_no_more():
    objective = CartPole(hidden=(), dtype=torch.float64)
    returns = objective.returns(linear_controller()[None], 20, generator(2, "starts"))
    assert returns.max() == 500
    assert returns.mean() >= objective.solved_at


def test_finished_episodes_stay_finished_beside_long_ones():
    objective = CartPole(hidden=(), dtype=torch.float64)
    always_left = np.zeros(objective.D)
    returns = objective.returns(np.stack([always_left, linear_controller()]), 4, generator(3, "starts"))
    assert returns[0].max() <= 12  # gymnasium restarts finished episodes; their further steps must not count
    assert returns[1].min() > 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_of_policies_equals_one_by_one(dtype):
    objective = CartPole(dtype=dtype)
    thetas = policies(objective, 24)
    together = objective.returns(thetas, 3, generator(4, "starts"))
    stream = generator(4, "starts")
    alone = np.concatenate([objective.returns(theta[None], 3, stream) for theta in thetas])
    assert np.array_equal(together, alone)
    assert np.array_equal(together, objective.returns(torch.from_numpy(thetas), 3, generator(4, "starts")))


def test_shared_starts_are_the_same_for_every_policy():
    objective = CartPole()
    thetas, starts = policies(objective, 3), objective.starts(1, 5, generator(5, "starts"))
    assert np.array_equal(
        objective.returns_from(thetas, starts), objective.returns_from(thetas, np.repeat(starts, 3, axis=0))
    )


def test_theta_0_follows_the_seed():
    first, again, other = CartPole(seed=0), CartPole(seed=0), CartPole(seed=1)
    assert torch.equal(first.theta_0, again.theta_0)
    assert not torch.equal(first.theta_0, other.theta_0)
    layers = unpack(first, first.theta_0.numpy())
    assert not any(bias.any() for _, bias in layers)
    assert layers[1][0].std() == pytest.approx(np.sqrt(2 / 20), rel=0.15)


def test_no_warning_on_the_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CartPole(hidden=(4,)).returns(np.zeros((1, 30)), 1, generator(0, "starts"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": (0,)}, "hidden must hold positive integers, got 0"),
        ({"hidden": (True,)}, "hidden must hold positive integers, got True"),
        ({"seed": -1}, "seed must be a non-negative integer"),
        ({"dtype": torch.float16}, "dtype must be one of"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        CartPole(**arguments)


@pytest.mark.parametrize(
    ("thetas", "n_episodes", "message"),
    [
        (np.zeros((1, 7)), 1, r"thetas must be \(K, D=10\)"),
        (np.zeros(10), 1, r"thetas must be \(K, D=10\)"),
        (np.full((1, 10), np.nan), 1, "thetas must be finite"),
        (np.zeros((1, 10)), 0, "n_episodes must be at least 1, got 0"),
        (np.zeros((1, 10)), True, "n_episodes must be at least 1, got True"),
        (np.zeros((0, 10)), 1, r"thetas must be \(K, D=10\)"),
    ],
)
def test_bad_policies_are_refused(thetas, n_episodes, message):
    with pytest.raises(InputError, match=message):
        CartPole(hidden=()).returns(thetas, n_episodes, generator(0, "starts"))


def test_bad_starts_are_refused():
    with pytest.raises(InputError, match=r"starts must have shape \(K=2 or 1, n_episodes, 4\)"):
        CartPole(hidden=()).returns_from(np.zeros((2, 10)), np.zeros((3, 1, 4)))

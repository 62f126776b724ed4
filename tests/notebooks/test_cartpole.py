import json

import cartpole
import numpy as np
import pytest
from returns import CartPole

from workbench.errors import InputError
from workbench.seeds import generator

SMALL = {"max_generations": 3, "hidden": (4,), "population": 6, "n_train": 2, "n_validation": 4, "n_test": 4}


@pytest.mark.parametrize("d", [1, 2, 8])
def test_the_strategy_finds_the_top_of_an_ill_conditioned_bowl(d):
    strategy = cartpole.EvolutionStrategy(d, 1.0, 12, generator(0, "test", d))
    curvature, top = 10.0 ** np.linspace(0, 3, d), np.linspace(1, 2, d)
    for _ in range(400):
        strategy.tell(-((strategy.ask() - top) ** 2 @ curvature))
    assert np.allclose(strategy.mean, top, atol=1e-8)


def test_the_strategy_does_not_see_the_scale_of_the_returns():
    def run(transform):
        strategy = cartpole.EvolutionStrategy(3, 1.0, 8, generator(0, "test"))
        for _ in range(20):
            strategy.tell(transform(-((strategy.ask() - 1) ** 2).sum(axis=1)))
        return strategy.mean

    assert np.array_equal(run(lambda v: v), run(lambda v: np.exp(0.01 * v)))


def test_selection_among_equals_does_not_drift():
    means = []
    for seed in range(200):
        strategy = cartpole.EvolutionStrategy(1, 1.0, 8, generator(seed, "test"))
        strategy.ask()
        strategy.tell(np.zeros(8))
        means.append(strategy.mean[0])
    assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(200)


def test_a_trial_is_reproducible_and_writes_as_json():
    first, again = cartpole.cartpole_trial([1, 3], 0, **SMALL), cartpole.cartpole_trial([1, 3], 0, **SMALL)
    assert first == again == json.loads(json.dumps(first))
    assert [row["d"] for row in first["dims"]] == [1, 3]
    assert first != cartpole.cartpole_trial([1, 3], 1, **SMALL)


def test_a_dimension_does_not_depend_on_its_company():
    together, alone = cartpole.cartpole_trial([2, 5], 3, **SMALL), cartpole.cartpole_trial([5], 3, **SMALL)
    assert together["dims"][1] == alone["dims"][0]


def test_every_dimension_has_the_same_budget():
    rows = cartpole.cartpole_trial([1, 2], 1, **SMALL)["dims"]
    for row in rows:
        unsolved_episodes = row["generations"] * (6 + 1) * 2
        assert row["episodes"] >= unsolved_episodes
        assert (row["episodes"] - unsolved_episodes) % 4 == 0  # validations


def test_the_policy_tested_is_in_the_subspace():
    objective = CartPole((4,), seed=0)
    search = cartpole.Search(objective, 2, 0, "hashed", 6)
    moves = search.propose() - objective.theta_0.numpy()
    assert np.linalg.matrix_rank(moves, tol=1e-4) == 2
    assert np.array_equal(search.thetas[-1], objective.theta_0.numpy())  # the first mean is theta_0


def test_sixteen_directions_solve_it():
    result = cartpole.cartpole_trial([16], 0)["dims"][0]
    assert result["solved"]
    assert result["mean_return"] >= 475


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dims": []}, "dims must hold at least one dimension"),
        ({"dims": [0]}, "0"),
        ({"dims": [10_000]}, "D=562"),
        ({"max_generations": 0}, "max_generations must be at least 1, got 0"),
        ({"population": 3}, "population must be at least 4, got 3"),
        ({"n_test": 1}, "n_test must be at least 2, got 1"),
        ({"restart_every": 0}, "restart_every must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        cartpole.cartpole_trial(**({"dims": [1], "seed": 0} | arguments))

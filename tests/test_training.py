"""One loop: against torch.optim by hand, continued bitwise after a kill, groups equal to single runs."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from workbench import models
from workbench.checkpoints import load_arrays, save_arrays
from workbench.coordinates import Full, Subspace, projection
from workbench.errors import DataError, InputError
from workbench.objective import Supervised
from workbench.recipes import Recipe, matched_learning_rate
from workbench.training import train, train_group


def make(network=None, n=60, **options):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 6, generator=g)
    y = (x[:, :3] + 0.3 * torch.randn(n, 3, generator=g)).argmax(1)
    network = models.initialise(network or models.mlp([6, 8, 3]), 0)  # not torch's, which other tests may have moved
    return Supervised(network, (x[:40], y[:40]), (x[40:], y[40:]), **options)


def subspace(objective, d, seed=0):
    return Subspace(objective.theta_0, projection("hashed", objective.D, d, seed))


@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [
        (Recipe(12, 0.1, "sgd", batch_size=8, momentum=0.9, weight_decay=0.01), torch.optim.SGD),
        (Recipe(12, 0.01, "adam", batch_size=8), torch.optim.Adam),
        (Recipe(12, 0.01, "adamw", batch_size=8, weight_decay=0.1, warmup_steps=3), torch.optim.AdamW),
    ],
)
def test_full_training_equals_a_plain_loop(recipe, optimizer):
    objective = make(dtype=torch.float64)
    history = train(objective, Full(objective.theta_0), recipe, seed=3)
    network = models.mlp([6, 8, 3]).double()
    settings = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        settings["momentum"] = recipe.momentum
    reference = optimizer(network.parameters(), **settings)
    losses, stream = [], objective.minibatches(3, 8)
    for step in range(12):
        x, y = objective.train_batch(next(stream))
        for group in reference.param_groups:
            group["lr"] = recipe.lr * recipe.lr_factor(step)
        reference.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        reference.step()
        losses.append(loss.item())
    np.testing.assert_allclose(history.losses, losses, rtol=1e-5)
    expected = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
    torch.testing.assert_close(history.phi, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "warmup_stable_decay"])
def test_schedules(schedule):
    factors = np.array([Recipe(100, schedule=schedule, warmup_steps=10).lr_factor(s) for s in range(101)])
    assert factors[0] == pytest.approx(0.1)
    assert (np.diff(factors[:10]) > 0).all()
    assert factors.max() <= 1
    if schedule == "constant":
        assert (factors[10:] == 1).all()
    else:
        assert factors[100] == pytest.approx(0, abs=1e-12)
        assert (np.diff(factors[10:]) <= 1e-12).all()
    if schedule == "warmup_stable_decay":
        assert (factors[10:81] == 1).all()
        assert factors[90] == pytest.approx(0.5)


def test_a_group_ends_where_single_runs_end():
    objective = make(nn.Sequential(models.mlp([6, 8, 8]), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3)))
    maps = [subspace(objective, d) for d in (3, 10, 40)]
    recipes = [Recipe(30, lr, batch_size=8, eval_every_steps=10) for lr in (0.3, 0.1, 0.05)]
    together = train_group(objective, maps, recipes, seed=1)
    for coordinates, recipe, grouped in zip(maps, recipes, together, strict=True):
        alone = train(objective, coordinates, recipe, seed=1)
        assert torch.equal(alone.phi, grouped.phi)
        assert all(torch.equal(v, grouped.buffers[k]) for k, v in alone.buffers.items())
        assert alone.evaluations == grouped.evaluations


class _Killed(Exception):
    pass


@pytest.mark.parametrize(
    "recipe_options", [{}, {"optimizer": "sgd"}, {"optimizer": "adamw", "weight_decay": 0.1, "patience": 2}]
)
def test_a_killed_run_continues_to_bitwise_the_same_end(tmp_path, recipe_options):
    objective = make(nn.Sequential(models.mlp([6, 8, 8]), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3)))
    maps = [subspace(objective, 4), subspace(objective, 20)]
    recipes = [Recipe(60, lr, batch_size=8, eval_every_steps=5, **recipe_options) for lr in (0.2, 0.1)]
    whole = train_group(objective, maps, recipes, seed=0)
    path = tmp_path / "state.npz"
    rng = random.Random(0)
    for _ in range(4):  # killed after a random number of minibatches, again and again
        left = rng.randrange(1, 25)
        fetch = objective.train_batch

        def dying(index, fetch=fetch):
            nonlocal left
            left -= 1
            if left < 0:
                raise _Killed
            return fetch(index)

        objective.train_batch = dying
        with pytest.raises(_Killed):
            train_group(objective, maps, recipes, seed=0, checkpoint=path, checkpoint_every_steps=7)
        del objective.train_batch
        objective.set_point(torch.randn(objective.D))  # what the killed run left in memory must not matter
    resumed = train_group(objective, maps, recipes, seed=0, checkpoint=path, checkpoint_every_steps=7)
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(a.phi, b.phi)
        np.testing.assert_array_equal(a.losses, b.losses)
        assert all(torch.equal(v, b.buffers[k]) for k, v in a.buffers.items())
        assert (a.outcome, a.n_steps, a.evaluations) == (b.outcome, b.n_steps, b.evaluations)


def test_a_checkpoint_of_another_run_or_a_broken_one_is_refused(tmp_path):
    objective, path = make(), tmp_path / "state.npz"
    train(objective, subspace(objective, 4), Recipe(10), 0, checkpoint=path, checkpoint_every_steps=5)
    with pytest.raises(InputError, match="must come from the same maps, recipes and seed"):
        train(objective, subspace(objective, 4), Recipe(10), 1, checkpoint=path)
    other = Subspace(objective.theta_0, projection("dense", objective.D, 4, 0))
    for coordinates in (subspace(objective, 4, seed=1), other):
        with pytest.raises(InputError, match="must come from the same maps"):
            train(objective, coordinates, Recipe(10), 0, checkpoint=path)
    with pytest.raises(InputError, match="checkpoint_every_steps must be a whole number, at least 1, got 0"):
        train(objective, subspace(objective, 4), Recipe(10), 0, checkpoint_every_steps=0)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"state\.npz must be a checkpoint of arrays.*delete it"):
        train(objective, subspace(objective, 4), Recipe(10), 0, checkpoint=path)


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, about=np.array(json.dumps({})), payload=np.array([object()], dtype=object))
    with pytest.raises(DataError, match="must be a checkpoint of arrays, got ValueError: Object arrays"):
        load_arrays(path)
    save_arrays(path, {"a": np.arange(3)}, {"b": 1})
    arrays, about = load_arrays(path)
    assert about == {"b": 1}
    assert arrays["a"].tolist() == [0, 1, 2]


def test_divergence_is_an_outcome_and_the_others_go_on():
    objective = make()
    maps = [subspace(objective, 5), subspace(objective, 5, seed=1)]
    wild, tame = train_group(objective, maps, [Recipe(80, 1e30, "sgd"), Recipe(80, 0.01, "sgd")], seed=0)
    assert wild.outcome == "diverged"
    assert wild.n_steps < 80
    assert not np.isfinite(wild.losses[-1])
    assert np.isfinite(wild.losses[:-1]).all()
    assert tame.outcome == "finished"
    assert np.isfinite(tame.losses).all()


def test_a_diverged_run_stays_aside_when_its_group_is_taken_up_again(tmp_path):
    objective = make()
    maps, recipes = [subspace(objective, 5), subspace(objective, 7)], [Recipe(80, lr, "sgd") for lr in (1e30, 0.01)]
    whole = train_group(objective, maps, recipes, seed=0)
    path = tmp_path / "state.npz"
    for _ in range(2):  # the second call starts from step 60
        again = train_group(objective, maps, recipes, seed=0, checkpoint=path, checkpoint_every_steps=60)
        for a, b in zip(whole, again, strict=True):
            np.testing.assert_array_equal(a.phi, b.phi)
            assert (a.outcome, a.n_steps) == (b.outcome, b.n_steps)


def test_dropout_differs_between_steps_and_seeds():
    objective = make(nn.Sequential(models.mlp([6, 8]), nn.Dropout(0.5), nn.Linear(8, 3)))
    # a rate too small to move anything and the whole split: only dropout tells one step from another
    frozen = Recipe(4, 1e-30, "sgd", batch_size=None)
    losses = [train(objective, Full(objective.theta_0), frozen, seed).losses for seed in (0, 1, 0)]
    assert len(set(np.concatenate(losses[:2]))) == 8
    np.testing.assert_array_equal(losses[0], losses[2])


def test_a_map_may_change_phi_and_the_optimizer_after_each_step():
    class Clipped(Full):
        def after_step(self, phi, optimizer_state):
            assert set(optimizer_state) >= {"exp_avg", "exp_avg_sq"}
            phi.clamp_(-0.1, 0.1)

    objective = make()
    assert train(objective, Clipped(objective.theta_0), Recipe(5, 1.0), 0).phi.abs().max() <= 0.1


def test_early_stopping_does_not_hide_divergence():
    objective = make()
    recipe = Recipe(80, 1e30, "sgd", eval_every_steps=3, patience=2)
    assert train(objective, Full(objective.theta_0), recipe, seed=0).outcome == "diverged"


def test_a_last_step_that_diverges_is_noticed():
    objective = make()
    history = train(objective, Full(objective.theta_0), Recipe(1, 1e39, "sgd", schedule="constant"), seed=0)
    assert np.isfinite(history.losses).all()
    assert history.outcome == "diverged"


def test_the_objective_ends_at_the_point_of_the_history():
    objective = make(nn.Sequential(models.mlp([6, 8, 8]), nn.BatchNorm1d(8), nn.Linear(8, 3)))
    maps = [subspace(objective, d) for d in (4, 20)]
    last = train_group(objective, maps, [Recipe(12, 0.1, batch_size=8)] * 2, seed=0)[1]
    point = last.point(maps[1])
    assert torch.equal(objective.theta, point.theta)
    assert all(torch.equal(v, point.buffers[k]) for k, v in objective.buffers().items())


class Noisy(TensorDataset):
    """Augments with torch's random numbers, as a user's dataset may."""

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x + torch.randn(6), y


def test_a_dataset_that_draws_random_numbers_resumes_bitwise(tmp_path):
    x, y = (t for t in make().splits["train"].batch(None))
    objective = Supervised(models.mlp([6, 3]), DataLoader(Noisy(x, y)))
    coordinates, recipe = Full(objective.theta_0), Recipe(20, 0.1, batch_size=8)
    state, whole = torch.get_rng_state(), train(objective, coordinates, recipe, 0)
    assert torch.equal(state, torch.get_rng_state())
    path = tmp_path / "state.npz"
    train(objective, coordinates, recipe, 0, checkpoint=path, checkpoint_every_steps=13)
    torch.rand(3)
    assert torch.equal(train(objective, coordinates, recipe, 0, checkpoint=path).phi, whole.phi)


@pytest.mark.parametrize("options", [{}, {"eval_every_steps": 5, "patience": 2, "schedule": "constant"}])
def test_a_run_that_has_ended_is_taken_up_as_it_ended(tmp_path, options):
    objective = make(models.mlp([6, 64, 3]))
    recipe = Recipe(400, 0.05, batch_size=None, **options)
    settings = {"checkpoint": tmp_path / "state.npz", "checkpoint_every_steps": 5}
    first = train(objective, Full(objective.theta_0), recipe, 0, **settings)
    assert first.outcome == ("stopped" if options else "finished")
    again = train(objective, Full(objective.theta_0), recipe, 0, **settings)
    assert torch.equal(first.phi, again.phi)
    assert (first.outcome, first.n_steps, first.evaluations) == (again.outcome, again.n_steps, again.evaluations)


def test_early_stopping_returns_the_best_point():
    objective = make(models.mlp([6, 64, 3]))
    recipe = Recipe(3000, 0.05, batch_size=None, schedule="constant", eval_every_steps=5, patience=3)
    history = train(objective, Full(objective.theta_0), recipe, seed=0)
    losses = [e["loss"] for e in history.evaluations]
    assert history.outcome == "stopped"
    assert history.n_steps < 3000
    assert objective.loss(history.phi, "validation") == pytest.approx(min(losses), rel=1e-6)
    assert len(losses) == np.argmin(losses) + 1 + 3


def test_zero_steps_leave_theta_unchanged():
    objective = make()
    history = train(objective, subspace(objective, 3), Recipe(0), seed=0)
    assert not history.phi.any()
    assert history.n_steps == 0


def test_the_toy_is_learned_at_ten_dimensions_not_at_nine():
    """Trained, not solved in closed form: full-batch descent on Li et al.'s ten constraints."""
    x = torch.zeros(10, 1000, dtype=torch.float64)
    for k in range(10):
        x[k, 100 * k : 100 * (k + 1)] = 1
    y = torch.arange(1, 11, dtype=torch.float64)
    toy = Supervised(nn.Linear(1000, 1, bias=False), (x, y), loss="squared_error", dtype=torch.float64)
    recipe = Recipe(6000, 0.3, "adam", batch_size=None)
    final = {}
    for d in (9, 10):
        coordinates = Subspace(
            torch.zeros(1000, dtype=torch.float64), projection("dense", 1000, d, 0, dtype=torch.float64)
        )
        history = train(toy, coordinates, recipe, seed=0)
        final[d] = 10 * toy.loss(history.point(coordinates))
    assert np.exp(-final[9]) < 0.1  # Li et al.'s performance measure: solved at 0.9
    assert np.exp(-final[10]) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": "banana"}, "lr must be a positive number, got 'banana'"),
        ({"lr": True}, "lr must be a positive number, got True"),
        ({"lr": -1.0}, "lr must be a positive number"),
        ({"n_steps": True}, "n_steps must be a whole number, at least 0, got True"),
        ({"batch_size": 0}, "batch_size must be None or a whole number, at least 1, got 0"),
        ({"optimizer": "adma"}, "optimizer must be one of sgd, adam, adamw, got 'adma'"),
        ({"schedule": "cos"}, "schedule must be one of"),
        ({"patience": 2}, "patience needs eval_every_steps"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"decay_fraction": 0.0}, r"decay_fraction must be in \(0, 1\]"),
    ],
)
def test_bad_recipes_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Recipe(**options)


def test_groups_that_disagree_are_refused():
    objective = make()
    maps = [subspace(objective, 3), subspace(objective, 4)]
    with pytest.raises(InputError, match="must agree in all but lr"):
        train_group(objective, maps, [Recipe(5), Recipe(6)], 0)
    with pytest.raises(InputError, match="must be one a coordinate map"):
        train_group(objective, maps, [Recipe(5)], 0)
    with pytest.raises(InputError, match="eval_splits must be one of train, validation, got 'test'"):
        train(objective, maps[0], Recipe(5, eval_every_steps=1), 0, eval_splits=("test",))
    with pytest.raises(InputError, match="eval_splits must hold 'validation' for early stopping"):
        train(objective, maps[0], Recipe(5, eval_every_steps=1, patience=1), 0, eval_splits=("train",))
    with pytest.raises(InputError, match="coordinates must map to D="):
        train(objective, Full(torch.zeros(3)), Recipe(5), 0)


def test_the_matched_rate_moves_theta_as_far_at_every_d():
    for d in (1, 100, 750, 199_210):
        assert matched_learning_rate(d, 199_210) * d**0.5 == pytest.approx(2e-3 * 199_210**0.5)
    for d, base, message in [
        (0, 1.0, "d must be in 1..D=10, got 0"),
        (11, 1.0, "got 11"),
        (1, "banana", "base must be"),
    ]:
        with pytest.raises(InputError, match=message):
            matched_learning_rate(d, 10, base)


SCRIPT = """
import sys
from pathlib import Path

import torch

from workbench import models
from workbench.coordinates import Subspace, projection
from workbench.objective import Supervised
from workbench.recipes import Recipe
from workbench.training import train

g = torch.Generator().manual_seed(0)
x = torch.randn(200, 50, generator=g)
objective = Supervised(models.mlp([50, 300, 3]), (x, x[:, :3].argmax(1)))
subspace = Subspace(objective.theta_0, projection("hashed", objective.D, 100, 0))
torch.set_num_threads(1)
recipe = Recipe(2000, 0.02, batch_size=32)
history = train(objective, subspace, recipe, 0, checkpoint=Path(sys.argv[1]), checkpoint_every_steps=50)
print(history.phi.numpy().tobytes().hex())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_killed_while_training_resumes_bitwise(tmp_path):
    """A real kill -9 at whatever moment it hits; whole steps of 50 are on disk, and the end is the same."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)

    def start(name):
        return subprocess.Popen([sys.executable, script, tmp_path / name], stdout=subprocess.PIPE, text=True)

    with start("whole.npz") as whole, start("killed.npz") as killed:
        while killed.poll() is None and not (tmp_path / "killed.npz").exists():
            time.sleep(0.01)
        killed.kill()
        expected = whole.communicate()[0]
    assert killed.returncode == -signal.SIGKILL
    with start("killed.npz") as resumed:
        assert resumed.communicate()[0] == expected != ""
    leftovers = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert len(leftovers) <= 1  # at most the temporary file the kill interrupted


@pytest.mark.parametrize("options", [{"optimizer": "sgd"}, {"optimizer": "adam"}, {"optimizer": "adamw"}])
def test_a_run_goes_on_from_a_snapshot_bitwise(tmp_path, options):
    objective = make(nn.Sequential(models.mlp([6, 8, 8]), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3)))
    recipe = Recipe(40, 0.05, batch_size=8, warmup_steps=3, eval_every_steps=10, **options)
    whole = train(objective, Full(objective.theta_0), recipe, 0, keep_steps=(0, 17, 99))
    assert list(whole.kept) == [0, 17]
    assert torch.equal(whole.kept[0].phi, objective.theta_0)
    snapshot, again = whole.kept[17], {"checkpoint": tmp_path / "state.npz", "checkpoint_every_steps": 30}
    for _ in range(2):  # the second is taken up from its own file
        rest = train(objective, Full(objective.theta_0), recipe, 0, start=[snapshot], keep_steps=(17, 25), **again)
        assert torch.equal(rest.phi, whole.phi)
        assert all(torch.equal(v, rest.buffers[k]) for k, v in whole.buffers.items())
        np.testing.assert_array_equal(rest.losses, whole.losses[17:])
        assert (rest.n_steps, list(rest.kept)) == (23, [17, 25])
        assert torch.equal(rest.kept[17].phi, snapshot.phi)
        assert rest.evaluations == [e for e in whole.evaluations if e["step"] > 17]
    with pytest.raises(InputError, match="must come from the same maps, recipes and seed"):
        train(objective, Full(objective.theta_0), recipe, 0, **again)
    with pytest.raises(InputError, match="must come from the same maps, recipes and seed"):
        train(objective, Full(objective.theta_0), recipe, 0, start=[snapshot._replace(phi=snapshot.phi + 1)], **again)


def test_a_snapshot_that_does_not_fit_is_refused():
    objective = make()
    kept = train(objective, Full(objective.theta_0), Recipe(9), 0, keep_steps=(5,)).kept[5]
    cases = [(Full(objective.theta_0), Recipe(4)), (subspace(objective, 3), Recipe(9))]
    for (coordinates, recipe), rule in zip(
        cases, [rf"\({objective.D},\) after at most n_steps=4", r"\(3,\)"], strict=True
    ):
        with pytest.raises(InputError, match=rf"start must hold phi of shape {rule}"):
            train(objective, coordinates, recipe, 0, start=[kept])
    with pytest.raises(InputError, match="start must be one snapshot a coordinate map, got 2"):
        train(objective, Full(objective.theta_0), Recipe(9), 0, start=[kept, kept])

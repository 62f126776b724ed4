"""Ensembles: each network ends where masked dense training by torch.optim would have taken it, or workbench.train."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from workbench import models
from workbench.coordinates import Masked
from workbench.errors import InputError
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.pruning.ensemble import SparseEnsemble, evaluate_masks
from workbench.recipes import Recipe
from workbench.training import train

WIDTHS = [12, 16, 9, 3]
ANY = {"deep": 0.0, "mixed": 0.4, "all sparse": 1.0}  # densities below which a layer is sparse
RECIPES = {
    "sgd": Recipe(60, 0.05, "sgd", batch_size=7, momentum=0.9, weight_decay=0.01),
    "adam": Recipe(60, 0.01, "adam", batch_size=8, weight_decay=0.01),
    "adamw": Recipe(60, 0.01, "adamw", batch_size=16, weight_decay=0.1, warmup_steps=5),
}


def make(n_nets=4, network=None, dtype=torch.float64, **options):
    """Return an objective, starts and masks: first weights 30 % dense, others 60 %; one net lost its last layer."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(60, 12, generator=g)
    y = (x[:, :3] + 0.3 * torch.randn(60, 3, generator=g)).argmax(1)
    options.setdefault("loss", "cross_entropy")
    y = y if options["loss"] == "cross_entropy" else x[:, :3].tanh()
    objective = Supervised(network or models.mlp(WIDTHS), (x[:40], y[:40]), (x[40:], y[40:]), dtype=dtype, **options)
    thetas = torch.randn(n_nets, objective.D, generator=g).to(dtype) * 0.4
    masks = torch.rand(n_nets, objective.D, generator=g) < 0.6
    for entry in objective.layout.entries:
        part = masks[:, entry.offset : entry.offset + entry.size]
        if entry.offset == 0:
            part.copy_(torch.rand(part.shape, generator=g) < 0.3)
        elif entry.role == "bias":
            part.fill_(True)
    if network is None:
        masks[0, -30:-3] = False
    return objective, thetas, masks


def reference(objective, theta, mask, recipe, seed):
    """Train one masked network by hand: gradient and weights masked around a step of torch.optim."""
    network = objective.module_at(theta * mask).train()
    parameters = [*network.parameters()]
    masks = [*objective.layout.views(mask).values()]
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    settings = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
    optimizer = kinds[recipe.optimizer](parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, **settings)
    losses, stream = [], objective.minibatches(seed, recipe.batch_size)
    for step in range(recipe.n_steps):
        x, y = objective.train_batch(next(stream))
        optimizer.param_groups[0]["lr"] = recipe.lr * recipe.lr_factor(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        for parameter, kept in zip(parameters, masks, strict=True):
            parameter.grad *= kept
        optimizer.step()
        losses.append(loss.item())
    return torch.cat([p.detach().flatten() for p in parameters]), losses


@pytest.mark.parametrize("below", ANY.values(), ids=ANY)
@pytest.mark.parametrize("name", RECIPES)
def test_training_together_equals_masked_dense_training(name, below):
    objective, thetas, masks = make()
    recipe = RECIPES[name]
    members = SparseEnsemble(objective, thetas, masks, below=below).train(recipe, seed=3)
    for member, theta, mask in zip(members, thetas, masks, strict=True):
        expected, losses = reference(objective, theta, mask, recipe, 3)
        torch.testing.assert_close(member.theta, expected, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(member.losses, losses, rtol=1e-9)
        assert not member.theta[~mask].any()
        assert (member.outcome, member.n_steps) == ("finished", 60)


@pytest.mark.parametrize("name", RECIPES)
def test_single_precision_agrees_with_training_one_by_one(name):
    objective, thetas, masks = make(dtype=torch.float32)
    recipe = RECIPES[name]
    for member, theta, mask in zip(
        SparseEnsemble(objective, thetas, masks).train(recipe, 1), thetas, masks, strict=True
    ):
        alone = train(objective, Masked(theta, mask), recipe, 1)
        torch.testing.assert_close(member.theta, alone.phi, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(member.losses, alone.losses, rtol=1e-5, atol=1e-5)


NETWORKS = {
    "no biases": nn.Sequential(nn.Linear(12, 9, bias=False), nn.Tanh(), nn.Linear(9, 3, bias=False)),
    "one layer": nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
    "some biases": nn.Sequential(nn.Identity(), nn.Linear(12, 9), nn.GELU(), nn.Linear(9, 3, bias=False), nn.Sigmoid()),
}


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error", lambda outputs, y: (outputs - y).abs().sum(1)])
@pytest.mark.parametrize("below", [0.0, 1.0])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_any_perceptron_and_loss(network, below, loss):
    objective, thetas, masks = make(network=network, loss=loss, metric="accuracy" if loss == "cross_entropy" else "r2")
    masks |= torch.rand(masks.shape) < 0.5
    recipe = Recipe(20, 0.05, "sgd", batch_size=8, eval_every_steps=10)
    members = SparseEnsemble(objective, thetas, masks, below=below).train(
        recipe, 0, eval_splits=("train", "validation")
    )
    for member, theta, mask in zip(members, thetas, masks, strict=True):
        alone = train(objective, Masked(theta, mask), recipe, 0, eval_splits=("train", "validation"))
        torch.testing.assert_close(member.theta, alone.phi, rtol=1e-9, atol=1e-11)
        for ours, theirs in zip(member.evaluations, alone.evaluations, strict=True):
            assert ours == {**theirs, "loss": pytest.approx(theirs["loss"]), "metric": pytest.approx(theirs["metric"])}


@pytest.mark.parametrize("name", RECIPES)
def test_learning_rates_of_their_own(name):
    objective, thetas, masks = make()
    recipes = [Recipe(**{**vars(RECIPES[name]), "lr": lr}) for lr in (0.01, 0.03, 0.001, 0.01)]
    members = SparseEnsemble(objective, thetas, masks).train(recipes, 5)
    for member, theta, mask, recipe in zip(members, thetas, masks, recipes, strict=True):
        torch.testing.assert_close(member.theta, reference(objective, theta, mask, recipe, 5)[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("below", ANY.values(), ids=ANY)
def test_one_that_diverges_leaves_the_others(below):
    objective, thetas, masks = make(dtype=torch.float32)
    good = Recipe(60, 0.01, "sgd", batch_size=8, eval_every_steps=5)
    recipes = [good, Recipe(60, 1e20, "sgd", batch_size=8, eval_every_steps=5), good, good]
    found = SparseEnsemble(objective, thetas, masks, below=below).train(recipes, 0)
    assert [member.outcome for member in found] == ["finished", "diverged", "finished", "finished"]
    bad = train(objective, Masked(thetas[1], masks[1]), recipes[1], 0)
    assert found[1].n_steps == len(found[1].losses) == bad.n_steps < 60
    assert len(found[1].evaluations) == len(bad.evaluations)
    others = [0, 2, 3]
    alone = SparseEnsemble(objective, thetas[others], masks[others], below=below).train(good, 0)
    for k, member in zip(others, alone, strict=True):
        torch.testing.assert_close(found[k].theta, member.theta, rtol=1e-5, atol=1e-6)
        assert len(member.evaluations) == 12


def test_the_last_step_can_diverge():
    objective, thetas, masks = make(1, loss="squared_error", dtype=torch.float32)
    (member,) = SparseEnsemble(objective, 1000 * thetas, masks).train(Recipe(1, 3e38, "sgd"), 0)
    assert (member.outcome, member.n_steps, np.isfinite(member.losses).all()) == ("diverged", 1, True)


def test_training_goes_on_from_where_it_stands_and_touches_nothing_else():
    objective, thetas, masks = make()
    kept, rng = objective.theta.clone(), torch.get_rng_state()
    ensemble = SparseEnsemble(objective, thetas, masks)
    torch.testing.assert_close(ensemble.thetas, thetas * masks, rtol=0, atol=0)
    once = ensemble.train(Recipe(10, 0.1, "sgd", momentum=0, schedule="constant", batch_size=None), 0)
    twice = ensemble.train(Recipe(10, 0.1, "sgd", momentum=0, schedule="constant", batch_size=None), 0)
    whole = SparseEnsemble(objective, thetas, masks)
    whole = whole.train(Recipe(20, 0.1, "sgd", momentum=0, schedule="constant", batch_size=None), 0)
    for k in range(4):
        torch.testing.assert_close(twice[k].theta, whole[k].theta)
        assert not torch.equal(once[k].theta, twice[k].theta)
        torch.testing.assert_close(ensemble.thetas[k], twice[k].theta, rtol=0, atol=0)
    assert torch.equal(objective.theta, kept)
    assert torch.equal(torch.get_rng_state(), rng)
    assert not ensemble.phi.requires_grad


@pytest.mark.parametrize("network", ["mlp", "cnn", "regression"])
def test_many_masks_on_one_network(network, monkeypatch):
    monkeypatch.setattr("workbench.pruning.ensemble._GROUP_ENTRIES", 2000)  # several groups
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 1, 8, 8, generator=g)
    y = x.mean((1, 2, 3)) if network == "regression" else torch.randint(0, 10, (300,), generator=g)
    model = {"cnn": models.small_cnn(width=4), "mlp": models.mlp([64, 9, 10]), "regression": models.mlp([64, 5, 1])}
    loss = "squared_error" if network == "regression" else "cross_entropy"
    objective = Supervised(model[network], (x, y), test=(x, y), loss=loss, dtype=torch.float64)
    masks = torch.rand(7, objective.D, generator=g) < torch.linspace(0.05, 1, 7)[:, None]
    point = objective.recalibrated(objective.theta_0) if network == "cnn" else objective.theta_0
    for found, mask in zip(evaluate_masks(objective, point, masks), masks, strict=True):
        alone = objective.theta_0 * mask
        expected = objective.evaluate(Point(alone, point.buffers) if network == "cnn" else alone)
        assert found.loss == pytest.approx(expected.loss, rel=1e-10)
        assert found.metric == pytest.approx(expected.metric, rel=1e-10)
        assert network == "regression" or np.array_equal(found.correct, expected.correct)


def test_masks_are_recalibrated_where_asked():
    x, y = torch.randn(30, 1, 8, 8), torch.arange(30) % 10
    objective = Supervised(models.small_cnn(width=4), (x, y), test=(x, y))
    mask = (torch.rand(objective.D) < 0.5)[None]
    (found,) = evaluate_masks(objective, objective.theta_0, mask, "train", batch_stats="recalibrated")
    assert found.loss == objective.evaluate(objective.theta_0 * mask[0], "train", "recalibrated").loss


OBJECTIVE, THETAS, MASKS = make()
ENSEMBLE = SparseEnsemble(OBJECTIVE, THETAS, MASKS)
TWICE = nn.Linear(12, 12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SparseEnsemble(OBJECTIVE, THETAS, MASKS[:, 1:]), r"masks must be bool of shape \(N, D=391\), got"),
        (lambda: SparseEnsemble(OBJECTIVE, THETAS, MASKS * 1.0), r"masks must be bool of .* \(torch.float32, "),
        (
            lambda: SparseEnsemble(OBJECTIVE, THETAS[:2], MASKS),
            r"thetas must have shape \(4, 391\) or \(391,\), got \(2, ",
        ),
        (lambda: SparseEnsemble(OBJECTIVE, THETAS, MASKS, below=2), r"below must be in \[0, 1\], got 2"),
        (lambda: ENSEMBLE.train([Recipe()] * 3, 0), r"recipes must be one, or one a network \(4\), got 3"),
        (
            lambda: ENSEMBLE.train([Recipe(), Recipe(momentum=0)] * 2, 0),
            "recipes must agree in all but lr within an ens",
        ),
        (
            lambda: ENSEMBLE.train(Recipe(eval_every_steps=1, patience=2), 0),
            "patience must be None in an ensemble, got 2",
        ),
        (
            lambda: ENSEMBLE.train(Recipe(eval_every_steps=1), 0, eval_splits=["test"]),
            "eval_splits must be one of train, v",
        ),
        (lambda: ENSEMBLE.evaluate("test"), "split must be one of train, validation, got 'test'"),
        (lambda: evaluate_masks(OBJECTIVE, THETAS[0], MASKS[0]), r"masks must be bool of shape \(N, D=391\)"),
        (lambda: evaluate_masks(OBJECTIVE, THETAS, MASKS), r"theta must have shape \(391,\), got \(4, 391\)"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(12, 12), nn.BatchNorm1d(12), nn.Linear(12, 3)),
        nn.Sequential(nn.Linear(12, 12), nn.Dropout(), nn.Linear(12, 3)),
        nn.Sequential(nn.Linear(12, 12), nn.Flatten(), nn.Linear(12, 3)),
        nn.Sequential(TWICE, nn.ReLU(), TWICE, nn.Linear(12, 3)),
        nn.Sequential(nn.Linear(12, 12).requires_grad_(False), nn.Linear(12, 3)),
        nn.Sequential(nn.Sequential(nn.Linear(12, 3))),
        nn.Linear(12, 3),
    ],
)
def test_other_architectures_are_refused(model):
    objective = make(network=model)[0]
    theta = objective.theta_0
    mask = torch.ones(1, objective.D, dtype=torch.bool)
    with pytest.raises(InputError, match=r"objective.model must be an nn.Sequential of linear layers and elementwise"):
        SparseEnsemble(objective, theta, mask)
    (found,) = evaluate_masks(objective, theta, mask, "validation")
    assert found.loss == objective.evaluate(theta, "validation").loss

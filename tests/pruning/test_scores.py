"""Every score against its definition in float64, written out slowly; larger = keep."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from workbench.coordinates import Full
from workbench.errors import InputError
from workbench.layout import Point
from workbench.models import CharTransformer, lenet, mlp, small_cnn
from workbench.objective import Supervised
from workbench.pruning import prunable, select
from workbench.pruning.scores import (
    SCORES,
    Movement,
    filters,
    fisher,
    fisher_diagonal,
    gradient_times_weight,
    grasp,
    score,
    snip,
    synflow,
    synflow_mask,
    taylor,
    wanda,
)
from workbench.recipes import Recipe
from workbench.training import train


def problem(kind, n=12, dtype=torch.float64):
    """Build a small network with data; biases, norms and running statistics away from their start."""
    x, y = torch.randn(n, 1, 8, 8), torch.randint(0, 3, (n,))
    networks = {
        "mlp": lambda: mlp([64, 6, 5, 3]),
        "lenet": lambda: lenet(8, 3),
        "small_cnn": lambda: small_cnn(3, width=2),
    }
    if kind == "transformer":
        x = y = torch.randint(0, 7, (n, 5))
        networks[kind] = lambda: CharTransformer(vocabulary=7, context=5, width=8, n_layers=2, n_heads=2)
    network = networks[kind]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.add_(0.3 * torch.rand_like(buffer))
    return Supervised(network, (x, y), dtype=dtype)


KINDS = ("mlp", "lenet", "small_cnn", "transformer")


def weights(objective, name="weight"):
    return [e for e in objective.layout.entries if e.role == name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCORES)
def test_every_score_ranks_every_network_and_leaves_it_as_it_was(kind, name):
    objective = problem(kind, dtype=torch.float32)
    theta = objective.theta_0 * 1.1
    before = theta.clone(), objective.theta.clone(), objective.grad.clone(), objective.buffers()
    found = score(name, objective, theta)
    assert found.shape == (objective.D,)
    assert torch.equal(found, score(name, objective, theta))
    marked = prunable(objective.layout)
    mask = select(found, 0.25, prunable=marked, layout=objective.layout, min_per_layer=1)
    assert found[mask & marked].min() < found[mask & marked].max()
    for entry in weights(objective):
        assert objective.layout.views(found)[entry.name].abs().sum() > 0, entry.name
    after = theta, objective.theta, objective.grad, objective.buffers()
    for one, other in zip(before[:3], after[:3], strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(value, after[3][key]) for key, value in before[3].items())


def test_an_unknown_score_is_refused_by_name():
    objective = problem("mlp")
    with pytest.raises(InputError, match=r"^score must be one of magnitude, random, snip, .*, got 'snap'$"):
        score("snap", objective, objective.theta_0)
    with pytest.raises(InputError, match=r"^norm must be one of l1, l2, got 'l3'$"):
        filters(objective, objective.theta_0, "l3")
    with pytest.raises(InputError, match=r"^n_examples must be in 1\.\.12, got 13$"):
        snip(objective, objective.theta_0, 13)
    with pytest.raises(InputError, match=r"^theta must have shape"):
        gradient_times_weight(objective, objective.theta_0[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_snip_against_finite_differences(kind):
    objective = problem(kind)
    theta, step, entries = objective.theta_0, 1e-6, torch.randperm(objective.D)[:60]
    change = []
    for i in entries:  # of a switch c_i on theta_i, at c = 1
        ends = [theta.index_fill(0, i, float(theta[i] * (1 + sign * step))) for sign in (1, -1)]
        change.append(abs(objective.loss(ends[0]) - objective.loss(ends[1])) / (2 * step))
    expected = torch.tensor(change, dtype=torch.float64)
    product = gradient_times_weight(objective, theta)
    torch.testing.assert_close(product[entries], expected, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(snip(objective, theta), product / product.sum())
    assert snip(objective, theta).sum() == pytest.approx(1)


def test_a_batch_is_drawn_by_seed():
    objective = problem("mlp")
    one, same, other = (snip(objective, objective.theta_0, 4, seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    torch.testing.assert_close(snip(objective, objective.theta_0, 12), snip(objective, objective.theta_0))
    assert snip(objective, torch.zeros(objective.D, dtype=torch.float64)).sum() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_grasp_against_an_explicit_hessian(kind):
    small = {
        "mlp": mlp([64, 2, 3]),
        "small_cnn": small_cnn(3, width=1),
        "lenet": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)),
    }
    objective = problem(kind, n=5)
    if kind in small:
        objective = Supervised(small[kind], (torch.randn(5, 1, 8, 8), torch.randint(0, 3, (5,))), dtype=torch.float64)
    else:
        network = CharTransformer(vocabulary=4, context=3, width=2, n_layers=1, n_heads=1)
        tokens = torch.randint(0, 4, (5, 3))
        objective = Supervised(network, (tokens, tokens), dtype=torch.float64)
    theta = objective.theta_0 + 0.1 * torch.randn(objective.D, dtype=torch.float64)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(objective, theta)
    expected = theta * (hessian @ objective.gradient(theta))
    torch.testing.assert_close(grasp(objective, theta), expected, rtol=1e-8, atol=1e-10)


def test_grasp_keeps_what_the_gradient_needs():
    # loss (w1^2 + 3 w2^2) / 2 by squared errors: g = (w1, 3 w2), H g = (w1, 9 w2)
    x = torch.diag(torch.tensor([1.0, 3.0**0.5], dtype=torch.float64))
    objective = Supervised(nn.Linear(2, 1, bias=False), (x, torch.zeros(2)), loss="squared_error", dtype=torch.float64)
    theta = torch.tensor([2.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(grasp(objective, theta), torch.tensor([4.0, 9.0], dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_fisher_against_a_loop_over_examples(kind):
    objective = problem(kind, n=7)
    theta = objective.theta_0
    x, y = objective.train_batch(None)
    singles = [Supervised(objective.model, (x[i : i + 1], y[i : i + 1]), dtype=torch.float64) for i in range(7)]
    squares = torch.stack([single.gradient(theta).square() for single in singles])
    torch.testing.assert_close(fisher_diagonal(objective, theta), squares.mean(0))
    torch.testing.assert_close(fisher(objective, theta), squares.mean(0) * theta.square() / 2)


def test_fisher_does_not_depend_on_how_many_examples_pass_at_once(monkeypatch):
    objective = problem("mlp")
    expected = fisher_diagonal(objective, objective.theta_0)
    monkeypatch.setattr("workbench.pruning.examples._AT_ONCE", 5 * objective.D)
    torch.testing.assert_close(fisher_diagonal(objective, objective.theta_0), expected)


def test_wanda_by_hand():
    x = torch.tensor([[3.0, 0.0], [4.0, 2.0]])
    objective = Supervised(nn.Linear(2, 2), (x, torch.zeros(2, dtype=torch.long)))
    theta = torch.tensor([1.0, -1.0, 2.0, 0.5, 9.0, 9.0])  # column norms 5 and 2; biases multiply no input
    torch.testing.assert_close(wanda(objective, theta), torch.tensor([5.0, 2.0, 10.0, 1.0, 0.0, 0.0]))


@pytest.mark.parametrize("settings", [{"padding": 1}, {"stride": 2}, {"groups": 2}, {"padding": 1, "dilation": 2}])
def test_wanda_of_a_convolution_against_unfolded_patches(settings):
    convolution = nn.Conv2d(2, 4, 3, bias=False, **settings)
    x = torch.randn(5, 2, 8, 8, dtype=torch.float64)
    network = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    objective = Supervised(network, (x, torch.zeros(5, dtype=torch.long)), dtype=torch.float64, chunk_size=2)
    settings = {key: value for key, value in settings.items() if key != "groups"}
    norms = F.unfold(x, 3, **settings).square().sum((0, 2)).sqrt().view(2, 3, 3)
    if convolution.groups == 2:
        norms = norms.repeat_interleave(2, 0)[:, None]
    expected = (objective.layout.views(objective.theta_0)["0.weight"].abs() * norms).flatten()
    torch.testing.assert_close(wanda(objective, objective.theta_0), expected)


def test_wanda_sees_the_inputs_of_attention_and_of_tied_tables():
    objective = problem("transformer")
    inputs = {}
    block = objective.model.blocks[0]
    block.linear1.register_forward_pre_hook(lambda _, args: inputs.update(linear1=args[0]))
    block.self_attn.register_forward_pre_hook(lambda _, args: inputs.update(attention=args[0]))
    objective.model.norm.register_forward_hook(lambda *args: inputs.update(head=args[2]))
    objective.logits(objective.theta_0, "train")
    found = objective.layout.views(wanda(objective, objective.theta_0))
    values = objective.layout.views(objective.theta_0)
    for name, key in (
        ("blocks.0.linear1.weight", "linear1"),
        ("blocks.0.self_attn.in_proj_weight", "attention"),
        ("token.weight", "head"),
    ):
        torch.testing.assert_close(found[name], values[name].abs() * inputs[key].flatten(0, 1).norm(dim=0))


def test_filters_by_hand():
    objective = Supervised(nn.Linear(2, 2), (torch.ones(1, 2), torch.zeros(1, dtype=torch.long)))
    theta = torch.tensor([3.0, -4.0, 1.0, 0.0, 7.0, 7.0])
    assert filters(objective, theta).tolist() == [7, 7, 1, 1, 0, 0]
    assert filters(objective, theta, "l2").tolist() == [5, 5, 1, 1, 0, 0]


def test_taylor_by_hand():
    # squared error (w . x)^2 of two examples: g = 2 (w . x) x, sum_s g_s w_s = 2 (w . x)^2
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    objective = Supervised(nn.Linear(2, 1, bias=False), (x, torch.zeros(2)), loss="squared_error")
    theta = torch.tensor([1.0, 2.0])  # w . x = 1 and 3: (2^2 + 18^2) / 2
    assert taylor(objective, theta).tolist() == [164, 164]


@pytest.mark.parametrize("kind", ["lenet", "small_cnn"])
def test_taylor_is_the_derivative_of_a_gate(kind):
    objective = problem(kind, n=4)
    theta, first = objective.theta_0, objective.layout.entries[0]
    found = objective.layout.views(taylor(objective, theta))["0.weight"]
    assert torch.equal(found, found[:, :1, :1, :1].expand_as(found))
    for unit in range(2):
        ends = []
        for sign in (1, -1):
            moved = theta.clone()
            objective.layout.views(moved)[first.name][unit] *= 1 + sign * 1e-6
            ends.append(objective.per_example_loss(moved))
        expected = ((ends[0] - ends[1]) / 2e-6).square().mean()
        torch.testing.assert_close(found[unit, 0, 0, 0], expected, rtol=1e-4, atol=1e-12)


def test_movement_adds_up_over_a_training():
    objective = problem("mlp", dtype=torch.float64)
    recipe = Recipe(n_steps=3, batch_size=None, optimizer="sgd", lr=0.1, momentum=0.0, schedule="constant")
    movement = Movement(Full(objective.theta_0))
    history = train(objective, movement, recipe, seed=0, eval_splits=())
    theta, expected = objective.theta_0.clone(), torch.zeros(objective.D, dtype=torch.float64)
    for _ in range(3):
        g = objective.gradient(theta)
        expected -= theta * g
        theta -= 0.1 * g
    torch.testing.assert_close(movement.scores, expected)
    torch.testing.assert_close(history.point(movement).theta, theta)
    again = copy.deepcopy(movement)
    train(objective, again, recipe, seed=0, eval_splits=())  # begins anew
    assert torch.equal(again.scores, movement.scores)


# --- SynFlow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mlp", "lenet", "small_cnn"])
def test_synflow_conserves_the_sum_of_every_layer_whatever_biases_and_shifts(kind):
    objective = problem(kind, dtype=torch.float32)
    found = synflow(objective, objective.theta_0)
    assert found.dtype == torch.float64
    sums = [objective.layout.views(found)[e.name].sum() for e in weights(objective)]
    torch.testing.assert_close(torch.stack(sums), sums[0].expand(len(sums)), rtol=1e-12, atol=0.0)
    assert found.min() >= 0
    shifts = [objective.layout.views(found)[e.name] for e in objective.layout.entries if e.name.endswith("bias")]
    assert all((shift == 0).all() for shift in shifts)


def test_synflow_of_a_linear_chain_by_hand():
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    objective = Supervised(network, (torch.ones(1, 2), torch.zeros(1)), loss="squared_error")
    theta = torch.tensor([1.0, -2.0, 3.0, 4.0, 9.0, 9.0, -5.0, 0.5, 9.0])
    # |w2| (|w1| 1): paths 1*5, 2*5, 3*.5, 4*.5; second layer 3*5, 7*.5
    expected = [5, 10, 1.5, 2, 0, 0, 15, 3.5, 0]
    assert synflow(objective, theta).tolist() == expected
    mask = torch.tensor([1, 0, 1, 1, 1, 1, 1, 1, 1], dtype=torch.bool)
    assert synflow(objective, theta, mask).tolist() == [5, 0, 1.5, 2, 0, 0, 5, 3.5, 0]


def test_synflow_empties_no_layer_at_depth():
    network = mlp([100] * 21 + [10])
    for module in network:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, 5**0.5)  # as torch does, with biases that are not zero
            nn.init.uniform_(module.bias, -0.1, 0.1)
    objective = Supervised(network, (torch.randn(1, 100), torch.zeros(1, dtype=torch.long)))
    marked = prunable(objective.layout)
    mask = synflow_mask(objective, objective.theta_0, 0.01, prunable=marked)
    assert int((mask & marked).sum()) == round(0.01 * int(marked.sum()))
    assert all(objective.layout.views(mask)[e.name].any() for e in weights(objective))
    assert synflow(objective, objective.theta_0, mask).sum() > 0  # a path from an input to an output is left


def test_synflow_rounds_are_those_of_select():
    objective = problem("lenet")
    marked, mask = prunable(objective.layout), None
    for i in range(1, 6):
        scores = synflow(objective, objective.theta_0, mask)
        mask = select(scores, 0.1 ** (i / 5), prunable=marked, layout=objective.layout, within=mask)
    assert torch.equal(synflow_mask(objective, objective.theta_0, 0.1, prunable=marked, n_rounds=5), mask)


def test_synflow_stays_finite_where_float32_does_not_and_says_where_float64_does_not():
    x, y = torch.randn(1, 300), torch.zeros(1, dtype=torch.long)
    deep = Supervised(mlp([300] * 61), (x, y))
    assert synflow(deep, deep.theta_0).max() > 1e38  # float32 ends at 3.4e38
    assert synflow(deep, deep.theta_0).isfinite().all()
    with pytest.raises(
        InputError, match=r"theta must have a flow that float64 can hold, got (inf|nan); make the network"
    ):
        synflow_mask(deep, deep.theta_0 * 1e5, 0.5, prunable=prunable(deep.layout))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_rounds": 0}, "n_rounds must be a positive integer, got 0"),
        ({"density": 0}, "density must be in (0, 1], got 0; it is the kept share"),
        ({"density": -0.5}, "density must be in (0, 1], got -0.5; it is the kept share"),
        ({"prunable": torch.ones(3) > 0}, "prunable must have shape (443,), got (3,)"),
    ],
)
def test_synflow_refuses(changes, message):
    objective = problem("mlp")
    arguments = {"density": 0.5, "prunable": prunable(objective.layout)} | changes
    with pytest.raises(InputError) as refused:
        synflow_mask(objective, objective.theta_0, **arguments)
    assert str(refused.value) == message


def test_fisher_of_sampled_labels_is_that_of_the_networks_own_distribution():
    model, x, y = (
        mlp([4, 3]),
        torch.randn(4000, 4, generator=torch.Generator().manual_seed(0)),
        torch.zeros(4000).long(),
    )
    objective = Supervised(model, (x, y), dtype=torch.float64)
    theta = objective.theta_0
    p = objective.logits(theta, "train").softmax(-1)
    wanted = ((p - p.square()).T @ x.double().square() / len(x)).flatten()  # of (p_c - [c = label]) x_i, squared
    found = fisher_diagonal(objective, theta, labels="sampled")[:12]
    torch.testing.assert_close(found, wanted, rtol=0.15, atol=0)
    assert torch.equal(found, fisher_diagonal(objective, theta, labels="sampled")[:12])
    assert (fisher_diagonal(objective, theta)[:12] / wanted - 1).abs().max() > 0.5
    assert torch.equal(fisher_diagonal(objective, Point(theta, {})), fisher_diagonal(objective, theta))
    line = Supervised(mlp([4, 1]), (x, x[:, :1]), loss="squared_error")
    with pytest.raises(InputError, match="labels can be sampled from a classifier only, got 'sampled'"):
        fisher_diagonal(line, line.theta_0, labels="sampled")

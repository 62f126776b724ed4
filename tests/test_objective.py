"""A point in, loss and gradient out: against plain PyTorch, in float64, with everything left as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SubsetRandomSampler, TensorDataset

from workbench import models
from workbench.errors import InputError
from workbench.layout import layout_of
from workbench.objective import Supervised
from workbench.seeds import generator


def data(n=30, shape=(6,), n_classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=g), torch.randint(0, n_classes, (n,), generator=g)


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


def test_layout_follows_named_parameters_and_names_roles():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3), nn.Embedding(4, 2))
    layout = layout_of(network)
    assert [e.name for e in layout.entries] == [name for name, _ in network.named_parameters()]
    assert [e.role for e in layout.entries] == ["weight", "bias", "norm", "norm", "weight", "bias", "embedding"]
    assert sum(p.numel() for p in network.parameters()) == layout.D
    assert layout.entries[1].offset == layout.entries[0].size


def test_tied_parameters_count_once_and_stay_tied():
    network = models.CharTransformer(vocabulary=7, context=5, width=8, n_layers=1, n_heads=2)
    tokens = torch.randint(0, 7, (4, 5), generator=torch.Generator().manual_seed(0))
    objective = Supervised(network, (tokens, tokens))
    assert sum(p.numel() for p in network.parameters()) == objective.D
    theta = objective.theta_0 + 0.1
    objective.set_point(theta)
    assert objective.model.head.weight is objective.model.token.weight
    tied = objective.module_at(theta)
    assert tied.head.weight is tied.token.weight
    # the gradient of a tied tensor is the sum over both uses
    reference = copy.deepcopy(tied)
    F.cross_entropy(reference(tokens).flatten(0, 1), tokens.flatten()).backward()
    torch.testing.assert_close(objective.gradient(theta), flat(p.grad for p in reference.parameters()))


def test_frozen_parameters_are_not_in_theta():
    network = models.mlp([6, 4, 3])
    network[1].weight.requires_grad_(False)
    assert Supervised(network, data()).D == 4 + 15
    with pytest.raises(InputError, match="at least one trainable parameter"):
        layout_of(network.requires_grad_(False))


@pytest.mark.parametrize("kind", ["mlp", "lenet", "small_cnn"])
def test_loss_and_gradient_equal_plain_torch_in_float64(kind):
    network = {"mlp": models.mlp([64, 5, 3]), "lenet": models.lenet(8, 3), "small_cnn": models.small_cnn(3, width=2)}[
        kind
    ]
    x, y = data(shape=(1, 8, 8))
    objective = Supervised(network, (x, y), dtype=torch.float64, chunk_size=7)
    reference = copy.deepcopy(network).double().eval()
    loss = F.cross_entropy(reference(x.double()), y)
    loss.backward()
    expected = flat(p.grad for p in reference.parameters())
    theta = objective.theta_0
    assert objective.loss(theta) == pytest.approx(loss.item(), abs=1e-12)
    torch.testing.assert_close(objective.gradient(theta), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(objective.logits(theta, "train"), reference(x.double()).detach())
    leaf = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(leaf), leaf)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


def test_the_training_gradient_equals_plain_torch_in_training_mode():
    network, (x, y) = models.small_cnn(3, width=2), data(shape=(1, 8, 8))
    objective = Supervised(network, (x, y), dtype=torch.float64)
    reference = copy.deepcopy(network).double().train()
    loss = F.cross_entropy(reference(x.double()[:9]), y[:9])
    loss.backward()
    assert objective.backward(*objective.train_batch(torch.arange(9))) == pytest.approx(loss.item())
    torch.testing.assert_close(objective.grad, flat(p.grad for p in reference.parameters()))
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(objective.buffers()[name], buffer)


def test_differentiable_to_second_order():
    objective = Supervised(models.mlp([6, 2, 3]), data(8), dtype=torch.float64)
    theta = objective.theta_0 + 0.05
    assert torch.autograd.gradgradcheck(objective, (theta.requires_grad_(),))


def test_measuring_leaves_everything_as_it_was():
    network = nn.Sequential(models.small_cnn(3, width=2), nn.Dropout(0.5))
    objective = Supervised(network, data(shape=(1, 8, 8)), test=data(shape=(1, 8, 8), seed=1))
    objective.backward(*objective.train_batch(torch.arange(5)))
    before = (objective.theta.clone(), objective.grad.clone(), objective.buffers(), objective.model.training)
    generator_state = torch.get_rng_state()
    theta = objective.theta_0 + 1
    first = objective.evaluate(theta)
    for measure in (objective.logits, objective.loss, objective.per_example_loss, objective.gradient):
        measure(theta)
    objective.recalibrated(theta)
    assert objective.evaluate(theta).loss == first.loss  # dropout is off and statistics are stored
    assert torch.equal(objective.theta, before[0])
    assert torch.equal(objective.grad, before[1])
    assert all(torch.equal(v, before[2][k]) for k, v in objective.buffers().items())
    assert objective.model.training is before[3]
    assert torch.equal(torch.get_rng_state(), generator_state)
    given = dict(network.named_parameters())
    assert all(p.grad is None for p in given.values())  # the caller's model was never touched


def test_statistics_are_recalibrated_at_theta():
    x, y = data(40, (1, 8, 8))
    objective = Supervised(models.small_cnn(3, width=2), (x, y), dtype=torch.float64)
    theta = objective.theta_0 * 1.5
    point = objective.recalibrated(theta)
    first = objective.module_at(theta)[0](x.double())
    torch.testing.assert_close(point.buffers["1.running_mean"], first.mean((0, 2, 3)).detach())
    torch.testing.assert_close(point.buffers["1.running_var"], first.var((0, 2, 3)).detach())
    stored, moved = objective.loss(theta), objective.loss(theta, batch_stats="recalibrated")
    assert moved == pytest.approx(objective.loss(point))
    assert abs(stored - moved) > 1e-3


def test_evaluation_counts_and_r2():
    x, y = data(9)
    objective = Supervised(models.mlp([6, 3]), (x, y))
    found = objective.evaluate(objective.theta_0, "train")
    expected = (objective.logits(objective.theta_0, "train").argmax(1) == y).numpy()
    assert np.array_equal(found.correct, expected)
    assert found.metric == expected.mean()
    line = nn.Linear(2, 1)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = (x @ torch.tensor([1.0, 2.0], dtype=torch.float64)) + 3
    regression = Supervised(line, (x, exact), loss="squared_error", dtype=torch.float64)
    assert regression.evaluate(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), "train").metric == pytest.approx(1)
    mean_only = torch.tensor([0.0, 0.0, exact.mean().item()], dtype=torch.float64)
    assert regression.evaluate(mean_only, "train").metric == pytest.approx(0)


def test_minibatches_depend_on_seed_and_epoch_only():
    objective = Supervised(models.mlp([6, 3]), data(10))
    stream = objective.minibatches(0, 3)
    first = [next(stream) for _ in range(7)]
    torch.rand(5), np.random.default_rng().random()  # other randomness in between changes nothing
    assert len(torch.cat(first[:3]).unique()) == 9  # an epoch repeats no example
    for start in range(7):
        assert torch.equal(next(objective.minibatches(0, 3, start)), first[start])
    assert not torch.equal(torch.cat(first[:3]), torch.cat(first[3:6]))
    assert not torch.equal(next(objective.minibatches(1, 3)), first[0])
    assert next(objective.minibatches(0, None)) is None
    order = torch.from_numpy(generator(0, "minibatches", 0).permutation(10))  # a stream of its own, named for ever
    assert torch.equal(torch.cat(first[:3]), order[:9])


def test_a_users_dataloader_works_like_tensors():
    x, y = data(12)
    loader = DataLoader(TensorDataset(x, y), batch_size=5, shuffle=True)
    ours, theirs = Supervised(models.mlp([6, 3]), (x, y)), Supervised(models.mlp([6, 3]), loader)
    assert ours.loss(ours.theta_0) == theirs.loss(theirs.theta_0)
    index = torch.tensor([3, 1, 7])
    assert all(torch.equal(a, b) for a, b in zip(ours.train_batch(index), theirs.train_batch(index), strict=True))

    class Stream(IterableDataset):
        def __iter__(self):
            yield x[0], y[0]

    with pytest.raises(InputError, match="must be map-style"):
        Supervised(models.mlp([6, 3]), DataLoader(Stream()))


def test_a_custom_loss_is_per_example():
    x, y = data(5)
    objective = Supervised(models.mlp([6, 3]), (x, y), loss=lambda out, t: F.cross_entropy(out, t, reduction="none"))
    plain = Supervised(models.mlp([6, 3]), (x, y))
    assert objective.loss(plain.theta_0) == pytest.approx(plain.loss(plain.theta_0))


def test_targets_and_outputs_of_unlike_shapes_never_broadcast():
    x, y = data(30)
    column, plain = Supervised(models.mlp([6, 3]), (x, y[:, None])), Supervised(models.mlp([6, 3]), (x, y))
    assert column.evaluate(column.theta_0, "train").metric == plain.evaluate(plain.theta_0, "train").metric
    line = Supervised(nn.Linear(6, 1), (x, torch.ones(30, 3)), loss="squared_error")
    with pytest.raises(RuntimeError, match="invalid for input of size 30"):
        line.loss(line.theta_0)
    single = Supervised(nn.Linear(6, 1), (x, y.float()), loss="squared_error", metric="accuracy")
    with pytest.raises(InputError, match=r"metric of accuracy needs one output per class, got \(30, 1\)"):
        single.evaluate(single.theta_0, "train")


def test_a_loss_that_is_already_averaged_is_refused():
    objective = Supervised(models.mlp([6, 3]), data(), loss=F.cross_entropy)
    theta = objective.theta_0
    for measure in (objective.loss, objective.gradient, objective):
        with pytest.raises(InputError, match=r"loss must return one value per example, got \(\)"):
            measure(theta)
    with pytest.raises(InputError, match="loss must return one value per example"):
        objective.backward(*objective.train_batch(None))


def test_statistics_are_recalibrated_on_chunks_of_equal_size():
    network, (x, y) = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)), data(31)
    objective = Supervised(network, (x, y), chunk_size=30, dtype=torch.float64)  # no chunk of a single example
    point = objective.recalibrated(objective.theta_0)
    halves = torch.stack([part.double().mean(0) for part in (x[:16], x[16:])])
    torch.testing.assert_close(point.buffers["0.running_mean"], halves.mean(0))
    one = Supervised(network, (x[:1], y[:1]))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        one.recalibrated(one.theta_0)
    assert one.model[0].momentum == network[0].momentum  # a failure changes nothing either


class Counter(nn.Module):
    """Replaces its buffer instead of writing to it; one layer is never used."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(6, 3), nn.Linear(2, 2)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls = self.calls + 1
        return self.used(x)


def test_replaced_buffers_are_followed_and_unused_parameters_have_no_gradient():
    objective = Supervised(Counter(), data())
    objective.backward(*objective.train_batch(None))
    assert objective.buffers()["calls"] == 1
    objective.loss(objective.theta_0)
    assert objective.buffers()["calls"] == 1
    assert objective.grad[:21].any()
    assert not objective.grad[21:].any()


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": SubsetRandomSampler([0, 1])},
        {"sampler": RandomSampler(range(12), replacement=True)},
        {"batch_size": None},
    ],
)
def test_a_dataloader_whose_sampler_chooses_examples_is_refused(options):
    loader = DataLoader(TensorDataset(*data(12)), **options)
    with pytest.raises(InputError, match=r"data must not have a sampler of its own, got .*; select examples with"):
        Supervised(models.mlp([6, 3]), loader)


def test_bad_arguments_are_refused():
    network, good = models.mlp([6, 3]), data()
    with pytest.raises(InputError, match="loss must be one of cross_entropy, squared_error, got 'hinge'"):
        Supervised(network, good, loss="hinge")
    with pytest.raises(InputError, match="data must hold as many targets as inputs"):
        Supervised(network, (good[0], good[1][:3]))
    with pytest.raises(InputError, match=r"theta must have shape \(21,\), got \(3,\)"):
        Supervised(network, good).set_point(torch.zeros(3))
    objective = Supervised(network, good)
    with pytest.raises(InputError, match="theta must have shape"):
        objective.set_point(objective.theta[:3])
    with pytest.raises(InputError, match="split must be one of train, got 'test'"):
        Supervised(network, good).loss(torch.zeros(21), "test")
    with pytest.raises(InputError, match="batch_stats must be one of"):
        Supervised(network, good).loss(torch.zeros(21), batch_stats="fresh")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_follows_the_data():
    here, there = (Supervised(models.mlp([6, 3]), data(), device=d) for d in ("cpu", "cuda"))
    assert there.loss(there.theta_0) == pytest.approx(here.loss(here.theta_0), rel=1e-5)

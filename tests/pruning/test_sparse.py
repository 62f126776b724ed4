"""Sparse execution: equal to the masked dense network, chosen by density or by measurement, without torch's notice."""

import copy

import pytest
import torch
from torch import nn

from workbench import models
from workbench.errors import InputError
from workbench.layout import layout_of
from workbench.pruning.sparse import Pattern, SparseLinear, density, latency, sparsify


def masked(module, share):
    """Return a mask that keeps about a share of the weights, and the dense network under it, made by hand."""
    mask = torch.rand(layout_of(module).D) < share
    dense = copy.deepcopy(module).eval()
    for name, kept in layout_of(module).views(mask).items():
        dense.get_parameter(name).data *= kept
    return mask, dense


NETWORKS = {
    "mlp": (lambda: models.mlp([30, 20, 10]), (7, 30)),
    "lenet": (lambda: models.lenet(side=8), (20, 1, 8, 8)),
    "batch norm": (lambda: models.small_cnn(), (5, 1, 8, 8)),
    "transformer": (lambda: models.CharTransformer(vocabulary=9, context=6, width=8, n_layers=2, n_heads=2), (4, 6)),
    "one layer": (lambda: nn.Linear(12, 5, bias=False), (2, 3, 12)),
}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_masked_dense_network(name, share):
    make, shape = NETWORKS[name]
    network = make()
    before = copy.deepcopy(network.state_dict())
    x = torch.randint(0, 9, shape) if name == "transformer" else torch.randn(shape)
    mask, dense = masked(network, share)
    sparse = sparsify(network, mask, below=1.0)
    assert any(isinstance(module, SparseLinear) for module in sparse.modules())
    for examples in (x, x[:1], torch.cat([x] * 20)):  # both kernels
        with torch.no_grad():
            torch.testing.assert_close(sparse(examples), dense(examples), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


def test_only_layers_below_the_density_become_sparse():
    network = models.mlp([40, 30, 20])
    layout = layout_of(network)
    mask = torch.ones(layout.D, dtype=torch.bool)
    parts = layout.views(mask)
    parts["1.weight"].view(-1)[240:] = False  # 240 of 1,200 kept: 20 %, which is not below
    parts["3.weight"].view(-1)[119:] = False  # 119 of 600
    assert [type(layer) for layer in sparsify(network, mask, below=0.2)][1::2] == [nn.Linear, SparseLinear]
    assert [type(layer) for layer in sparsify(network, mask, layers=["1"])][1::2] == [SparseLinear, nn.Linear]
    assert density(parts["3.weight"]) == 119 / 600
    assert not sparsify(network.train(), mask).training
    assert network.training


def test_a_nan_that_is_kept_stays():
    linear = nn.Linear(4, 2)
    linear.weight.data[0, 1] = torch.nan
    mask = torch.ones(10, dtype=torch.bool)
    assert sparsify(linear, mask, below=1, layers=[""])(torch.ones(1, 4)).isnan().tolist() == [[True, False]]
    mask[1] = False
    assert not sparsify(linear, mask, layers=[""])(torch.ones(1, 4)).isnan().any()


@pytest.mark.parametrize("n_kept", [0, 1, 30])
def test_products_and_their_gradients(n_kept):
    dense = torch.zeros(60, dtype=torch.float64)
    dense[torch.randperm(60)[:n_kept]] = torch.randn(n_kept, dtype=torch.float64)
    dense = dense.view(6, 10)
    rows, columns = dense.nonzero(as_tuple=True)
    values, x = dense[rows, columns].requires_grad_(), torch.randn(10, 16, dtype=torch.float64, requires_grad=True)
    pattern = Pattern(rows, columns, (6, 10), torch.float64)
    torch.testing.assert_close(pattern(values, x), dense @ x)
    grad = torch.randn(6, 16, dtype=torch.float64)
    got = torch.autograd.grad(pattern(values, x), (values, x), grad)
    torch.testing.assert_close(got, ((grad @ x.detach().T)[rows, columns], dense.T @ grad))


def test_latency_says_what_was_measured():
    network, x = models.mlp([64, 48, 10]), torch.randn(20, 64)
    mask, dense = masked(network, 0.1)
    found = latency(network, mask, x, n_repeats=3)
    assert [layer["name"] for layer in found.layers] == ["1", "3"]
    assert [layer["shape"] for layer in found.layers] == [(48, 64), (10, 48)]
    assert found.layers[0]["density"] == density(dense[1].weight)
    quick = [layer["name"] for layer in found.layers if layer["sparse_seconds"] < layer["dense_seconds"]]
    assert found.faster == quick
    assert found.speed_up == found.dense_seconds / found.sparse_seconds > 0
    assert min(min(layer["dense_seconds"], layer["sparse_seconds"]) for layer in found.layers) > 0
    torch.testing.assert_close(sparsify(network, mask, layers=found.faster)(x), dense(x), rtol=1e-5, atol=1e-6)


LINEAR, KEPT = nn.Linear(4, 2), torch.ones(10, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sparsify(LINEAR, KEPT[1:]), r"mask must be bool of shape \(10,\), got \(torch.bool, \(9,\)\)"),
        (lambda: sparsify(LINEAR, KEPT.float()), r"mask must be bool of shape \(10,\), got \(torch.float32, \(10,\)\)"),
        (lambda: sparsify(LINEAR, KEPT, below=20), r"below must be in \[0, 1\], got 20"),
        (lambda: sparsify(models.mlp([1, 2]), KEPT[:4], layers=["0"]), "layers must be linear layers: 1, got '0'"),
        (lambda: latency(LINEAR, KEPT, torch.ones(1, 4), n_repeats=0), "n_repeats must be a whole number, at least 1"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(InputError, match=message):
        call()

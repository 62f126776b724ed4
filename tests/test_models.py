"""The networks have the sizes they are known by and depend on their seed alone."""

import pytest
import torch

from workbench import models
from workbench.errors import InputError


def size(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (models.mlp([784, 200, 200, 10]), 199_210),
        (models.lenet(), 44_426),
        (models.lenet(8), 19_754),
        (models.CharTransformer(), 1_258_080),
    ],
)
def test_sizes(network, expected):
    assert size(network) == expected


@pytest.mark.parametrize(
    "make", [lambda s: models.mlp([4, 3], s), lambda s: models.lenet(8, seed=s), lambda s: models.small_cnn(seed=s)]
)
def test_same_seed_same_weights_whatever_else_is_random(make):
    first = make(0)
    torch.manual_seed(123)
    same, other = make(0), make(1)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), same.state_dict().values(), strict=True))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_initial_scales_are_he():
    weights = models.mlp([500, 400, 10])[1].weight
    assert weights.std().item() == pytest.approx((2 / 500) ** 0.5, rel=0.02)
    assert not models.mlp([5, 3])[1].bias.any()
    assert models.CharTransformer().token.weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_the_transformer_is_causal_and_tied():
    network = models.CharTransformer(width=16, n_layers=2, n_heads=2).eval()
    tokens = torch.zeros(1, 6, dtype=torch.long)
    later = tokens.clone()
    later[0, 4] = 3
    difference = (network(tokens) - network(later)).abs().amax((0, 2))
    assert difference[:4].max() == 0
    assert difference[4:].min() > 0
    assert network.head.weight is network.token.weight


def test_a_block_is_pre_norm_attention_and_a_four_fold_relu_layer():
    torch.manual_seed(0)
    block, h = models.CharTransformer(width=8, n_layers=1, n_heads=2).blocks[0].double(), torch.randn(3, 5, 8).double()
    p = {name: torch.nn.init.normal_(tensor) for name, tensor in block.named_parameters()}

    def norm(h, name):
        h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        return h * p[f"{name}.weight"] + p[f"{name}.bias"]

    def heads(x):
        return x.view(3, 5, 2, 4).transpose(1, 2)

    qkv = norm(h, "norm1") @ p["self_attn.in_proj_weight"].T + p["self_attn.in_proj_bias"]
    q, k, v = map(heads, qkv.split(8, dim=-1))
    scores = (q @ k.mT / 4**0.5).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(3, 5, 8)
    middle = h + mixed @ p["self_attn.out_proj.weight"].T + p["self_attn.out_proj.bias"]
    up = (norm(middle, "norm2") @ p["linear1.weight"].T + p["linear1.bias"]).relu()
    expected = middle + up @ p["linear2.weight"].T + p["linear2.bias"]
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    for mode in (block.train(), block.eval()):
        torch.testing.assert_close(mode(h, src_mask=mask, is_causal=True), expected)


def test_bad_sizes_are_refused():
    with pytest.raises(InputError, match="widths must be at least two positive integers"):
        models.mlp([784])
    with pytest.raises(InputError, match="side must be at least 4 pixels, got 2"):
        models.lenet(2)
    with pytest.raises(InputError, match="width must be a multiple of n_heads=4, got 10"):
        models.CharTransformer(width=10)

"""What a mask saves, against counts by hand and torch's own counter of operations."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from workbench.errors import InputError
from workbench.models import CharTransformer, lenet, mlp, small_cnn
from workbench.objective import Supervised
from workbench.pruning import prunable, report, select
from workbench.pruning.scores import magnitude


def image_problem(network, side=28, channels=1):
    return Supervised(network, (torch.randn(2, channels, side, side), torch.zeros(2, dtype=torch.long)))


def everything(objective):
    return report(objective, torch.ones(objective.D, dtype=torch.bool), prunable(objective.layout))


def test_multiply_accumulates_of_lenet_by_hand():
    found = everything(image_problem(lenet()))
    # no padding: 28 -> 24, pooled 12 -> 8, pooled 4
    convolutions = 24 * 24 * 6 * 25 + 8 * 8 * 16 * 6 * 25
    assert found.macs == convolutions + 256 * 120 + 120 * 84 + 84 * 10 == 281_640
    assert found.macs_kept == found.macs
    assert (found.density, found.compression, found.speed_up, found.empty_layers) == (1, 1, 1, ())
    assert found.n_parameters == 44_426


def test_multiply_accumulates_of_a_depthwise_convolution_by_hand():
    network = nn.Sequential(
        nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )
    found = everything(image_problem(network, side=8, channels=32))
    assert found.macs == 8 * 8 * 32 * 9 + 320  # not times 32 input channels


def test_multiply_accumulates_of_a_transposed_convolution_by_hand():
    network = nn.Sequential(nn.ConvTranspose2d(3, 5, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert everything(image_problem(network, side=4, channels=3)).macs == 4 * 4 * 3 * 5 * 4


@pytest.mark.parametrize("kind", ["lenet", "small_cnn", "transformer"])
def test_multiply_accumulates_are_half_of_torchs_operations(kind):
    if kind == "transformer":
        tokens = torch.randint(0, 7, (2, 5))
        objective = Supervised(
            CharTransformer(vocabulary=7, context=5, width=8, n_layers=2, n_heads=2), (tokens, tokens)
        )
    else:
        objective = image_problem({"lenet": lenet(32), "small_cnn": small_cnn()}[kind], side=32)
    with FlopCounterMode(display=False) as counter:
        objective.model.eval()(objective.train_batch(torch.tensor([0]))[0])
    without_parameters = ("bmm", "attention")  # products of two activations
    counted = {str(op): n for op, n in counter.get_flop_counts()["Global"].items()}
    expected = sum(n for op, n in counted.items() if not any(word in op for word in without_parameters)) / 2
    assert everything(objective).macs == expected
    assert expected > 0


def test_a_report_by_hand():
    objective = Supervised(mlp([4, 3, 2]), (torch.randn(2, 4), torch.zeros(2, dtype=torch.long)))
    mask = torch.ones(objective.D, dtype=torch.bool)
    views = objective.layout.views(mask)
    views["1.weight"][:, :2] = False  # 6 of 12 left
    views["3.weight"][:] = False  # none of 6
    found = report(objective, mask, prunable(objective.layout))
    assert (found.n_parameters, found.n_prunable, found.n_kept) == (23, 18, 11)
    assert found.densities == {"1.weight": 0.5, "3.weight": 0}
    assert found.density == 6 / 18
    assert found.compression_of_weights == 3
    assert found.compression == 23 / 11  # biases stay: the two ratios must not be mixed up
    assert found.compression_with_index == 23 * 32 / (11 * 32 + 18)
    assert (found.macs, found.macs_kept, found.speed_up) == (18, 6, 3)
    assert found.empty_layers == ("3.weight",)


def test_a_ratio_to_nothing_is_infinite():
    objective = Supervised(nn.Linear(4, 2, bias=False), (torch.randn(2, 4), torch.zeros(2, dtype=torch.long)))
    found = report(objective, torch.zeros(8, dtype=torch.bool), prunable(objective.layout))
    assert found.compression == found.speed_up == found.compression_of_weights == float("inf")


def test_both_ratios_of_a_sparse_lenet_300_100():
    objective = Supervised(mlp([784, 300, 100, 10]), (torch.randn(1, 784), torch.zeros(1, dtype=torch.long)))
    marked = prunable(objective.layout)
    mask = select(magnitude(objective.theta_0), 0.001, prunable=marked, layout=objective.layout)
    found = report(objective, mask, marked)
    assert found.compression_of_weights == 266_200 / 266
    assert round(found.compression) == 394  # 410 biases stay
    assert found.macs == found.n_prunable == 266_200


def test_tied_weights_count_once_and_multiply_at_every_use():
    tokens = torch.randint(0, 7, (2, 5))
    network = CharTransformer(vocabulary=7, context=5, width=8, n_layers=1, n_heads=2)
    objective = Supervised(network, (tokens, tokens))
    table = prunable(objective.layout, ("embedding",), skip=("position.weight",))
    found = report(objective, ~table, table)
    assert (found.n_prunable, found.n_kept) == (56, objective.D - 56)
    assert found.macs - found.macs_kept == 56 * 5  # as the head, at 5 positions; looking a row up multiplies nothing


@pytest.mark.parametrize("name", ["mask", "prunable"])
def test_a_mask_of_the_wrong_shape_is_refused(name):
    objective = Supervised(mlp([4, 2]), (torch.randn(2, 4), torch.zeros(2, dtype=torch.long)))
    masks = {"mask": torch.ones(10) > 0, "prunable": torch.ones(10) > 0} | {name: torch.ones(9) > 0}
    with pytest.raises(InputError, match=rf"^{name} must be bools of shape \(10,\), got \('torch.bool', \(9,\)\)$"):
        report(objective, **masks)

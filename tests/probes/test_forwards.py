"""Other forms of a forward pass: the numbers and the derivatives, to the third, are those of the modules' own."""

import pytest
import torch
from torch import nn
from torch.autograd import grad

from tests.probes.test_landscape import draw
from workbench.probes.forwards import computing, twice_differentiable

LAYERS = {
    "relu": nn.ReLU(),
    "pool": nn.MaxPool2d((3, 2), (2, 1), padding=(1, 0), dilation=(1, 2), ceil_mode=True),
    "plain": nn.Conv2d(4, 6, 3),
    "uneven": nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 3), groups=2, bias=False),
    "same": nn.Conv2d(4, 3, 3, padding="same"),
    "around": nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"),
}


def derivatives(model, x):
    """Return output, gradients, and second and third derivatives along random vectors."""
    inputs = [x.clone().requires_grad_(), *model.parameters()]
    found = [model(inputs[0])]
    total = (found[0].sin() * draw(2, *found[0].shape)).sum()
    for order in range(3):
        grads = grad(total, inputs, create_graph=True)
        found += grads
        total = sum((g * draw(order, *g.shape)).sum() for g in grads)
    return [each.detach() for each in found]


@pytest.mark.parametrize("name", LAYERS)
def test_derivatives_are_the_same(name):
    model = nn.Sequential(LAYERS[name]).double()
    x = draw(1, 3, 4, 9, 8)
    wanted = derivatives(model, x)
    with computing(twice_differentiable(model)):
        assert "forward" in vars(model[0])
        found = derivatives(model, x)
    assert "forward" not in vars(model[0])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_what_has_a_forward_of_its_own_keeps_it():
    own, several = nn.ReLU(), nn.MaxPool2d(2, return_indices=True)
    own.forward = lambda x: x
    assert not twice_differentiable(nn.Sequential(own, several, nn.GELU()))

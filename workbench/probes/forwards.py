"""Other forms of modules' forward passes: the same numbers, faster to repeat or to differentiate twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Map = Callable[[Tensor], Tensor]
Forwards = dict[nn.Module, Map]


@contextmanager
def computing(forwards: Forwards) -> Iterator[None]:
    """Let modules compute by other functions here."""
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module in forwards:
            del module.__dict__["forward"]


def plain_pools(model: nn.Module) -> Forwards:
    """Compute plain max-pooling as the maximum of strided slices: the same bits in a fraction of the time on a CPU."""

    def pool(x: Tensor, k: int) -> Tensor:
        height, width = (side // k * k for side in x.shape[-2:])
        return reduce(torch.maximum, (x[..., i:height:k, j:width:k] for i in range(k) for j in range(k)))

    sizes = {m: m.kernel_size for m in model.modules() if type(m) is nn.MaxPool2d and isinstance(m.kernel_size, int)}
    usual = "kernel_size={0}, stride={0}, padding=0, dilation=1, ceil_mode=False"
    return {
        m: partial(pool, k=k) for m, k in sizes.items() if m.extra_repr() == usual.format(k) and not m.return_indices
    }


def twice_differentiable(model: nn.Module) -> Forwards:
    """Compute ReLU, max-pooling and convolutions so that their second derivatives cost about what the first do."""
    # the library's own fill and add tensors of zeros, and leave the fast routines for convolutions
    forms = {nn.ReLU: _relu, nn.MaxPool2d: _pool, nn.Conv2d: _convolve}
    free = [m for m in model.modules() if type(m) in forms and "forward" not in vars(m)]
    return {m: partial(forms[type(m)], m) for m in free if not getattr(m, "return_indices", False)}


def _relu(module: Any, x: Tensor) -> Tensor:
    return x * (x.detach() > 0).to(x)


def _pool(module: Any, x: Tensor) -> Tensor:
    """Gather the largest."""
    how = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
    at = F.max_pool2d(x.detach(), *how, return_indices=True)[1]
    return x.flatten(-2).gather(-1, at.flatten(-2)).view_as(at)


def _convolve(module: Any, x: Tensor) -> Tensor:
    if x.ndim != 4 or module.padding_mode != "zeros" or isinstance(module.padding, str):
        return nn.Conv2d.forward(module, x)
    how = module.stride, module.padding, module.dilation, module.groups
    out = _Convolution.apply(2, x, module.weight, (x.shape, module.weight.shape), how)
    return out if module.bias is None else out + module.bias.view(-1, 1, 1)


class _Convolution(torch.autograd.Function):
    """The derivative of <convolution(x, w), y> in one of (x, w, y), given the other two.

    That form is linear in each of the three, so every derivative of such a derivative is again one of them.
    """

    @staticmethod
    def forward(ctx: Any, slot: int, a: Tensor, b: Tensor, shapes: tuple, how: tuple) -> Tensor:
        """Return the derivative in the slot, 0 for x, 1 for w, 2 for y; a and b are the others in their order."""
        ctx.slot, ctx.shapes, ctx.how = slot, shapes, how
        ctx.save_for_backward(a, b)
        if slot == 2:
            return F.conv2d(a, b, None, *how)
        given, y = [a, a], b
        given[slot] = a.new_empty(()).expand(shapes[slot])  # only its shape is read
        mask, (*places, groups) = [slot == 0, slot == 1, False], how
        return torch.ops.aten.convolution_backward(y, *given, None, *places, False, [0, 0], groups, mask)[slot]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Put the gradient into the slot and differentiate in each of the others."""
        given = [*ctx.saved_tensors]
        given.insert(ctx.slot, grads[0])
        found = []
        for slot, needed in zip([s for s in range(3) if s != ctx.slot], ctx.needs_input_grad[1:3], strict=True):
            others = given[:slot] + given[slot + 1 :]
            found.append(_Convolution.apply(slot, *others, ctx.shapes, ctx.how) if needed else None)
        return None, *found, None, None

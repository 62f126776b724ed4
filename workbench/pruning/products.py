"""Every product of an input with parameters that a network computes: where its multiply-accumulates are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.objective import Supervised

_INPUT = {
    torch.ops.aten.mm.default: 0,
    torch.ops.aten.addmm.default: 1,
    torch.ops.aten.convolution.default: 0,
}  # which argument is the input; the parameters follow it


class _Watch(TorchDispatchMode):
    """Show every product with a part of theta; below modules, so that functional calls and attention are seen too."""

    def __init__(self, theta: Tensor, see: Callable[..., None]) -> None:
        super().__init__()
        self.theta, self.see = theta, see

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute, then show."""
        out = func(*args, **(kwargs or {}))
        at = _INPUT.get(func)
        if at is not None:
            offset = (args[at + 1].data_ptr() - self.theta.data_ptr()) // self.theta.element_size()
            if 0 <= offset < len(self.theta):
                self.see(offset, args[at], args[at + 1], out, args[at + 3 :])
        return out


def add_up(objective: Supervised, theta: Tensor, per_product: Callable[..., Tensor | float]) -> Tensor:
    """Sum something over the products that each entry of theta takes part in, on the training split.

    Args:
        objective: Network and examples.
        theta: Parameters, shape ``(D,)``.
        per_product: Of input, parameters, output and the convolution's settings, none for matrices; its result is
            broadcast to the parameters.

    Returns:
        Sums, shape ``(D,)``; 0 for entries in no product with an input, such as biases and norms.
    """
    sums = torch.zeros_like(theta)

    def see(offset: int, x: Tensor, weight: Tensor, *rest: Any) -> None:
        # a matrix may be seen transposed or in part: its strides say where its entries are
        sums.as_strided(weight.shape, weight.stride(), offset).add_(per_product(x, weight, *rest))

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused kernel a block would hide its products
    try:
        with _Watch(objective.theta, see):
            objective.logits(theta, "train")
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return sums

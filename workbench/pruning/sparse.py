"""Sparse execution where it pays: linear layers with few nonzeros multiply by those alone, the others stay dense.

A pruned network that multiplies by its zeros is no faster than before. A product of a compressed sparse row matrix
skips them, but runs at a fraction of the dense product's rate: it pays for layers that are sparse and large enough.
``latency`` measures which ones are.
"""

import copy
import time
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from workbench.errors import is_count, is_number, require
from workbench.layout import layout_of

PAYS_BELOW = 0.2  # density, for 784 x 300 and larger, batches of 60 and more (tests/benchmarks/bench_sparse.py)
_FEW = 16  # columns; below, MKL's product is the faster one


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the sparse matrix of values at ascending rows, without torch's notice that such tensors are in beta."""
    starts = F.pad(torch.bincount(rows, minlength=shape[0]).cumsum(0), (1, 0)).int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(starts, columns.int(), values, shape, check_invariants=False)


def _product(matrix: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """Multiply ``values`` at a matrix's places by x, shape ``(columns, n)``: rows are weighted sums of rows of x."""
    # The kernel of embedding tables takes a half to a third of the time of MKL's product on 16 columns or more;
    # detached, because torch would prepare for a backward pass of its own.
    places, starts, values = matrix.col_indices(), matrix.crow_indices(), values.detach()
    return F.embedding_bag(places, x.detach(), starts, mode="sum", per_sample_weights=values, include_last_offset=True)


class Pattern:
    """The places of a sparse matrix's nonzeros; called with their values, it multiplies, differentiable in both.

    The gradient of the values lives in one buffer, which the next backward pass overwrites: a new one for each pass
    would cost a tenth of a training step.

    Args:
        rows: Row of every nonzero, ascending, shape ``(nnz,)``.
        columns: Column of every nonzero, shape ``(nnz,)``.
        shape: Of the matrix.
        dtype: Of its values.

    Example:
        >>> eye = Pattern(torch.arange(2), torch.arange(2), (2, 2), torch.float32)
        >>> eye(torch.tensor([2.0, 3.0]), torch.ones(2, 1)).tolist()
        [[2.0], [3.0]]
    """

    def __init__(self, rows: Tensor, columns: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> None:
        zeros = torch.zeros(len(rows), dtype=dtype, device=rows.device)
        self.rows, self.columns, self.grad = rows, columns, _csr(rows, columns, zeros, shape)

    @cached_property
    def transposed(self) -> tuple[Tensor, Tensor]:
        """The places of the transposed matrix, and the order of the values there; a first layer needs neither."""
        order = torch.argsort(self.columns, stable=True)
        shape = self.grad.shape[::-1]
        return _csr(self.columns[order], self.rows[order], self.grad.values(), shape), order

    def __call__(self, values: Tensor, x: Tensor) -> Tensor:
        """Multiply the matrix of these values, shape ``(nnz,)``, by x, shape ``(columns, n)``, contiguous."""
        return _Product.apply(values, x, self)


class _Product(Function):
    """S x for a sparse S; the gradient of its values is computed at its nonzeros alone."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, x: Tensor, pattern: Pattern) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(values, x)
        ctx.pattern = pattern
        return _product(pattern.grad, values, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """Return the sampled product grad x' and, where asked for, S' grad."""
        (values, x), own, grad, back = ctx.saved_tensors, ctx.pattern.grad, grad.contiguous(), None
        if ctx.needs_input_grad[1]:
            places, order = ctx.pattern.transposed
            back = _product(places, values[order], grad)
        return torch.sparse.sampled_addmm(own, grad, x.T, beta=0, out=own).values(), back, None


class SparseLinear(nn.Module):
    """A linear layer for inference that multiplies by the nonzeros of its weight alone.

    Args:
        linear: The dense layer; its exact zeros are left out.

    Attributes:
        weight: Compressed sparse rows, shape ``(out_features, in_features)``.
        bias: Shape ``(out_features,)``, or None.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.in_features = linear.weight.shape
        dense = linear.weight.detach()
        rows, columns = dense.nonzero(as_tuple=True)
        self.register_buffer("weight", _csr(rows, columns, dense[rows, columns], dense.shape))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs, shape ``(..., in_features)``, to outputs, shape ``(..., out_features)``."""
        w, columns = self.weight, x.reshape(-1, self.in_features).T.contiguous()
        y = w @ columns if columns.shape[1] < _FEW else _product(w, w.values(), columns)
        y = (y if self.bias is None else y.add_(self.bias[:, None])).T.contiguous()
        return y.view(*x.shape[:-1], self.out_features)


def sparsify(
    module: nn.Module, mask: Tensor, *, below: float = PAYS_BELOW, layers: Sequence[str] | None = None
) -> nn.Module:
    """Return a masked copy of a network for inference, in evaluation mode, its sparse linear layers run as such.

    Args:
        module: Any network; left as it is.
        mask: True = kept, shape ``(D,)``, in the order of the network's layout.
        below: Linear layers of a lower density become sparse, whether large enough to gain by it or not.
        layers: Names of the linear layers to make sparse instead, such as ``latency(...).faster``.

    Returns:
        A network whose outputs are those of the masked dense one, to rounding.

    Raises:
        InputError: If the mask does not fit, ``below`` is not in [0, 1] or a name is no linear layer's.

    Example:
        >>> linear = nn.Linear(8, 4, bias=False)
        >>> type(sparsify(linear, torch.arange(32) % 8 == 0)).__name__  # one kept of eight
        'SparseLinear'
    """
    layout = layout_of(module)
    fits = mask.dtype == torch.bool and mask.shape == (layout.D,)
    require(fits, "mask", f"must be bool of shape ({layout.D},)", (mask.dtype, tuple(mask.shape)))
    require(is_number(below) and 0 <= below <= 1, "below", "must be in [0, 1]", below)
    masked = copy.deepcopy(module).eval().requires_grad_(False)
    for name, kept in layout.views(mask).items():
        parameter = masked.get_parameter(name)
        parameter.copy_(torch.where(kept, parameter, 0))
    linears = _linears(masked)
    if layers is None:
        layers = [name for name, linear in linears.items() if density(linear.weight) < below]
    for name in layers:
        require(name in linears, "layers", f"must be linear layers: {', '.join(linears)}", name)
    root = nn.Sequential(masked)  # so that a network that is one linear layer can be replaced, too
    for name in layers:
        root.set_submodule(f"0.{name}".rstrip("."), SparseLinear(linears[name]))
    for block in root.modules():
        if isinstance(block, nn.TransformerEncoderLayer):
            block.activation_relu_or_gelu = 0  # else torch's fused path reads the weights past their layers
    return next(root.children())


def _linears(module: nn.Module) -> dict[str, nn.Linear]:
    """Return the plain linear layers by name; subclasses are read by others in ways of their own."""
    return {name: layer for name, layer in module.named_modules() if type(layer) is nn.Linear}


def density(weight: Tensor) -> float:
    """Return the share of a tensor's entries that are not zero."""
    return int(weight.count_nonzero()) / weight.numel()


class Latency(NamedTuple):
    """Median seconds of one pass of a whole network: masked dense, and with the ``faster`` layers sparse.

    ``layers`` holds one dict per linear layer: name, shape, density, dense_seconds, sparse_seconds.
    """

    dense_seconds: float
    sparse_seconds: float
    layers: list[dict[str, Any]]
    faster: list[str]

    @property
    def speed_up(self) -> float:
        """The measured speed-up, to be shown beside the theoretical one."""
        return self.dense_seconds / self.sparse_seconds


@torch.no_grad()
def latency(module: nn.Module, mask: Tensor, x: Tensor, *, n_repeats: int = 25) -> Latency:
    """Measure on this machine which linear layers of a masked network gain by sparse execution, and the whole's gain.

    Each layer is timed on the inputs it has when the network is fed ``x``: what pays depends on shape, density and
    number of inputs. Dense and sparse runs alternate, timed by the wall clock.

    Args:
        module: Any network; left as it is.
        mask: True = kept, shape ``(D,)``.
        x: Inputs, with as many examples as the network will be fed at once.
        n_repeats: Runs of each; at least 1.

    Returns:
        The seconds, by layers and in all; ``sparsify(module, mask, layers=result.faster)`` is the network timed.

    Raises:
        InputError: If the mask does not fit or ``n_repeats`` is not a positive whole number.
    """
    require(is_count(n_repeats, 1), "n_repeats", "must be a whole number, at least 1", n_repeats)
    dense, inputs, layers = sparsify(module, mask, layers=()), dict[str, Tensor](), []
    for name, linear in _linears(dense).items():
        linear.register_forward_pre_hook(lambda _, given, name=name: inputs.update({name: given[0]}))
    dense(x)
    dense = sparsify(module, mask, layers=())  # one without hooks
    for name, given in inputs.items():
        linear = _linears(dense)[name]
        seconds = _medians((linear, SparseLinear(linear)), given, n_repeats)
        about: dict[str, Any] = {"name": name, "shape": tuple(linear.weight.shape), "density": density(linear.weight)}
        layers.append(about | dict(zip(("dense_seconds", "sparse_seconds"), seconds, strict=True)))
    faster = [layer["name"] for layer in layers if layer["sparse_seconds"] < layer["dense_seconds"]]
    seconds = _medians((dense, sparsify(module, mask, layers=faster)), x, n_repeats)
    return Latency(seconds[0], seconds[1], layers, faster)


def _medians(modules: tuple[nn.Module, ...], x: Tensor, n_repeats: int) -> list[float]:
    """Return the median seconds of each module on x; the first two rounds warm up."""
    seconds = np.zeros((n_repeats + 2, len(modules)))
    for turn, k in np.ndindex(seconds.shape):
        started = time.perf_counter()
        modules[k](x)
        seconds[turn, k] = time.perf_counter() - started
    return np.median(seconds[2:], axis=0).tolist()

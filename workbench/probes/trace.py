"""The sum of a Hessian's eigenvalues: exact where the network allows it, else estimated."""

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from workbench.errors import is_count, require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.landscape import Landscape, Matrix, Measured, Where
from workbench.seeds import generator

_PLAIN = (nn.Sequential, nn.Flatten, nn.ReLU, nn.LeakyReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Dropout)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_REMEDY = "check the loss there"
_LAYERS = (nn.Linear, nn.Conv2d, *_NORMS)


@dataclass(frozen=True, kw_only=True)
class Trace(Measured):
    """A trace.

    Attributes:
        value: In the loss's unit per squared unit of phi.
        standard_error: Over random vectors; 0 where exact.
        method: ``"exact"``, ``"hutchinson"`` or ``"hutch++"``.
    """

    value: float
    standard_error: float
    method: str


def trace(
    objective: Supervised,
    point: Tensor | Point,
    *,
    matrix: Matrix = "hessian",
    exact: bool = True,
    n_products: int = 99,
    **where: Unpack[Where],
) -> Trace:
    """Compute the trace of a Hessian, Gauss-Newton or empirical Fisher matrix.

    A network that is linear in every single parameter almost everywhere has outputs whose second derivatives have no
    diagonal. Then tr H = tr J' L J = mean over examples of sum_c s_c |J' u_c|^2, where the loss's Hessian in the
    example's outputs is sum_c s_c u_c u_c': one backward pass for each c, to the activations alone, and norms of outer
    products. That is taken for plain sequences of linear, convolution, BatchNorm (evaluation mode), ReLU, pooling,
    flatten and dropout layers without shared or frozen parameters, in theta's own coordinates.

    All else is estimated from the same random products by two rules; the one with the smaller standard error is
    returned. Hutchinson's is the mean of v'Mv over random signs v. Hutch++ is exact on the range of M S, S a third of
    the products, and Hutchinson's on the rest of the space.

    Args:
        objective: Network and examples; left as they are.
        point: Theta ``(D,)``, a point with buffers, or phi where there are coordinates.
        matrix: Which matrix.
        exact: Whether to take the exact way where it is open.
        n_products: Of an estimate; a multiple of 3, at least 6. Where d is no more, unit vectors give the exact trace.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        Trace, error and method.

    Raises:
        InputError: If an argument breaks its rule, or the point has no finite second derivatives.

    References:
        Hutchinson 1990, https://doi.org/10.1080/03610919008812866; Meyer et al. 2021, "Hutch++", algorithm 1,
        https://arxiv.org/abs/2010.09649.

    Example:
        >>> x, y = torch.diag(torch.tensor([1.0, 2.0])).double(), torch.zeros(2, 1)
        >>> quadratic = Supervised(torch.nn.Linear(2, 1, bias=False), (x, y), loss="squared_error", dtype=x.dtype)
        >>> found = trace(quadratic, quadratic.theta_0)
        >>> round(found.value, 9), found.standard_error, found.method
        (5.0, 0.0, 'exact')
    """
    rule = "must be a multiple of 3, at least 6"
    require(is_count(n_products, 6) and n_products % 3 == 0, "n_products", rule, n_products)
    landscape = Landscape(objective, point, **where)
    free = exact and where.get("coordinates") is None and matrix != "empirical_fisher"
    found = _exact if free and _piecewise_multilinear(objective.model) else _estimate
    value, error, used, cost = found(landscape, matrix, n_products)
    require(bool(np.isfinite(value)), "point", "must have finite second derivatives", value, _REMEDY)
    return Trace(
        value=value, standard_error=error, method=used, n_gradients=cost, n_examples=landscape.n, seed=landscape.seed
    )


def _piecewise_multilinear(model: nn.Module) -> bool:
    """Whether outputs are known to be linear in each parameter: what other types of modules compute is not known."""
    modules = [module for _, module in model.named_modules(remove_duplicate=False)]
    owned = [p for module in modules for p in module.parameters(recurse=False)]
    shared = len(owned) > len(set(owned))
    return all(map(_qualifies, modules)) and not shared and all(p.requires_grad for p in owned)


def _qualifies(module: nn.Module) -> bool:
    if type(module) not in _PLAIN + _LAYERS or module._forward_hooks or module._forward_pre_hooks:
        return False
    plain = not getattr(module, "inplace", False) and getattr(module, "track_running_stats", True)
    return plain and (
        not isinstance(module, nn.Conv2d)
        or (module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str))
    )


def _exact(landscape: Landscape, matrix: Matrix, n_products: int) -> tuple[float, float, str, float]:
    """Return the trace, no error, and the cost, by convention a gradient and half a one for each pass."""
    total, n_passes = 0.0, 0
    modules = landscape.objective.model.named_modules(remove_duplicate=False)
    layers = [module for _, module in modules if type(module) is not nn.Sequential]  # in the order of their calls
    images = any(isinstance(layer, nn.Conv2d) for layer in layers)
    with landscape.visit():
        for x, y in landscape.chunks(100 if images else 500):
            seen, outputs = [], x
            for layer in layers:
                inputs, outputs = outputs, layer(outputs)
                if isinstance(layer, _LAYERS) and layer.weight is not None:
                    seen.append((layer, _columns(layer, inputs.detach()), outputs))
            signs, factors = _root(landscape, outputs, y)
            n_passes, places = factors.shape[-1], [out for _, _, out in seen]
            passes = factors.movedim(-1, 0).reshape(-1, *outputs.shape)
            deltas = grad(outputs, places, passes, is_grads_batched=True)  # one pass's overhead for all of them
            for (layer, columns, _), each in zip(seen, deltas, strict=True):
                total += float((signs * _squares(layer, columns, each)).double().sum())
    return total / landscape.n, 0.0, "exact", 1 + n_passes / 2


def _root(landscape: Landscape, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return s ``(n, c)`` and U ``(n, outputs, c)``: the loss's Hessian in an example's outputs is U diag(s) U'."""
    at = outputs.detach().requires_grad_()
    (slope,) = grad(landscape.objective.losses(at, y).sum(), at, create_graph=True)
    columns = slope.reshape(len(y), -1).sum(0)
    (bent,) = grad(columns, at, torch.eye(len(columns)).to(at), is_grads_batched=True)
    bent = bent.flatten(2).transpose(0, 1)
    require(bool(bent.isfinite().all()), "point", "must have finite second derivatives", float("nan"), _REMEDY)
    p = at.detach().reshape(len(y), -1).softmax(1)
    # diag(p) - p p', cross-entropy's, is R R' with R = diag(q) Q, q = sqrt(p), Q any orthonormal basis of what is
    # orthogonal to q: here a reflection that takes q to the first axis, without its first column
    q = p.sqrt()
    v = q + torch.eye(1, q.shape[1]).to(q)
    root = (q.diag_embed() - (q * v).unsqueeze(2) * (v / v[:, :1]).unsqueeze(1))[:, :, 1:]
    if float((root @ root.mT - bent).abs().max()) <= 10 * torch.finfo(p.dtype).eps:
        return torch.ones_like(p[:, 1:]), root
    values, vectors = torch.linalg.eigh(bent)
    return values.sign(), vectors * values.abs().sqrt().unsqueeze(1)


def _columns(layer: Any, inputs: Tensor) -> Tensor:
    """Return what the weight multiplies at each place, shape ``(n, 1, places, fan_in)``; of norms, one a unit."""
    if isinstance(layer, nn.Conv2d):
        columns = F.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
        return columns.mT.unsqueeze(1)
    if isinstance(layer, _NORMS):
        normal = F.batch_norm(inputs, layer.running_mean, layer.running_var, eps=layer.eps)
        return normal.reshape(*normal.shape[:2], -1, 1)
    return inputs.reshape(len(inputs), 1, -1, inputs.shape[-1])


def _squares(layer: Any, columns: Tensor, deltas: Tensor) -> Tensor:
    """Return the squared norms of each example's c gradients of the layer's parameters, shape ``(n, c)``."""
    c, n, *_ = deltas.shape
    norm = torch.linalg.vector_norm
    if isinstance(layer, nn.Linear):  # units come last, elsewhere third
        deltas = deltas.reshape(c, n, -1, deltas.shape[-1]).mT
    deltas = deltas.reshape(*deltas.shape[:3], -1)
    if columns.shape[1:3] == (1, 1):
        inner = norm(columns, dim=(1, 2, 3)).square() + (layer.bias is not None)
        return (norm(deltas, dim=(2, 3)).square() * inner).T
    deltas = deltas.permute(1, 2, 0, 3).contiguous()
    gradients = deltas.reshape(n, columns.shape[1], -1, deltas.shape[3]) @ columns
    squares = norm(gradients.reshape(n, -1, c, columns.shape[3]), dim=(1, 3)).square()
    return squares if layer.bias is None else squares + deltas.sum(3).square().sum(1)


def _estimate(landscape: Landscape, matrix: Matrix, n_products: int) -> tuple[float, float, str, float]:
    """Return value, standard error, method and cost."""
    like, third = landscape.phi, n_products // 3
    with landscape.products(matrix) as product:
        if landscape.d <= n_products:
            rows = torch.stack([product(unit) for unit in torch.eye(landscape.d).to(like)])
            return float(rows.trace()), 0.0, "exact", landscape.d + 1.0
        draws = generator(landscape.seed, "trace").choice([-1.0, 1.0], (2 * third, landscape.d))
        signs = torch.from_numpy(draws).to(like)
        images = torch.stack([product(v) for v in signs])
        whole = (signs * images).sum(1).double()
        Q = torch.linalg.qr(images[:third].T).Q
        MQ = torch.stack([product(q) for q in Q.T.contiguous()], 1)
    inside, along = Q.T @ MQ, signs[third:] @ Q
    left = whole[third:] - 2 * ((signs[third:] @ MQ) * along).sum(1) + ((along @ inside) * along).sum(1)
    better = min(
        (float(whole.std()) / np.sqrt(2 * third), float(whole.mean()), "hutchinson"),
        (float(left.std()) / np.sqrt(third), float(inside.trace() + left.mean()), "hutch++"),
    )
    return better[1], better[0], better[2], n_products + 1.0

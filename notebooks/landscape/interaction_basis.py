"""The local interaction basis of a ReLU network beside neurons and principal components, and edges in each.

Sources: Bushnaq et al. 2024, "Using Degeneracy in the Loss Landscape for Mechanistic Interpretability",
https://arxiv.org/abs/2405.10927, and "The Local Interaction Basis", https://arxiv.org/abs/2405.10928.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.errors import require, require_choice

BASES = ("neurons", "components", "interaction")
TINY = 1e-6  # eigenvalues below this part of the largest are no directions


@dataclass(frozen=True)
class Section:
    """One layer of the network, ``relu(W f + b)``, or without the ReLU."""

    weight: Tensor
    bias: Tensor
    relu: bool

    def __call__(self, f: Tensor) -> Tensor:
        """Return the next activations, shape ``(..., d_out)``."""
        return self.after(f @ self.weight.T + self.bias)

    def after(self, before: Tensor) -> Tensor:
        """Return the activations of what stands before the ReLU."""
        return before.clamp(min=0) if self.relu else before


@dataclass(frozen=True)
class Basis:
    """New coordinates ``z = to (f - mean)`` of one layer's activations, ``f = mean + back z``.

    Attributes:
        mean: Of the activations, shape ``(d,)``; in every basis an edge is cut by setting its input to the mean.
        to: Shape ``(k, d)``, k at most d.
        back: Its pseudo-inverse, shape ``(d, k)``.
    """

    mean: Tensor
    to: Tensor
    back: Tensor


def sections(network: nn.Module) -> list[Section]:
    """Return the layers of a network of linear layers and ReLUs, in float64, detached."""
    found: list[Section] = []
    for module in network.children():
        if isinstance(module, nn.Linear):
            bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias
            found.append(Section(module.weight.detach().double(), bias.detach().double(), False))
        elif isinstance(module, nn.ReLU) and found:
            found[-1] = Section(found[-1].weight, found[-1].bias, True)
        else:
            known = isinstance(module, nn.Flatten)
            require(known, "network", "must be of Flatten, Linear and ReLU", type(module).__name__)
    return found


def activations(layers: Sequence[Section], x: Tensor) -> list[Tensor]:
    """Return inputs, hidden activations and outputs, each of shape ``(n, d_l)``."""
    found = [x.flatten(1).double()]
    for layer in layers:
        found.append(layer(found[-1]))
    return found


def bases(layers: Sequence[Section], x: Tensor, kind: str) -> list[Basis]:
    """Return a basis for the inputs, every hidden layer and the outputs.

    ``"components"``: the eigenvectors U of the activations' covariance U D U', those of variance zero left out.
    ``"interaction"``: the activations are whitened by P = D^-1/2 U', which leaves out what does not vary; the mean of
    J'J, J the Jacobian of the next layer's interaction coordinates in the whitened ones, has eigenvectors V and
    eigenvalues L; ``to = L^1/2 V' P``, and directions of L zero, on which the next layer does not depend, are left
    out. From the outputs backwards; the outputs' own basis are their principal components.

    Args:
        layers: The network.
        x: Examples, shape ``(n, ...)``.
        kind: Of ``BASES``.

    Returns:
        One basis more than there are layers.
    """
    require_choice("kind", kind, BASES)
    found: list[Basis] = []
    f = activations(layers, x)
    for place in reversed(range(len(f))):
        mean = f[place].mean(0)
        variance, axes = _directions((f[place] - mean).T @ (f[place] - mean) / len(f[place]))
        if kind == "neurons":
            axes = torch.eye(len(mean), dtype=torch.float64)
            to, back = axes, axes
        elif kind == "components" or place == len(layers):
            to, back = axes.T, axes
        else:
            white, colour = axes.T / variance.sqrt()[:, None], axes * variance.sqrt()
            slopes = _jacobians(layers[place], f[place], found[-1].to) @ colour
            pull, turn = _directions(torch.einsum("nik,nij->kj", slopes, slopes) / len(slopes))
            to, back = (pull.sqrt() * turn).T @ white, colour @ turn / pull.sqrt()
        found.append(Basis(mean, to, back))
    return found[::-1]


def _directions(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues that are not zero, the largest first, and their eigenvectors as columns."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > TINY * values[-1]
    return values[kept].flip(0), vectors[:, kept].flip(1)


def _jacobians(layer: Section, f: Tensor, to: Tensor) -> Tensor:
    """Return the derivatives of a layer's new coordinates in its inputs, shape ``(n, k, d)``."""
    on = ((f @ layer.weight.T + layer.bias) > 0).double() if layer.relu else f.new_ones(len(f), len(layer.bias))
    return torch.einsum("ih,nh,hd->nid", to, on, layer.weight)


def edges(layers: Sequence[Section], basis: Sequence[Basis], x: Tensor, n_points: int = 10) -> list[Tensor]:
    """Return the strength of the edge from each coordinate j of a layer to each i of the next, shapes ``(k', k)``.

    The root mean square, over examples, of the integrated gradient ``int_0^1 dz_i(a z) / dz_j da z_j`` (midpoints).
    """
    found = []
    for layer, own, following, f in zip(layers, basis, basis[1:], activations(layers, x), strict=False):
        z = (f - own.mean) @ own.to.T
        shares = (torch.arange(n_points, dtype=torch.float64) + 0.5) / n_points
        slopes = sum(_jacobians(layer, own.mean + a * z @ own.back.T, following.to) for a in shares) / n_points
        attributed = (slopes @ own.back) * z[:, None]
        found.append(attributed.square().mean(0).sqrt())
    return found


def outputs(layers: Sequence[Section], basis: Sequence[Basis], masks: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the network's outputs, computed in a basis, each coordinate from the inputs alone that its mask keeps.

    Args:
        layers: The network.
        basis: Of every place.
        masks: Edges kept, bool, shapes ``(k', k)``.
        x: Examples.

    Returns:
        Shape ``(n, d_out)``.
    """
    z = (x.flatten(1).double() - basis[0].mean) @ basis[0].to.T
    for layer, own, following, mask in zip(layers, basis, basis[1:], masks, strict=False):
        through = layer.weight @ own.back
        offset = layer.weight @ own.mean + layer.bias
        before = torch.einsum("nik,hk->nih", z[:, None] * mask, through) + offset
        z = torch.einsum("ih,nih->ni", following.to, layer.after(before)) - following.to @ following.mean
    return basis[-1].mean + z @ basis[-1].back.T


def kept_edges(strengths: Sequence[Tensor], n: int) -> list[Tensor]:
    """Return masks of the n strongest edges; a strength counts relative to its layer's root sum of squares."""
    shares = [s / s.square().sum().sqrt() for s in strengths]
    order = torch.cat([s.flatten() for s in shares]).argsort(descending=True, stable=True)
    kept = torch.zeros(len(order), dtype=torch.bool)
    kept[order[:n]] = True
    return [part.view(s.shape) for part, s in zip(kept.split([s.numel() for s in shares]), shares, strict=True)]

"""Degeneracy: directions in which a fully connected network's parameters can move and its outputs do not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd import grad

from workbench.errors import require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.landscape import Landscape


@dataclass(frozen=True)
class Degeneracy:
    """Ranks of each linear layer on some examples, and the directions they leave free.

    Attributes:
        layers: Names.
        n_parameters: Of each layer, shape ``(k,)``.
        activation_rank: Of its inputs' Gram matrix, a column of ones with a bias.
        gradient_rank: Of the Gram matrix of the outputs' gradients that reach it.
        effective: ``activation_rank * gradient_rank``, at most ``n_parameters``.
        twins: Pairs ``(layer, i, j)`` of ReLUs behind a layer that fire on the same examples, and on some.
        spectra: Singular values of inputs and of gradients, shape ``(k, 2, m)``, NaN behind the last.
        tolerance: Relative to the largest singular value; those below count as zero.
        n_gradients: Cost.
        seed: As given.
        n_examples: How many.
    """

    layers: tuple[str, ...]
    n_parameters: NDArray[np.int64]
    activation_rank: NDArray[np.int64]
    gradient_rank: NDArray[np.int64]
    effective: NDArray[np.int64]
    twins: tuple[tuple[str, int, int], ...]
    spectra: NDArray[np.float64]
    tolerance: float
    n_gradients: float
    seed: int
    n_examples: int

    @property
    def free(self) -> int:
        """Parameters less effective ones: directions that no example's outputs can tell, to first order."""
        return int((self.n_parameters - self.effective).sum())

    def to_frame(self) -> pd.DataFrame:
        """Return one row a layer."""
        names = ("n_parameters", "activation_rank", "gradient_rank", "effective")
        return pd.DataFrame({name: getattr(self, name) for name in names}, index=list(self.layers))


def degeneracy(
    objective: Supervised,
    point: Tensor | Point,
    *,
    tolerance: float = 1e-6,
    split: str = "train",
    n_examples: int | None = None,
    seed: int = 0,
) -> Degeneracy:
    """Count a network's free directions by layer.

    The outputs' derivative in a layer's weights is a sum of ``g a'`` over examples, with ``a`` in a space of dimension
    ``activation_rank`` and ``g`` in one of ``gradient_rank``; changes of the weights orthogonal to all their products
    are free. That count is a lower bound of the Hessian's zero eigenvalues at a minimum that fits: the products need
    not span their space, and directions that cancel between layers (a ReLU unit's scale, twins) come on top.

    Args:
        objective: Left bit for bit as it is; linear layers, each called once on one row an example, hold all of theta.
        point: Theta, shape ``(D,)``; evaluation mode.
        tolerance: In 0..1, for ranks.
        split: Whose examples.
        n_examples: How many; None for all.
        seed: Which ones.

    Returns:
        Ranks, twins and counts.

    Raises:
        InputError: If the tolerance is not in 0..1, or the network is of other layers.

    References:
        Bushnaq et al. 2024, https://arxiv.org/abs/2405.10927, sections 3.1 to 3.3.

    Example:
        >>> x = torch.tensor([[1.0, 2.0], [2.0, 4.0]])  # one direction of inputs
        >>> line = Supervised(nn.Linear(2, 3, bias=False), (x, torch.zeros(2, 3)), loss="squared_error")
        >>> degeneracy(line, torch.ones(6)).free
        3
    """
    require(0 < tolerance < 1, "tolerance", "must be between 0 and 1", tolerance)
    at = Landscape(objective, point, split=split, n_examples=n_examples, seed=seed)
    named = {m: name for name, m in at.objective.model.named_modules() if list(m.parameters(recurse=False))}
    seen: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {m: [] for m in named}
    handles = [m.register_forward_hook(lambda m, i, o: seen[m].append((i[0].detach(), o))) for m in named]
    slopes: dict[nn.Module, list[Tensor]] = {m: [] for m in named}
    with at.visit():
        try:
            for n_chunks, (x, _) in enumerate(at.chunks(), 1):
                z = at.objective.model(x).flatten(1)
                once = all(len(kept) == n_chunks and kept[-1][0].shape[:-1] == x.shape[:1] for kept in seen.values())
                fits = once and all(type(m) is nn.Linear for m in named)
                require(fits, "model", "must be of linear layers, each called once", [type(m).__name__ for m in named])
                for one in z.sum(0):
                    for m, g in zip(named, grad(one, [seen[m][-1][1] for m in named], retain_graph=True), strict=True):
                        slopes[m].append(g)
        finally:
            for handle in handles:
                handle.remove()
    spectra, twins = [], []
    for m, name in named.items():
        a, out = (torch.cat([pair[i].detach() for pair in seen[m]]) for i in (0, 1))
        a = torch.cat([a, a.new_ones(len(a), 1)], 1) if m.bias is not None else a
        spectra.append(tuple(torch.linalg.svdvals(t.double()).cpu().numpy() for t in (a, torch.cat(slopes[m]))))
        twins += [(name, i, j) for i, j in _twins(out > 0)] if m is not list(named)[-1] else []
    padded = np.full((len(spectra), 2, max(len(s) for pair in spectra for s in pair)), np.nan)
    for row, s in zip(padded.reshape(-1, padded.shape[2]), (s for pair in spectra for s in pair), strict=True):
        row[: len(s)] = s
    ranks = np.array([[int((s > tolerance * s.max()).sum()) for s in pair] for pair in spectra])
    sizes = np.array([sum(p.numel() for p in m.parameters(recurse=False)) for m in named])
    return Degeneracy(
        layers=tuple(named.values()),
        n_parameters=sizes,
        activation_rank=ranks[:, 0],
        gradient_rank=ranks[:, 1],
        effective=ranks.prod(1),
        twins=tuple(twins),
        spectra=padded,
        tolerance=tolerance,
        n_gradients=float(z.shape[1]),
        seed=seed,
        n_examples=at.n,
    )


def _twins(fires: Tensor) -> list[tuple[int, int]]:
    """Return pairs of columns that are equal and not all false."""
    same = torch.cdist(fires.double().T, fires.double().T, p=1) < 0.5
    alive = fires.any(0)
    return [(i, j) for i, j in (same & alive & alive[:, None]).triu(1).nonzero().tolist()]

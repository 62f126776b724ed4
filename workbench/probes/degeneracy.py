"""Degeneracy: directions in which a fully connected network's parameters can move and its outputs do not."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.errors import require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.example_gradients import Piece, Unlayered, layered
from workbench.probes.landscape import Landscape, Measured, Where


@dataclass(frozen=True, kw_only=True)
class Degeneracy(Measured):
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
    """

    layers: tuple[str, ...]
    n_parameters: NDArray[np.int64]
    activation_rank: NDArray[np.int64]
    gradient_rank: NDArray[np.int64]
    effective: NDArray[np.int64]
    twins: tuple[tuple[str, int, int], ...]
    spectra: NDArray[np.float64]
    tolerance: float

    @property
    def free(self) -> int:
        """Parameters less effective ones: directions that no example's outputs can tell, to first order."""
        return int((self.n_parameters - self.effective).sum())

    def to_frame(self) -> pd.DataFrame:
        """Return one row a layer."""
        names = ("n_parameters", "activation_rank", "gradient_rank", "effective")
        return pd.DataFrame({name: getattr(self, name) for name in names}, index=list(self.layers))


def degeneracy(
    objective: Supervised, point: Tensor | Point, *, tolerance: float = 1e-6, **where: Unpack[Where]
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
        **where: ``split``, ``n_examples`` and ``seed``, as for ``Landscape``; no coordinates.

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
    at = Landscape(objective, point, **where)
    named = {m: name for name, m in at.objective.model.named_modules() if list(m.parameters(recurse=False))}
    chunks: list[list[list[Piece]]] = []
    twins, sizes = [], [sum(p.numel() for p in m.parameters(recurse=False)) for m in named]
    with at.visit():
        with suppress(Unlayered):
            chunks = [list(layered(at, x, y, lambda outputs, y: outputs)) for x, y in at.chunks()]
        fits = all(type(m) is nn.Linear for m in named) and bool(chunks) and all(p.a.shape[1] for p in chunks[0][0])
        require(
            fits,
            "model",
            "must be of linear layers, each called once, no output changed in place",
            [type(m).__name__ for m in named],
        )
        inputs = [torch.cat([chunk[0][i].a for chunk in chunks]) for i in range(len(named))]
        for (m, name), a in list(zip(named.items(), inputs, strict=True))[:-1]:
            twins += [(name, i, j) for i, j in _twins(m(a) > 0)]
    rows: list[list[float]] = []
    for i, (m, a) in enumerate(zip(named, inputs, strict=True)):
        a = torch.cat([a, a.new_ones(len(a), 1)], 1) if m.bias is not None else a
        slopes = torch.cat([parts[i].d for chunk in chunks for parts in chunk])
        rows += [torch.linalg.svdvals(t.double()).tolist() for t in (a, slopes)]
    spectra = (
        pd.DataFrame(map(pd.Series, rows)).to_numpy(dtype=float).reshape(len(named), 2, -1)
    )  # shorter rows end in NaN
    ranks = (spectra > tolerance * spectra.max(2, initial=0, where=~np.isnan(spectra), keepdims=True)).sum(2)
    return Degeneracy(
        layers=tuple(named.values()),
        n_parameters=np.array(sizes),
        activation_rank=ranks[:, 0],
        gradient_rank=ranks[:, 1],
        effective=ranks.prod(1),
        twins=tuple(twins),
        spectra=spectra,
        tolerance=tolerance,
        n_gradients=float(len(chunks[0])),
        seed=at.seed,
        n_examples=at.n,
    )


def _twins(fires: Tensor) -> list[tuple[int, int]]:
    """Return pairs of columns that are equal and not all false."""
    same = torch.cdist(fires.double().T, fires.double().T, p=1) < 0.5
    alive = fires.any(0)
    return [(i, j) for i, j in (same & alive & alive[:, None]).triu(1).nonzero().tolist()]

"""Orthonormal subspaces, at random or through chosen directions, and the top curvature to expect inside them."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from workbench.coordinates import Projection, Subspace
from workbench.errors import require
from workbench.objective import Supervised
from workbench.seeds import generator


class Columns(Projection):
    """A projection whose columns are given.

    Args:
        columns: Row j is column j of P, shape ``(d, D)``.
    """

    def __init__(self, columns: Tensor) -> None:
        self.columns, (self.d, self.D) = columns, columns.shape

    def _draw(self, *_: Any) -> None:
        """Draw nothing: the columns are given."""

    def apply(self, v: Tensor, out: Tensor) -> Tensor:
        """Write P v into ``out``."""
        return torch.mv(self.columns.T, v, out=out)

    def adjoint(self, g: Tensor, out: Tensor) -> Tensor:
        """Write P' g into ``out``."""
        return torch.mv(self.columns, g, out=out)


class Inside(nn.Module):
    """A network as a module of its coordinates in a subspace alone: chains then move together, by one product.

    Args:
        objective: The network and its layout.
        inside: Coordinates with given columns.
    """

    def __init__(self, objective: Supervised, inside: Subspace) -> None:
        super().__init__()
        self.phi = nn.Parameter(inside.initial())
        self.held = objective.model, objective.layout, inside.theta_0, inside.projection  # no parameters of this module

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's outputs at the coordinates."""
        model, layout, theta, projection = self.held
        return functional_call(model, layout.views(theta + self.phi @ projection.columns), (x,))


def rotated(D: int, d: int, seed: int, *names: str | int, through: Tensor | None = None) -> Columns:
    """Draw d orthonormal directions, uniform over all rotations, or uniform beside directions that must be among them.

    Args:
        D: Number of parameters.
        d: Number of directions.
        seed: Replicate.
        names: Of the stream.
        through: Orthonormal directions that the subspace contains, shape ``(k, D)``, k at most d.

    Returns:
        An orthonormal P, float32.
    """
    require(1 <= d <= D, "d", f"must be in 1..D={D}", d)
    drawn = torch.from_numpy(generator(seed, "rotation", d, *names).standard_normal((D, d), dtype="float32"))
    if through is not None:
        drawn[:, : len(through)] = through.T.to(drawn)
    Q, R = torch.linalg.qr(drawn)
    return Columns((Q * R.diagonal().sign()).T.contiguous())


def predicted_top(values: Tensor, trace: float, D: int, d: int) -> float:
    """Return the largest eigenvalue expected in a random subspace of dimension d, for eigenvalues that stand out.

    ``t l_1 + (1 - t) / D sum_{i > 1} l_i l_1 / (l_1 - l_i)``, t = d / D: what is left of the first outlier, pushed up
    by all others. The eigenvalues that are not given count as small, by their sum.

    Args:
        values: The largest eigenvalues, falling, shape ``(k,)``.
        trace: Sum of all D eigenvalues.
        D: Their number.
        d: Dimension of the subspace.

    Returns:
        The eigenvalue.

    References:
        The outlier of a free compression, to first order in 1 / D: Benaych-Georges, Nadakuditi 2011,
        https://arxiv.org/abs/0910.2120; for covariance matrices Lawley 1956.

    Example:
        >>> predicted_top(torch.tensor([8.0]), 8.0, 100, 50)  # one outlier alone
        4.0
    """
    top, t = float(values[0]), d / D
    others = values[1:].double()
    push = float((others * top / (top - others)).sum()) + trace - float(values.double().sum())
    return t * top + (1 - t) / D * push if math.isfinite(push) else math.nan

"""The whole matrix of second derivatives, entry by entry, where there are few coordinates."""

from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch

from workbench.errors import require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.landscape import Landscape, Matrix, Measured, Where


@dataclass(frozen=True, kw_only=True)
class Hessian(Measured):
    """A dense symmetric matrix.

    Attributes:
        matrix: Shape ``(d, d)``, in the loss's unit per squared unit of phi.
        error: Largest asymmetry before it was averaged out, over the largest entry: what rounding did.
    """

    matrix: np.ndarray
    error: float

    def eigenvalues(self) -> np.ndarray:
        """Return all of them, shape ``(d,)``, the largest first."""
        return np.linalg.eigvalsh(self.matrix)[::-1]


def hessian(
    objective: Supervised,
    point: torch.Tensor | Point,
    *,
    matrix: Matrix = "hessian",
    max_dim: int = 4000,
    **where: Unpack[Where],
) -> Hessian:
    """Compute a dense Hessian, Gauss-Newton or empirical Fisher matrix by d products with unit vectors.

    Args:
        objective: Network and examples; left as they are.
        point: Theta ``(D,)``, a point with buffers, or phi where there are coordinates.
        matrix: Which matrix.
        max_dim: Largest d; d products and d * d numbers.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        The matrix.

    Raises:
        InputError: If d is larger than ``max_dim``, or an argument breaks its rule.

    Example:
        >>> x, y = torch.diag(torch.tensor([1.0, 2.0])).double(), torch.zeros(2, 1)
        >>> quadratic = Supervised(torch.nn.Linear(2, 1, bias=False), (x, y), loss="squared_error", dtype=x.dtype)
        >>> hessian(quadratic, quadratic.theta_0).matrix  # 2 x'x / 2
        array([[1., 0.],
               [0., 4.]])
    """
    landscape = Landscape(objective, point, **where)
    d = landscape.d
    remedy = "use top_eigenpairs, trace or spectral_density, fewer coordinates, or raise max_dim"
    require(d <= max_dim, "point", f"must have at most max_dim={max_dim} coordinates", d, remedy)
    rows, unit = landscape.phi.new_empty(d, d), torch.zeros_like(landscape.phi)
    with landscape.products(matrix) as product:
        for i in range(d):
            unit[i] = 1
            rows[i] = product(unit)
            unit[i] = 0
    require(bool(rows.isfinite().all()), "point", "must have finite second derivatives", float("nan"))
    found = rows.cpu().numpy()
    error = float(np.abs(found - found.T).max() / (np.abs(found).max() or 1))
    cost, n, seed = d + 1.0, landscape.n, landscape.seed
    return Hessian(matrix=(found + found.T) / 2, error=error, n_gradients=cost, n_examples=n, seed=seed)

"""The few largest eigenvalues of a matrix of second derivatives, each with a residual bound and an error estimate."""

from dataclasses import dataclass
from typing import Literal, Unpack

import numpy as np
import pandas as pd
import torch

from workbench.errors import is_count, require, require_choice
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.lanczos import Lanczos
from workbench.probes.landscape import Landscape, Matrix, Measured, Where

Which = Literal["largest", "magnitude"]


@dataclass(frozen=True, kw_only=True)
class Eigenpairs(Measured):
    """Converged eigenpairs, the largest first.

    Attributes:
        values: Shape ``(k,)``, in the loss's unit per squared unit of phi.
        vectors: Unit vectors, shape ``(k, d)``.
        residuals: The residual bound |M v - value v|, shape ``(k,)``: some eigenvalue is no farther than this.
        errors: An estimate of the values' errors, shape ``(k,)``, and no bound: the residual or, where that is less,
            ten times its square over the gap to the neighbours. Without the ten that is Kato and Temple's bound if the
            neighbours seen are all there are; ones not yet seen may be nearer.
        n_asked: How many were asked for; more than k where the rest had not converged.
    """

    values: np.ndarray
    vectors: torch.Tensor
    residuals: np.ndarray
    errors: np.ndarray
    n_asked: int

    def to_frame(self) -> pd.DataFrame:
        """Return one row per pair."""
        return pd.DataFrame({"value": self.values, "error": self.errors, "residual": self.residuals})


def top_eigenpairs(
    objective: Supervised,
    point: torch.Tensor | Point,
    k: int = 10,
    tolerance: float = 1e-4,
    *,
    matrix: Matrix = "hessian",
    which: Which = "largest",
    max_products: int | None = None,
    **where: Unpack[Where],
) -> Eigenpairs:
    """Find the top eigenpairs of a Hessian, Gauss-Newton or empirical Fisher matrix by Lanczos.

    Krylov spaces are grown by one product a step, with full reorthogonalisation, until the top k Ritz pairs have all
    converged: error estimate <= tolerance * |value|. One that has not is never returned. ``scipy.sparse.linalg.eigsh``
    solves the same problem, but restarts, which takes two to three times the products at these k, stops by a rule
    without the gap, and reports neither its products nor its residuals. Only the residual bound is strict. That none
    between was missed rests on the start vector being orthogonal to none (equal eigenvalues are found as the space is
    exhausted).

    Args:
        objective: Network and examples; left as they are.
        point: Theta ``(D,)``, a point with buffers, or phi where there are coordinates.
        k: How many; at most d.
        tolerance: Largest error estimate of a value, relative to it.
        matrix: Which matrix.
        which: ``"largest"`` values or those of the largest ``"magnitude"``.
        max_products: When to give up; by default 100 + 20 k, at most d.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        The pairs, fewer than k where not all converged.

    Raises:
        InputError: If an argument breaks its rule, the point has no finite second derivatives, or no pair converges.

    References:
        Parlett 1998, The Symmetric Eigenvalue Problem, chapters 11 and 13.

    Example:
        >>> x, y = torch.diag(torch.tensor([1.0, 2.0, 3.0])).double(), torch.zeros(3, 1)
        >>> quadratic = Supervised(torch.nn.Linear(3, 1, bias=False), (x, y), loss="squared_error", dtype=x.dtype)
        >>> top_eigenpairs(quadratic, quadratic.theta_0, k=2).values.round(4)  # 2 x'x / 3
        array([6.    , 2.6667])
    """
    landscape = Landscape(objective, point, **where)
    require(is_count(k, 1) and k <= landscape.d, "k", f"must be in 1..d={landscape.d}", k)
    require_choice("which", which, ("largest", "magnitude"))
    with landscape.products(matrix) as product:
        run = Lanczos(product, min(landscape.d, max_products or 100 + 20 * k), landscape.phi, landscape.seed)
        values, vectors, residuals, errors = converged(run, k, tolerance, which)
    remedy = "raise max_products or tolerance, or use float64"
    require(len(values) > 0, "tolerance", f"must be reached within {run.n_steps} products", tolerance, remedy)
    return Eigenpairs(
        values=values, vectors=vectors, residuals=residuals, errors=errors, n_asked=k,
        n_gradients=run.n_steps + 1.0, n_examples=landscape.n, seed=landscape.seed,
    )  # fmt: skip


def converged(
    run: Lanczos, k: int, tolerance: float, which: Which
) -> tuple[np.ndarray, torch.Tensor, np.ndarray, np.ndarray]:
    """Step until the top k pairs have converged or there is no more room; return those that have."""
    while True:
        run.step()
        values, vectors, residuals = run.spectrum()
        errors = _errors(values, residuals)
        order = np.argsort(-values if which == "largest" else -np.abs(values))[:k]
        good = errors[order] <= tolerance * np.abs(values[order])
        if run.n_steps == run.max_steps or (len(order) == k and good.all() and _settled(run, tolerance, which)):
            break
    order = order[good]
    ritz = torch.from_numpy(np.ascontiguousarray(vectors[:, order].T)).to(run.basis) @ run.basis
    return values[order], ritz, residuals[order], errors[order]


def _errors(values: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Estimate each Ritz value's distance to its eigenvalue."""
    gaps = np.full_like(values, np.inf if len(values) > 1 else 0.0)
    between = np.diff(values)
    gaps[1:] = between - residuals[:-1]
    gaps[:-1] = np.minimum(gaps[:-1], between - residuals[1:])
    return np.minimum(residuals, np.divide(10 * residuals**2, gaps, out=np.full_like(gaps, np.inf), where=gaps > 0))


def _settled(run: Lanczos, tolerance: float, which: Which) -> bool:
    """Whether the present block has shown its own top: after the first, it may hold equal eigenvalues again."""
    if run.block in (0, run.n_steps):
        return run.block == 0 or run.n_steps == run.basis.shape[1]
    values, _, residuals = run.spectrum(run.block)
    top = np.argmax(values if which == "largest" else np.abs(values))
    return bool(residuals[top] <= max(tolerance * abs(values[top]), 1e-6 * run.scale))

"""How a matrix's eigenvalues are spread: the outliers one by one, the bulk by quadrature."""

from dataclasses import dataclass
from typing import Unpack

import numpy as np
import pandas as pd
import torch

from workbench.errors import is_count, require
from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.eigenpairs import converged
from workbench.probes.lanczos import Lanczos
from workbench.probes.landscape import Landscape, Matrix, Measured, Where
from workbench.seeds import key


@dataclass(frozen=True, kw_only=True)
class SpectralDensity(Measured):
    """A distribution of eigenvalues.

    Attributes:
        support: Ascending, in the loss's unit per squared unit of phi, shape ``(m,)``.
        weights: Share of the d eigenvalues at each, shape ``(m,)``; they sum to 1.
        n_outliers: How many of them are converged eigenvalues, of weight 1 / d each.
        grid: Where the smoothed density stands, shape ``(n_grid,)``.
        density: Smoothed by a Gaussian of standard deviation ``width``; integrates to 1.
        standard_error: Of ``density``, over start vectors.
        width: In the unit of the eigenvalues.
        mean: Mean eigenvalue; times d it is the trace.
        mean_error: Its standard error over start vectors.
    """

    support: np.ndarray
    weights: np.ndarray
    n_outliers: int
    grid: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    width: float
    mean: float
    mean_error: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row per grid point."""
        return pd.DataFrame({"value": self.grid, "density": self.density, "standard_error": self.standard_error})


def spectral_density(
    objective: Supervised,
    point: torch.Tensor | Point,
    *,
    n_outliers: int = 10,
    n_vectors: int = 5,
    n_steps: int = 14,
    width: float | None = None,
    n_grid: int = 400,
    matrix: Matrix = "hessian",
    **where: Unpack[Where],
) -> SpectralDensity:
    """Estimate the spectral density by deflation and stochastic Lanczos quadrature.

    The ``n_outliers`` eigenvalues of largest magnitude are found first and stand as atoms. In the
    complement of their vectors, m steps of Lanczos from a random v give Ritz values t_j and weights s_j^2, the first
    entries of the tridiagonal matrix's eigenvectors squared, whose moments up to order 2 m - 1 are those of v'M^p v;
    their mean over v is the bulk. Full reorthogonalisation keeps these moments and makes no ghost copies.

    Args:
        objective: Network and examples; left as they are.
        point: Theta ``(D,)``, a point with buffers, or phi where there are coordinates.
        n_outliers: Eigenvalues taken out first; fewer where not all converge, none for 0.
        n_vectors: Start vectors; at least 2.
        n_steps: Of each of them; fewer where d leaves less room.
        width: Of the smoothing; by default a hundredth of the support's range.
        n_grid: Points of the grid.
        matrix: Which matrix.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        Support, weights and the smoothed density.

    Raises:
        InputError: If an argument breaks its rule, or the point has no finite second derivatives.

    References:
        Ubaru et al. 2017, https://doi.org/10.1137/16M1104974; Ghorbani et al. 2019, https://arxiv.org/abs/1901.10159.

    Example:
        >>> x, y = torch.diag(torch.tensor([1.0, 2.0, 3.0])).double(), torch.zeros(3, 1)
        >>> quadratic = Supervised(torch.nn.Linear(3, 1, bias=False), (x, y), loss="squared_error", dtype=x.dtype)
        >>> found = spectral_density(quadratic, quadratic.theta_0, n_outliers=1, n_steps=1)
        >>> found.n_outliers, round(float(found.support[-1]), 6), round(float(found.weights[-1]), 6)
        (1, 6.0, 0.333333)
    """
    landscape = Landscape(objective, point, **where)
    d, seed = landscape.d, landscape.seed
    require(is_count(n_outliers) and n_outliers < d, "n_outliers", f"must be in 0..d-1={d - 1}", n_outliers)
    require(is_count(n_vectors, 2), "n_vectors", "must be at least 2", n_vectors)
    require(is_count(n_steps, 1), "n_steps", "must be at least 1", n_steps)
    outliers, vectors, n_products = np.empty(0), landscape.phi.new_empty(0, d), 0
    with landscape.products(matrix) as product:
        if n_outliers:
            run = Lanczos(product, min(d, 20 * n_outliers + 100), landscape.phi, seed)
            outliers, vectors, _, _ = converged(run, n_outliers, 1e-4, "magnitude")
            vectors, n_products = torch.linalg.qr(vectors.T).Q.T, run.n_steps
        rules, n_bulk = [], d - len(vectors)
        for i in range(n_vectors):
            run = Lanczos(product, min(n_steps, n_bulk), landscape.phi, key(seed, "density", i), vectors)
            for _ in range(run.max_steps):
                run.step()
            values, first, _ = run.spectrum()
            rules.append((values, n_bulk / d * first[0] ** 2))
            n_products += run.n_steps
    support = np.concatenate([outliers, *(values for values, _ in rules)])
    weights = np.concatenate([np.full(len(outliers), 1 / d), *(weights / n_vectors for _, weights in rules)])
    width = width or float(np.ptp(support)) / 100 or 1.0
    grid = np.linspace(support.min() - 5 * width, support.max() + 5 * width, n_grid)
    heights = np.array([_smooth(grid, *rule, width) for rule in rules])
    means = [float(values @ weights) for values, weights in rules]
    order = np.argsort(support)
    return SpectralDensity(
        support=support[order], weights=weights[order], n_outliers=len(outliers), grid=grid, width=width,
        density=_smooth(grid, support, weights, width), standard_error=heights.std(0, ddof=1) / n_vectors**0.5,
        mean=float(support @ weights), mean_error=float(np.std(means, ddof=1)) / n_vectors**0.5,
        n_gradients=n_products + 1.0, n_examples=landscape.n, seed=seed,
    )  # fmt: skip


def _smooth(grid: np.ndarray, values: np.ndarray, weights: np.ndarray, width: float) -> np.ndarray:
    """Return the density of atoms widened to Gaussians."""
    bells = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return np.asarray(bells @ weights)

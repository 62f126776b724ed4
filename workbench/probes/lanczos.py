"""Lanczos with full reorthogonalisation: the few steps that eigenpairs and spectral densities are read from."""

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from workbench.errors import require
from workbench.probes.landscape import Map
from workbench.seeds import generator


class Lanczos:
    """An orthonormal basis of a Krylov space and the symmetric matrix in it, one product a step.

    H V = V T + r e', V the basis, T tridiagonal, r the remainder, e the last unit vector. Every new vector is made
    orthogonal to *all* earlier ones: without that, rounding brings converged eigenvalues back as ghost copies. Where
    the space is exhausted a new random vector, orthogonal to it, starts the next block.

    Args:
        product: Symmetric, from shape ``(d,)`` to ``(d,)``.
        max_steps: Room in the basis; with the rows to avoid at most d.
        like: Gives d, type and device.
        seed: Of the start vectors, uniform on the sphere.
        avoid: Orthonormal rows that the basis stays orthogonal to, shape ``(k, d)``.

    Attributes:
        n_steps: Products so far.
        block: First step of the present block; ``n_steps`` when the last one has just ended.
        scale: About the matrix's norm.
    """

    def __init__(self, product: Map, max_steps: int, like: Tensor, seed: int, avoid: Tensor | None = None) -> None:
        avoid = like.new_empty(0, len(like)) if avoid is None else avoid
        self._product, self._k, self._rng = product, len(avoid), generator(seed, "lanczos")
        self._rows = like.new_empty(self._k + max_steps + 1, len(like))  # pages are touched when they are filled
        self._rows[: self._k] = avoid
        self._alphas, self._betas = np.empty(max_steps), np.zeros(max_steps)
        self.max_steps, self.n_steps, self.block, self.scale = max_steps, 0, 0, 0.0
        self._begin()

    @property
    def basis(self) -> Tensor:
        """The orthonormal vectors, shape ``(n_steps, d)``."""
        return self._rows[self._k : self._k + self.n_steps]

    def step(self) -> None:
        """Take one product, and prepare the next vector."""
        j, at = self.n_steps, self._k + self.n_steps
        rows = self._rows[: at + 1]
        w = self._product(rows[at])
        alpha = float(rows[at] @ w)
        require(bool(np.isfinite(alpha)), "point", "must have finite second derivatives", alpha, "check the loss there")
        w = w - rows.T @ (rows @ w)
        beta = float(w.norm())
        self.scale = max(self.scale, abs(alpha) + beta)
        self._alphas[j], self.n_steps = alpha, j + 1
        if beta <= 30 * torch.finfo(w.dtype).eps * self.scale:
            self._begin()
            return
        if beta < 0.01 * self.scale:  # little is left of the product: its rounding is not orthogonal
            w -= rows.T @ (rows @ w)
        self._betas[j] = beta
        torch.div(w, w.norm(), out=self._rows[at + 1])

    def _begin(self) -> None:
        """Start a block at random, orthogonal to all before."""
        at, d = self._k + self.n_steps, self._rows.shape[1]
        start = torch.from_numpy(self._rng.standard_normal(d)).to(self._rows)
        for _ in range(2 if at < d else 0):  # once leaves what rounding left
            start = start - self._rows[:at].T @ (self._rows[:at] @ start)
            start = start / start.norm()
        self._rows[at], self.block = start, self.n_steps

    def spectrum(self, block: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return Ritz values, ascending, their vectors in the basis (columns), and each pair's residual norm.

        A pair's residual |H y - t y| is the remainder's norm times the last entry of its vector, plus rounding.
        """
        part = slice(block, self.n_steps)
        values, vectors = eigh_tridiagonal(self._alphas[part], self._betas[part][:-1])
        rounding = torch.finfo(self._rows.dtype).eps * self.scale
        return values, vectors, self._betas[self.n_steps - 1] * np.abs(vectors[-1]) + rounding

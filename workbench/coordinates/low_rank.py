"""Retraining a pruned network by low-rank changes that keep its zeros."""

from collections.abc import Iterator

import torch
from torch import Tensor

from workbench.coordinates.base import Coordinates
from workbench.coordinates.masked import require_mask
from workbench.errors import is_count, require
from workbench.layout import Layout
from workbench.seeds import generator


class MaskedLowRank(Coordinates):
    """theta = mask * (theta_0 + B A) in every weight matrix, and biases and norms move freely.

    A convolution counts as the matrix (maps, inputs of a map). phi = [B, A of each matrix, values of biases and norms];
    B starts at zero and A at random with variance 1 / columns, so theta starts at theta_0.

    Args:
        theta_0: Parameters, shape ``(D,)``.
        mask: Bool, shape ``(D,)``; True = kept.
        layout: Where each tensor stands in theta; those of role ``"weight"`` are changed.
        rank: Columns of B; a matrix with fewer rows or columns has all of its own.
        seed: Of A.

    Raises:
        InputError: If ``mask`` or ``rank`` does not fit.

    References:
        Zimmer et al. (2023), PERP: Rethinking the prune-retrain paradigm in the era of LLMs, section 3 (MaskLoRA),
        https://arxiv.org/abs/2312.15230; there the product is scaled by a further constant.
    """

    def __init__(self, theta_0: Tensor, mask: Tensor, layout: Layout, rank: int, seed: int) -> None:
        require_mask("mask", mask, theta_0.numel())
        require(is_count(rank, 1), "rank", "must be a whole number, at least 1", rank)
        self.theta_0, self.mask, self.D, self.seed = theta_0.detach().where(mask, 0), mask, theta_0.numel(), seed
        self._matrices = [entry for entry in layout.entries if entry.role == "weight"]
        sides = [(entry.shape[0], entry.size // entry.shape[0]) for entry in self._matrices]
        self._shapes = [shape for n, m in sides for shape in ((n, min(rank, n, m)), (min(rank, n, m), m))]
        self._sizes = [n * m for n, m in self._shapes]
        free = [e for e in layout.entries if e.role in {"bias", "norm"}]
        whole = torch.arange(self.D, device=theta_0.device)
        self._free = torch.cat([whole[:0], *(whole[e.offset : e.offset + e.size] for e in free)])
        self.d = sum(self._sizes) + len(self._free)

    def _factors(self, phi: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield of each matrix its place in theta, B and A, views of phi."""
        parts = phi[: sum(self._sizes)].split(self._sizes)
        views = [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]
        for entry, B, A in zip(self._matrices, views[::2], views[1::2], strict=True):
            yield slice(entry.offset, entry.offset + entry.size), B, A

    def initial(self) -> Tensor:
        """Return B = 0, A at random and the free entries' values."""
        phi = torch.cat([self.theta_0.new_zeros(sum(self._sizes)), self.theta_0[self._free]])
        for here, _, A in self._factors(phi):
            draws = generator(self.seed, "low rank", here.start).standard_normal(A.shape)
            A.copy_(torch.from_numpy(draws / A.shape[1] ** 0.5))
        return phi

    def __call__(self, phi: Tensor) -> Tensor:
        """Return theta, differentiable."""
        parts, end = [], 0
        for here, B, A in self._factors(phi):
            parts += [self.theta_0[end : here.start], self.theta_0[here] + self.mask[here] * (B @ A).flatten()]
            end = here.stop
        theta = torch.cat([*parts, self.theta_0[end:]])
        return theta.index_copy(0, self._free, phi[sum(self._sizes) :])

"""Parameter sharing: many parameters read one small memory."""

import numpy as np
import torch
from torch import Tensor

from workbench.coordinates.base import Coordinates
from workbench.coordinates.hashed import Hashed
from workbench.coordinates.masked import require_mask
from workbench.errors import is_count, require
from workbench.layout import Layout
from workbench.seeds import generator


class Shared(Coordinates):
    """theta_i = scale_i sign_i c_h(i) phi_h(i) for the shared entries; the others have a phi of their own.

    h sends the entries to ``n_memory`` numbers, as many to each (give or take one), and one to one where there are as
    many numbers as entries; theta then starts at theta_0. phi starts at theta_0's own standardised values, for each
    number that of one of its entries.

    ``stable``: the scale is the root mean square of theta_0 in each tensor, and c_j = 1 / sqrt(sum of scale_i^2 over
    h(i) = j), so theta is phi times a matrix with orthonormal columns. A gradient step on phi then moves theta as one
    on the memory c phi does whose gradient is divided by that sum: the paper's gradient scaling. (Adaptive optimizers
    divide all such scalings out, but move each phi by their rate.) Otherwise one scale for all tensors and c = 1.

    Args:
        theta_0: Gives the scales and the start, shape ``(D,)``.
        shared: Which entries: bool, shape ``(D,)``.
        n_memory: Numbers they share, in 1..number of entries.
        layout: Where each tensor stands in theta.
        seed: Of h and the signs.
        stable: STABLE-RPS, or ROAST with one global scale.

    Attributes:
        theta_0: Theta at the start, which differs from what was given where entries share.

    Raises:
        InputError: If a setting breaks its rule, or a shared tensor is all zero, as biases are at first.

    References:
        Desai, Shrivastava (2023), In defense of parameter sharing for model-compression,
        https://arxiv.org/abs/2310.11611; there h permutes each run of n_memory entries, in chunks for the cache's
        sake, here all of them.
    """

    def __init__(
        self, theta_0: Tensor, shared: Tensor, n_memory: int, layout: Layout, seed: int, *, stable: bool = True
    ) -> None:
        require_mask("shared", shared, theta_0.numel())
        self.D, self._shared, self._own = len(shared), shared.nonzero()[:, 0], (~shared).nonzero()[:, 0]
        values, n = theta_0.detach()[self._shared], len(self._shared)
        require(is_count(n_memory, 1) and n_memory <= n, "n_memory", f"must be in 1..{n}, the shared entries", n_memory)
        rng = generator(seed, "shared", n, n_memory)
        self._hash = Hashed(n, n_memory, rng, dtype=values.dtype, device=values.device)
        self.d = n_memory + len(self._own)
        ends = torch.tensor(layout.sizes if stable else (self.D,)).cumsum(0).to(values.device)
        tensor = torch.bucketize(self._shared, ends, right=True)
        squares = values.new_zeros(len(ends)).index_add_(0, tensor, values.square())
        self._scale = (squares / tensor.bincount(minlength=len(ends)))[tensor].sqrt()
        require(bool(self._scale.all()), "shared", "must mark no tensor that is all zero", "one")
        home = self._hash.index % n_memory
        lengths = values.new_zeros(n_memory).index_add_(0, home, self._scale.square()).sqrt()
        c = 1 / lengths if stable else torch.ones_like(lengths)
        self._column = c / self._hash.scale
        first = torch.from_numpy(np.unique(home.cpu().numpy(), return_index=True)[1]).to(values.device)
        sign = 1 - 2 * (self._hash.index >= n_memory).to(values)
        memory = (sign * values / self._scale)[first] / c
        self._phi_0 = torch.cat([memory, theta_0.detach()[self._own]])
        self.theta_0 = self.push(self._phi_0, torch.empty_like(theta_0))

    def initial(self) -> Tensor:
        """Return the memory and the other entries at the start."""
        return self._phi_0.clone()

    @torch.no_grad()
    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Write the memory's gradient, summed over its readers, and the others' into ``out``."""
        memory = out[: self._hash.d]
        self._hash.adjoint(grad_theta[self._shared].mul_(self._scale), memory).mul_(self._column)
        out[self._hash.d :] = grad_theta[self._own]
        return out

    def __call__(self, phi: Tensor) -> Tensor:
        """Return theta, differentiable."""
        memory, own = phi[: self._hash.d] * self._column, phi[self._hash.d :]
        theta = phi.new_zeros(self.D).index_copy(0, self._shared, self._hash(memory) * self._scale)
        return theta.index_copy(0, self._own, own)

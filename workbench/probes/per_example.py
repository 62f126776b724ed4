"""Gradients of single examples: their norms, how far they agree, how noisy their mean is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.example_gradients import Piece, by_example
from workbench.probes.landscape import Landscape, Measured, Where


@dataclass(frozen=True, kw_only=True)
class PerExample(Measured):
    """Squared norms of the examples' gradients, exact but for rounding, and what follows from them.

    Attributes:
        squared_norms: Of each example's gradient, shape ``(n,)``, double.
        mean_squared: Squared norm of their mean.
        coherence: ``mean_squared`` over the mean of ``squared_norms``: 1 for equal gradients, 1/n for orthogonal ones
            of one length, 0 at a stationary point; NaN where all vanish.
        noise_scale: The simple one, ``tr S / |G|^2`` with both terms free of bias: the batch size at which noise and
            signal are alike. Infinite where the estimate of ``|G|^2`` is not positive; NaN for one example.
        path: ``"layers"``, ``"vmap"`` or ``"loop"``; the cost of the latter two, n, is their arithmetic's upper bound.
    """

    squared_norms: NDArray[np.float64]
    mean_squared: float
    coherence: float
    noise_scale: float
    path: str

    def to_frame(self) -> pd.DataFrame:
        """Return one row an example."""
        return pd.DataFrame({"gradient_norm": np.sqrt(self.squared_norms)})


def per_example(
    objective: Supervised, point: Tensor | Point, *, coherence: bool = True, **where: Unpack[Where]
) -> PerExample:
    """Measure every example's gradient.

    A linear layer's gradient of one example is an outer product, so that its norm is a product of norms; where weights
    are shared over positions, as in convolutions, that layer's small matrix is formed. One forward and one backward
    pass serve all examples. It needs linear, 2-D convolution and BatchNorm layers, each called once and none tied,
    that hold all of theta; every other network, and any coordinates, go through ``vmap(grad)``, which forms the
    gradients in chunks, or through a loop where ``vmap`` cannot run the network.

    Args:
        objective: Left bit for bit as it is.
        point: Phi or theta, shape ``(d,)``; evaluation mode.
        coherence: Whether to take their mean as well, a third of the cost; else what follows from it is NaN.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        Norms, coherence and noise scale.

    References:
        Goodfellow 2015, https://arxiv.org/abs/1510.01799 (norms). Chatterjee and Zielinski 2020,
        https://arxiv.org/abs/2008.01217 (coherence). McCandlish et al. 2018, https://arxiv.org/abs/1812.06162,
        appendix A (noise scale).

    Example:
        >>> from torch import nn
        >>> x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [2.0]])
        >>> line = Supervised(nn.Linear(1, 1, bias=False), (x, y), loss="squared_error")
        >>> per_example(line, torch.zeros(1)).squared_norms  # (2 x y)^2
        array([ 4., 64.])
    """
    at = Landscape(objective, point, **where)
    totals: list[Tensor] = []

    def norms(each: Iterator[list[Piece]]) -> Tensor:
        (parts,) = each
        if coherence:
            summed = [p.total() for p in parts]
            totals[:] = torch._foreach_add(totals, summed) if totals else summed
        return torch.stack([p.squared() for p in parts]).sum(0)

    chunks, path = by_example(at, at.objective.losses, norms)
    squared = torch.cat(chunks).cpu().numpy()
    big = sum(float(t.double().square().sum()) for t in totals) / at.n**2 if coherence else float("nan")
    mean = float(squared.mean())
    with np.errstate(invalid="ignore", divide="ignore"):
        trace = np.float64(mean - big) * at.n / np.float64(at.n - 1)
        signal = big - trace / at.n
        noise = float(trace / signal) if signal > 1e-12 * big else float("nan") if np.isnan(signal) else float("inf")
    return PerExample(
        squared_norms=squared,
        mean_squared=big,
        coherence=big / mean if mean else float("nan"),
        noise_scale=noise,
        path=path,
        n_gradients=(2 + coherence) / 3 if path == "layers" else float(at.n),
        seed=at.seed,
        n_examples=at.n,
    )

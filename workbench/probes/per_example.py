"""Gradients of single examples: their norms, how far they agree, how noisy their mean is."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.layout import Point
from workbench.objective import Supervised
from workbench.probes.example_gradients import factored, formed, pieces
from workbench.probes.landscape import Landscape, Map


@dataclass(frozen=True)
class PerExample:
    """Squared norms of the examples' gradients, exact but for rounding, and what follows from them.

    Attributes:
        squared_norms: Of each example's gradient, shape ``(n,)``, double.
        mean_squared: Squared norm of their mean.
        coherence: ``mean_squared`` over the mean of ``squared_norms``: 1 for equal gradients, 1/n for orthogonal ones
            of one length, 0 at a stationary point; NaN where all vanish.
        noise_scale: The simple one, ``tr S / |G|^2`` with both terms free of bias: the batch size at which noise and
            signal are alike. Infinite where the estimate of ``|G|^2`` is not positive; NaN for one example.
        path: ``"layers"`` or ``"vmap"``.
        n_gradients: Cost; by ``vmap`` an upper bound in arithmetic, not in time.
        seed: As given.
        n_examples: How many.
    """

    squared_norms: NDArray[np.float64]
    mean_squared: float
    coherence: float
    noise_scale: float
    path: str
    n_gradients: float
    seed: int
    n_examples: int

    def to_frame(self) -> pd.DataFrame:
        """Return one row an example."""
        return pd.DataFrame({"gradient_norm": np.sqrt(self.squared_norms)})


def per_example(
    objective: Supervised,
    point: Tensor | Point,
    *,
    coordinates: Map | None = None,
    split: str = "train",
    n_examples: int | None = None,
    seed: int = 0,
) -> PerExample:
    """Measure every example's gradient.

    A linear layer's gradient of one example is an outer product, so that its norm is a product of norms; where weights
    are shared over positions, as in convolutions, that layer's small matrix is formed. One forward and one backward
    pass serve all examples. It needs linear, 2-D convolution and BatchNorm layers, each called once and none tied,
    that hold all of theta; every other network, and any coordinates, go through ``vmap(grad)``, which forms the
    gradients in chunks.

    Args:
        objective: Left bit for bit as it is.
        point: Phi or theta, shape ``(d,)``; evaluation mode.
        coordinates: Theta as a differentiable function of phi, or None.
        split: Whose examples.
        n_examples: How many; None for all.
        seed: Which ones.

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
    at = Landscape(objective, point, coordinates, split=split, n_examples=n_examples, seed=seed)
    norms: list[Tensor] = []
    total, layered = at.phi.new_zeros(at.d), factored(at)
    with at.visit():
        for x, y in at.chunks(1000 if layered else 50):  # small where gradients are formed
            if layered:
                each, fits = pieces(at, x, partial(_column, at.objective, y))
                layered = fits()
            if layered:
                parts, summed = next(each)
                one = [(a.norm(dim=1).double() * d.norm(dim=1).double()).square() for a, d in parts]
                norms.append(torch.stack(one).sum(0))
                total += torch.cat([g.flatten() for g in summed]) / at.n
            else:
                rows = formed(at, x, y, at.objective.losses)[:, 0]
                norms.append(rows.double().square().sum(1))
                total += rows.sum(0) / at.n
    squared = torch.cat(norms).cpu().numpy()
    big, mean = float(total.double().square().sum()), float(squared.mean())
    with np.errstate(invalid="ignore", divide="ignore"):
        trace = np.float64(mean - big) * at.n / np.float64(at.n - 1)
        signal = big - trace / at.n
        noise = float(trace / signal) if signal > 1e-12 * big else float("nan") if np.isnan(signal) else float("inf")
    coherence = big / mean if mean else float("nan")
    path, cost = ("layers", 1.0) if layered else ("vmap", float(at.n))
    return PerExample(squared, big, coherence, noise, path, cost, seed, at.n)


def _column(objective: Supervised, y: Tensor, outputs: Tensor) -> Tensor:
    """Return the losses as the one scalar of each example, shape ``(n, 1)``."""
    return objective.losses(outputs, y)[:, None]

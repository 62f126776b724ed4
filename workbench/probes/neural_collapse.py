"""Neural collapse: how near last-layer features and classifier are to a simplex with one corner a class."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.errors import require
from workbench.probes.landscape import Measured


@dataclass(frozen=True, kw_only=True)
class NeuralCollapse(Measured):
    """Four distances from collapse; 0 is collapsed, each exact for its inputs. No gradient is taken, nothing drawn.

    Attributes:
        nc1: Within-class over between-class variability, ``tr(S_W S_B^+) / C``.
        nc2_norm: Standard deviation over mean of the class means' lengths.
        nc2_angle: Mean over pairs of ``|cosine + 1 / (C - 1)|``.
        nc3: Frobenius distance of classifier and class means, each of norm 1.
        nc4: Share of examples that classifier and nearest class mean label differently.
    """

    nc1: float
    nc2_norm: float
    nc2_angle: float
    nc3: float
    nc4: float


def neural_collapse(features: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None) -> NeuralCollapse:
    """Measure NC1 to NC4.

    With class means m_c, their global mean m_G (every class counts the same), ``M`` of columns ``m_c - m_G``, S_W the
    mean over examples of ``(h - m_c)(h - m_c)'`` and ``S_B = M M' / C``.

    Args:
        features: Inputs of the last layer, shape ``(n, p)``; computed in double.
        y: Classes in ``0..C-1``, shape ``(n,)``, every one of them there.
        weight: The last layer's, shape ``(C, p)``.
        bias: The last layer's, shape ``(C,)``, or None.

    Returns:
        Four distances from collapse.

    Raises:
        InputError: If shapes do not fit, a class has no example, there are fewer than 2 classes, or a value is not
            finite.

    References:
        Papyan, Han and Donoho 2020, PNAS 117(40), https://arxiv.org/abs/2008.08186.

    Example:
        >>> found = neural_collapse(torch.eye(3), torch.arange(3), torch.eye(3))
        >>> max(abs(round(v, 9)) for v in (found.nc1, found.nc2_norm, found.nc2_angle, found.nc4))
        0.0
    """
    h, w = features.detach().double(), weight.detach().double()
    n_classes = len(w)
    fits = h.ndim == w.ndim == 2 and h.shape[1] == w.shape[1] and y.shape == h.shape[:1]
    require(fits, "features, y, weight", "must fit: (n, p), (n,), (C, p)", [tuple(t.shape) for t in (h, y, w)])
    require(n_classes >= 2, "weight", "must have at least 2 classes", n_classes)
    require(bool(h.isfinite().all() and w.isfinite().all()), "features, weight", "must be finite", "NaN or infinity")
    known = bool(((y >= 0) & (y < n_classes)).all()) and len(y.unique()) == n_classes
    require(known, "y", f"must hold every class of 0..{n_classes - 1} and no other", y.unique().tolist())
    means = torch.stack([h[y == c].mean(0) for c in range(n_classes)])
    centred = means - means.mean(0)
    away = h - means[y]
    _, s, v = torch.linalg.svd(centred, full_matrices=False)
    v = v[s > s.max() * 1e-10]
    inverse = n_classes / s[: len(v)].square()  # of S_B, in the directions that the means span
    lengths, pairs = centred.norm(dim=1), ~torch.eye(n_classes, dtype=torch.bool)
    unit = centred / lengths.clamp(min=torch.finfo(h.dtype).tiny)[:, None]
    logits = h @ w.T if bias is None else h @ w.T + bias.detach().double()
    return NeuralCollapse(
        nc1=float(((away @ v.T).square().mean(0) * inverse).sum() / n_classes) if s.max() > 0 else float("inf"),
        nc2_norm=float(lengths.std(correction=0) / lengths.mean()) if s.max() > 0 else float("nan"),
        nc2_angle=float(((unit @ unit.T)[pairs] + 1 / (n_classes - 1)).abs().mean()),
        nc3=float((w / w.norm() - centred / centred.norm()).norm()),
        nc4=float(np.mean((logits.argmax(1) != torch.cdist(h, means).argmin(1)).numpy())),
        n_gradients=0.0, n_examples=len(y), seed=0,
    )  # fmt: skip

"""A transformer fitted to the prior: it reads the points of a curve and says what distribution comes after them.

As in Adriaensen et al. 2023 (arXiv:2310.20447) it is trained once on drawn curves and then extrapolates any curve in
one pass. What differs: a curve is shown in its own units, so those of x and y change nothing; at most 20 tokens stand
for its points, each the mean of neighbours; and the answer is a mixture of logistic distributions.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from curve_prior import Array
from numpy.typing import NDArray
from torch import Tensor, nn

TOKENS, WIDTH, HIDDEN, LAYERS, HEADS, PARTS = 20, 64, 96, 3, 4, 4
RECENT = 0.35  # in log x: points that tell where a curve is now
WEIGHTS = Path(__file__).with_name("curve_network.safetensors")


@dataclass(frozen=True)
class Tokens:
    """Curves in their own units, as the network reads them: ``centre + scale t`` are values again.

    Attributes:
        points: Features of pooled points, ``(m, 20, 8)``.
        used: Which tokens stand for points, ``(m, 20)``.
        centre: Recent mean of y, ``(m, 1)``.
        scale: Root mean square of y about it, ``(m, 1)``.
    """

    points: Tensor
    used: Tensor
    centre: Array
    scale: Array


def tokens(u: Array, y: Array, seen: NDArray[np.bool_]) -> Tokens:
    """Pool the points of each curve, first ones of a row and in order, and put them into the curve's own units."""
    n = seen.sum(1, keepdims=True)
    recent = seen & (u > -RECENT)
    centre = (y * recent).sum(1, keepdims=True) / recent.sum(1, keepdims=True)
    scale = np.sqrt((((y - centre) * seen) ** 2).sum(1, keepdims=True) / n) + 1e-6 * np.abs(centre) + 1e-12
    group = np.where(n > TOKENS, np.arange(u.shape[1]) * TOKENS // np.maximum(n, 1), np.arange(u.shape[1]))
    flat = (group.clip(max=TOKENS - 1) + TOKENS * np.arange(len(u))[:, None])[seen]

    def pooled(values: Array) -> Array:
        return np.bincount(flat, values[seen], minlength=TOKENS * len(u)).reshape(len(u), TOKENS)

    count = pooled(np.ones_like(u))
    safe = np.maximum(count, 1)
    where, height = pooled(u) / safe, pooled((y - centre) / scale) / safe
    whole = [np.log(scale / np.maximum(np.abs(centre), 1e-12)).clip(-8, 4) / 4, u[:, :1] / 4, np.log(n) / 4]
    features = [where / 3, np.arcsinh(height), np.log(safe), np.zeros_like(where)]
    features += [np.broadcast_to(each, where.shape) for each in whole] + [np.exp(where)]
    stacked = torch.from_numpy(np.stack(features, -1).astype(np.float32))
    return Tokens(stacked, torch.from_numpy(count > 0), centre, scale)


class Layer(nn.Module):
    """Everything attends to the points; then each for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key_value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.alone = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))

    def forward(self, h: Tensor, used: Tensor) -> Tensor:
        """Return what follows tokens ``(m, t, width)``, of which the first are points, ``used`` or empty."""
        m, normed = len(h), self.before(h)
        q = self.query(normed).view(m, -1, HEADS, WIDTH // HEADS).transpose(1, 2)
        both = self.key_value(normed[:, :TOKENS]).view(m, TOKENS, 2, HEADS, WIDTH // HEADS)
        k, v = both.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=used[:, None, None])
        h = h + self.out(mixed.transpose(1, 2).reshape(m, -1, WIDTH))
        return h + self.alone(self.between(h))


class CurveNetwork(nn.Module):
    """From points and times to mixtures of logistic distributions, in a curve's own units."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(8, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.leave = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * PARTS))

    def forward(self, points: Tensor, used: Tensor, ahead: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log weights, locations and log scales, each ``(m, k, parts)``, at times ahead ``(m, k)``."""
        asked = torch.zeros(*ahead.shape, 8)
        asked[..., 0], asked[..., 3], asked[..., 4:7] = ahead / 3, 1, points[:, :1, 4:7]
        h = self.enter(torch.cat([points, asked], 1))
        for layer in self.layers:
            h = layer(h, used)
        weight, location, scale = self.leave(h[:, TOKENS:]).chunk(3, -1)
        return weight.log_softmax(-1), torch.sinh(location.clamp(-6, 6)), (2 * scale - 2).clamp(-8, 4)


def log_density(parts: tuple[Tensor, Tensor, Tensor], t: Tensor) -> Tensor:
    """Return the log density of mixtures at t ``(m, k)``."""
    weight, location, scale = parts
    away = (t[..., None] - location) * torch.exp(-scale)
    return (weight - scale - away - 2 * nn.functional.softplus(-away)).logsumexp(-1)


@dataclass(frozen=True)
class Forecast:
    """Mixtures of logistic distributions in the units of y, each array ``(m, k, parts)``."""

    weight: Array
    location: Array
    scale: Array

    def cdf(self, y: Array) -> Array:
        """Return the probability of at most y, ``(m, k)``."""
        away = np.clip((y[..., None] - self.location) / self.scale, -500, 500)
        return (self.weight / (1 + np.exp(-away))).sum(-1)

    def log_density(self, y: Array) -> Array:
        """Return the log density at y, ``(m, k)``."""
        away = np.abs(y[..., None] - self.location) / self.scale
        each = np.log(self.weight) - np.log(self.scale) - away - 2 * np.log1p(np.exp(-away))
        return np.logaddexp.reduce(each, -1)

    def quantile(self, p: float) -> Array:
        """Return a quantile, ``(m, k)``, by bisection."""
        reach = self.scale * (abs(np.log(p / (1 - p))) + 1)
        low, high = (self.location - reach).min(-1), (self.location + reach).max(-1)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.cdf(middle) < p
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2


def forecast(network: CurveNetwork, u: Array, y: Array, seen: NDArray[np.bool_], ahead: Array) -> Forecast:
    """Ask the network what comes at log(x / last x) = ahead, ``(m, k)``, after curves as in ``curve_prior.Drawn``."""
    shown = tokens(u, y, seen)
    with torch.no_grad():
        asked = torch.from_numpy(np.asarray(ahead, np.float32))
        weight, location, scale = (each.double().numpy() for each in network(shown.points, shown.used, asked))
    centre, unit = shown.centre[..., None], shown.scale[..., None]
    return Forecast(np.exp(weight), centre + unit * location, unit * np.exp(scale))


@functools.cache
def load(path: Path = WEIGHTS) -> CurveNetwork:
    """Return the network that is shipped, its half-precision weights in single precision."""
    from safetensors.torch import load_file

    network = CurveNetwork()
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return network.eval()

"""Classes of random functions: the laws their networks are drawn from, and many networks' outputs at once.

A network is a vector ``z`` of independent standard normal numbers; a class turns it into outputs on fixed inputs. The
law: every weight is normal with mean 0 and variance 2 / fan-in, every bias normal with mean 0 and standard deviation
``BIAS``. Hidden units are ReLUs. The classes by kernel are Gaussian processes: linear functions under the same law,
polynomials of degree 2, and radial functions. In all of them f and -f are equally likely.
"""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.errors import require_choice

BIAS = 0.1
HIDDEN, HIDDEN_IMAGES, CHANNELS = (16,), (9, 6), (6, 10)  # on 8 x 8 images: MLP 652 and CNN 651 parameters
KERNELS, CLASSES = ("linear", "polynomial", "radial"), ("mlp", "cnn", "linear", "polynomial", "radial")
_CACHE = 2**19  # numbers that one layer's outputs of a chunk may be: 2 MiB


class Prior(NamedTuple):
    """A class on fixed inputs.

    Attributes:
        D: Numbers a network is drawn with.
        outputs: Networks ``(B, D)`` to their outputs, shape ``(B, n)``.
        chunk: How many networks at a time stay in the cache.
        flops: Multiplications and additions of one network's matrix products on all inputs.
    """

    D: int
    outputs: Callable[[Tensor], Tensor]
    chunk: int
    flops: int

    def positive(self, z: Tensor) -> Tensor:
        """Return where the outputs of networks ``(m, D)`` are positive, shape ``(m, n)``, a chunk at a time."""
        return torch.cat([self.outputs(part) > 0 for part in z.split(self.chunk)])


def prior(name: str, x: Tensor) -> Prior:
    """Return a class on inputs.

    Args:
        name: One of ``CLASSES``.
        x: Inputs, shape ``(n, d)``, or images, shape ``(n, 1, 8, 8)``; "cnn" needs images.

    Returns:
        The class, in the inputs' precision.

    Raises:
        InputError: If there is no such class for these inputs.
    """
    images = x.ndim == 4
    require_choice("name", name, CLASSES if images else tuple(each for each in CLASSES if each != "cnn"))
    if name == "cnn":
        return cnn(x)
    flat = x.flatten(1)
    return mlp(flat, HIDDEN_IMAGES if images else HIDDEN) if name == "mlp" else process(gram(name, flat))


def mlp(x: Tensor, hidden: tuple[int, ...]) -> Prior:
    """Return fully connected ReLU networks with one output; a network is its layers' matrices ``[weights, bias]``."""
    n, d = x.shape
    sizes = [(a, b) for a, b in zip((d, *hidden), (*hidden, 1), strict=True)]
    ends = np.cumsum([b * (a + 1) for a, b in sizes]).tolist()
    scale = torch.cat([_scale(a, b) for a, b in sizes]).to(x)
    first = torch.cat([x.T, torch.ones_like(x.T[:1])])

    def outputs(z: Tensor) -> Tensor:
        z = z * scale
        h = (z[:, : ends[0]].reshape(-1, d + 1) @ first).view(len(z), -1, n)
        for (a, b), start, end in zip(sizes[1:], ends, ends[1:], strict=False):
            layer = z[:, start:end].view(len(z), b, a + 1)
            h = torch.baddbmm(layer[:, :, a:], layer[:, :, :a], h.relu_())
        return h[:, 0]

    return Prior(ends[-1], outputs, _chunk(n * max(hidden)), 2 * n * ends[-1])


def cnn(x: Tensor) -> Prior:
    """Return networks of a 3 x 3 convolution (padded), 2 x 2 maximum, a 3 x 3 convolution and one output.

    All networks share the inputs, so the first layer is one product with the images' patches. Its four patches of a
    pooled pixel are four products, of which the largest is kept. The second layer is a stacked product of the unfolded
    maps, which on a CPU is several times faster than a convolution of as many groups.
    """
    n, (first, second) = len(x), CHANNELS
    scale = torch.cat([_scale(9, first), _scale(9 * first, second), _scale(4 * second, 1)]).to(x)
    patches = torch.nn.functional.unfold(x, 3, padding=1).view(n, 9, 4, 2, 4, 2)  # (y, its half, x, its half)
    patches = torch.cat([patches, torch.ones_like(patches[:, :1])], 1)
    corners = [patches[:, :, :, i, :, j].permute(1, 2, 3, 0).reshape(10, -1) for i in (0, 1) for j in (0, 1)]
    a, b = 10 * first, 10 * first + second * (9 * first + 1)

    def outputs(z: Tensor) -> Tensor:
        z, m = z * scale, len(z)
        filters = z[:, :a].reshape(-1, 10)
        h = filters @ corners[0]
        for corner in corners[1:]:
            torch.maximum(h, filters @ corner, out=h)
        h = h.relu_().view(m, first, 4, 4, n)
        windows = torch.stack([h[:, :, i : i + 2, j : j + 2] for i in range(3) for j in range(3)], 2)
        layer, last = z[:, a:b].view(m, second, -1), z[:, None, b:]
        h = torch.baddbmm(layer[:, :, -1:], layer[:, :, :-1], windows.view(m, 9 * first, 4 * n)).relu_()
        return torch.baddbmm(last[:, :, -1:], last[:, :, :-1], h.view(m, 4 * second, n))[:, 0]

    flops = 2 * n * (64 * a + 4 * (b - a) + 4 * second + 1)
    return Prior(len(scale), outputs, _chunk(16 * first * n), flops)


def gram(name: str, x: Tensor) -> Tensor:
    """Return the kernel of inputs ``(n, d)``, in float64."""
    x = x.double()
    inner = x @ x.T / x.shape[1]
    if name == "linear":
        return 2 * inner + BIAS**2
    if name == "polynomial":
        return (1 + inner) ** 2
    square = inner.diagonal()
    return torch.exp(inner - (square[:, None] + square) / 2)  # length scale: the root of d


def process(kernel: Tensor) -> Prior:
    """Return the Gaussian process with this covariance: as many numbers a function as the covariance has rank."""
    values, axes = torch.linalg.eigh(kernel)
    kept = values > 1e-9 * values[-1]
    root = (values[kept].sqrt() * axes[:, kept]).T.float()
    return Prior(len(root), lambda z: z @ root.to(z), _chunk(len(kernel)), 2 * root.numel())


def _scale(fan_in: int, units: int) -> Tensor:
    """Return the standard deviations of a layer's matrix [weights, bias], flat."""
    return torch.tensor([sqrt(2 / fan_in)] * fan_in + [BIAS]).repeat(units)


def _chunk(numbers: int) -> int:
    """Return how many networks fit the cache when each needs so many numbers."""
    return max(1, min(1024, _CACHE // numbers))

"""Directions: which line or plane through parameter space is looked at?"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from workbench.errors import is_count, require, require_choice
from workbench.layout import Layout, Role
from workbench.seeds import generator

Normalise = Literal["filter", "layer", "none"]


class Span(NamedTuple):
    """A plane by its origin, shape ``(d,)``, and orthonormal directions, shape ``(2, d)``.

    ``at``, shape ``(n, 2)``, are the given points' coordinates in it, in the unit of phi; ``explained`` is the share
    of the points' variance that each direction holds, of all directions.
    """

    origin: Tensor
    directions: Tensor
    at: Tensor
    explained: Tensor


def directions(
    theta: Tensor,
    layout: Layout | None = None,
    *,
    n: int = 2,
    normalise: Normalise = "filter",
    roles: tuple[Role, ...] = ("weight", "embedding"),
    seed: int = 0,
) -> Tensor:
    """Draw random directions, scaled to the network.

    Entries are N(0, 1). ``"filter"`` gives each filter (the row of a linear layer's matrix, a convolution's output
    map, a token's embedding) the norm that it has in theta; ``"layer"`` does so for each tensor; ``"none"`` leaves
    them, with a norm of about the root of D. Biases and norms as a whole count as one filter, if they move at all.

    Args:
        theta: Shape ``(D,)``; or phi, for which there is no layout.
        layout: Whose tensors; needed for everything but ``"none"`` with all entries moving.
        n: How many.
        normalise: To what.
        roles: Which tensors move; the others' entries are 0. Moving biases and norms as well changes slices wildly.
        seed: Which ones.

    Returns:
        Shape ``(n, D)``.

    Raises:
        InputError: If ``normalise`` is unknown, ``n`` is not positive, or a layout is missing or does not fit.

    References:
        Li et al. 2018, "Visualizing the loss landscape of neural nets", section 4, https://arxiv.org/abs/1712.09913;
        there, too, biases and norms do not move.

    Example:
        >>> directions(torch.zeros(3), normalise="none", n=1).shape
        torch.Size([1, 3])
    """
    require_choice("normalise", normalise, ("filter", "layer", "none"))
    require(is_count(n, 1), "n", "must be a positive whole number", n)
    drawn = torch.from_numpy(generator(seed, "directions").standard_normal((n, len(theta)))).to(theta)
    if layout is None:
        require(normalise == "none", "layout", "must be given to normalise", None, "pass objective.layout")
        return drawn
    require(len(theta) == layout.D, "layout", f"must have theta's D={len(theta)} entries", layout.D)
    for direction in drawn:
        for entry, part in zip(layout.entries, layout.views(direction).values(), strict=True):
            own = theta[entry.offset : entry.offset + entry.size].view(entry.shape)
            whole = normalise == "layer" or part.ndim < 2
            shape = (1, -1) if whole else (len(part), -1)
            if entry.role not in roles:
                part.zero_()
            elif normalise != "none":
                scale = own.reshape(shape).norm(dim=1) / part.reshape(shape).norm(dim=1)
                part.mul_(scale.view(-1, *[1] * (part.ndim - 1)))
    return drawn


def through(first: Tensor, second: Tensor, third: Tensor) -> Span:
    """Return the plane through three networks: the first its origin, the second on its first axis.

    Args:
        first: Theta or phi, shape ``(d,)``.
        second: Likewise.
        third: Likewise.

    Returns:
        The plane, and the three networks' coordinates.

    Raises:
        InputError: If they lie on one line.

    References:
        Garipov et al. 2018, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", appendix,
        https://arxiv.org/abs/1802.10026.

    Example:
        >>> through(torch.zeros(2), torch.tensor([2.0, 0.0]), torch.tensor([1.0, 3.0])).at.tolist()
        [[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]
    """
    edges = torch.stack([second - first, third - first])
    q, r = torch.linalg.qr(edges.double().T)
    flat = bool(r.diagonal().abs().min() <= 1e-6 * edges.double().norm())
    require(not flat, "third", "must not lie on one line with first and second", tuple(third.shape))
    q, r = q * r.diagonal().sign(), r * r.diagonal().sign()[:, None]
    return _span(first, q.T, torch.stack([first, second, third]))


def principal(trajectory: Tensor, origin: Tensor | None = None) -> Span:
    """Return the plane that holds most of a trajectory's variance, by principal components.

    A random walk in many dimensions, too, has a plane with most of its variance: compare before reading a shape.

    Args:
        trajectory: Theta or phi at successive moments, shape ``(n, d)``.
        origin: Where the plane is put, shape ``(d,)``; None for the trajectory's end.

    Returns:
        The plane; coordinates of the points' projections; the share of variance along each direction.

    Raises:
        InputError: If there are fewer than three points, or all lie on one line.

    References:
        Li et al. 2018, "Visualizing the loss landscape of neural nets", section 7, https://arxiv.org/abs/1712.09913.
        Antognini and Sohl-Dickstein 2018, "PCA of high dimensional random walks with comparison to neural network
        training", https://arxiv.org/abs/1806.08805.

    Example:
        >>> corners = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 1, 0], [0, -1, 0]])
        >>> principal(corners).explained
        tensor([0.9000, 0.1000])
    """
    n = len(trajectory) if trajectory.ndim == 2 else 0
    require(n >= 3, "trajectory", "must be three or more points, shape (n, d)", tuple(trajectory.shape))
    centred = trajectory.double() - trajectory.double().mean(0)
    _, sizes, axes = torch.linalg.svd(centred, full_matrices=False)
    flat = bool(sizes[1] <= 1e-6 * sizes[0])
    require(not flat, "trajectory", "must not lie on one line", tuple(trajectory.shape), "measure that line instead")
    largest = axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True))  # a sign is no one's choice but ours
    return _span(trajectory[-1] if origin is None else origin, axes[:2] * largest.sign(), trajectory)


def _span(origin: Tensor, axes: Tensor, points: Tensor) -> Span:
    """Express points in a plane."""
    centred = points.double() - points.double().mean(0)
    explained = (centred @ axes.T).square().sum(0) / centred.square().sum()
    at = (points - origin).double() @ axes.T
    return Span(origin, axes.to(origin), at.to(origin), explained.to(origin))

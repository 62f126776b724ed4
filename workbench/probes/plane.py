"""Plane: what do loss and error look like around a point, or between three?"""

from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.layout import Point
from workbench.objective import BatchStats, Supervised
from workbench.probes.landscape import Where
from workbench.probes.slices import Slice, Slices


def plane(
    objective: Supervised,
    point: Tensor | Point,
    directions: Tensor,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    gradient_norm: bool = False,
    batch_stats: BatchStats = "recalibrated",
    **where: Unpack[Where],
) -> Slice:
    """Measure ``L(point + a * directions[0] + b * directions[1])`` on a grid.

    Where the network's first layer is linear or a convolution, statistics of BatchNorm do not change with the point
    and phi is theta, the layer's outputs are added up from three products instead of being computed at every point;
    its ``residual`` says how far the farthest point's plain measurement is from that. Elsewhere every point is a
    plain forward pass. Both take chunks of examples that stay in the processor's caches.

    Args:
        objective: Network and examples.
        point: Theta or phi at a = b = 0, shape ``(d,)``; or a point with its buffers.
        directions: Shape ``(2, d)``, used as they are: see :mod:`workbench.probes.directions` for normalised ones,
            through three networks, and of a trajectory.
        a: Coordinates along the first, any spacing; None for 51 points from -1 to 1.
        b: Along the second; None for those of ``a``.
        gradient_norm: Whether to take the norm of the gradient (in phi) as well, at four times the cost.
        batch_stats: Statistics of BatchNorm ``"recalibrated"`` at every point on the whole training split, or
            ``"stored"`` ones, which make slices far steeper than any network that trains there would see.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        Loss, error and, if asked for, gradient norm at each point.

    Raises:
        InputError: If the directions do not fit the point or are not finite, or a or b is no list of finite numbers.

    References:
        Li et al. 2018, "Visualizing the loss landscape of neural nets", https://arxiv.org/abs/1712.09913.

    Example:
        >>> import torch
        >>> identity = torch.nn.Linear(2, 1, bias=False)
        >>> objective = Supervised(identity, (torch.eye(2), torch.zeros(2)), loss="squared_error")
        >>> plane(objective, torch.zeros(2), torch.eye(2), [0, 1], [0, 2, 4]).loss  # (a^2 + b^2) / 2
        array([[0. , 2. , 8. ],
               [0.5, 2.5, 8.5]])
    """
    slices = Slices(objective, point, batch_stats, **where)
    a = np.linspace(-1, 1, 51) if a is None else a
    return slices.measure(directions, (a, a if b is None else b), gradient_norm)

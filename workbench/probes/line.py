"""Line: what do loss, error and gradient look like along one direction?"""

from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.layout import Point
from workbench.objective import BatchStats, Supervised
from workbench.probes.landscape import Where
from workbench.probes.slices import Slice, Slices


def line(
    objective: Supervised,
    point: Tensor | Point,
    direction: Tensor,
    t: ArrayLike | None = None,
    *,
    gradient_norm: bool = True,
    batch_stats: BatchStats = "recalibrated",
    **where: Unpack[Where],
) -> Slice:
    """Measure ``L(point + t * direction)`` on a grid of t.

    Args:
        objective: Network and examples.
        point: Theta or phi at t = 0, shape ``(d,)``; or a point with its buffers.
        direction: Shape ``(d,)``, used as it is: see :mod:`workbench.probes.directions` for normalised ones.
        t: Where, shape ``(m,)``; None for 51 points from -1 to 1.
        gradient_norm: Whether to take the norm of the gradient (in phi) as well, which costs three times as much.
        batch_stats: Statistics of BatchNorm ``"recalibrated"`` at every point on the whole training split, or
            ``"stored"`` ones, which make slices far steeper than any network that trains there would see.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Returns:
        Loss, error and gradient norm at each t.

    Raises:
        InputError: If the direction does not fit or is not finite, or t is no list of finite numbers.

    References:
        Goodfellow et al. 2015, "Qualitatively characterizing neural network optimization problems",
        https://arxiv.org/abs/1412.6544.

    Example:
        >>> import torch
        >>> identity = torch.nn.Linear(2, 1, bias=False)
        >>> objective = Supervised(identity, (torch.eye(2), torch.zeros(2)), loss="squared_error")
        >>> line(objective, torch.zeros(2), torch.tensor([1.0, 0.0]), [0, 1, 2]).loss  # t^2 / 2
        array([0. , 0.5, 2. ])
    """
    slices = Slices(objective, point, batch_stats, **where)
    return slices.measure(direction[None], (np.linspace(-1, 1, 51) if t is None else t,), gradient_norm)

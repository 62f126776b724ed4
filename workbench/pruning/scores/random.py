"""Random: the control that every score has to beat."""

import numpy as np
import torch
from torch import Tensor

from workbench.seeds import generator


def random(D: int, seed: int) -> Tensor:
    """Score every entry by a uniform number in [0, 1).

    Args:
        D: Number of parameters.
        seed: Non-negative integer.

    Returns:
        Larger = keep, shape ``(D,)``.
    """
    return torch.from_numpy(generator(seed, "random score").random(D, dtype=np.float32))

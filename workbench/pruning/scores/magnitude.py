"""Magnitude: what is near zero goes first."""

from torch import Tensor


def magnitude(theta: Tensor) -> Tensor:
    """Score every entry by its absolute value, ``|theta_i|``.

    Args:
        theta: Parameters, shape ``(D,)``.

    Returns:
        Larger = keep, shape ``(D,)``.

    References:
        Han et al. 2015, "Learning both weights and connections", https://arxiv.org/abs/1506.02626.
    """
    return theta.abs()

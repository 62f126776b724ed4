"""Movement: what training moves away from zero."""

from typing import Any

import torch
from torch import Tensor


class Movement:
    """Coordinates that add up movement scores while they are trained: ``-sum over steps of theta_i g_i``.

    g is the gradient of the minibatch's loss with respect to theta, before any mask. The map itself is that of the
    coordinates given; hand this one to ``train`` in their place.

    Args:
        coordinates: A map phi -> theta over D parameters.

    Attributes:
        scores: Larger = keep, shape ``(D,)``; either sign.

    References:
        Sanh et al. 2020, "Movement pruning",
        https://arxiv.org/abs/2005.07683, there with the factor of the learning rate.
    """

    def __init__(self, coordinates: Any) -> None:
        self.coordinates = coordinates
        self.scores = torch.zeros_like(coordinates(coordinates.initial()))

    def __getattr__(self, name: str) -> Any:
        """Look up everything else in the coordinates."""
        if name == "coordinates":  # of a copy that has none yet
            raise AttributeError(name)
        return getattr(self.coordinates, name)

    def push(self, phi: Tensor, out: Tensor) -> Tensor:
        """Write theta(phi) into ``out``, and remember it for ``pull``."""
        self.theta = self.coordinates.push(phi, out)
        return out

    def pull(self, phi: Tensor, grad_theta: Tensor, out: Tensor) -> Tensor:
        """Add to the scores, then write the gradient with respect to phi into ``out``."""
        self.scores.addcmul_(self.theta, grad_theta, value=-1)
        return self.coordinates.pull(phi, grad_theta, out)

    def state(self) -> dict[str, Tensor]:
        """Return the scores with what the map itself has changed."""
        return {"movement": self.scores.clone(), **self.coordinates.state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take up what ``state`` returned; an empty one is the start."""
        self.scores.copy_(state.get("movement", torch.zeros(())))
        self.coordinates.load_state({name: value for name, value in state.items() if name != "movement"})

"""Planes through the trained network, and what is seen from a point of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd import grad

from workbench import probes
from workbench.objective import Supervised

Kind = Literal["trajectory", "filter", "eigenvectors"]
KINDS: tuple[Kind, ...] = ("trajectory", "filter", "eigenvectors")
N_SHOWN = 6  # digits whose predictions are shown


@dataclass(frozen=True)
class View:
    """A plane ``origin + a directions[0] + b directions[1]``, measured, with the training's moments in it."""

    kind: str
    origin: Tensor
    directions: Tensor
    seen: probes.Slice
    at: np.ndarray  # coordinates of the moments' projections, shape (n, 2)
    explained: tuple[float, float] | None = None  # shares of the trajectory's variance

    def point(self, a: float, b: float) -> Tensor:
        """Return theta at coordinates."""
        return self.origin + a * self.directions[0] + b * self.directions[1]

    def coordinates(self, u: float, v: float) -> tuple[float, float]:
        """Return a and b at shares of the way from one edge to the other, each from -1 to 1."""
        ends = [(axis[0], axis[-1]) for axis in self.seen.axes]
        a, b = ((low + high) / 2 + share * (high - low) / 2 for share, (low, high) in zip((u, v), ends, strict=True))
        return float(a), float(b)


@dataclass(frozen=True)
class Spot:
    """What is seen from one point: loss, error, the plane's two curvatures there, guesses for a few digits."""

    loss: float
    error: float
    curvatures: tuple[float, float]  # of the loss in the plane, per squared unit of its coordinates, rising
    guesses: tuple[tuple[int, float], ...]  # class and its probability


def directions_of(objective: Supervised, path: Tensor, kind: Kind) -> tuple[Tensor, np.ndarray | None, float]:
    """Return a plane's directions, shape ``(2, D)``, the variance they explain, and how far it reaches."""
    theta = path[-1]
    if kind == "trajectory":
        span = probes.principal(path)
        return span.directions, span.explained.numpy(), 0.0
    if kind == "eigenvectors":
        return probes.top_eigenpairs(objective, theta, 2, 1e-3).vectors, None, 5.0
    return probes.directions(theta, objective.layout), None, 1.0


def survey(objective: Supervised, path: Tensor, kind: Kind, n: int = 41) -> View:
    """Measure the training loss on a plane through the trained network.

    Args:
        objective: Whose loss.
        path: Theta at moments of the training, shape ``(m, D)``, the trained network last.
        kind: The plane that holds most of the trajectory's variance, of two random filter-normalised directions, or
            of the two top eigenvectors of the Hessian.
        n: Points along each side.

    Returns:
        The plane.
    """
    theta, (span, explained, reach) = path[-1], directions_of(objective, path, kind)
    away = (path - theta).double()
    at = torch.linalg.lstsq(span.T, away.T).solution.T.numpy()
    low, high = (-reach * np.ones(2), reach * np.ones(2)) if reach else (at.min(0), at.max(0))
    margin = 0.0 if reach else 0.35 * (high - low).max()
    axes = (np.linspace(a - margin, b + margin, n) for a, b in zip(low, high, strict=True))
    seen = probes.plane(objective, theta, span, *axes)
    shares = None if explained is None else (float(explained[0]), float(explained[1]))
    return View(kind, theta, span, seen, at, shares)


def visit(objective: Supervised, view: View, a: float, b: float) -> Spot:
    """Measure at one point of a plane; its curvatures are those of the loss in the plane's own two coordinates."""
    theta, at = view.point(a, b), torch.tensor([a, b], dtype=view.origin.dtype, requires_grad=True)
    measured = objective.evaluate(theta, "train")
    (slope,) = grad(objective(view.origin + at @ view.directions), at, create_graph=True)
    rows = [grad(each, at, retain_graph=True)[0] for each in slope]  # probes.hessian, made for more, takes four times
    low, high = torch.linalg.eigvalsh(torch.stack(rows)).tolist()
    chances = objective.logits(theta, "test")[:N_SHOWN].softmax(1)
    guesses = tuple((int(each.argmax()), float(each.max())) for each in chances)
    return Spot(measured.loss, 1 - measured.metric, (low, high), guesses)


def shown_digits(objective: Supervised) -> tuple[np.ndarray, list[int]]:
    """Return the digits that are shown, side by side, shape ``(8, 9 N_SHOWN - 1)``, gaps 0, and their classes."""
    x, y = next(objective.splits["test"].chunks(N_SHOWN))
    wide = np.zeros((8, 9 * N_SHOWN - 1))
    for i, image in enumerate(x.reshape(len(x), 8, 8).numpy()):
        wide[:, 9 * i : 9 * i + 8] = image
    return wide, y.tolist()


def plane_table(views: Mapping[str, View]) -> list[str]:
    """Say of each plane how much of the trajectory it holds, and its cost."""
    said = []
    for kind, view in views.items():
        held = "" if view.explained is None else f"{100 * sum(view.explained):.0f} % of the trajectory's variance, "
        said.append(f"{kind}: {held}{view.seen.loss.size:,} points for {view.seen.n_gradients:,.0f} gradients")
    return said

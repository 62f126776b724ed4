"""The loss around a network: curvature, degeneracy, a plane, a walk; in all of theta or in random directions."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench import probes
from workbench.coordinates import Subspace, projection
from workbench.layout import Point
from workbench.measures.outcomes import Plain
from workbench.objective import Supervised

_ROOM = 2**28  # numbers that a probe's vectors may hold together


def _around(point: Point, d: int | None, seed: int) -> tuple[Point, Subspace | None]:
    """Return a point in its own d random directions and the coordinates; or the point as it is, for None."""
    if d is None:
        return point, None
    theta = point.theta
    coordinates = Subspace(theta, projection("hashed", len(theta), d, seed, device=theta.device))
    return Point(coordinates.initial(), point.buffers), coordinates


def curvature(objective: Supervised, point: Point, d: int | None = None, k: int = 5, seed: int = 0) -> Plain:
    """Measure top eigenvalues and trace of the Hessian, in all of theta or in d random directions through the point.

    Args:
        objective: Left as it is.
        point: The network.
        d: Dimension of the random subspace; None for theta itself.
        k: Eigenvalues.
        seed: Of directions and start vectors.

    Returns:
        ``values`` with ``residuals`` (strict bounds) and ``errors``, ``trace``, its ``standard_error`` and ``method``.
    """
    phi, coordinates = _around(point, d, seed)
    n = len(phi.theta)
    room, n_products = max(12, _ROOM // n), 99 if d is None else 300
    limit = min(n, 4 * room, 100 + 20 * k)
    pairs = probes.top_eigenpairs(
        objective, phi, min(k, n), 1e-3, max_products=limit, coordinates=coordinates, seed=seed
    )
    n_products = min(n_products, room // 3 * 3)
    total = probes.trace(objective, phi, n_products=n_products, coordinates=coordinates, seed=seed)
    found = {name: getattr(pairs, name) for name in ("values", "residuals", "errors", "n_examples")}
    return found | {"trace": total.value, "standard_error": total.standard_error, "method": total.method, "d": n}


def spectrum(objective: Supervised, point: Point, n_outliers: int = 10, seed: int = 0) -> Plain:
    """Estimate the spectral density, as many outliers taken out first as memory has room for.

    Returns:
        ``grid``, ``density`` and its ``standard_error``, ``mean`` and ``n_outliers``.
    """
    room = 4 * _ROOM // len(point.theta)
    n_outliers = min(n_outliers, max(0, (room - 100) // 20), len(point.theta) - 1)
    found = probes.spectral_density(objective, point, n_outliers=n_outliers, seed=seed)
    names = ("grid", "density", "standard_error", "mean", "n_outliers", "support", "weights", "n_examples")
    return {name: getattr(found, name) for name in names}


def coefficient(objective: Supervised, point: Point, d: int | None = None, seed: int = 0, **chains: Any) -> Plain:
    """Estimate the learning coefficient at the point, in all of theta or in d random directions through it.

    Returns:
        ``value``, ``low``, ``high``, why it is ``refused`` or None, ``d``, ``curvature`` and ``n_examples``.
    """
    phi, coordinates = _around(point, d, seed)
    found = probes.learning_coefficient(objective, phi, coordinates=coordinates, seed=seed, **chains)
    named = {"value": found.value, "low": found.interval[0], "high": found.interval[1], "refused": found.refused}
    return named | {"d": len(phi.theta), "curvature": found.curvature, "n_examples": found.n_examples}


def surface(objective: Supervised, point: Point, trajectory: Tensor | None = None, n: int = 21, seed: int = 0) -> Plain:
    """Measure loss and error on a plane: of a trajectory's principal directions, or of two random, filter-normalised.

    Args:
        objective: Left as it is.
        point: The network; the trajectory's end.
        trajectory: Earlier thetas, shape ``(m, D)``, m at least 2.
        n: Points along each axis.
        seed: Of random directions.

    Returns:
        ``a``, ``b``, ``loss`` and ``error``, shape ``(n, n)``; the trajectory's coordinates ``at`` and the shares of
        its variance ``explained``, empty where there is none.
    """
    told: Plain = {"at": [], "explained": []}
    if trajectory is None:
        axes, a = probes.directions(point.theta, objective.layout, seed=seed), np.linspace(-1, 1, n)
        b = a
    else:
        span = probes.principal(torch.cat([trajectory, point.theta[None]]), point.theta)
        told, axes = {"at": span.at, "explained": span.explained}, span.directions
        ends = torch.stack([span.at.amin(0), span.at.amax(0)]).double().cpu().numpy()
        margin = 0.2 * (ends[1] - ends[0]).max()
        a, b = (np.linspace(low - margin, high + margin, n) for low, high in ends.T)
    seen = probes.plane(objective, point, axes, a, b)
    return {"a": a, "b": b, "loss": seen.loss, "error": seen.error, "n_examples": seen.n_examples} | told


def walk(objective: Supervised, first: Point, second: Point, n_points: int = 11) -> Plain:
    """Return loss and error along the segment between two networks, and both barriers with their standard errors."""
    found = probes.barrier(objective, first, second, n_points=n_points)
    names = ("t", "loss", "error", "height", "standard_error", "error_height", "error_standard_error", "n_examples")
    return {name: getattr(found, name) for name in names}

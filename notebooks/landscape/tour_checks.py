"""Checks of the tour's exercises: each knows the right answer, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import torch
from tour import FACTOR

from workbench.exercises import check
from workbench.seeds import generator


def check_trace(function: Callable[..., Any]) -> None:
    """Check Hutchinson's estimate from vectors and their products, both of shape ``(n, D)``."""
    rng = generator(0, "check", "trace")
    v = torch.from_numpy(rng.choice([-1.0, 1.0], (7, 5)))
    half = torch.from_numpy(rng.standard_normal((5, 5)))
    products = v @ (half @ half.T)
    each = (v * products).sum(1)
    slips = (
        (float(each.sum()), "take the mean over the vectors, not the sum."),
        (float((v * products).mean()), "sum over the D entries; take the mean over the vectors alone."),
        (float(products.norm(dim=1).mean()), "multiply each product with its own v: v'Hv, not |Hv|."),
        (
            float(each.mean()) / 5,
            "v'Hv is an estimate already: v has D entries of size 1, so nothing is left to divide.",
        ),
    )
    check(float(function(v, products)), float(each.mean()), slips=slips, hint="The mean over the rows of v'Hv.")


def check_filters(function: Callable[..., Any]) -> None:
    """Check filter normalisation of a direction, shape ``(filters, weights)``."""
    rng = generator(0, "check", "filters")
    direction, weights = (torch.from_numpy(rng.standard_normal((3, 4))) for _ in range(2))
    sizes, own = weights.norm(dim=1, keepdim=True), direction.norm(dim=1, keepdim=True)
    slips = (
        (direction / own, "every filter has norm 1 now; give it the norm that it has in the weights."),
        (direction * sizes, "divide by the direction's own norm first."),
        (
            direction * weights.norm() / direction.norm(),
            "this is one factor for the whole layer; take one for each filter.",
        ),
        (direction * weights.norm(dim=0) / direction.norm(dim=0), "a filter is a row; these are norms of columns."),
    )
    note = "A network whose layer is rescaled has a plane that is rescaled with it."
    check(function(direction, weights), direction * sizes / own, slips=slips, hint="Row by row.", note=note)


def check_factor(answer: Any) -> None:
    """Check by what the squared gradient of the second layer's matrix is multiplied when the first grows."""
    slips = (
        (FACTOR, "the gradient grows by that; its square is asked for."),
        (1.0, "the function stays, but the second layer now reads larger hidden values."),
        (1 / FACTOR, "the other way round: the hidden values are larger now."),
        (1 / FACTOR**2, "the other way round: the hidden values are larger now."),
    )
    hint = "The gradient of a matrix is an outer product of what comes back and what the layer reads."
    note = "Curvature in these weights grows by as much, while the function is the same."
    check(answer, FACTOR**2, slips=slips, hint=hint, note=note)

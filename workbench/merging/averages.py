"""Averages: pure functions from the parameters of several networks to those of one."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.errors import is_number, require

_FLOOR = 1e-6  # of Fisher values: where no network cares, the plain average holds


class Soup(NamedTuple):
    """Averaged parameters, shape ``(D,)``; the positions of those averaged, in the order of joining; their score."""

    theta: Tensor
    members: tuple[int, ...]
    score: float


def uniform_soup(thetas: Sequence[Tensor] | Tensor, weights: Sequence[float] | None = None) -> Tensor:
    """Return the average ``sum_i l_i theta_i / sum_i l_i`` of networks.

    Statistics of BatchNorm are no parameters: recompute them at the average
    (:meth:`workbench.objective.Supervised.recalibrated`).

    Args:
        thetas: Parameters of each network, shape ``(D,)`` each.
        weights: Non-negative l, one a network; None for equal ones.

    Returns:
        Shape ``(D,)``.

    Raises:
        InputError: If there is no network, lengths differ, or the weights are not as many, negative or all zero.

    References:
        Wortsman et al. 2022, "Model soups", https://arxiv.org/abs/2203.05482.

    Example:
        >>> uniform_soup([torch.tensor([0.0, 2.0]), torch.tensor([4.0, 2.0])]).tolist()
        [2.0, 2.0]
    """
    stacked = _stack("thetas", thetas)
    return torch.einsum("i,id->d", _shares(weights, stacked), stacked)


def greedy_soup(thetas: Sequence[Tensor] | Tensor, score: Callable[[Tensor], float]) -> Soup:
    """Average networks from the best down, each kept only where the average's score does not fall.

    Args:
        thetas: Parameters of each network, shape ``(D,)`` each.
        score: Larger is better, of a theta on held-out examples: the validation split, never the test split. It is
            called once for each network and once for each candidate average. Ties keep the order given.

    Returns:
        The soup; never worse by this score than the best single network.

    Raises:
        InputError: If there is no network, lengths differ, or a score is not finite.

    References:
        Wortsman et al. 2022, "Model soups", recipe 1, https://arxiv.org/abs/2203.05482.

    Example:
        >>> thetas = [torch.tensor([0.0]), torch.tensor([4.0]), torch.tensor([9.0])]
        >>> greedy_soup(thetas, lambda theta: -abs(float(theta) - 2))  # with 9 the average would be 4.33
        Soup(theta=tensor([2.]), members=(0, 1), score=-0.0)
    """
    stacked = _stack("thetas", thetas)
    scores = [_checked(score(theta)) for theta in stacked]
    order = sorted(range(len(stacked)), key=lambda i: -scores[i])
    best = Soup(stacked[order[0]].clone(), (order[0],), scores[order[0]])
    for i in order[1:]:
        members = (*best.members, i)
        theta = stacked[list(members)].mean(0)
        value = _checked(score(theta))
        if value >= best.score:
            best = Soup(theta, members, value)
    return best


def fisher_average(
    thetas: Sequence[Tensor] | Tensor,
    fishers: Sequence[Tensor] | Tensor,
    weights: Sequence[float] | None = None,
    floor: float = _FLOOR,
) -> Tensor:
    """Return ``sum_i l_i F_i theta_i / sum_i l_i F_i``, entry by entry.

    It is the joint optimum of losses that are quadratic with diagonal curvatures F_i around theta_i.

    Args:
        thetas: Parameters of each network, shape ``(D,)`` each.
        fishers: Diagonals F of the networks' Fisher matrices, shape ``(D,)`` each, from
            :func:`workbench.pruning.scores.fisher_diagonal`: a mean over examples, so put numbers of examples into l.
        weights: Non-negative l, one a network; None for equal ones.
        floor: F is taken as at least this; positive. An entry that matters to no network gets the plain average.

    Returns:
        Shape ``(D,)``.

    Raises:
        InputError: If lengths or numbers differ, a Fisher value is negative or not finite, or the floor not positive.

    References:
        Matena and Raffel 2022, "Merging models with Fisher-weighted averaging",
        https://arxiv.org/abs/2111.09832.

    Example:
        >>> thetas, fishers = torch.tensor([[0.0], [4.0]]), torch.tensor([[3.0], [1.0]])
        >>> fisher_average(thetas, fishers).tolist()  # (3 * 0 + 1 * 4) / (3 + 1)
        [1.0]
    """
    stacked, F = _stack("thetas", thetas), _stack("fishers", fishers)
    require(F.shape == stacked.shape, "fishers", f"must have the shapes of thetas, {tuple(stacked.shape)}", F.shape)
    proper = bool(F.isfinite().all()) and bool((F >= 0).all())
    require(
        proper, "fishers", "must be finite and not negative", float(F.min()), "pass the diagonal of a Fisher matrix"
    )
    require(is_number(floor) and floor > 0, "floor", "must be positive", floor)
    trust = _shares(weights, stacked)[:, None] * F.clamp(min=floor)
    return (trust * stacked).sum(0) / trust.sum(0)


def _stack(name: str, vectors: Sequence[Tensor] | Tensor) -> Tensor:
    """Return vectors as rows, shape ``(n, D)``."""
    shapes = [tuple(v.shape) for v in vectors]
    ok = len(shapes) > 0 and len(shapes[0]) == 1 and len(set(shapes)) == 1
    require(ok, name, "must be one or more vectors of one length", shapes)
    return torch.stack(list(vectors)).detach()


def _shares(weights: Sequence[float] | None, stacked: Tensor) -> Tensor:
    """Return weights that sum to one, shape ``(n,)``."""
    given = [1.0] * len(stacked) if weights is None else list(weights)
    ok = len(given) == len(stacked) and all(is_number(w) and w >= 0 for w in given) and sum(given) > 0
    rule = f"must be {len(stacked)} numbers, none negative, not all zero"
    require(ok, "weights", rule, weights)
    return stacked.new_tensor(given) / sum(given)


def _checked(score: float) -> float:
    """Return a score that can be compared."""
    require(is_number(float(score)), "score", "must return a finite number", score, "leave diverged networks out")
    return float(score)

"""Li et al.'s toy: 1000 parameters, ten sums to fit. Its intrinsic dimension is ten by construction."""

import math

import torch

from workbench.coordinates import projection

SOLVED = 0.9  # of exp(-loss), which is 1 at a solution: Li et al.'s measure of performance on the toy


def equations() -> tuple[torch.Tensor, torch.Tensor]:
    """Return A, shape ``(10, 1000)``, whose row k is the indicator of the k-th group of 100, and y = (1, ..., 10)."""
    A = torch.eye(10, dtype=torch.float64).repeat_interleave(100, dim=1)
    return A, torch.arange(1.0, 11.0, dtype=torch.float64).view(-1, 1)


def residuals(kind: str, dims: list[int], seed: int) -> dict[str, list[float]]:
    """Return the least loss that each subspace holds, by float64 least squares: what training converges to.

    The loss of theta = P phi is ``sum_k (sum of group k - k)^2 = |A P phi - y|^2`` (section 2, arXiv:1804.08838).

    Args:
        kind: Projection.
        dims: Subspace dimensions, each with a P of its own.
        seed: Replicate.

    Returns:
        ``d`` and ``loss``, one value each per dimension.
    """
    A, y = equations()
    losses = []
    for d in dims:
        P = projection(kind, A.shape[1], d, seed, dtype=torch.float64)
        columns = [P.apply(unit, torch.empty(A.shape[1], dtype=torch.float64)) for unit in torch.eye(d).double()]
        M = A @ torch.stack(columns, 1)
        # gelsd truncates nothing that matters at float64: M is 10 x d
        phi = torch.linalg.lstsq(M, y, driver="gelsd").solution
        losses.append(float((M @ phi - y).square().sum()))
    return {"d": list(dims), "loss": losses}


def intrinsic_dim(result: dict[str, list[float]]) -> int | None:
    """Return the smallest dimension whose best loss counts as solved, or None if none does."""
    solved = [int(d) for d, loss in zip(result["d"], result["loss"], strict=True) if math.exp(-loss) >= SOLVED]
    return min(solved, default=None)

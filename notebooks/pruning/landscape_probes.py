"""What two retrained copies of a pruned network say about its loss: the segment between them, outputs, curvature."""

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from workbench.layout import Point
from workbench.objective import Supervised
from workbench.seeds import generator


def segment_losses(objective: Supervised, a: Tensor, b: Tensor, n_points: int, split: str = "train") -> list[float]:
    """Return the loss on the straight segment from a to b, normalisation statistics recomputed at every point.

    Args:
        objective: Left as it is.
        a: One end, shape ``(D,)``.
        b: The other.
        n_points: Evenly spaced, both ends among them; at least 2.
        split: Which examples.

    Returns:
        ``n_points`` mean losses, in nats.
    """
    parts = torch.linspace(0, 1, n_points, dtype=torch.float64).tolist()
    return [objective.evaluate(torch.lerp(a, b, t), split, batch_stats="recalibrated").loss for t in parts]


def connectivity(losses: list[float]) -> float:
    """Return LMC: the ends' mean loss minus the worst on the segment; 0 is flat, below 0 there is a barrier.

    Yang et al. 2021, "Taxonomizing local versus global structure", https://arxiv.org/abs/2107.11228, section 3. There
    the sign may be positive, as the point farthest from the mean counts; here the worst one does.

    Example:
        >>> connectivity([1.0, 4.0, 2.0])
        -2.5
    """
    return (losses[0] + losses[-1]) / 2 - max(losses)


def linear_cka(a: Tensor, b: Tensor) -> float:
    """Return how alike two networks' outputs, shape ``(n, outputs)``, are: 1 up to rotation and scale, else less.

    ``|A'B|^2 / (|A'A| |B'B|)`` of centred outputs, Frobenius norms; Kornblith et al. 2019, "Similarity of neural
    network representations revisited", https://arxiv.org/abs/1905.00414. Outputs that never vary are like none: 0.
    """
    a, b = (each.double() - each.double().mean(0) for each in (a, b))
    scale = float((a.T @ a).norm() * (b.T @ b).norm())
    return float((a.T @ b).square().sum()) / scale if scale else 0.0


def top_eigenvalue(objective: Supervised, point: Point, mask: Tensor, seed: int = 0, tolerance: float = 0.01) -> float:
    """Return the largest eigenvalue of the Hessian of the mean training loss, among the kept entries alone.

    Lanczos (ARPACK) on products with the Hessian, which differentiate the gradient along a direction.

    Args:
        objective: Its buffers are set to the point's; evaluation mode.
        point: Where.
        mask: True = kept, bool, shape ``(D,)``.
        seed: Of the first direction.
        tolerance: Relative, of the eigenvalue.

    Returns:
        The eigenvalue, in nats per unit of theta squared.
    """
    objective.set_buffers(point.buffers)
    kept = mask.nonzero().flatten()
    theta = point.theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(theta), theta, create_graph=True)

    def product(v: np.ndarray) -> np.ndarray:
        along = torch.from_numpy(np.asarray(v).reshape(-1)).to(gradient.dtype)
        (column,) = torch.autograd.grad(gradient[kept] @ along, theta, retain_graph=True)
        return column[kept].double().numpy()

    n = len(kept)
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    start = generator(seed, "lanczos").standard_normal(n)
    return float(eigsh(operator, k=1, which="LA", v0=start, tol=tolerance, return_eigenvectors=False)[0])

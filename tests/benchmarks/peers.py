"""What benchmarks compare with, by the peers' public calls; the extra ``peers`` installs them. Only what is there."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import nn

from workbench.objective import Supervised

PEERS = {
    "curvlinops": "curvlinops-for-pytorch",
    "hessian_eigenthings": "hessian-eigenthings",
    "pyhessian": "pyhessian",
    "loss_landscapes": "loss-landscapes",
}
Arms = dict[str, Callable[[], Any]]


def found(name: str) -> Any:
    """Return a peer's module, None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def versions() -> str:
    """Return the peers' versions, or that they are skipped."""
    words = []
    for package in PEERS.values():
        try:
            words.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            words.append(f"{package} not installed: its arms are skipped")
    return "peers: " + "; ".join(words)


class Curvature:
    """The peers' Hessians of the mean cross-entropy of all examples at a point, in chunks but for PyHessian's."""

    def __init__(self, objective: Supervised, point: torch.Tensor, chunk: int = 500) -> None:
        model, criterion = objective.module_at(point), nn.CrossEntropyLoss()
        x, y = objective.splits["train"].batch(None)
        data = list(zip(x.split(chunk), y.split(chunk), strict=True))
        self.v = torch.randn(objective.D, dtype=point.dtype)
        self.curvlinops, self.eigenthings, self.pyhessian = map(found, tuple(PEERS)[:3])
        if self.curvlinops:
            self.operator = self.curvlinops.HessianLinearOperator(model, criterion, list(model.parameters()), data)
        if self.eigenthings:
            loss = self.eigenthings.supervised_loss(criterion)
            self.other = self.eigenthings.HessianOperator(objective.module_at(point), data, loss)
        if self.pyhessian:
            self.stored = self.pyhessian.hessian(objective.module_at(point), criterion, data=(x, y), cuda=False)

    def products(self) -> Arms:
        """Return one product each."""
        arms: Arms = {}
        if self.curvlinops:
            arms["curvlinops product"] = lambda: self.operator @ self.v
        if self.eigenthings:
            arms["eigenthings product"] = lambda: self.other @ self.v
        if self.pyhessian:
            h = self.stored
            parts = torch.split(self.v, [p.numel() for p in h.params])
            vs = [part.view_as(p) for part, p in zip(parts, h.params, strict=True)]
            arms["PyHessian product"] = lambda: self.pyhessian.hessian_vector_product(h.gradsH, h.params, vs)
        return arms

    def top_ten(self) -> Arms:
        """Return the ten largest eigenvalues each, at the peers' defaults; eigsh to 1e-2, as curvlinops has none."""
        arms: Arms = {}
        if self.curvlinops:
            scipy = self.operator.to_scipy()
            arms["curvlinops, eigsh top 10"] = lambda: eigsh(scipy, 10, which="LA", tol=1e-2, return_eigenvectors=False)
        if self.eigenthings:
            arms["eigenthings top 10"] = lambda: self.eigenthings.lanczos(self.other, k=10, seed=0).eigenvalues.numpy()
        if self.pyhessian:
            arms["PyHessian top 10"] = lambda: self.stored.eigenvalues(top_n=10)[0]
        return arms

    def traces(self) -> Arms:
        """Return Hutch++'s trace by 99 products."""
        return (
            {"curvlinops Hutch++": lambda: self.curvlinops.hutchpp_trace(self.operator, 99)} if self.curvlinops else {}
        )

    def densities(self) -> Arms:
        """Return places and weights of the density by 100 products each."""
        arms: Arms = {}
        if self.curvlinops:
            arms["curvlinops"] = lambda: self.curvlinops.lanczos_approximate_spectrum(self.operator, 100)
        if self.eigenthings:

            def lanczos() -> tuple[torch.Tensor, torch.Tensor]:  # twice 50 steps: of more none is reorthogonalised
                seed = int(torch.randint(2**31, ()))
                result = self.eigenthings.spectral_density(self.other, num_runs=2, lanczos_steps=50, seed=seed)
                return result.raw_eigenvalues.ravel(), result.raw_weights.ravel()

            arms["eigenthings"] = lanczos
        if self.pyhessian:

            def quadrature() -> tuple[np.ndarray, np.ndarray]:
                nodes, weights = self.stored.density(iter=100)
                return np.ravel(nodes), np.ravel(weights)

            arms["PyHessian"] = quadrature
        return arms


def loss_landscapes_plane(objective: Supervised, side: int) -> Callable[[], Any] | None:
    """Return its plane of side x side points around theta_0, where it is installed; all examples in one pass.

    The whole direction is normalised: its filter-wise way divides by zero at biases that are zero.
    """
    if not found("loss_landscapes"):
        return None
    random_plane, metrics = found("loss_landscapes").random_plane, import_module("loss_landscapes.metrics")
    model, loss = objective.module_at(objective.theta_0), nn.CrossEntropyLoss()
    metric = metrics.Loss(loss, *objective.splits["train"].batch(None))

    def run() -> Any:
        with torch.no_grad():
            return random_plane(model, metric, steps=side, normalization="model", deepcopy_model=True)

    return run

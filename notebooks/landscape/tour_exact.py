"""Every probe on one network beside a value found another way: the trials of the tour's table."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import tour
from scipy.stats import wasserstein_distance
from torch import Tensor, nn
from torch.autograd import grad
from torch.func import functional_call
from tour_ways import feature_rows, slice_rows

from workbench import probes
from workbench.objective import Supervised
from workbench.probes.landscape import Landscape
from workbench.seeds import generator

PARTS = ("curvature", "gradients", "ways", "coefficient")
Z = 1.96  # standard errors of a 95 % interval


class Row(NamedTuple):
    """One probe's number, its exact value, how far they are apart, and how far the probe says they may be.

    ``stated`` None is an exact probe, which may miss by rounding alone; nan one that states no error.
    """

    probe: str
    quantity: str
    measured: float
    exact: float
    missed: float
    stated: float | None
    gradients: float | None = None


def exact_loss(objective: Supervised) -> Callable[[Tensor], Tensor]:
    """Return the mean training loss as a plain function of theta, by none of the package's derivatives."""
    x, y = next(objective.splits["train"].chunks(len(objective.splits["train"])))
    return lambda theta: objective.losses(functional_call(objective.model, objective.layout.views(theta), (x,)), y)


def exact_hessian(objective: Supervised, theta: Tensor) -> np.ndarray:
    """Return the Hessian, shape ``(D, D)``: the derivative of each of the gradient's entries."""
    at = theta.clone().requires_grad_()
    (slope,) = grad(exact_loss(objective)(at).mean(), at, create_graph=True)
    return torch.stack([grad(each, at, retain_graph=True)[0] for each in slope]).numpy()


def largest_rise(slope: np.ndarray, values: np.ndarray, radius: float) -> float:
    """Return the maximum of ``slope.u + u'Hu / 2`` in a ball, H being diagonal with these values, by its dual."""
    low = max(values.max(), 0.0)
    high = low + np.linalg.norm(slope) / radius + 1e-12
    for _ in range(200):  # |(m - H)^-1 slope| falls in m, from infinity to below the radius
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.norm(slope / (middle - values)) > radius else (low, middle)
    u = slope / (high - values)
    return float(slope @ u + 0.5 * u**2 @ values)


def curvature_rows(objective: Supervised, theta: Tensor) -> tuple[list[Row], dict[str, Any]]:
    """Measure second derivatives; also return what the figure of the spectrum shows."""
    exact, d, n_top = exact_hessian(objective, theta), len(theta), min(10, len(theta))
    values, axes = np.linalg.eigh(exact)
    trace, v = float(np.trace(exact)), torch.from_numpy(generator(0, "tour").standard_normal(d))
    dense = probes.hessian(objective, theta)
    with Landscape(objective, theta).products() as product:
        found = product(v).numpy()
    top = probes.top_eigenpairs(objective, theta, n_top)
    again = probes.bootstrap_eigenvalue(objective, theta, n_resamples=10)
    plain, guess, newton = (
        probes.trace(objective, theta, **way)
        for way in ({}, {"exact": False}, {"exact": False, "matrix": "gauss_newton", "seed": 1})
    )
    spread = probes.spectral_density(objective, theta)
    far = wasserstein_distance(spread.support, values, spread.weights) / np.abs(values).mean()
    missed, largest = np.abs(dense.matrix - exact).max(), np.abs(exact).max()
    right = exact @ v.numpy()
    apart = float(np.linalg.norm(found - right))
    wrong = np.abs(top.values - values[::-1][:n_top])
    rows = [
        Row("hessian", "largest entry", np.abs(dense.matrix).max(), largest, missed, None, dense.n_gradients),
        Row("Landscape.products", "|Hv|", np.linalg.norm(found), np.linalg.norm(right), apart, None, 1.0),
        _row("top_eigenpairs", "largest eigenvalue", top.values[0], values[-1], top.errors[0], top.n_gradients),
        Row("top_eigenpairs", "tenth", top.values[-1], values[-n_top], wrong.max(), top.errors.max()),
        _row("bootstrap_eigenvalue", "its value", again.value, values[-1], 1e-3 * values[-1], again.n_gradients),
        _row("trace", "exact", plain.value, trace, None, plain.n_gradients),
        _row("trace", guess.method, guess.value, trace, Z * guess.standard_error, guess.n_gradients),
        _row("trace", "Gauss-Newton's, estimated", newton.value, trace, Z * newton.standard_error, newton.n_gradients),
        _row("spectral_density", "d x mean", d * spread.mean, trace, Z * d * spread.mean_error, spread.n_gradients),
        Row("spectral_density", "Wasserstein-1 / mean size", far, 0.0, far, np.nan),
        *_sharpness_rows(objective, theta, values, axes, trace),
    ]
    names = ("grid", "density", "width")
    shown = {name: np.asarray(getattr(spread, name)).tolist() for name in names} | {"values": values.tolist()}
    return rows, shown | {"interval": [again.low, again.high]}


def _sharpness_rows(
    objective: Supervised, theta: Tensor, values: np.ndarray, axes: np.ndarray, trace: float
) -> Iterator[Row]:
    """Measure both sharpnesses beside the second-order expansion, which sees no kink of a ReLU: so at two radii."""
    slope = objective.gradient(theta).numpy() @ axes
    for radius in (0.02, 0.0005):
        small = probes.sharpness(objective, theta, radius=radius, n_draws=40)
        mean, cost = radius**2 * trace / (2 * len(theta)), small.n_gradients
        yield _row("sharpness", f"average, radius {radius}", small.average, mean, Z * small.average_error, cost)
        highest = largest_rise(slope, values, radius)
        yield _row("sharpness", f"worst case, radius {radius}", small.worst_case, highest, np.nan)


def _row(
    probe: str, quantity: str, measured: float, exact: float, stated: float | None, gradients: float | None = None
) -> Row:
    """Compare two numbers."""
    return Row(probe, quantity, measured, exact, abs(measured - exact), stated, gradients)


def gradient_rows(objective: Supervised, theta: Tensor) -> list[Row]:
    """Measure gradients of single examples, and the kernel of the outputs' gradients."""
    at, n = theta.clone().requires_grad_(), len(objective.splits["train"])
    losses = exact_loss(objective)(at)
    each = torch.stack([grad(loss, at, retain_graph=True)[0] for loss in losses]).numpy()
    squares, mean = (each**2).sum(1), each.mean(0)
    trace = ((each - mean) ** 2).sum() / (n - 1)
    found = probes.per_example(objective, theta)
    few = min(30, n)
    kernel = probes.tangent_kernel(objective, theta, n_examples=few)
    part = objective.sample(few, 0)
    x, _ = next(part.splits["train"].chunks(few))
    outputs = functional_call(objective.model, objective.layout.views(at), (x,)).flatten()
    jacobian = torch.stack([grad(each, at, retain_graph=True)[0] for each in outputs])
    right = (jacobian @ jacobian.T).view(kernel.matrix.shape)
    wrong = float(np.abs(found.squared_norms - squares).max())
    gap = float((kernel.matrix - right).abs().max())
    noise = trace / (mean @ mean - trace / n)
    noise = noise if noise > 0 else np.inf
    gaps = (
        (0.0 if noise == found.noise_scale else abs(noise - found.noise_scale)),
        abs(found.coherence - mean @ mean / squares.mean()),
    )
    return [
        Row("per_example", "largest squared norm", found.squared_norms.max(), squares.max(), wrong, None, 1.0),
        Row("per_example", "coherence", found.coherence, mean @ mean / squares.mean(), gaps[1], None),
        Row("per_example", "noise scale", found.noise_scale, noise, gaps[0], None),
        Row(
            "tangent_kernel", f"largest entry, {few} images", float(kernel.matrix.max()), float(right.max()), gap,
            None, kernel.n_gradients,
        ),
    ]  # fmt: skip


def reduced_rank() -> tuple[Supervised, Tensor]:
    """Return two linear layers 5-3-5 at a map of rank 1, whose coefficient is known: 8, of 30 parameters."""
    rng = generator(0, "reduced rank")
    x = torch.from_numpy(np.linalg.qr(rng.standard_normal((20, 5)))[0] * 20**0.5)
    first, second = torch.zeros(3, 5, dtype=x.dtype), torch.zeros(5, 3, dtype=x.dtype)
    first[0], second[:, 0] = (torch.from_numpy(rng.standard_normal(5)) for _ in range(2))
    network = nn.Sequential(nn.Linear(5, 3, bias=False), nn.Linear(3, 5, bias=False))
    objective = Supervised(network, (x, x @ first.T @ second.T), loss="squared_error", dtype=x.dtype)
    return objective, torch.cat([first.flatten(), second.flatten()])


def coefficient_rows(objective: Supervised, theta: Tensor, n_draws: int) -> tuple[list[Row], dict[str, Any]]:
    """Measure the learning coefficient where it is known, and of the network, where it may be refused."""
    known = probes.learning_coefficient(*reduced_rank(), beta=7.25, n_steps=n_draws)
    few = min(200, len(objective.splits["train"]))
    own = probes.learning_coefficient(
        objective, theta, n_examples=few, n_chains=4, n_leapfrog=8, n_steps=max(8, n_draws // 4)
    )
    names = ("value", "interval", "refused", "by_arm", "r_hat", "acceptance")
    shown = {
        name: {each: np.asarray(getattr(found, each)).tolist() for each in names}
        | {"trace": found.trace[0].tolist(), "loss": found.loss}
        for name, found in (("known", known), ("network", own))
    }
    half = max(known.interval[1] - known.value, known.value - known.interval[0])
    half = np.nan if known.refused else half
    rows = [
        _row("learning_coefficient", "5-3-5 linear, rank 1", known.value, 8.0, half, known.n_gradients),
        Row("learning_coefficient", "the network", own.value, np.nan, np.nan, np.nan, own.n_gradients),
    ]
    return rows, shown


def compare(part: str, seed: int, width: int, n_steps: int, n_draws: int) -> dict[str, Any]:
    """Measure one part of the table; the trial, which a worker imports.

    Args:
        part: One of ``PARTS``.
        seed: Of the network.
        width: Hidden units.
        n_steps: Steps of its training.
        n_draws: Proposals of the learning coefficient's chains.

    Returns:
        ``rows``, and numbers for a figure.
    """
    objective = tour.objective_of(seed, width)
    start, theta = tour.trained(seed, width, n_steps, 2)
    shown: dict[str, Any] = {}
    if part == "curvature":
        rows, shown = curvature_rows(objective, theta)
    elif part == "gradients":
        rows = gradient_rows(objective, theta)
    elif part == "ways":
        found = [*slice_rows(objective, start, theta), *feature_rows(objective, start, theta)]
        rows = [Row(*each) for each in found]
    else:
        rows, shown = coefficient_rows(objective, theta, n_draws)
    return {"rows": [[_plain(each) for each in row] for row in rows], "shown": shown}


def _plain(value: Any) -> Any:
    """Return a number that a file can hold."""
    return value if value is None or isinstance(value, str) else float(value)


def table(parts: list[dict[str, Any]]) -> pd.DataFrame:
    """Return all rows; ``kept`` says whether a probe's statement of its own error is true."""
    rows = pd.DataFrame([row for part in parts for row in part["rows"]], columns=Row._fields)
    rows[list(Row._fields[2:])] = rows[list(Row._fields[2:])].astype(float)  # a file holds nan as a text
    rounding = 1e-9 * (1 + rows.exact.abs())
    stated = rows.stated
    exact = np.array([value is None for part in parts for *_, value, _ in part["rows"]])
    rows["stated"] = np.where(exact, "rounding", stated.map("{:.2g}".format))
    rows["stated"] = rows.stated.replace("nan", "none")
    within = rows.missed <= rounding + np.where(exact, 0, stated)
    silent = ~exact & stated.isna()
    rows["kept"] = np.where(silent, "not said", np.where(within, "yes", "no"))
    return rows.set_index("probe")


def show(rows: pd.DataFrame) -> Any:
    """Return the table as a page shows it."""
    forms = {"measured": "{:.5g}", "exact": "{:.5g}", "missed": "{:.1e}", "gradients": "{:.4g}"}
    return rows.style.format(forms, na_rep="").set_caption(
        "missed: distance of measured and exact; stated: by the probe"
    )

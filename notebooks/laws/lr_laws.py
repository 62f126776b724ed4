"""Best learning rates and batches of grids of runs, power laws of them, and what a law's advice costs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.interpolate import LinearNDInterpolator

from workbench.laws import fit_law
from workbench.seeds import generator

SIZES = ("N", "D")
SETTINGS = ("lr", "batch")
Array = np.ndarray


@dataclass(frozen=True)
class Law:
    """``setting = exp(c[0]) N^c[1] D^c[2]`` for learning rate and batch.

    Attributes:
        coefficients: Setting -> c, shape ``(3,)``.
        draws: Setting -> those of resampled grids, shape ``(n_bootstrap, 3)``.
        t: Setting -> coefficients over their standard errors, shape ``(3,)``.
        n: Grids.
    """

    coefficients: dict[str, Array]
    draws: dict[str, Array]
    t: dict[str, Array]
    n: int

    def predict(self, setting: str, n: float, d: float) -> float:
        """Return the best setting of a size and a number of tokens."""
        return float(np.exp(self.coefficients[setting] @ [1.0, np.log(n), np.log(d)]))

    def predict_draws(self, setting: str, n: float, d: float) -> Array:
        """Return the best setting by each resample's law, shape ``(n_bootstrap,)``."""
        return np.exp(self.draws[setting] @ np.array([1.0, np.log(n), np.log(d)]))

    def exponent(self, setting: str, size: str) -> tuple[float, float, float]:
        """Return an exponent and its 95 % bootstrap interval."""
        at = 1 + SIZES.index(size)
        low, high = np.quantile(self.draws[setting][:, at], [0.025, 0.975])
        return float(self.coefficients[setting][at]), float(low), float(high)


class Exponents(NamedTuple):
    """A law that somebody else fitted, or that was planted."""

    lr: tuple[float, float, float]  # ln factor, exponents of N and D
    batch: tuple[float, float, float]

    def predict(self, setting: str, n: float, d: float) -> float:
        """Return the best setting of a size and a number of tokens."""
        return float(np.exp(np.dot(getattr(self, setting), [1.0, np.log(n), np.log(d)])))


def optima(runs: pd.DataFrame, near: float) -> pd.DataFrame:
    """Find each grid's best setting in two ways.

    Args:
        runs: A row a run: ``N D lr batch loss``.
        near: Share of the best loss within which a run counts as near-optimal.

    Returns:
        A row a grid (N, D): ``best`` loss, ``n_runs``, ``n_near``, ``lr`` and ``batch`` (geometric means of the
        near-optimal runs), ``lr_argmin`` and ``batch_argmin`` (the single best run's).
    """
    rows = []
    for (n, d), grid in runs.groupby(list(SIZES)):
        best = grid.sort_values("loss", kind="stable").iloc[0]
        close = grid[grid.loss <= (1 + near) * best.loss]
        means = np.exp(np.log(close[list(SETTINGS)]).mean())
        rows.append({
            **{"N": n, "D": d, "best": best.loss, "n_runs": len(grid), "n_near": len(close)},
            **{"lr": means.lr, "batch": means.batch, "lr_argmin": best.lr, "batch_argmin": best.batch},
        })
    return pd.DataFrame(rows)


def fit(points: pd.DataFrame, *, suffix: str = "", n_bootstrap: int = 2000, seed: int = 0) -> Law:
    """Fit both power laws by least squares of logarithms, grids resampled for the spread.

    Args:
        points: Of ``optima``.
        suffix: ``""`` takes the geometric means, ``"_argmin"`` the single best runs.
        n_bootstrap: Resamples of the grids; those that hold too few sizes are drawn again.
        seed: Of the resamples.

    Returns:
        The laws.
    """
    design = np.column_stack([np.ones(len(points)), np.log(points.N), np.log(points.D)])
    rows = _resamples(design, n_bootstrap, seed)
    coefficients, draws, t = {}, {}, {}
    for setting in SETTINGS:
        y = np.log(points[setting + suffix].to_numpy())
        solution = np.linalg.lstsq(design, y, rcond=None)[0]
        rest = y - design @ solution
        variance = rest @ rest / max(len(y) - 3, 1) * np.diag(np.linalg.pinv(design.T @ design))
        drawn, their = design[rows], y[rows][..., None]
        transposed = drawn.transpose(0, 2, 1)
        draws[setting] = np.linalg.solve(transposed @ drawn, transposed @ their)[..., 0]
        with np.errstate(divide="ignore"):
            coefficients[setting], t[setting] = solution, solution / np.sqrt(variance)
    return Law(coefficients, draws, t, len(points))


def _resamples(design: Array, n_bootstrap: int, seed: int) -> Array:
    """Draw rows with replacement until there are enough sets that determine a law, shape ``(n_bootstrap, n)``."""
    rng, n = generator(seed, "learning rate", len(design)), len(design)
    found = np.empty((0, n), dtype=np.intp)
    centred = (design - design.mean(0)) / np.where(np.ptp(design, 0) > 0, design.std(0), 1)
    centred[:, 0] = 1
    while len(found) < n_bootstrap:
        rows = rng.integers(n, size=(2 * n_bootstrap, n))
        singular = np.linalg.svd(centred[rows], compute_uv=False)
        found = np.concatenate([found, rows[singular[:, -1] > 0.05 * singular[:, 0]]])
    return found[:n_bootstrap]


def bowls(runs: pd.DataFrame, around: float = 0.02) -> pd.DataFrame:
    """Fit a quadratic of ln lr and ln batch to each grid's losses.

    Args:
        runs: A row a run.
        around: Share of the best loss within which runs are fitted a second time, on their own.

    Returns:
        A row a grid: ``r2``, ``convex`` (both eigenvalues of the bowl positive), and both for the runs around the best.
    """
    rows = []
    for (n, d), grid in runs.groupby(list(SIZES)):
        close = grid[grid.loss <= (1 + around) * grid.loss.min()]
        (r2, convex), (r2_near, convex_near) = _bowl(grid), _bowl(close)
        found = {"r2": r2, "convex": convex, "r2_near": r2_near, "convex_near": convex_near, "n_near": len(close)}
        rows.append({"N": n, "D": d, **found})
    return pd.DataFrame(rows)


def _bowl(grid: pd.DataFrame) -> tuple[float, bool]:
    """Return the share of variance that a quadratic explains and whether it is convex; nan and no for too few runs."""
    if len(grid) <= 6:
        return np.nan, False
    x, y = (np.log(grid[setting].to_numpy()) - np.log(grid[setting]).mean() for setting in SETTINGS)
    design = np.column_stack([np.ones(len(grid)), x, y, x * x, x * y, y * y])
    solution = np.linalg.lstsq(design, grid.loss.to_numpy(), rcond=None)[0]
    loss = grid.loss.to_numpy()
    rest = loss - design @ solution
    hessian = np.array([[2 * solution[3], solution[4]], [solution[4], 2 * solution[5]]])
    return float(1 - rest.var() / loss.var()), bool(np.linalg.eigvalsh(hessian)[0] > 0)


class Surface:
    """The loss of one grid between its runs: linear in (ln lr, ln batch), beyond them the nearest run's."""

    def __init__(self, grid: pd.DataFrame) -> None:
        points = np.log(grid[list(SETTINGS)].to_numpy())
        self.scale = points.std(0)
        self.points, self.losses = points / self.scale, grid.loss.to_numpy()
        self.linear = LinearNDInterpolator(self.points, self.losses)

    def regret(self, lr: Array | float, batch: Array | float, *, nearest: bool = False) -> Array:
        """Return the loss at settings in percent over the grid's best, shape that of ``lr``."""
        at = np.column_stack([np.log(np.atleast_1d(each)) for each in (lr, batch)]) / self.scale
        near = self.losses[((at[:, None] - self.points) ** 2).sum(-1).argmin(1)]
        between = near if nearest else self.linear(at)
        return 100 * (np.where(np.isnan(between), near, between) / self.losses.min() - 1)


def hold_out(
    runs: pd.DataFrame, sizes: list[float], *, near: float, n_bootstrap: int = 2000, authors: Exponents | None = None
) -> pd.DataFrame:
    """Fit laws without some sizes and ask what their advice costs there.

    Args:
        runs: A row a run.
        sizes: The N held out.
        near: See ``optima``.
        n_bootstrap: Resamples of the fitted grids.
        authors: A law from elsewhere to set beside; it may have seen the held-out grids.

    Returns:
        A row a held-out grid, in percent over its best loss: the law's ``regret``, ``low``, ``high`` and ``draws``; at
        the ``nearest`` run; with a batch by ``tokens_only``; of the law of single best runs (``argmin``); of the
        setting that was best for the smallest model on most tokens (``kept``); of the ``authors``' law. Besides, the
        predicted ``lr`` and ``batch`` and the grid's own.
    """
    points = optima(runs, near)
    held = points.N.isin(sizes)
    law = fit(points[~held], n_bootstrap=n_bootstrap)
    single = fit(points[~held], suffix="_argmin", n_bootstrap=1)
    tokens = np.polyfit(np.log(points.D[~held]), np.log(points.batch[~held]), 1)
    small = points[~held].sort_values(["N", "D"]).groupby("N").last().iloc[0]
    rows = []
    for _, point in points[held].iterrows():
        grid = runs[(runs.N == point.N) & (runs.D == point.D)]
        surface, ask = Surface(grid), (float(point.N), float(point.D))
        lr, batch = (law.predict(setting, *ask) for setting in SETTINGS)
        draws = surface.regret(*(law.predict_draws(setting, *ask) for setting in SETTINGS))
        low, high = np.quantile(draws, [0.025, 0.975])
        rows.append({
            **{"N": point.N, "D": point.D, "n_fitted": law.n, "regret": float(surface.regret(lr, batch)[0])},
            **{"low": low, "high": high, "nearest": float(surface.regret(lr, batch, nearest=True)[0])},
            "tokens_only": float(surface.regret(lr, np.exp(np.polyval(tokens, np.log(point.D))))[0]),
            "argmin": float(surface.regret(*(single.predict(each, *ask) for each in SETTINGS))[0]),
            "kept": float(surface.regret(small.lr, small.batch)[0]),
            "authors": float(surface.regret(*(authors.predict(s, *ask) for s in SETTINGS))[0]) if authors else np.nan,
            **{"lr": lr, "batch": batch, "lr_own": point.lr, "batch_own": point.batch, "draws": draws},
        })
    return pd.DataFrame(rows)


def leave_out(
    tick: Callable[[float], None],
    runs: pd.DataFrame,
    *,
    near: float,
    n_bootstrap: int,
    authors: Exponents | None = None,
) -> pd.DataFrame:
    """Hold out each size in turn; the rows of ``hold_out``, one after the other."""
    found, sizes = [], sorted(runs.N.unique())
    for i, size in enumerate(sizes):
        found.append(hold_out(runs, [size], near=near, n_bootstrap=n_bootstrap, authors=authors))
        tick((i + 1) / len(sizes))
    return pd.concat(found, ignore_index=True)


def experts(law: Law, moe: pd.DataFrame) -> pd.DataFrame:
    """Ask what a law of dense models costs mixtures of experts, N taken as all parameters and as the active ones.

    Args:
        law: Of dense models.
        moe: A row a run: ``kind N N_active D lr batch loss``.

    Returns:
        A row a grid: percent over its best loss by ``all`` and by ``active`` parameters.
    """
    rows = []
    for (kind, d), grid in moe.groupby(["kind", "D"]):
        surface, first, tokens = Surface(grid), grid.iloc[0], float(grid.D.iloc[0])
        costs = {
            name: float(surface.regret(*(law.predict(setting, size, tokens) for setting in SETTINGS))[0])
            for name, size in (("all", first.N), ("active", first.N_active))
        }
        rows.append({"kind": kind, "N": first.N, "N_active": first.N_active, "D": d, "n_runs": len(grid), **costs})
    return pd.DataFrame(rows)


def sensitivity(runs: pd.DataFrame, nears: list[float], n_bootstrap: int) -> pd.DataFrame:
    """Fit the laws with near-optimal runs chosen otherwise.

    Args:
        runs: A row a run.
        nears: Shares of the best loss; 0 takes single best runs.
        n_bootstrap: Resamples of the grids.

    Returns:
        A row for each choice, setting and size: ``exponent``, ``low``, ``high``, ``t``.
    """
    rows = []
    for near in nears:
        law = fit(optima(runs, near), n_bootstrap=n_bootstrap)
        for setting in SETTINGS:
            for i, size in enumerate(SIZES):
                value, low, high = law.exponent(setting, size)
                found = {"exponent": value, "low": low, "high": high, "t": law.t[setting][1 + i]}
                rows.append({"near": near, "setting": setting, "size": size, **found})
    return pd.DataFrame(rows)


def predict_loss(points: pd.DataFrame, n_held: int, n_bootstrap: int) -> pd.DataFrame:
    """Fit ``E + A / N^alpha + B / D^beta`` to the best losses of the smaller models, and predict the others'.

    Args:
        points: Of ``optima``.
        n_held: How many of the largest sizes are held out.
        n_bootstrap: Resamples of the fitted grids.

    Returns:
        A row a held-out grid: ``N D``, the loss, its prediction with a 95 % interval, the error in percent.
    """
    held = points.N.isin(sorted(points.N.unique())[-n_held:]).to_numpy()
    law = fit_law(points, "additive", target="best", hold_out=held, n_bootstrap=n_bootstrap, level=0.95)
    assert law.held_out is not None
    found = points.loc[law.held_out.index, ["N", "D"]].join(law.held_out)
    return found.assign(percent=100 * found.error).drop(columns="error").sort_values(["N", "D"])

"""The sum of robust losses of a law's log residuals, for many weightings of the rows at once, and its optimum."""

from dataclasses import dataclass, replace

import numpy as np

from workbench.laws.forms import Form
from workbench.laws.minimise import Array, Rows, descend, nonnegative

STEP = 1e-4  # of the fourth-order differences in the exponents: their error is near 1e-11
FLOOR, CEILING = -60.0, 200.0  # of the logarithm of a coefficient times its basis over the target
NOTHING = 1e-9  # of the prediction everywhere: a coefficient this small is zero
ROWS = 400_000  # rows times problems taken together, for memory


@dataclass(frozen=True)
class Robust:
    """A form on a sample: its loss and how to minimise it.

    Points are exponents, then logarithms of the coefficients in units where each basis function is about the target.

    Attributes:
        form: What is fitted.
        variables: By name, shape ``(n,)``.
        log_y: Logarithm of the target, shape ``(n,)``.
        delta: Where the loss turns linear; infinite for squares.
        weights: Of the rows in each problem, shape ``(m, n)``.
        scale: Logarithm of the typical basis over target, shape ``(K,)``.
    """

    form: Form
    variables: dict[str, Array]
    log_y: Array
    delta: float
    weights: Array
    scale: Array

    def __call__(self, points: Array, problems: Rows) -> tuple[Array, Array, Array]:
        """Return losses, gradients and curvatures (reweighted least squares) of points, see ``minimise.Function``."""
        weights, e = self.weights[problems], len(self.form.exponents)
        with np.errstate(all="ignore"):  # the search backs away from what overflows
            coefficients = np.exp(points[:, e:] - self.scale)
            parts = self._parts(points[:, :e], coefficients)
            total = parts.sum(1)
            slopes = [self._slope(points[:, :e], coefficients, i) for i in range(e)]
            jacobian = np.concatenate([np.stack(slopes, 1), parts], axis=1) / total[:, None]
            r = np.log(total) - self.log_y
            size = np.abs(r)
            bent = np.minimum(1, self.delta / np.maximum(size, 1e-300))
            loss = bent * size * (size - bent * size / 2)
            pull = weights * bent
            gradient = np.einsum("bpn,bn->bp", jacobian, pull * r)
            curvature = np.matmul(jacobian * pull[:, None], jacobian.swapaxes(1, 2))
        return (weights * loss).sum(1), gradient, curvature

    def _parts(self, exponents: Array, coefficients: Array) -> Array:
        """Return each coefficient times its basis, shape ``(b, K, n)``."""
        return coefficients[..., None] * self.form.columns(self.variables, exponents)

    def _slope(self, exponents: Array, coefficients: Array, i: int) -> Array:
        """Return the derivative of the prediction by exponent ``i``, shape ``(b, n)``."""
        total = np.zeros(())
        for step, weight in ((1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)):
            moved = exponents.copy()
            moved[:, i] += step * STEP
            total = total + weight * self._parts(moved, coefficients).sum(1)
        return total / (12 * STEP)

    def residuals(self, point: Array) -> Array:
        """Return ``ln(prediction / target)`` at one point, shape ``(n,)``."""
        e = len(self.form.exponents)
        return np.log(self._parts(point[None, :e], np.exp(point[None, e:] - self.scale)).sum(1)[0]) - self.log_y

    def minimise(self, starts: Array, problems: Rows, n_steps: int = 300) -> tuple[Array, Array]:
        """Descend from starts, each in the problem named beside it; return points and losses."""
        low = np.array([each.low for each in self.form.exponents.values()] + [FLOOR] * len(self.form.coefficients))
        high = np.array([each.high for each in self.form.exponents.values()] + [CEILING] * len(self.form.coefficients))
        chunk = max(1, ROWS // len(self.log_y))
        found = []
        for i in range(0, len(starts), chunk):
            own = replace(self, weights=self.weights[problems[i : i + chunk]])
            found.append(descend(own, starts[i : i + chunk], low, high, n_steps))
        return np.concatenate([points for points, _ in found]), np.concatenate([losses for _, losses in found])

    def named(self, points: Array) -> dict[str, Array]:
        """Return parameters by name, coefficients first; those that add nothing anywhere are zero."""
        e = len(self.form.exponents)
        coefficients = np.exp(points[:, e:] - self.scale)
        parts = np.abs(self._parts(points[:, :e], coefficients))
        coefficients[(parts <= NOTHING * parts.sum(1, keepdims=True)).all(-1)] = 0
        values = [*coefficients.T, *points[:, :e].T]
        return dict(zip(self.form.parameters, values, strict=True))


def start(form: Form, variables: dict[str, Array], log_y: Array, delta: float) -> tuple[Robust, Array]:
    """Search the grid of exponents for starts by variable projection.

    At each cell the coefficients follow by non-negative least squares of ``prediction / target - 1``, twice reweighted
    as the robust loss asks. The best cell is a start, and so is the best of each quarter of each exponent's values.

    Args:
        form: What is fitted.
        variables: By name, shape ``(n,)``.
        log_y: Shape ``(n,)``.
        delta: Of the robust loss.

    Returns:
        The loss of the sample, each row weighing 1, and the starts, shape ``(s, P)``.
    """
    grid, found = form.starts(variables), []
    for cells in np.array_split(grid, max(1, len(grid) * len(log_y) // ROWS)):
        columns = form.columns(variables, cells) / np.exp(log_y)
        sane = np.isfinite(columns).all((1, 2)) & (columns != 0).any(2).all(1)
        found.append((cells[sane], *_project(columns[sane], delta)))
    grid, coefficients, losses, typical = (np.concatenate(each) for each in zip(*found, strict=True))
    chosen = {int(losses.argmin())}
    for values in grid.T:
        for block in np.array_split(np.argsort(values, kind="stable"), 4):
            chosen |= {int(block[losses[block].argmin()])} if len(block) else set()
    rows, scale = sorted(chosen), typical[losses.argmin()]
    logs = np.maximum(np.log(np.maximum(coefficients[rows], 1e-300)), np.log(1e-3) - typical[rows]) + scale
    whole = Robust(form, variables, log_y, delta, np.ones((1, len(log_y))), scale)
    return whole, np.concatenate([grid[rows], logs], axis=1)


def _project(columns: Array, delta: float) -> tuple[Array, Array, Array]:
    """Return coefficients, robust losses and the logarithm of the mean basis over target of each cell of a grid."""
    weights = np.ones(columns[:, 0].shape)
    for _ in range(3):
        weighted = columns * weights[:, None]
        coefficients = nonnegative(np.matmul(weighted, columns.swapaxes(1, 2)), weighted.sum(-1))
        size = np.abs(np.log(np.maximum((coefficients[..., None] * columns).sum(1), 1e-300)))
        weights = np.minimum(1, delta / np.maximum(size, 1e-12))
    return coefficients, (weights * size * (size - weights * size / 2)).sum(1), np.log(np.abs(columns).mean(-1))

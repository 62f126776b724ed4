"""Loss and error of some examples at many points: what lines, planes, barriers and curves are measured with."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Unpack

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from workbench.errors import require, require_choice
from workbench.layout import Point
from workbench.objective import BatchStats, Supervised
from workbench.probes.forwards import computing, plain_pools
from workbench.probes.landscape import Landscape, Measured, Where

Array = NDArray[np.float64]
_CHUNK = 500  # examples a forward pass; a larger chunk's activations leave the processor's caches


@dataclass(frozen=True, kw_only=True)
class Slice(Measured):
    """Mean loss, mean error and, where asked for, the gradient's norm on a grid; nan where the loss is not a number.

    ``axes`` are the coordinates along each direction; arrays have the shape of their lengths, so that ``loss[i, j]``
    belongs to ``axes[0][i]`` and ``axes[1][j]``. ``residual`` is the largest difference in loss or error between the
    shortcut and a plain forward pass at the farthest point; 0 where every point had its plain pass.
    """

    axes: tuple[Array, ...]
    loss: Array
    error: Array
    gradient_norm: Array | None
    residual: float
    recalibrated: bool

    def to_frame(self) -> pd.DataFrame:
        """Return coordinates ``t``, or ``a`` and ``b``, and values, one row a point."""
        names = ("t",) if len(self.axes) == 1 else ("a", "b")
        columns = dict(zip(names, np.meshgrid(*self.axes, indexing="ij"), strict=True))
        columns |= {name: getattr(self, name) for name in ("loss", "error", "gradient_norm")}
        return pd.DataFrame({name: values.ravel() for name, values in columns.items() if values is not None})


class Slices(Landscape):
    """Measures losses and errors at any phi; the model is left as it was.

    An example's error is 1 where its class is wrong and 0 where it is right (averaged over a sequence), or its squared
    error over the variance of the targets: errors' mean is 1 - accuracy, or 1 - the coefficient of determination.

    Args:
        objective: Network and examples.
        point: Phi, shape ``(d,)``, with the buffers as they stand; or a point with its own.
        batch_stats: ``"stored"`` statistics of BatchNorm, or ``"recalibrated"`` at every point on the whole training
            split; one and the same without BatchNorm.
        **where: ``coordinates``, ``split``, ``n_examples`` and ``seed``, as for ``Landscape``.

    Raises:
        InputError: As :class:`Landscape` does, or if ``batch_stats`` is unknown.
    """

    def __init__(
        self, objective: Supervised, point: Tensor | Point, batch_stats: BatchStats, **where: Unpack[Where]
    ) -> None:
        require_choice("batch_stats", batch_stats, ("stored", "recalibrated"))
        super().__init__(objective, point, **where)
        self.whole, self.objective.chunk_size = objective, min(_CHUNK, objective.chunk_size)
        norms = [m for m in objective.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self.recalibrates = batch_stats == "recalibrated" and bool(norms)
        self.cost = (1 + self.recalibrates * len(objective.splits["train"]) / self.n) / 3  # gradients a point
        self._scale = 1.0
        if objective.metric_name == "r2":
            targets = torch.cat([y for _, y in self.chunks()]).double()
            self._scale = float(self.n / (targets - targets.mean()).square().sum())

    def settle(self, phi: Tensor, buffers: dict[str, Tensor] | None = None) -> Point:
        """Return theta at phi with the statistics to be used there."""
        at = Point(self.theta(phi).detach(), self.buffers if buffers is None else buffers)
        if self.recalibrates:
            with self.whole.visit(at, "recalibrated"):
                return Point(self.whole.theta.clone(), self.whole.buffers())
        return at

    @torch.no_grad()
    def each(self, at: Point) -> Tensor:
        """Return every example's loss and error, shape ``(2, n)``, float64; nan where the loss is."""
        with self.objective.visit(at), computing(plain_pools(self.objective.model)):
            return torch.cat([self._judge(*pair) for pair in self.objective.outputs("train")], dim=1)

    def _judge(self, outputs: Tensor, y: Tensor) -> Tensor:
        losses = self.objective.losses(outputs, y).double()
        if self.objective.metric_name == "r2":
            errors = self._scale * (outputs.reshape(y.shape) - y).double().square().reshape(len(y), -1).sum(1)
        else:
            errors = (outputs.argmax(-1) != y.view(outputs.shape[:-1])).double().reshape(len(y), -1).mean(1)
        return torch.stack([losses, errors.where(~losses.isnan(), torch.nan)])

    def gradient_at(self, phi: Tensor, at: Point) -> Tensor:
        """Return the mean loss's gradient in phi, shape ``(d,)``, at a settled point; its statistics are held fixed."""
        there = copy.copy(self)
        there.phi = phi
        return there.pull(self.objective.gradient(at))

    def measure(self, directions: Tensor, axes: tuple[ArrayLike, ...], gradient_norm: bool = False) -> Slice:
        """Measure on the grid ``phi + sum_k axes[k] * directions[k]``.

        Where the first layer is linear or a convolution, its outputs are linear in the points' coordinates, so those
        of the origin and of each direction are added up instead of being computed at every point. One point is then
        measured plainly as well; if it differs, all are.

        Args:
            directions: Shape ``(k, d)``.
            axes: Coordinates along each direction.
            gradient_norm: Whether to take the gradient as well.

        Returns:
            The grid with its values.

        Raises:
            InputError: If directions or axes do not fit.
        """
        shape, given = (len(axes), self.d), tuple(directions.shape)
        ok = given == shape and bool(directions.isfinite().all())
        require(ok, "directions", f"must be finite, of shape {shape}", given)
        grids = tuple(np.asarray(axis, dtype=float) for axis in axes)
        proper = all(g.ndim == 1 and len(g) > 0 and np.isfinite(g).all() for g in grids)
        require(proper, "coordinates", "must be lists of finite numbers", axes)
        at = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(axes))
        plainly = self._map or self.recalibrates or gradient_norm
        found, n_gradients = None if plainly else self._add_up(directions, at), (len(at) + 1) * self.cost
        residual = np.inf
        if found is not None:
            corner = [int(np.abs(at).sum(1).argmax())]
            there, plain = found[:, corner], self._plain(directions, at[corner])[:2]
            alike = (there == plain) | (np.isnan(there) & np.isnan(plain))
            residual = float(np.abs(np.subtract(there, plain, out=np.zeros((2, 1)), where=~alike)).max())
        if found is None or not residual <= 1e-4 * (1 + np.nan_to_num(found[0, corner[0]])):
            found, residual = self._plain(directions, at, gradient_norm), 0.0
            n_gradients = len(at) * (self.cost + gradient_norm)
        loss, error, *norms = found.reshape(-1, *map(len, grids))
        return Slice(
            axes=grids,
            loss=loss,
            error=error,
            gradient_norm=norms[0] if gradient_norm else None,
            residual=residual,
            recalibrated=self.recalibrates,
            n_gradients=n_gradients,
            n_examples=self.n,
            seed=self.seed,
        )

    def _plain(self, directions: Tensor, at: Array, gradient_norm: bool = False) -> Array:
        """Visit every point, shape ``(3, m)``."""
        rows = []
        for c in torch.from_numpy(at).to(directions):
            phi = self.phi + c @ directions
            there = self.settle(phi)
            norm = float(self.gradient_at(phi, there).double().norm()) if gradient_norm else np.nan
            rows.append([*self.each(there).mean(1).tolist(), norm])
        return np.array(rows).T

    @torch.no_grad()
    def _add_up(self, directions: Tensor, at: Array) -> Array | None:
        """Measure all points, the first layer's outputs added up, shape ``(2, m)``; None where that cannot be."""
        examples, totals = self.objective, torch.zeros(2, len(at), dtype=torch.float64)
        layer = next(m for m in examples.model.modules() if any(True for _ in m.parameters(recurse=False)))
        if not isinstance(layer, nn.Linear | nn.Conv2d) or not all(p.requires_grad for p in layer.parameters()):
            return None
        plain, seen = layer.forward, list[tuple[Tensor, Tensor]]()
        given: list[Tensor] = []

        def forward(x: Tensor) -> Tensor:
            if not given:
                seen.append((x, plain(x)))
            return given.pop() if given else seen[-1][1]

        own = list(layer.parameters())
        first = own[0].data_ptr() == examples.theta.data_ptr()  # then its part of theta need not be written
        low = sum(p.numel() for p in own) if first else 0
        ends = torch.stack([self.phi, *directions])
        with examples.visit(Point(self.phi, self.buffers)), computing({layer: forward, **plain_pools(examples.model)}):
            for x, y in examples.splits["train"].chunks(examples.chunk_size):
                seen.clear()
                for end in ends:
                    examples.set_point(end)
                    examples.model(x)
                inputs, hidden = zip(*seen, strict=True)
                if len(seen) != len(ends) or not all(torch.equal(each, inputs[0]) for each in inputs):
                    return None  # it is called more than once, or something that moves stands before it
                for row in _rows(at):
                    outputs = []
                    for theta, h in zip(_along(ends[:, low:], at[row]), _along(hidden, at[row]), strict=True):
                        examples.theta[low:] = theta
                        given.append(h)
                        outputs.append(examples.model(x))
                    judged = self._judge(torch.cat(outputs), y.repeat(len(row), *[1] * (y.ndim - 1)))
                    totals[:, row] += judged.view(2, len(row), -1).sum(2).cpu()
        return (totals / self.n).numpy()


def _rows(at: Array) -> Iterator[list[int]]:
    """Cut points into runs that differ in their last coordinate only."""
    for _, row in groupby(range(len(at)), key=lambda i: tuple(at[i, :-1])):
        yield list(row)


def _along(ends: Sequence[Tensor] | Tensor, row: Array) -> Iterator[Tensor]:
    """Yield ``ends[0] + c @ ends[1:]`` for points c of one run."""
    start = ends[0]
    for c, end in zip(row[0, :-1].tolist(), ends[1:-1], strict=True):
        start = start.add(end, alpha=c)
    return (start.add(ends[-1], alpha=c) for c in row[:, -1].tolist())

"""Learning curves to predict: of published tables, or planted ones of the same layout for a run without any."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from curve_prior import N_LATENT, Array, curve
from numpy.typing import NDArray

from workbench.laws import tables
from workbench.seeds import generator

Source = Literal["published", "planted"]
LEAST = 8  # points that a curve must show
NOTES = {
    "published": "LCDB 1.1 (error rates of 28 learners on 265 datasets) and TaskSet (losses of 1,000 configurations on "
    "12 tasks)",
    "planted": "planted curves, made here",
}


@dataclass(frozen=True)
class Tables:
    """What the study reads; ``name``, ``checksum`` and ``note`` as a record asks for them.

    Attributes:
        lcdb: ``error`` (datasets, learners, anchors, splits train, validation, test), ``anchors``, ``learners``.
        taskset: ``valid_loss`` and ``test_loss`` (tasks, configurations, points), ``tasks``.
    """

    name: str
    checksum: str
    note: str
    lcdb: Mapping[str, np.ndarray]
    taskset: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Curves:
    """Curves side by side, cut where they are no longer seen, and how they end.

    Attributes:
        x: Examples or epochs, shape ``(m, n)``, 1 where not seen.
        y: Error or loss, ``(m, n)``, 0 where not seen.
        seen: ``(m, n)``, bool, the first ones.
        end: Last x of the whole curve, ``(m,)``.
        target: The value there, ``(m,)``.
        group: Dataset or task of each, ``(m,)``.
    """

    x: Array
    y: Array
    seen: NDArray[np.bool_]
    end: Array
    target: Array
    group: NDArray[np.int_]

    @property
    def last(self) -> Array:
        """The last value that is seen."""
        return np.take_along_axis(self.y, self.seen.sum(1)[:, None] - 1, 1)[:, 0]

    @property
    def u(self) -> Array:
        """log(x / last x seen), 0 where not seen."""
        return np.log(self.x / np.where(self.seen, self.x, 0).max(1, keepdims=True)) * self.seen

    @property
    def ahead(self) -> Array:
        """log(end / last x seen), ``(m, 1)``."""
        return np.log(self.end[:, None] / np.where(self.seen, self.x, 0).max(1, keepdims=True))

    def until(self, share: float) -> "Curves":
        """Return the same curves, seen until a share of their end."""
        seen = self.seen & (self.x <= share * self.end[:, None] * (1 + 1e-9))
        return replace(self, x=np.where(seen, self.x, 1), y=np.where(seen, self.y, 0), seen=seen)

    def of(self, rows: NDArray[np.int_]) -> "Curves":
        """Return some of the curves."""
        return Curves(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def read(source: Source) -> Tables:
    """Read the published tables, or plant some."""
    if source == "published":
        lcdb, taskset = tables.table("lcdb11"), tables.table("taskset_dpl")
    else:
        lcdb, taskset = planted_lcdb(), planted_taskset()
    digest = hashlib.sha256()
    for array in (lcdb["error"], taskset["valid_loss"], taskset["test_loss"]):
        digest.update(np.ascontiguousarray(array).tobytes())
    return Tables(source, digest.hexdigest(), NOTES[source], lcdb, taskset)


def half(n_datasets: int, judged: bool) -> NDArray[np.int_]:
    """Return the datasets that are judged on, or the others, which calibrate intervals and are never judged."""
    order = generator(0, "halves").permutation(n_datasets)
    return np.sort(order[: n_datasets // 2] if judged else order[n_datasets // 2 :])


def sampled(tables: Tables, n_curves: int, *, judged: bool) -> Curves:
    """Return whole test curves of LCDB, drawn by a fixed seed among those that show 8 points until an eighth.

    Args:
        tables: What is read.
        n_curves: How many at most.
        judged: Which half of the datasets.
    """
    found = []
    for i in half(len(tables.lcdb["error"]), judged):
        for j, learner in enumerate(tables.lcdb["learners"]):
            y = tables.lcdb["error"][i, j, :, 2]
            kept = np.flatnonzero(np.isfinite(y))
            x = tables.lcdb["anchors"][kept].astype(float)
            if learner != "DummyClassifier" and len(kept) and (x <= x[-1] / 8).sum() >= LEAST:
                found.append((x, y[kept].astype(float), int(i)))
    chosen = generator(0, "curves", int(judged)).permutation(len(found))[:n_curves]
    return side_by_side([found[k] for k in chosen])


def side_by_side(curves: list[tuple[Array, Array, int]]) -> Curves:
    """Put whole curves (x, y, group) into one table."""
    n = max(len(x) for x, _, _ in curves)
    seen = np.arange(n) < np.array([len(x) for x, _, _ in curves])[:, None]
    xs, ys = np.ones(seen.shape), np.zeros(seen.shape)
    for k, (x, y, _) in enumerate(curves):
        xs[k, : len(x)], ys[k, : len(x)] = x, y
    end, target = (np.array([values[-1] for values in part]) for part in list(zip(*curves, strict=True))[:2])
    return Curves(xs, ys, seen, end, target, np.array([group for _, _, group in curves]))


def planted_lcdb(n_datasets: int = 16, n_learners: int = 6) -> dict[str, np.ndarray]:
    """Plant error rates that fall as MMF curves, ``c + A / (1 + (x / tau)^d)``, with a little noise."""
    rng = generator(0, "planted lcdb")
    anchors = np.round(16 * 2 ** (np.arange(57) / 8))
    shape = (n_datasets, n_learners, 1, 1)
    c, a = rng.uniform(0.02, 0.3, shape), rng.uniform(0.2, 0.5, shape)
    tau, d = np.exp(rng.uniform(np.log(20), np.log(400), shape)), rng.uniform(0.6, 1.6, shape)
    mean = c + a / (1 + (anchors[:, None] / tau) ** d)
    error = mean + 0.002 * rng.standard_normal((n_datasets, n_learners, len(anchors), 3))
    names = np.array([f"learner {j}" for j in range(n_learners)])
    return {"error": np.clip(error, 0, 1), "anchors": anchors, "learners": names}


def planted_taskset(n_tasks: int = 3, n_configurations: int = 60) -> dict[str, np.ndarray]:
    """Plant losses that the prior draws, seen from the first of 51 epochs."""
    rng = generator(0, "planted taskset")
    v = np.log(np.arange(1.0, 52.0))
    z = rng.standard_normal((n_tasks, n_configurations, N_LATENT))
    z[..., 9] *= 0.1
    mean, noise = curve(z, v, v[-1:])
    valid, test = (np.abs(mean + noise * rng.standard_normal(mean.shape)) for _ in range(2))
    return {"valid_loss": valid, "test_loss": test, "tasks": np.array([f"task {k}" for k in range(n_tasks)])}

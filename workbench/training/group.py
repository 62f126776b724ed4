"""Runs that share one minibatch stream: their state, one step of it, and its file."""

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from workbench.checkpoints import load_arrays, save_arrays
from workbench.errors import require
from workbench.layout import Point
from workbench.recipes import Recipe
from workbench.seeds import key

_PLAIN_STATE = ("step", "active", "outcomes", "taken", "evaluations")
_PLAIN = (bool, int, float, str, range)
_PARTS = ("buffers", "optimizer", "map")  # of a snapshot
CHECK_EVERY_STEPS = 25  # how often losses are read for divergence: reading them waits for a GPU


class Snapshot(NamedTuple):
    """Where a run stood after ``step`` steps: all it needs to go on from there.

    Attributes:
        step: Position in the learning-rate schedule and in the stream of minibatches.
        phi: Coordinates, shape ``(d,)``.
        buffers: Buffers of the model.
        optimizer: The optimizer's state of phi; empty to begin with none.
        map: State of a map that changes itself; empty for its start.
    """

    step: int
    phi: Tensor
    buffers: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    map: dict[str, Tensor]

    def arrays(self, prefix: str) -> dict[str, Tensor]:
        """Return everything as named tensors."""
        parts = {f"{part}.{n}": v for part in _PARTS for n, v in getattr(self, part).items()}
        named = {"step": torch.tensor(self.step), "phi": self.phi} | parts
        return {f"{prefix}.{n}": v for n, v in named.items()}

    @classmethod
    def of_arrays(cls, tensors: Mapping[str, Tensor], prefix: str) -> "Snapshot":
        """Make a snapshot of what ``arrays`` returned, among other names."""
        parts = [f"{prefix}.{part}." for part in _PARTS]
        named = [{n.removeprefix(part): v for n, v in tensors.items() if n.startswith(part)} for part in parts]
        return cls(int(tensors[f"{prefix}.step"]), tensors[f"{prefix}.phi"], *named)


@dataclass
class History:
    """What one training run did.

    Attributes:
        outcome: ``"finished"``, ``"stopped"`` early, or ``"diverged"`` (a loss that is nan or infinite).
        n_steps: Steps taken here; those before the snapshot that a run started from are not counted.
        phi: Final coordinates, shape ``(d,)``; the best ones after early stopping.
        buffers: Final buffers of the model.
        losses: Minibatch loss of each step, shape ``(n_steps,)``.
        evaluations: One dict per evaluation: step, split, loss, metric.
        seconds: CPU time of the process, shared evenly by the runs of a group.
        kept: Snapshots by step, where some were asked for.
    """

    outcome: Literal["finished", "stopped", "diverged"]
    n_steps: int
    phi: Tensor
    buffers: dict[str, Tensor]
    losses: np.ndarray
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    kept: dict[int, Snapshot] = field(default_factory=dict)

    def point(self, coordinates: Any) -> Point:
        """Return the network found: theta, shape ``(D,)``, and buffers."""
        return Point(coordinates.push(self.phi, self.phi.new_empty(coordinates.D)), self.buffers)


class Group:
    """The state of runs that share one minibatch stream."""

    def __init__(
        self, objective: Any, coordinates: Sequence[Any], recipes: Sequence[Recipe], seed: int, splits: tuple[str, ...]
    ) -> None:
        self.objective, self.coordinates, self.recipes, self.splits = objective, coordinates, recipes, splits
        self.recipe, self.seed, self.first, self.step = recipes[0], seed, 0, 0
        self.dropout_key, self.data_key = (key(seed, name) % 2**62 for name in ("dropout", "augmentation"))
        for c in coordinates:
            c.load_state({})
        self.phis = [nn.Parameter(c.initial()) for c in coordinates]
        self.grads = [torch.zeros_like(phi) for phi in self.phis]
        for phi, grad in zip(self.phis, self.grads, strict=True):
            phi.grad = grad
        self.optimizer = self._make_optimizer()
        self.states: list[dict[str, Tensor]] = [{k: v.clone() for k, v in objective.buffers_0.items()} for _ in recipes]
        self.active = list(range(len(recipes)))
        self.outcomes: list[Any] = ["finished"] * len(recipes)
        self.taken = [self.recipe.n_steps] * len(recipes)
        self.losses = self.phis[0].new_full((len(recipes), self.recipe.n_steps), math.nan, requires_grad=False)
        self.evaluations: list[list[dict[str, Any]]] = [[] for _ in recipes]
        self.best: list[Snapshot | None] = [None] * len(recipes)
        self.kept: list[dict[int, Snapshot]] = [{} for _ in recipes]

    def _make_optimizer(self) -> torch.optim.Optimizer:
        groups = [{"params": [phi], "lr": r.lr} for phi, r in zip(self.phis, self.recipes, strict=True)]
        decay = self.recipe.weight_decay
        if self.recipe.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=self.recipe.momentum, weight_decay=decay, fused=True)
        kind = torch.optim.Adam if self.recipe.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, weight_decay=decay, fused=True)

    def begin(self, start: Sequence[Snapshot]) -> None:
        """Go on from one snapshot a run, all of one step; from the maps' own starts if there are none."""
        self.first = self.step = start[0].step if start else 0
        for k, snapshot in enumerate(start):
            rule = f"must hold phi of shape ({self.coordinates[k].d},) after at most n_steps={self.recipe.n_steps}"
            fits = snapshot.phi.shape == self.phis[k].shape and self.first == snapshot.step <= self.recipe.n_steps
            require(fits, "start", rule, (tuple(snapshot.phi.shape), snapshot.step))
            self._restore(k, snapshot)

    def snapshot(self, k: int) -> Snapshot:
        """Return where run k stands, in memory of its own."""
        optimizer = {n: v.clone() for n, v in self.optimizer.state[self.phis[k]].items() if v is not None}
        return Snapshot(self.step, self.phis[k].data.clone(), self.states[k], optimizer, self.coordinates[k].state())

    def _restore(self, k: int, snapshot: Snapshot) -> None:
        self.phis[k].data.copy_(snapshot.phi)
        # the step counts of fused optimizers and all else stay on the device they were on
        self.optimizer.state[self.phis[k]].update({n: v.clone() for n, v in snapshot.optimizer.items()})
        self.states[k] = snapshot.buffers
        self.coordinates[k].load_state(snapshot.map)

    def keep(self, steps: Collection[int]) -> None:
        """Remember where every active run stands if the time has come."""
        for k in self.active if self.step in steps else ():
            self.kept[k][self.step] = self.snapshot(k)

    def advance(self, index: Tensor | None) -> None:
        """Take one step of every active run on one minibatch."""
        objective = self.objective
        self._seed_torch(self.data_key)  # a user's dataset may draw random numbers
        x, y = objective.train_batch(index)
        for k in self.active:
            self._stand_at(k)
            self._seed_torch(self.dropout_key)
            self.losses[k, self.step] = objective.backward(x, y)
            self.coordinates[k].pull(self.phis[k].data, objective.grad, self.grads[k])
            if self.states[k]:
                self.states[k] = self.objective.buffers()
        factor = self.recipe.lr_factor(self.step)
        for group, recipe in zip(self.optimizer.param_groups, self.recipes, strict=True):
            group["lr"] = recipe.lr * factor
        self.optimizer.step()
        for k in self.active:
            self.coordinates[k].after_step(self.phis[k].data, self.optimizer.state[self.phis[k]])
        self.step += 1
        if self.step % CHECK_EVERY_STEPS == 0 or self.step == self.recipe.n_steps:
            self._set_diverged_aside()

    def _seed_torch(self, stream: int) -> None:
        """Make torch's random numbers a function of stream and step alone, so that they need no saved state."""
        # torch.manual_seed would do, but visits every back end and takes 100 times as long
        torch.default_generator.manual_seed(stream + self.step)
        if self.objective.device.type == "cuda":
            torch.cuda.default_generators[self.objective.theta.device.index].manual_seed(stream + self.step)

    def _stand_at(self, k: int) -> None:
        self.coordinates[k].push(self.phis[k].data, self.objective.theta)
        if self.states[k]:
            self.objective.set_buffers(self.states[k])

    def _stop(self, k: int, outcome: str, n_steps: int) -> None:
        self.active.remove(k)
        self.outcomes[k], self.taken[k] = outcome, n_steps
        self.phis[k].grad = None  # the optimizer passes over it from now on

    def _set_diverged_aside(self) -> None:
        start = max(self.first, self.step - CHECK_EVERY_STEPS)
        finite = torch.isfinite(self.losses[:, start : self.step]).cpu().numpy()
        for k in list(self.active):
            if not finite[k].all():
                self._stop(k, "diverged", start + int(np.argmin(finite[k])) + 1)
            elif self.step == self.recipe.n_steps and not self.phis[k].isfinite().all():  # no later loss would tell
                self._stop(k, "diverged", self.step)

    def evaluate(self, watch: Callable[[int, dict[str, Any]], None] | None = None) -> None:
        """Measure every active run that has not diverged; stop those that ran out of patience."""
        self._set_diverged_aside()
        for k in list(self.active):
            self._stand_at(k)
            for split in self.splits:
                loss, metric, _ = self.objective.evaluate(self.objective.theta, split)
                self.evaluations[k].append({"step": self.step, "split": split, "loss": loss, "metric": metric})
                if watch:
                    watch(k, dict(self.evaluations[k][-1]))
            if self.recipe.patience is not None:
                self._watch(k)

    def _watch(self, k: int) -> None:
        *earlier, loss = [e["loss"] for e in self.evaluations[k] if e["split"] == "validation"]
        best = self.best[k]
        if best is None or loss < min(earlier):
            self.best[k] = self.snapshot(k)._replace(optimizer={})
        elif (self.step - best.step) // (self.recipe.eval_every_steps or 1) >= (self.recipe.patience or 0):
            self._stop(k, "stopped", self.step)

    def histories(self, seconds: float) -> list[History]:
        """Return what each run did, at its best point if early stopping watched it."""
        result = []
        for k in range(len(self.phis)):
            end, last = self.best[k] or self.snapshot(k), min(self.taken[k], self.step)
            self.coordinates[k].load_state(end.map)
            told = self.losses[k, self.first : last].cpu().numpy(), self.evaluations[k], seconds, self.kept[k]
            result.append(History(self.outcomes[k], last - self.first, end.phi, end.buffers, *told))
        return result

    # --- checkpoints: arrays and JSON, no pickle ---------------------------------------------------------------------

    def use_file(self, path: Path) -> None:
        """Name the file for the state, before the first step, and go on from what it holds."""
        named = [{"kind": type(c).__name__} | vars(c) for c in self.coordinates]
        maps = [{n: repr(v) for n, v in each.items() if n[0] != "_" and type(v) in _PLAIN} for each in named]
        told = {"schema": 3, "maps": maps, "recipes": [asdict(r) for r in self.recipes], "seed": self.seed}
        told |= {"first": self.first, "splits": list(self.splits), "places": self._places()}
        self.about = json.loads(json.dumps(told))
        self.path = path
        if path.exists():
            self._load()

    def _places(self) -> list[float]:
        """Return where each map puts its start and another phi, as numbers: equal settings may hide unlike maps."""
        both = zip(self.coordinates, self.phis, strict=True)
        pairs = [(c, phi) for c, own in both for phi in (own.data, own.data + 1)]
        thetas = [c.push(phi, torch.empty_like(self.objective.theta)) for c, phi in pairs]
        return [float(t.double().cpu() @ torch.arange(len(t)).double().cos()) for t in thetas]

    def save(self) -> None:
        """Write the whole state to the file, at once or not at all."""
        arrays: dict[str, Tensor] = {"losses": self.losses}
        for k, best in enumerate(self.best):
            arrays |= self.snapshot(k).arrays(f"{k}") | (best.arrays(f"{k}.best") if best else {})
            for step, kept in self.kept[k].items():
                arrays |= kept.arrays(f"{k}.kept.{step}")
        about = self.about | {"kept": [list(kept) for kept in self.kept]} | {n: getattr(self, n) for n in _PLAIN_STATE}
        save_arrays(self.path, {n: v.cpu().numpy() for n, v in arrays.items()}, about)

    def _load(self) -> None:
        """Take up the state that ``save`` wrote."""
        arrays, about = load_arrays(self.path)
        remedy = "delete the file or name another"
        same = all(about.get(name) == value for name, value in self.about.items() if name != "places")
        same = same and np.allclose(about["places"], self.about["places"], rtol=1e-3, atol=1e-3)
        require(same, "checkpoint", "must come from the same maps, recipes and seed", str(self.path), remedy)
        for name in _PLAIN_STATE:
            setattr(self, name, about[name])
        tensors = {n: torch.from_numpy(a).to(self.objective.device) for n, a in arrays.items()}
        self.losses.copy_(tensors["losses"])
        for k, phi in enumerate(self.phis):
            self._restore(k, Snapshot.of_arrays(tensors, f"{k}"))
            if f"{k}.best.step" in tensors:
                self.best[k] = Snapshot.of_arrays(tensors, f"{k}.best")
            self.kept[k] = {n: Snapshot.of_arrays(tensors, f"{k}.kept.{n}") for n in about["kept"][k]}
            if k not in self.active:
                phi.grad = None

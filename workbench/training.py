"""The one training loop: (objective, coordinates, recipe, seed) -> History.

Several coordinate maps may be trained together as one *group*: they share the minibatch stream of one replicate (and
so must share its seed), which saves fetching each minibatch again, and each ends where it would have ended alone.
Replicates never share a stream: their errors would no longer be independent.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from workbench.checkpoints import load_arrays, save_arrays
from workbench.errors import is_count, require, require_choice
from workbench.layout import Point
from workbench.recipes import Recipe
from workbench.seeds import key

_PLAIN_STATE = ("step", "active", "outcomes", "taken", "evaluations")
_CHECK_EVERY_STEPS = 25  # how often losses are read for divergence: reading them waits for a GPU


@dataclass
class History:
    """What one training run did.

    Attributes:
        outcome: ``"finished"``, ``"stopped"`` early, or ``"diverged"`` (a loss that is nan or infinite).
        n_steps: Steps taken.
        phi: Final coordinates, shape ``(d,)``; the best ones after early stopping.
        buffers: Final buffers of the model.
        losses: Minibatch loss of each step, shape ``(n_steps,)``.
        evaluations: One dict per evaluation: step, split, loss, metric.
        seconds: CPU time of the process, shared evenly by the runs of a group.
    """

    outcome: Literal["finished", "stopped", "diverged"]
    n_steps: int
    phi: Tensor
    buffers: dict[str, Tensor]
    losses: np.ndarray
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def point(self, coordinates: Any) -> Point:
        """Return the network found: theta, shape ``(D,)``, and buffers."""
        return Point(coordinates.push(self.phi, self.phi.new_empty(coordinates.D)), self.buffers)


def train(objective: Any, coordinates: Any, recipe: Recipe, seed: int, **options: Any) -> History:
    """Train one run; see ``train_group`` for arguments, errors and options."""
    return train_group(objective, [coordinates], [recipe], seed, **options)[0]


def train_group(
    objective: Any,
    coordinates: Sequence[Any],
    recipes: Sequence[Recipe],
    seed: int,
    *,
    eval_splits: Sequence[str] = ("validation",),
    checkpoint: Path | None = None,
    checkpoint_every_steps: int = 1000,
    progress: Callable[[float], None] | None = None,
    watch: Callable[[int, dict[str, Any]], None] | None = None,
) -> list[History]:
    """Train several coordinate maps of one objective on one minibatch stream.

    A run that diverges is recorded as such and the others go on. With ``checkpoint`` the state is written to that
    file as training goes; calling again with the same arguments continues from it, bitwise as if never stopped.

    Args:
        objective: A supervised objective; it ends at the last run's point.
        coordinates: Maps phi -> theta over this objective's D.
        recipes: One a map; they may differ in ``lr`` only.
        seed: The replicate: names the minibatch order and any dropout.
        eval_splits: Splits measured at every evaluation.
        checkpoint: File for the state (NumPy ``.npz``; nothing in it is executed by loading).
        checkpoint_every_steps: Steps between writes.
        progress: Called with the fraction done.
        watch: Called with the index of a map and each of its evaluations as it is made; what it raises ends training.

    Returns:
        One history a map, in order.

    Raises:
        InputError: If arguments disagree with one another or with a checkpoint.
    """
    require(len(coordinates) == len(recipes) > 0, "recipes", "must be one a coordinate map", len(recipes))
    alike = all(replace(r, lr=recipes[0].lr) == recipes[0] for r in recipes)
    require(alike, "recipes", "must agree in all but lr within a group", recipes)
    for c in coordinates:
        require(c.D == objective.D, "coordinates", f"must map to D={objective.D}", c.D)
    if recipes[0].eval_every_steps is not None:
        for split in eval_splits:
            require_choice("eval_splits", split, tuple(objective.splits))
        watched = recipes[0].patience is None or "validation" in eval_splits
        require(watched, "eval_splits", "must hold 'validation' for early stopping", tuple(eval_splits))
    rule = "must be a whole number, at least 1"
    require(is_count(checkpoint_every_steps, 1), "checkpoint_every_steps", rule, checkpoint_every_steps)
    group = _Group(objective, coordinates, recipes, seed, tuple(eval_splits))
    if checkpoint is not None and checkpoint.exists():
        group.load(checkpoint)
    started, recipe = time.process_time(), recipes[0]
    with torch.random.fork_rng(devices=[objective.theta.device] if objective.device.type == "cuda" else []):
        for index in objective.minibatches(seed, recipe.batch_size, group.step):
            if group.step >= recipe.n_steps or not group.active:
                break
            group.advance(index)
            if recipe.eval_every_steps and group.step % recipe.eval_every_steps == 0:
                group.evaluate(watch)
            if checkpoint is not None and group.step % checkpoint_every_steps == 0:
                group.save(checkpoint)
            if progress and group.step % _CHECK_EVERY_STEPS == 0:
                progress(group.step / recipe.n_steps)
    histories = group.histories((time.process_time() - started) / len(coordinates))
    objective.set_point(histories[-1].point(coordinates[-1]))
    return histories


class _Best(NamedTuple):
    """The point of lowest validation loss so far."""

    loss: float
    step: int
    phi: Tensor
    buffers: dict[str, Tensor]


class _Group:
    """The state of runs that share one minibatch stream."""

    def __init__(
        self, objective: Any, coordinates: Sequence[Any], recipes: Sequence[Recipe], seed: int, splits: tuple[str, ...]
    ) -> None:
        self.objective, self.coordinates, self.recipes, self.splits = objective, coordinates, recipes, splits
        self.recipe, self.step, self.seed = recipes[0], 0, seed
        self.dropout_key, self.data_key = (key(seed, name) % 2**62 for name in ("dropout", "augmentation"))
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
        self.best: list[_Best | None] = [None] * len(recipes)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        groups = [{"params": [phi], "lr": r.lr} for phi, r in zip(self.phis, self.recipes, strict=True)]
        decay = self.recipe.weight_decay
        if self.recipe.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=self.recipe.momentum, weight_decay=decay, fused=True)
        kind = torch.optim.Adam if self.recipe.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, weight_decay=decay, fused=True)

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
            self._keep_buffers(k)
        factor = self.recipe.lr_factor(self.step)
        for group, recipe in zip(self.optimizer.param_groups, self.recipes, strict=True):
            group["lr"] = recipe.lr * factor
        self.optimizer.step()
        for k in self.active:
            self.coordinates[k].after_step(self.phis[k].data, self.optimizer.state[self.phis[k]])
        self.step += 1
        if self.step % _CHECK_EVERY_STEPS == 0 or self.step == self.recipe.n_steps:
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

    def _keep_buffers(self, k: int) -> None:
        if self.states[k]:
            self.states[k] = self.objective.buffers()

    def _stop(self, k: int, outcome: str, n_steps: int) -> None:
        self.active.remove(k)
        self.outcomes[k], self.taken[k] = outcome, n_steps
        self.phis[k].grad = None  # the optimizer passes over it from now on

    def _set_diverged_aside(self) -> None:
        start = max(0, self.step - _CHECK_EVERY_STEPS)
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
        loss = [e["loss"] for e in self.evaluations[k] if e["split"] == "validation"][-1]
        best = self.best[k]
        if best is None or loss < best.loss:
            self.best[k] = _Best(loss, self.step, self.phis[k].data.clone(), dict(self.states[k]))
        elif (self.step - best.step) // (self.recipe.eval_every_steps or 1) >= (self.recipe.patience or 0):
            self._stop(k, "stopped", self.step)

    def histories(self, seconds: float) -> list[History]:
        """Return what each run did, at its best point if early stopping watched it."""
        result = []
        for k, phi in enumerate(self.phis):
            *_, final, buffers = self.best[k] or (phi.data.clone(), self.states[k])
            n_steps = min(self.taken[k], self.step)
            losses = self.losses[k, :n_steps].cpu().numpy()
            result.append(History(self.outcomes[k], n_steps, final, buffers, losses, self.evaluations[k], seconds))
        return result

    # --- checkpoints: arrays and JSON, no pickle ---------------------------------------------------------------------

    def _fingerprint(self) -> dict[str, Any]:
        maps = [[type(c).__name__, c.D, c.d] for c in self.coordinates]
        recipes = [asdict(r) for r in self.recipes]
        return {"schema": 2, "maps": maps, "recipes": recipes, "seed": self.seed, "splits": list(self.splits)}

    def _places(self) -> list[float]:
        """Return where each map puts one phi, as one number: it tells maps of equal type and shape apart."""
        thetas = [c.push(c.initial() + 1, torch.empty_like(self.objective.theta)) for c in self.coordinates]
        return [float(t.double().cpu() @ torch.arange(len(t)).double().cos()) for t in thetas]

    def save(self, path: Path) -> None:
        """Write the whole state to one file, at once or not at all."""
        arrays: dict[str, Tensor] = {"losses": self.losses}
        for k, phi in enumerate(self.phis):
            state = {f"optimizer.{n}": v for n, v in self.optimizer.state[phi].items() if v is not None}
            named = {"phi": phi.data, **state, **{f"buffer.{n}": v for n, v in self.states[k].items()}}
            best = self.best[k]
            if best is not None:
                named |= {"best": best.phi, **{f"best_buffer.{n}": v for n, v in best.buffers.items()}}
            arrays |= {f"{k}.{n}": v for n, v in named.items()}
        best_of = [b and [b.loss, b.step] for b in self.best]
        about = {name: getattr(self, name) for name in _PLAIN_STATE} | {"best": best_of, "places": self._places()}
        save_arrays(path, {n: v.cpu().numpy() for n, v in arrays.items()}, about | {"fingerprint": self._fingerprint()})

    def load(self, path: Path) -> None:
        """Take up the state of a file written by ``save``."""
        arrays, about = load_arrays(path)
        remedy = "delete the file or name another"
        same = about.get("fingerprint") == json.loads(json.dumps(self._fingerprint()))
        same = same and np.allclose(about["places"], self._places(), rtol=1e-3, atol=1e-3)
        require(same, "checkpoint", "must come from the same maps, recipes and seed", str(path), remedy)
        for name in _PLAIN_STATE:
            setattr(self, name, about[name])
        device = self.objective.device
        tensors = {n: torch.from_numpy(a).to(device) for n, a in arrays.items()}
        self.losses.copy_(tensors["losses"])
        for k, phi in enumerate(self.phis):

            def part(prefix: str) -> dict[str, Tensor]:
                return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}

            phi.data.copy_(tensors[f"{k}.phi"])
            # the step counts of fused optimizers and all else stay on the device they were on
            self.optimizer.state[phi].update(part(f"{k}.optimizer."))
            self.states[k] = part(f"{k}.buffer.")
            if about["best"][k] is not None:
                loss, step = about["best"][k]
                self.best[k] = _Best(loss, step, tensors[f"{k}.best"], part(f"{k}.best_buffer."))
            if k not in self.active:
                phi.grad = None

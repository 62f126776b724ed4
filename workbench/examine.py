"""Examine: what any network's parameters are worth, item by item; stated and timed first, kept as it is done."""

import sys
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from workbench import measures
from workbench.errors import InputError, is_count, require, require_choice
from workbench.measures import PARTS, Answer, Asked
from workbench.recipes import Recipe
from workbench.sweeps import Sweep, TrialError
from workbench.sweeps.job import alone

_EXAMINED: "weakref.WeakValueDictionary[str, Examination]" = weakref.WeakValueDictionary()


def trial(examined: str, item: str, **given: Any) -> Any:
    """Return what a trial finds of a network examined in this process; its arguments hold all that decides it."""
    here = _EXAMINED[examined]
    at, sample, mask = here.subject, here.subject.sample, torch.empty(0)
    if "recipe" in given:
        given["recipe"] = Recipe(**given["recipe"])
    if "density" in given:
        mask = at.mask(given.pop("score", "magnitude"), given.pop("density"))
    on = sample if given.pop("walks", False) else None
    split: dict[str, Any] = {**given, "split": at.split}
    tick: dict[str, Any] = {"tick": lambda _: here.tick()}
    earlier = [at.at(state).theta for state in here.trajectory] if item == "surface" else []
    calls: dict[str, Callable[[], Any]] = {
        "paces": lambda: measures.paces(at.fresh(0), sample, **split),
        "trained": lambda: measures.trained(at.fresh(given["seed"]), mask=mask, **split, **tick),
        "pruned": lambda: measures.pruned(at.objective, at.point, scored_on=sample, **split),
        "retrained": lambda: measures.retrained(at.again(), mask, measured_on=on, **split, **tick),
        "saved": lambda: measures.saved(at.objective, at.point, mask),
        "surface": lambda: measures.surface(sample, at.point, torch.stack(earlier) if earlier else None),
        "walk": lambda: measures.walk(sample, at.point, at.at(here.others[0])),
        "apart": lambda: measures.apart(map(at.fresh, given["seeds"]), measured_on=sample, **given, **tick),
    }
    return calls.get(item, lambda: getattr(measures, item)(sample, at.point, **given))()


def _silent(fraction: float, item: str) -> None:
    """Tell nobody how far the work is."""


_UNTOLD = (_silent, "", 0.0, 0.0)


@dataclass(eq=False)
class Examination:
    """A network, what is asked of it, and what has been found: ``plan`` states the work, ``run`` does it.

    Args:
        model: Any ``nn.Module``; copied, so left bit for bit as it is, and examined in float32. Of a tuple or mapping
            that it returns, the entry ``logits`` counts, else the first.
        train: Tensors ``(x, y)``, an object with ``.x`` and ``.y``, or a ``DataLoader`` over a map-style dataset.
        test: Likewise, for what is reported; None for the training examples.
        loss: See ``Supervised``; None for squared error where the targets are floats, else cross-entropy.
        recipe: How to train fresh networks; retraining takes a fifth of its steps.
        n_seeds: Replicates of everything trained; at least 2.
        n_examples: Training examples at most on which scores and the loss's shape are measured.
        parts: Which to offer: of ``PARTS``.
        trajectory: State dicts of the model as it was trained, two or more, for the plane.
        other: The same network trained from another seed, for the barrier; None trains two.
        initial: ``initial(seed)`` returns a fresh network; None draws He-normal weights.
        budget: Seconds that an item may take; a longer one is refused, with a remedy.
        out: Folder of finished trials: what lies there is not computed again.
        device: Where it is computed.
        seed: Of the examples; replicates are numbered from it.

    Attributes:
        answers: By item, the numbers found; ``details``, what figures are drawn from; ``refused``, why there are none.

    Example:
        >>> x = torch.eye(2).repeat(100, 1)
        >>> found = Examination(nn.Linear(2, 2), (x, x.argmax(1)), parts=["shape"], out="runs/trials")
        >>> found.subject.objective.D, found.subject.given["n"]
        (6, 200)
    """

    model: nn.Module
    train: Any
    test: Any = None
    loss: Any = None
    recipe: Recipe = field(default_factory=Recipe)
    n_seeds: int = 3
    n_examples: int = 1000
    parts: Sequence[str] = tuple(PARTS)
    trajectory: Sequence[Mapping[str, Tensor]] = ()
    other: nn.Module | None = None
    initial: Callable[[int], nn.Module] | None = None
    budget: float = 600.0
    out: str | Path = "runs/trials"
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for part in self.parts:
            require_choice("parts", part, tuple(PARTS))
        require(is_count(self.n_seeds, 2), "n_seeds", "must be a whole number, at least 2", self.n_seeds)
        self.answers, self.details, self.refused = dict[str, list[Answer]](), dict[str, Any](), dict[str, str]()
        self._told: tuple[Any, ...] = _UNTOLD
        self.fraction = 0.0
        data = self.train, self.test, self.loss, self.n_examples
        with alone(self.seed):
            self.subject = at = measures.Subject(self.model, *data, self.initial, self.device, self.seed)
        seeds = range(self.seed, self.seed + self.n_seeds)
        self._asked = Asked(at, seeds, self.recipe, self.other is not None, self._ask)
        self.others = [self.other.state_dict()] if self.other else []
        told = [at.at(state).theta for state in (*self.trajectory, *self.others)]
        self._name = measures.digest(at.name, str(self.seed), str(self._asked.n), self.device, *told)
        _EXAMINED[at.name] = _EXAMINED[self._name] = self

    def plan(self) -> pd.DataFrame:
        """Return a row an item: about how many seconds it takes, by work of each kind timed here; why it is refused."""
        pace = self._asked.around("paces", recipe=asdict(measures.fitting(self._asked)))
        items = [(part, item) for part in self.parts for item in PARTS[part]]
        told = [
            (measures.seconds(self._asked, item, pace), measures.obstacle(self._asked, item, pace, self.budget))
            for _, item in items
        ]
        return pd.DataFrame(
            [(*a, *b) for a, b in zip(items, told, strict=True)], columns=["part", "item", "seconds", "refused"]
        )

    def run(
        self, parts: Sequence[str] | None = None, progress: Callable[[float, str], None] | None = None
    ) -> "Examination":
        """Answer the items of some parts, or of all; what is stopped goes on from its last finished trial.

        Args:
            parts: Names of parts or of items; None for all that are offered.
            progress: Called with the fraction done and the item at work; what it raises ends the run.

        Returns:
            This examination.
        """
        plan = self.plan()
        for name in parts or ():
            require_choice("parts", name, (*self.parts, *plan["item"]))
        wanted = plan[[parts is None or row.part in parts or row.item in parts for row in plan.itertuples()]]
        self.refused |= {item: why for item, why in zip(wanted["item"], wanted.refused, strict=True) if why}
        todo = wanted[wanted.refused == ""]
        shares, done = todo.seconds / todo.seconds.sum(), 0.0
        try:
            for part, item, share in zip(todo.part, todo["item"], shares, strict=True):
                self._told = (progress or _silent, item, done, share)
                self.tick(0.0)
                try:
                    self.answers[item], self.details[item] = PARTS[part][item](self._asked)
                    self.refused.pop(item, None)
                except (InputError, TrialError) as error:
                    said = str(error).partition("): ")[2] or str(error)
                    self.refused[item] = said.partition("\n")[0]  # of many trials the first
                done += share
        finally:
            self._told = _UNTOLD  # what was stopped is not told of the next run
        return self

    def tick(self, fraction: float | None = None) -> None:
        """Tell how far the work is; None: as far as before, but alive."""
        progress, item, done, share = self._told
        self.fraction = self.fraction if fraction is None else fraction
        progress(done + share * self.fraction, item)

    def to_frame(self) -> pd.DataFrame:
        """Return a row a number: part, item, quantity, value, ends of its interval, n, unit, note; refusals too."""
        rows = []
        for part, item in ((name, item) for name in PARTS for item in PARTS[name]):
            rows += [(part, item, *answer) for answer in self.answers.get(item, [])]
            rows += [(part, item, *Answer(item, note=f"refused: {why}")) for why in [self.refused.get(item)] if why]
        return pd.DataFrame(rows, columns=["part", "item", *Answer._fields])

    def _ask(self, item: str, settings: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Run trials here, one after another; what trains fresh networks does not hang on the sample."""
        name = self.subject.name if item == "trained" else self._name
        with Sweep(self.out, "serial", 1) as sweep:
            rows = [{"examined": name, "item": item, **each} for each in settings]
            return [done.result for done in sweep.map(trial, rows, self.tick)]


class _Module(types.ModuleType):
    """This module, which is called like the function of its name: ``workbench.examine`` may mean either."""

    __call__ = staticmethod(Examination)


examine = Examination
sys.modules[__name__].__class__ = _Module

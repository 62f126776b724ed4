"""What an item of an examination may use, and what it gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from typing import Any, NamedTuple

from workbench.measures.outcomes import Plain
from workbench.measures.subject import Subject
from workbench.recipes import Recipe

DENSITIES = (0.9, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05, 0.02, 0.01)
CROSSED = (0.5, 0.2, 0.05)  # at which the pruned network's dimension is measured
SCORES = ("magnitude", "random", "snip", "fisher", "wanda")  # from the third on data-aware
INSIDE = (10, 30, 100, 300)  # dimensions of the random subspaces that are looked into
CHAINS = {"n_chains": 4, "n_leapfrog": 25, "n_steps": 150}  # of a learning coefficient
FRACTION, DROP = 0.9, 0.01


class Answer(NamedTuple):
    """A number, the ends of its 95 % interval, what it rests on; nan where there is none, and a note that says why."""

    quantity: str
    value: float = nan
    low: float = nan
    high: float = nan
    n: int = 0
    unit: str = ""
    note: str = ""


class Found(NamedTuple):
    """An item's numbers, and the trials or arrays that figures are drawn from."""

    answers: list[Answer]
    details: Any


@dataclass(frozen=True)
class Asked:
    """What an item may use.

    Attributes:
        subject: The network and its data.
        seeds: Replicates.
        recipe: How to train fresh networks.
        other: Whether another network was given to walk to.
        ask: ``ask(trial, settings of each) -> results``, each computed once and kept.
    """

    subject: Subject
    seeds: Sequence[int]
    recipe: Recipe
    other: bool
    ask: Callable[[str, Sequence[Mapping[str, Any]]], list[Any]]

    @property
    def n(self) -> int:
        """Examples that shape and scores are measured on."""
        return len(self.subject.sample.splits["train"])

    def runs(self, dims: Sequence[int | None], seeds: Sequence[int], density: float = 1.0) -> list[Plain]:
        """Train fresh networks in random directions of what a mask of the network given keeps."""
        how = {"density": density, "recipe": asdict(self.recipe)}
        return self.ask("trained", [{"d": d, "seed": seed, **how} for d in dims for seed in seeds])

    def retrained(self, score: str, densities: Sequence[float], walks: bool = False) -> list[list[Plain]]:
        """Prune the network given and train on under each mask, every seed, for a fifth of the recipe's steps."""
        recipe = asdict(replace(self.recipe, n_steps=max(1, self.recipe.n_steps // 5)))
        how = {"score": score, "recipe": recipe, "walks": walks}
        settings = [{"density": density, "seed": seed, **how} for density in densities for seed in self.seeds]
        rows, n = self.ask("retrained", settings), len(self.seeds)
        return [rows[i : i + n] for i in range(0, len(rows), n)]

    def around(self, trial: str, **settings: Any) -> Plain:
        """Measure around the network given, on the sample."""
        return self.ask(trial, [settings])[0]

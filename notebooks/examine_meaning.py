"""What the numbers of an examination mean: rules, and sentences that say no more than an interval carries."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workbench.examine import Examination
from workbench.measures import Answer
from workbench.study import Claim, Study, judge_interval

CLAIMS = (
    Claim(
        "tenth",
        "intrinsic-dimension-landscapes",
        "A random subspace of a tenth of the network's dimensions is enough for 90 % of what fresh networks reach.",
        "d at 90 % of fresh networks' score over D, whole interval at most 0.1; at least 3 seeds",
    ),
    Claim(
        "goes",
        "learning-weights-and-connections",
        "Nine tenths of the trained weights can go for one point of the score, if the rest trains on.",
        "density at one point less, by magnitude with retraining, whole interval at most 0.1; at least 3 seeds",
    ),
    Claim(
        "falls",
        "own prediction",
        "Of half of the weights a random subspace of no more dimensions is enough than of all.",
        "d at density 0.5 over d at density 1, each for 90 % of fresh dense networks' score, whole interval at most 1; "
        "at least 3 seeds",
    ),
)
MARGIN = 0.02  # of the error, below which two networks count as connected
STUDIES = {
    "needs": "dimension/intrinsic_dimension.ipynb",
    "goes": "pruning/prune_and_retrain.ipynb",
    "saved": "pruning/three_regimes.ipynb",
    "shape": "landscape/tour.ipynb",
    "barrier": "merging/soups_and_basins.ipynb",
    "coefficient": "landscape/degeneracy_and_volume.ipynb",
    "crossings": "landscape/crossings.ipynb",
}


@dataclass(frozen=True)
class Sentence:
    """What a number means, and the study that explains it."""

    text: str
    study: str


@dataclass(frozen=True)
class Sentences:
    """All that the intervals carry."""

    said: tuple[Sentence, ...]

    def _repr_markdown_(self) -> str:
        """Return a list; where no interval carries a sentence, that."""
        lines = [f"- {each.text} ([{each.study}]({each.study}))" for each in self.said]
        return "\n".join(lines or ["No interval carries a sentence: more seeds, steps or test examples would."])

    def __str__(self) -> str:
        return self._repr_markdown_()


def row(table: pd.DataFrame, quantity: str) -> Answer | None:
    """Return a number whose interval can carry something: both ends finite, and not a bare point; None for others."""
    for each in table[table.quantity == quantity].itertuples():
        found = Answer(each.quantity, each.value, each.low, each.high, each.n, each.unit, each.note)
        if math.isfinite(found.low) and math.isfinite(found.high) and math.isfinite(found.value):
            return found
    return None


def _span(low: float, high: float) -> str:
    """Return both ends in three digits, or one number where these are the same."""
    ends = f"{low:.3g}", f"{high:.3g}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def apart(first: Answer | None, second: Answer | None) -> bool:
    """Return whether the first one's whole interval lies below the second's."""
    return first is not None and second is not None and first.high < second.low


def sentences(table: pd.DataFrame, D: int) -> Sentences:
    """Say what the numbers mean.

    Args:
        table: ``Examination.to_frame()``.
        D: Number of trainable parameters.

    Returns:
        A sentence for each number whose interval carries one, none for the others.
    """
    found = [*_needs(table, D), *_goes(table), *_shape(table, D), *_crossings(table)]
    return Sentences(tuple(Sentence(text, STUDIES[study]) for text, study in found))


def _needs(table: pd.DataFrame, D: int) -> list[tuple[str, str]]:
    said, d = [], row(table, "d for 90 % of fresh networks' score")
    if d and d.low > 0:
        share = f"{_span(100 * d.low / D, 100 * d.high / D)} %"
        text = f"Fresh networks reach 90 % of their score in {d.low:,.0f} to {d.high:,.0f} random directions: "
        said.append((f"{text}{share} of the {D:,} parameters.", "needs"))
        small, whole = (
            table[table.quantity == q].value for q in ("smallest file that keeps 90 %", "file of all parameters")
        )
        if len(small) and len(whole):
            sizes = f"{float(small.iloc[0]):,.0f} bytes where all parameters take {float(whole.iloc[0]):,.0f}"
            said.append((f"A file that keeps 90 % of the score, read back and tested, has {sizes}.", "needs"))
    return said


def _goes(table: pd.DataFrame) -> list[tuple[str, str]]:
    said = []
    for how, words in (("not retrained", "at once"), ("retrained", "if the rest trains on")):
        found = {each: row(table, each) for each in table.quantity if each.endswith(f", {how}") and "one point" in each}
        named = {each.split(", ")[1]: answer for each, answer in found.items() if answer}
        own = named.pop("magnitude", None)
        if own and own.high < 1:
            text = f"By magnitude at least {100 * (1 - own.high):.0f} % of the weights can go {words} for one point"
            said.append((f"{text}{f'; {100 * (1 - own.low):.0f} % cannot' if own.low > 0 else ''}.", "goes"))
        for name, other in named.items():
            if name == "random" and apart(own, other):
                said.append((f"Which weights go matters: fewer can go at random than by magnitude, {words}.", "goes"))
            elif apart(other, own):
                said.append((
                    f"{name.capitalize()} leaves fewer weights than magnitude at the same loss, {words}.",
                    "goes",
                ))
            elif name != "random" and apart(own, other):
                said.append((f"Magnitude leaves fewer weights than {name} at the same loss, {words}.", "goes"))
    for each in table.quantity[table.quantity.str.startswith("speed-up, ")]:
        if (gain := row(table, each)) and gain.low > 1:
            said.append((f"Its sparse layers make it {gain.low:.2g} to {gain.high:.2g} times as fast here.", "saved"))
        elif gain and gain.high < 1.05:
            said.append(("On this machine the zeros make it no faster: its kernels compute them, too.", "saved"))
    return said


def _shape(table: pd.DataFrame, D: int) -> list[tuple[str, str]]:
    said, top, total = [], row(table, "eigenvalue 1"), row(table, "trace")
    if top and total and top.low > 0 and total.low > 0:
        low, high = top.low / total.high, top.high / total.low
        times = low * D
        if times > 100:
            text = f"One direction holds {_span(100 * low, 100 * high)} % of all curvature"
            said.append((f"{text}, {times:,.0f} times its share of the dimensions or more.", "shape"))
    if wall := row(table, "barrier of error, between two seeds"):
        if wall.low > MARGIN:
            text = f"Between two seeds the error rises by {100 * wall.low:.3g} to {100 * wall.high:.3g} points"
            said.append((f"{text}: a straight line does not join them, and averaging them would fail.", "barrier"))
        elif wall.high < MARGIN:
            text = f"Between two seeds the error rises by less than {100 * MARGIN:g} points"
            said.append((f"{text}: they share a basin, and can be averaged.", "barrier"))
    loose = row(table, "learning coefficient of the network")
    if loose and loose.high < D / 2 and loose.low > 0:
        text = f"It counts as a model of {2 * loose.low:,.0f} to {2 * loose.high:,.0f} parameters, not of {D:,}"
        said.append((f"{text}: the other directions change the loss too little to be learned.", "coefficient"))
    return said


def _crossings(table: pd.DataFrame) -> list[tuple[str, str]]:
    said, dense = [], row(table, "d at density 1")
    for each in table.quantity[table.quantity.str.startswith("d at density 0")]:
        pruned, density = row(table, each), each.removeprefix("d at density ")
        if apart(pruned, dense):
            said.append((
                f"Pruned to density {density}, fresh networks need fewer dimensions than dense ones.",
                "crossings",
            ))
        elif apart(dense, pruned):
            said.append((
                f"Pruned to density {density}, fresh networks need more dimensions than dense ones.",
                "crossings",
            ))
    for each in table.quantity[table.quantity.str.fullmatch(r"barrier of error, dense to density [\d.]+ retrained")]:
        before, after = row(table, each.removesuffix(" retrained")), row(table, each)
        if apart(after, before):
            where = ": it stays in the dense network's basin" if after and after.high < MARGIN else ""
            said.append((
                f"Retraining lowers the barrier between the dense network and the pruned one{where}.",
                "crossings",
            ))
    solutions = [row(table, q) for q in table.quantity[table.quantity.str.contains("one point less, found in")]]
    if len(solutions) == 2:
        whole, inside = solutions
        if apart(inside, whole):
            said.append((
                "A solution found inside a random subspace prunes further than one found in all of theta.",
                "crossings",
            ))
        elif apart(whole, inside):
            said.append((
                "A solution found inside a random subspace prunes less far than one found in all of theta.",
                "crossings",
            ))
    return said


def judge(study: Study, found: Examination, n_seeds: int) -> None:
    """Judge the claims on the network examined; what was refused, or too few seeds, decides nothing."""
    table, D = found.to_frame(), found.subject.objective.D
    dense, half = (row(table, f"d at density {density}") for density in ("1", "0.5"))
    ratio = (
        Answer("", half.value / dense.value, half.low / dense.high, half.high / dense.low)
        if dense and half and dense.low > 0
        else None
    )
    needs = row(table, "d for 90 % of fresh networks' score")
    share = Answer("", needs.value / D, needs.low / D, needs.high / D) if needs else None
    left = row(table, "density at one point less, magnitude, retrained")
    unit = {"tenth": "of D", "goes": "of the weights", "falls": "times"}
    for name, (answer, most) in {"tenth": (share, 0.1), "goes": (left, 0.1), "falls": (ratio, 1.0)}.items():
        value, ends = (answer.value, (answer.low, answer.high)) if answer else (None, None)
        decides = judge_interval(value, ends, high=most) if n_seeds >= 3 else "inconclusive"
        why = "" if answer else "not measured, or no interval"
        study.judge(name, value=value, interval=ends, n=n_seeds, unit=unit[name], verdict=decides, detail=why)


def record(found: Examination) -> dict[str, Any]:
    """Return what the run's record keeps: all numbers, refusals included, and the sentences."""
    table = found.to_frame()
    said = [f"{each.text} ({each.study})" for each in sentences(table, found.subject.objective.D).said]
    return {"answers": table.to_dict("records"), "meaning": said, "D": found.subject.objective.D}

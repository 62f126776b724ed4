"""How many parameters does a network need, and what of them is left where it is pruned, or found inside a subspace?"""

from collections.abc import Sequence
from dataclasses import asdict
from math import exp, inf, log, nan
from typing import Any

import numpy as np

from workbench import statistics
from workbench.dimension import Estimate, Runs, intrinsic_dim
from workbench.errors import InputError, require
from workbench.measures.asked import CROSSED, DENSITIES, DROP, FRACTION, Answer, Asked, Found
from workbench.measures.outcomes import Plain, right
from workbench.measures.thin import critical_density


def table(rows: Sequence[Plain]) -> Runs:
    """Return runs as ``dimension.intrinsic_dim`` takes them."""
    scores = np.array([nan if row["diverged"] else row["score"] for row in rows], dtype=float)
    seen = [each for row in rows if (each := right(row)) is not None]
    dims, seeds = np.array([row["d"] for row in rows]), np.array([row["seed"] for row in rows])
    return Runs(dims, seeds, scores, np.stack(seen) if len(seen) == len(rows) else None)


def search(here: Asked, density: float = 1.0) -> tuple[list[Plain], list[Plain]]:
    """Return runs of all of theta, and runs in subspaces around the d that reaches 90 % of them.

    The first seed runs at d = 4, 16, 64, ... until one passes, all seeds then at five d around the crossing.

    Args:
        here: What is examined.
        density: Of the mask, by magnitude.

    Returns:
        Both tables, a row a run.

    Raises:
        InputError: If whole networks do no better than chance.
    """
    whole, D = here.runs([None], here.seeds, density), here.subject.objective.D
    score, n, chance = float(np.mean([row["score"] for row in whole])), whole[0]["n"] or 100, here.subject.chance
    rule, remedy = (
        f"must lead above chance, {chance:.3f}",
        "more n_steps, another lr, or initial=; or there is no signal",
    )
    require(score > chance + 1.96 * (chance * (1 - chance) / n) ** 0.5, "recipe", rule, round(score, 3), remedy)
    d, limit, rows = min(4, D), max(4, int(density * D)), list[Plain]()
    while True:
        rows += here.runs([d], here.seeds[:1], density)
        if rows[-1]["score"] >= FRACTION * score or d >= limit:
            break
        d = min(4 * d, limit)
    crossing = statistics.crossing_isotonic(
        np.log([r["d"] for r in rows]), [r["score"] for r in rows], FRACTION * score
    )
    centre = exp(float(np.clip(crossing, log(rows[0]["d"]), log(d))))
    dims = sorted({int(np.clip(round(centre * 2 ** (k / 2)), 1, limit)) for k in range(-2, 3)})
    found = {(row["d"], row["seed"]): row for row in [*rows, *here.runs(dims, here.seeds, density)]}
    return whole, list(found.values())


def _dims(quantity: str, found: Estimate, n: int) -> Answer:
    """Return an intrinsic dimension; infinite where no d tested is enough."""
    low, high = (nan if end is None else end for end in (found.low, found.high))
    value = inf if found.censored == "above" else found.value
    note = str(found) if found.censored or not found.covers else ""
    return Answer(quantity, value, low, high, n, "dimensions", note)


def _score(quantity: str, rows: Sequence[Plain], unit: str) -> Answer:
    """Return a mean over replicates, or one network's score over test examples, with its interval."""
    scores, n = [row["score"] for row in rows], rows[0]["n"]
    if len(scores) > 1:
        mean, low, high = statistics.mean_interval(scores)
        return Answer(quantity, mean, low, high, len(scores), unit)
    half = 1.96 * (scores[0] * (1 - scores[0]) / n) ** 0.5 if n else nan
    return Answer(quantity, scores[0], scores[0] - half, scores[0] + half, n, unit)


def dimension(here: Asked) -> Found:
    """How many parameters does it need? Intrinsic dimension at both thresholds, and the file of a solution."""
    whole, rows = search(here)
    runs, base, given, unit = table(rows), table(whole), here.subject.given, here.subject.objective.metric_name
    answers = [_score("score of the network given", [given], unit), _score("score of fresh networks", whole, unit)]
    answers.append(_dims("d for 90 % of fresh networks' score", intrinsic_dim(runs, base, FRACTION), len(here.seeds)))
    if FRACTION * given["score"] > here.subject.chance:
        own = intrinsic_dim(runs, base, FRACTION, threshold=FRACTION * given["score"])
        answers.append(_dims("d for 90 % of the given network's score", own, len(here.seeds)))
    goal = FRACTION * float(base.scores[base.alive].mean())
    passing = [row for row in rows if not row["diverged"] and row["read"] >= goal]
    if passing:
        least = min(passing, key=lambda row: row["bytes"])
        note = f"d = {least['d']}, half precision, read back: score {least['read']:.3f}; the start is its seed"
        answers.append(Answer("smallest file that keeps 90 %", least["bytes"], n=1, unit="bytes", note=note))
    answers.append(Answer("file of all parameters", whole[0]["bytes"], n=1, unit="bytes", note="half precision"))
    return Found(answers, {"whole": whole, "runs": rows, "goal": goal})


def pruned_dimension(here: Asked) -> Found:
    """Does a pruned network need fewer dimensions? Of what each mask keeps, for 90 % of the dense networks' score."""
    base, answers, details = table(here.runs([None], here.seeds)), list[Answer](), dict[str, Any]()
    for density in (1.0, *CROSSED):
        quantity = f"d at density {density:g}"
        try:
            whole, rows = search(here, density)
        except InputError as error:  # so little may be left that nothing is learned: the denser ones stand
            if density == 1:
                raise
            answers.append(Answer(quantity, note=f"refused: {error}"))
            continue
        answers.append(_dims(quantity, intrinsic_dim(table(rows), base, FRACTION), len(here.seeds)))
        details[f"{density:g}"] = {"whole": whole, "runs": rows}
    return Found(answers, details)


def further(here: Asked) -> Found:
    """Does a solution found inside a subspace prune further than one found in all of theta?"""
    whole, rows = search(here)
    goal = FRACTION * float(np.mean([row["score"] for row in whole]))
    d = min((row["d"] for row in rows if row["score"] >= goal), default=None)
    require(d is not None, "recipe", "must lead to 90 % in some subspace", goal, "more n_steps")
    how = {"density": 1.0, "recipe": asdict(here.recipe), "densities": list(DENSITIES)}
    answers, details = list[Answer](), dict[str, Any]()
    for name, dim in (("all of theta", None), (f"{d} dimensions", d)):
        runs = here.ask("trained", [{"d": dim, "seed": seed, **how} for seed in here.seeds])
        values = [critical_density(DENSITIES, [[row] for row in run["pruned"]], run, DROP)[0] for run in runs]
        value, low, high = np.exp(statistics.mean_interval(np.log(np.maximum(values, DENSITIES[-1])))).tolist()
        quantity = f"density at one point less, found in {name}"
        answers.append(Answer(quantity, value, low, high, len(runs), "of the weights"))
        details[name] = runs
    return Found(answers, details)

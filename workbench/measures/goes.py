"""How many parameters can go, what does that save, and where does it lead?"""

import numpy as np

from workbench import statistics
from workbench.errors import InputError
from workbench.measures.asked import DENSITIES, DROP, SCORES, Answer, Asked, Found
from workbench.measures.outcomes import Plain
from workbench.measures.shape import walked
from workbench.measures.thin import critical_density


def scores(here: Asked) -> Found:
    """How many can go at once? The density at one point less by every score, without retraining."""
    rows, answers = dict[str, list[Plain]](), list[Answer]()
    for name in SCORES:
        quantity = f"density at one point less, {name}, not retrained"
        try:
            rows[name] = here.around("pruned", score=name, densities=list(DENSITIES))  # type: ignore[assignment]
            found = critical_density(DENSITIES, [[row] for row in rows[name]], here.subject.given, DROP)
            answers.append(Answer(quantity, *found, rows[name][0]["n"], "of the weights"))
        except (RuntimeError, InputError) as error:  # a score may not know what a network is made of
            answers.append(Answer(quantity, note=f"refused: {error}"))
    fits = {name: [float(row["fit"]) for row in each] for name, each in rows.items() if name in SCORES[2:]}
    ranks = np.argsort(np.argsort(np.array([*fits.values()]), axis=0), axis=0).mean(1) if fits else []
    best = [*fits][int(np.argmin(ranks))] if fits else "magnitude"
    return Found(answers, {"rows": rows, "best": best})


def retraining(here: Asked) -> Found:
    """How many can go when what is left trains on? By magnitude and by the data-aware score that fits best."""
    arms, answers = dict[str, list[list[Plain]]](), list[Answer]()
    for name in dict.fromkeys(["magnitude", scores(here).details["best"]]):
        arms[name] = here.retrained(name, DENSITIES)
        found = critical_density(DENSITIES, arms[name], here.subject.given, DROP)
        quantity = f"density at one point less, {name}, retrained"
        answers.append(Answer(quantity, *found, len(here.seeds), "of the weights"))
    return Found(answers, arms)


def passing_density(here: Asked) -> float:
    """Return the lowest density tested that loses no more than one point by magnitude with retraining."""
    value = retraining(here).answers[0].value
    return min((density for density in DENSITIES if density >= value), default=DENSITIES[0])


def saved(here: Asked) -> Found:
    """What does that save, by layers, in bytes and in time measured here?"""
    density = passing_density(here)
    found = here.ask("saved", [{"score": "magnitude", "density": density}])[0]
    ratios = np.array(found["dense_seconds"]) / np.array(found["sparse_seconds"])
    at, faster = f"at density {density:g}", ", ".join(found["faster"]) or "none"
    return Found(
        [
            Answer(
                f"speed-up, {at}", *statistics.mean_interval(ratios), len(ratios), "times", f"sparse layers: {faster}"
            ),
            Answer(f"fewer multiplications, {at}", float(found["macs"]), unit="times", note="counted"),
            Answer(f"file of the pruned network, {at}", found["bytes"], unit="bytes", note="compressed, counted"),
            Answer("file of the dense network", found["dense_bytes"], unit="bytes", note="compressed, counted"),
        ],
        found | {"density": density},
    )


def path(here: Asked) -> Found:
    """Is the pruned network still connected to the dense one, before and after retraining?"""
    density = passing_density(here)
    (runs,) = here.retrained("magnitude", [density], walks=True)
    answers = walked(f"dense to density {density:g}", runs[0]["before"])
    for kind, height in (("error", "error_height"), ("loss", "height")):
        values = statistics.mean_interval([run["after"][height] for run in runs])
        answers.append(Answer(f"barrier of {kind}, dense to density {density:g} retrained", *values, len(runs), kind))
    return Found(answers, {"density": density, "runs": runs})

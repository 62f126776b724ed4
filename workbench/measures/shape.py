"""What shape is the loss, around a network, between two, inside random subspaces?"""

from dataclasses import asdict
from math import nan

import numpy as np

from workbench.measures.asked import CHAINS, INSIDE, Answer, Asked, Found
from workbench.measures.outcomes import Plain


def curvature(here: Asked) -> Found:
    """How curved is the loss? Top eigenvalues with their strict bounds, and the trace."""
    found = here.around("curvature", d=None)
    pairs, n = zip(found["values"], found["residuals"], strict=True), found["n_examples"]
    answers = [Answer(f"eigenvalue {i}", v, v - r, v + r, n, "loss", "bound") for i, (v, r) in enumerate(pairs, 1)]
    half = 1.96 * found["standard_error"]
    total = Answer("trace", found["trace"], found["trace"] - half, found["trace"] + half, n, "loss", found["method"])
    return Found([*answers, total], found)


def spectrum(here: Asked) -> Found:
    """How are the eigenvalues spread?"""
    found = here.around("spectrum")
    support, weights = np.array(found["support"], dtype=float), np.array(found["weights"], dtype=float)
    small = float(weights[np.abs(support) < 0.01 * np.abs(support).max()].sum())
    note = "by quadrature, its error is in the figure"
    answer = Answer("eigenvalues below 1 % of the largest", small, n=found["n_examples"], unit="of all", note=note)
    return Found([answer], found)


def plane(here: Asked) -> Found:
    """What does the loss look like on a plane: the trajectory's, where there is one, or a random one?"""
    found = here.around("surface")
    loss = np.array(found["loss"], dtype=float)
    held = float(np.sum(found["explained"])) if len(found["explained"]) else nan
    note = "" if held == held else "no trajectory given: random directions, filter-normalised"
    edge = Answer(
        "highest loss on the plane", float(np.nanmax(loss)), n=found["n_examples"], unit="loss", note="measured"
    )
    return Found([Answer("trajectory's variance in the plane", held, unit="of all", note=note), edge], found)


def walked(name: str, found: Plain) -> list[Answer]:
    """Return both barriers of a ``walk``, with their intervals over examples."""
    kinds = (("error", "error_height", "error_standard_error"), ("loss", "height", "standard_error"))
    rows = [(kind, found[height], 1.96 * found[error], found["n_examples"]) for kind, height, error in kinds]
    return [Answer(f"barrier of {kind}, {name}", v, v - e, v + e, n, kind) for kind, v, e, n in rows]


def barrier(here: Asked) -> Found:
    """Are two networks of unlike seeds connected?"""
    settings = {} if here.other else {"seeds": [*here.seeds[:1], here.seeds[0] + 1], "recipe": asdict(here.recipe)}
    found = here.around("walk" if here.other else "apart", **settings)
    return Found(walked("between two seeds", found), found)


def coefficient(here: Asked, d: int | None = None) -> Found:
    """How degenerate is it? The local learning coefficient, half the number of parameters where it is not."""
    found = here.around("coefficient", d=d, **CHAINS)
    about = f"inside {d} random dimensions" if d else "of the network"
    note = f"refused: {found['refused']}" if found["refused"] else ""
    value, low, high = (float(found[end]) for end in ("value", "low", "high"))
    return Found(
        [Answer(f"learning coefficient {about}", value, low, high, found["n_examples"], "parameters / 2", note)], found
    )


def inside(here: Asked) -> Found:
    """How curved is the loss inside random subspaces? Beside it d / D of the whole trace."""
    whole, answers, details = here.around("curvature", d=None), list[Answer](), list[Plain]()
    D = here.subject.objective.D
    for d in (d for d in INSIDE if d < D):
        found = here.around("curvature", d=d)
        (v, *_), (r, *_), n = found["values"], found["residuals"], found["n_examples"]
        answers.append(Answer(f"top eigenvalue inside {d}", v, v - r, v + r, n, "loss", "bound"))
        share = found["trace"] * D / (d * whole["trace"])
        half = 1.96 * abs(share) * float(np.hypot(*(f["standard_error"] / f["trace"] for f in (found, whole))))
        note = "one subspace: its own chance is not in the interval"
        answers.append(
            Answer(f"trace inside {d} over d / D of all", share, share - half, share + half, n, "times", note)
        )
        details.append(found)
    return Found(answers, {"whole": whole, "inside": details})


def inside_coefficient(here: Asked) -> Found:
    """How degenerate is the loss inside random subspaces?"""
    found = [coefficient(here, d) for d in INSIDE if d < here.subject.objective.D]
    return Found([each.answers[0] for each in found], [each.details for each in found])

"""The study's claims, their rules, and the judgement."""

import numpy as np
from soup_results import Merges, Soups
from soup_tasks import Gain, paired

from workbench.statistics import mean_interval
from workbench.study import Claim, Finding, Study, judge_interval, n_to_decide

SOUPS, FISHER = "model-soups", "fisher-merging"
REPEATS, RUNS = 5, 16  # what the rules ask for
GAIN = {"mnist": (0.2, 0.5), "digits": (0.0, 0.0)}  # of the greedy soup, in points: in distribution, shifted
POSITIVE = 0.8  # share of repeats in which the soup gains
LOW, HIGH, CORRELATION = 2.0, 20.0, 0.6  # barriers in points of test error
MARGIN, NEAR = 1.0, 1.0  # Fisher over plain in points; distance to the joint optimum in % of its norm
_ON = ("digits", "mnist")
CLAIMS = (
    Claim(
        "soup",
        SOUPS,
        "A greedy soup of fine-tunings is better than the best single one in distribution.",
        f"greedy soup >= best single + 0.2 points on average, positive in >= 4/5 repeats (digits: above it, as 360 "
        f"images decide no fifth of a point); at least {REPEATS} repeats of {RUNS} fine-tunings",
        _ON,
    ),
    Claim(
        "shift",
        SOUPS,
        "It is better under shift too.",
        f"greedy soup >= best single + 0.5 points on rotated and noisy images on average, positive in >= 4/5 repeats "
        f"(digits: above it); at least {REPEATS} repeats of {RUNS} fine-tunings",
        _ON,
    ),
    Claim(
        "basin",
        SOUPS,
        "Fine-tunings of one start share a basin.",
        f"barrier of test error < {LOW:g} points for a shared start, mean over pairs; at least {REPEATS} repeats",
        _ON,
    ),
    Claim(
        "apart",
        SOUPS,
        "Runs of independent starts do not.",
        f"barrier of test error > {HIGH:g} points for independent starts, mean over pairs; at least {REPEATS} repeats",
        _ON,
    ),
    Claim(
        "gap",
        SOUPS,
        "Flatness and confidence predict by how much the loss of a pair's soup differs from its ensemble's.",
        f"correlation >= {CORRELATION:g} over the pairs of a shared start, mean of the repeats; at least {REPEATS} "
        "repeats",
        _ON,
    ),
    Claim(
        "experts",
        FISHER,
        "Fisher weights merge experts better than a plain average does.",
        f"Fisher >= plain + {MARGIN:g} point with equal grids of lambda, chosen on validation, mean of class-split and "
        f"rotation experts; at least {REPEATS} seeds",
        _ON,
    ),
    Claim(
        "donor",
        FISHER,
        "They merge a donor task into a target better too.",
        f"Fisher >= plain + {MARGIN:g} point with equal grids of lambda, chosen on validation; at least {REPEATS} "
        "seeds",
        _ON,
    ),
    Claim(
        "toy",
        FISHER,
        "Where the Fisher matrix is diagonal, Fisher merging finds the joint optimum and the plain average does not.",
        f"logistic regression, features active one at a time: distance to the joint optimum <= {NEAR:g} % of its norm "
        f"for Fisher merging, > {NEAR:g} % for the plain average; at least {REPEATS} seeds",
    ),
)


def judge(study: Study, soups: Soups, merges: Merges) -> list[Finding]:
    """Judge every claim by its rule; a run that does not meet what the rule asks for decides nothing."""
    return judge_soups(study, soups) + judge_merges(study, merges)


def judge_soups(study: Study, soups: Soups) -> list[Finding]:
    """Judge the claims of the first source."""
    n, found = len(soups.seeds), []
    few = [f"{REPEATS} repeats"] if n < REPEATS else []
    unmet = few + ([f"{RUNS} fine-tunings"] if len(soups.runs) < RUNS else [])
    for name, shifts, least in zip(("soup", "shift"), ((0,), (1, 2)), GAIN[soups.dataset], strict=True):
        gain = soups.gain("greedy soup", shifts)
        positive = sum(each > 0 for each in gain.seeds)
        beside = ", ".join(f"{arm} {soups.gain(arm, shifts).value:+.2f}" for arm in ("uniform soup", "ensemble"))
        said = f"positive in {positive} of {n} repeats; over the best single run too: {beside} points"
        verdict = "" if positive >= POSITIVE * n else "fails"
        found.append(_say(study, name, gain, "points", said, unmet, verdict, low=least or 1e-9))
    for k, (name, low, high) in enumerate((("basin", None, LOW), ("apart", HIGH, None))):
        barriers = soups.barrier[:, k]
        said = f"{barriers.shape[1]} pairs a repeat, from {barriers.min():.1f} to {barriers.max():.1f} points"
        gain = over_seeds(barriers.mean(axis=1))
        found.append(_say(study, name, gain, "points of test error", said, few, low=low, high=high))
    slope = np.polyfit(soups.term[:, 0].ravel(), soups.gap[:, 0].ravel(), 1)[0]
    said = f"{soups.gap.shape[2]} pairs a repeat; the gap rises by {slope:.2f} nats a nat predicted, 1 is exact"
    return [*found, _say(study, "gap", over_seeds(soups.correlation), "correlation", said, few, low=CORRELATION)]


def judge_merges(study: Study, merges: Merges) -> list[Finding]:
    """Judge the claims of the second source."""
    few, found = [f"{REPEATS} seeds"] if len(merges.seeds) < REPEATS else [], []
    gains = {setting: merges.gain(setting) for setting in merges.right}
    halves = [gains[setting] for setting in ("class split", "rotation")]
    said = ", ".join(f"{name} {gain.mean():+.1f}" for name, gain in gains.items() if name != "donor")
    found.append(_say(study, "experts", paired((halves[0] + halves[1]) / 2), "points", said, few, low=MARGIN))
    said = f"empirical Fisher {merges.gain('donor', 'empirical Fisher').mean():+.1f} points over plain"
    found.append(_say(study, "donor", paired(gains["donor"]), "points", said, few, low=MARGIN))
    plain, fisher, _ = (over_seeds(each) for each in merges.toy[0])
    both = judge_interval(*fisher[:2], high=NEAR), judge_interval(*plain[:2], low=NEAR)
    verdict = "fails" if "fails" in both else "holds" if both == ("holds", "holds") else "inconclusive"
    low, high = plain.interval
    other = merges.toy[1].mean(axis=1)
    said = f"plain average {plain.value:.1f} % [{low:.1f}, {high:.1f}]; with correlated features Fisher "
    said += f"{other[1]:.2f} %, plain {other[0]:.1f} %, full matrix {other[2]:.2f} %"
    return [*found, _say(study, "toy", fisher, "% of the norm", said, few, verdict)]


def _say(
    study: Study,
    name: str,
    gain: Gain,
    unit: str,
    detail: str,
    missing: list[str],
    verdict: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Finding:
    """Judge one claim; what is missing of what its rule asks for leaves it open."""
    value, interval, own = gain
    verdict = verdict or judge_interval(value, interval, low, high)
    if missing:
        verdict, detail = "inconclusive", f"{detail}; the rule asks for {' and '.join(missing)}"
    elif verdict == "inconclusive":
        more = n_to_decide(value, interval, len(own), low, high)
        detail += f"; about {more} seeds would decide" if more and len(own) < more <= 100 else ""
    return study.judge(name, value=value, interval=interval, n=len(own), unit=unit, verdict=verdict, detail=detail)


def over_seeds(values: np.ndarray) -> Gain:
    """Return mean and interval of one value a seed."""
    mean, low, high = mean_interval(values)
    return Gain(mean, (low, high), tuple(values.tolist()))

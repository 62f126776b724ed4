"""The study's claims, their rules, and the judgement; those of the volumes are judged in ``volume_claims``."""

import numpy as np
import pandas as pd
from scipy.special import betaincinv
from scipy.stats import rankdata, spearmanr

from workbench.seeds import generator
from workbench.statistics import mean_interval
from workbench.study import Claim, Finding, Study, judge_interval, n_to_decide

PAPER = "degeneracy-interaction-basis"
N_PLANTED, N_NETWORKS, N_PAIRS, N_SEEDS = 45, 18, 10, 10  # what the rules ask for at least
NEAR, CORRELATION, SHARE, RATIO = 2.0, 0.7, 0.8, 0.8
N_BOOTSTRAP = 4000
CLAIMS = (
    Claim(
        "planted",
        "degeneracy-interaction-basis",
        "Low ranks of activations and of gradients, and ReLUs that fire together, leave a number of directions free "
        "that can be counted from the construction.",
        "predicted count within 2 % of the number of eigenvalues of the exact Hessian below 1e-10 of the largest, on "
        "every planted network; at least 45 networks",
    ),
    Claim(
        "addition",
        "degeneracy-interaction-basis",
        "Networks on modular addition: the effective number of parameters, by ranks, goes with the learning "
        "coefficient.",
        "Spearman correlation at least 0.7 over networks of 4 widths and 3 decays, bootstrap over networks; ranks at "
        "1e-2 of the largest singular value; refused chains are missing; at least 18 networks",
    ),
    Claim(
        "digits",
        "degeneracy-interaction-basis",
        "Networks on digits: the effective number of parameters, by ranks, goes with the learning coefficient.",
        "Spearman correlation at least 0.7 over networks of 4 widths and 3 decays, bootstrap over networks; ranks at "
        "1e-2 of the largest singular value; refused chains are missing; at least 18 networks",
        ("digits",),
    ),
    Claim(
        "modules",
        "degeneracy-interaction-basis",
        "Of two solutions of one task, equal in loss, the one of two modules has the lower learning coefficient.",
        "lower in at least 80 % of the pairs, Jeffreys interval; both losses just below 1e-4 of the targets' variance; "
        "refused chains are missing; at least 10 pairs",
    ),
    Claim(
        "edges_addition",
        "degeneracy-interaction-basis",
        "Networks on modular addition: the interaction basis needs fewer edges than principal components.",
        "fewest edges kept at 5 % more loss: interaction basis over principal components at most 0.8, geometric mean "
        "over seeds; at least 10 seeds",
    ),
    Claim(
        "edges_digits",
        "degeneracy-interaction-basis",
        "Networks on digits: the interaction basis needs fewer edges than principal components.",
        "fewest edges kept at 5 % more loss on test images: interaction basis over principal components at most 0.8, "
        "geometric mean over seeds; at least 10 seeds",
        ("digits",),
    ),
    Claim(
        "tail",
        "exact-inductive-bias",
        "A Gaussian fitted to the errors of random networks tells how rare the good ones are.",
        "fitted to a tenth of the networks, |fitted - counted| <= 1 bit among the others, mean over the tasks of a "
        "cell (family, dimension, class, target) with >= 20 hits: holds if the interval over seeds lies within it in "
        "all cells, fails if it lies beyond it in more than 5 % of them; at least 5 seeds of 200,000 networks",
    ),
    Claim(
        "dimension",
        "exact-inductive-bias",
        "Tasks of higher dimension ask for more bits.",
        "teachers of dimension 2 to 12, MLP, target error 0.25: Spearman's correlation of dimension and mean bits >= "
        "0.9, mean over seeds; 90 % of cells with >= 20 hits; at least 5 seeds of 200,000 networks",
    ),
    Claim(
        "convolution",
        "exact-inductive-bias",
        "On images a convolutional network needs fewer bits than a fully connected one of as many parameters.",
        "all 45 pairs of digits, target error 0.25: bits of the MLP - bits of the CNN > 0, mean over pairs and "
        "seeds; 90 % of cells with >= 20 hits; at least 5 seeds of 200,000 networks",
        ("digits",),
    ),
    Claim(
        "shuffled",
        "exact-inductive-bias",
        "The order of the pixels is why: with shuffled pixels that gap is gone.",
        "upper end of the gap's interval with shuffled pixels <= 0.5 of the plain gap's mean, where the plain gap is "
        "above 0; at least 5 seeds of 200,000 networks",
        ("digits",),
    ),
)


def judge(
    study: Study, planted: pd.DataFrame, counted: pd.DataFrame, pairs: pd.DataFrame, edges: pd.DataFrame
) -> list[Finding]:
    """Judge the claims on degeneracy; a run smaller than a rule asks for decides nothing.

    Args:
        study: Takes the findings.
        planted: A row a network: ``predicted``, ``zeros``.
        counted: A row a network: ``task``, ``D``, ``width``, ``effective``, ``soft``, ``value`` (NaN where refused).
        pairs: A row a pair: ``modular`` and ``dense``, learning coefficients, NaN where missing.
        edges: A row a network: ``task``, ``neurons``, ``components``, ``interaction``, edges kept.

    Returns:
        A finding for each claim.
    """
    found = [judge_planted(study, planted)]
    found += [judge_counts(study, task, counted[counted.task == task]) for task in ("addition", "digits")]
    found.append(judge_modules(study, pairs))
    return found + [judge_edges(study, task, edges[edges.task == task]) for task in ("addition", "digits")]


def judge_planted(study: Study, planted: pd.DataFrame) -> Finding:
    """Judge the count of free directions: nothing is drawn from a larger set, so the interval is the range."""
    off = 100 * (planted.predicted - planted.zeros).abs() / planted.zeros.clip(lower=1)
    exact, n = int((off == 0).sum()), len(planted)
    verdict = "holds" if off.max() <= NEAR else "fails"
    detail = f"range over the networks; {exact} of {n} counts exact, {int((off <= NEAR).sum())} within {NEAR:g} %"
    return _say(study, "planted", off.max(), (off.min(), off.max()), n, "% off at most", verdict, detail, N_PLANTED)


def judge_counts(study: Study, task: str, rows: pd.DataFrame) -> Finding:
    """Judge the correlation of effective parameters and learning coefficients over the networks of a task."""
    kept = rows[rows.value.notna()]
    value, low, high = spearman(kept.effective.to_numpy(), kept.value.to_numpy())
    plain, soft = (spearman(kept[name].to_numpy(), kept.value.to_numpy())[0] for name in ("D", "soft"))
    within = [spearman(one.effective.to_numpy(), one.value.to_numpy())[0] for _, one in kept.groupby("width")]
    detail = f"{len(rows) - len(kept)} of {len(rows)} refused; with plain D {plain:.2f}, with the soft count {soft:.2f}"
    detail += f"; mean at one width {np.nanmean(within):.2f}" if np.isfinite(within).any() else ""
    verdict = judge_interval(value, (low, high), low=CORRELATION)
    return _say(study, task, value, (low, high), len(kept), "Spearman", verdict, detail, N_NETWORKS, low=CORRELATION)


def judge_modules(study: Study, pairs: pd.DataFrame) -> Finding:
    """Judge in which share of the pairs the network of two modules has the lower learning coefficient."""
    kept = pairs[["modular", "dense"]].dropna()
    n, lower = len(kept), int((kept.modular < kept.dense).sum())
    value, low, high = jeffreys(lower, n)
    mean, *ends = mean_interval(kept.dense - kept.modular) if n else (np.nan, np.nan, np.nan)
    detail = f"lower in {lower} of {n}; {len(pairs) - n} pairs missing; dense less modular {mean:+.2f} "
    detail += f"[{ends[0]:+.2f}, {ends[1]:+.2f}]"
    verdict = judge_interval(value, (low, high), low=SHARE)
    return _say(study, "modules", value, (low, high), n, "of the pairs", verdict, detail, N_PAIRS, low=SHARE)


def judge_edges(study: Study, task: str, rows: pd.DataFrame) -> Finding:
    """Judge the ratio of edges that the interaction basis and principal components need."""
    ratios = {
        other: np.exp(mean_interval(np.log(rows.interaction / rows[other]))) for other in ("components", "neurons")
    }
    value, low, high = ratios["components"]
    each = ", ".join(f"{name} {rows[name].mean():.0f}" for name in ("neurons", "components", "interaction"))
    detail = f"mean edges: {each}; over neurons {{:.2f}} [{{:.2f}}, {{:.2f}}]".format(*ratios["neurons"])
    verdict = judge_interval(value, (low, high), high=RATIO)
    name = f"edges_{task}"
    return _say(study, name, value, (low, high), len(rows), "of the edges", verdict, detail, N_SEEDS, high=RATIO)


def _say(
    study: Study, name: str, value: float, interval: tuple[float, float], n: int, unit: str, verdict: str, detail: str,
    least: int, **ends: float,
) -> Finding:  # fmt: skip
    """Judge one claim; too few networks leave it open."""
    if n < least:
        verdict, detail = "inconclusive", f"{detail}; the rule asks for at least {least}"
    elif verdict == "inconclusive" and (more := n_to_decide(value, interval, n, **ends)) and n < more <= 1000:
        detail += f"; about {more} would decide"
    return study.judge(name, value=value, interval=interval, n=n, unit=unit, verdict=verdict, detail=detail)


def spearman(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Return Spearman's correlation and its 95 % percentile interval over resampled pairs; NaN where undefined."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan, np.nan
    rows = generator(0, "bootstrap", len(x)).integers(len(x), size=(N_BOOTSTRAP, len(x)))
    ranks = [rankdata(values[rows], axis=1) - (len(x) + 1) / 2 for values in (x, y)]
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample of one value alone has no correlation
        draws = (ranks[0] * ranks[1]).sum(1) / np.sqrt((ranks[0] ** 2).sum(1) * (ranks[1] ** 2).sum(1))
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(spearmanr(x, y).statistic), float(low), float(high)


def jeffreys(k: int, n: int) -> tuple[float, float, float]:
    """Return a share and Jeffreys' 95 % interval of it, 0 and 1 its ends where none or all count.

    Brown, Cai, DasGupta 2001, "Interval estimation for a binomial proportion", recommend it for few trials.
    """
    if n == 0:
        return np.nan, np.nan, np.nan
    low, high = (float(betaincinv(k + 0.5, n - k + 0.5, q)) for q in (0.025, 0.975))
    return k / n, low if k else 0.0, high if k < n else 1.0

"""The study's claims, their rules, and the judgement.

The rule, as it was fixed beforehand: "Holds iff held-out predicted optimum is within 0.5% of grid best loss, |t| for N
in the batch law < 2, quadratic R2 >= 0.9 in >= 80% of grids; companion exponents keep signs (LR falls with N, rises
with D)." Each part is a claim of its own here; the companion, which trains networks, is not judged.
"""

import numpy as np
import pandas as pd
from lr_laws import SIZES, Law
from scipy.special import betaincinv

from workbench.study import Claim, Finding, Study, judge_interval, n_to_decide

WITHIN, LARGEST_T, R2, SHARE = 0.5, 2.0, 0.9, 0.8
PAPER = "step-law-lr-batch"
CLAIMS = (
    Claim(
        "convex",
        PAPER,
        "For one model and one number of tokens the loss is a convex bowl over learning rate and batch.",
        "quadratic R2 >= 0.9 in >= 80% of grids: least squares of the loss on 1, x, y, x^2, xy, y^2, x = ln lr, "
        "y = ln batch, all runs of a grid; Jeffreys interval over the grids",
        ("steplaw",),
    ),
    Claim(
        "batch",
        PAPER,
        "The best batch depends on the tokens and hardly on the parameters.",
        "|t| for N in the batch law < 2: least squares of ln batch on 1, ln N, ln D over all grids, each the geometric "
        "mean of its runs within 0.25% of its best loss",
        ("steplaw",),
    ),
    Claim(
        "optimum",
        PAPER,
        "Power laws fitted to smaller models predict the best learning rate and batch of a larger one.",
        "largest N held out: predicted optimum within 0.5% of grid best loss in the worst of its grids; the loss there "
        "linear between runs in (ln lr, ln batch), beyond the grid the nearest run's; bootstrap over the fitted grids",
        ("steplaw",),
    ),
    Claim(
        "companion",
        PAPER,
        "In small networks trained here the learning rate's exponents keep their signs.",
        "companion exponents keep signs (LR falls with N, rises with D); that needs training, no part of this study",
    ),
)


def judge(study: Study, bowls: pd.DataFrame, law: Law, held: pd.DataFrame) -> list[Finding]:
    """Judge what a table of runs can decide.

    Args:
        study: Takes the findings.
        bowls: Of ``lr_laws.bowls``, a row a grid.
        law: Of all grids.
        held: Of ``lr_laws.hold_out`` with the largest size held out: a row a grid, ``regret`` and its draws' ``worst``.

    Returns:
        A finding for each claim but the companion's.
    """
    return [judge_convex(study, bowls), judge_batch(study, law), judge_optimum(study, held)]


def judge_convex(study: Study, bowls: pd.DataFrame) -> Finding:
    """Judge in which share of the grids a quadratic tells the loss."""
    n, good = len(bowls), int((bowls.r2 >= R2).sum())
    value, interval = good / n, jeffreys(good, n)
    detail = f"{good} of {n} grids, median R2 {bowls.r2.median():.3f}, least {bowls.r2.min():.3f}; the fitted bowl is "
    detail += f"convex in {int(bowls.convex.sum())}; runs within 2% of the best alone: R2 >= 0.9 in "
    detail += f"{int((bowls.r2_near >= R2).sum())}, convex in {int(bowls.convex_near.sum())}"
    return _say(study, "convex", value, interval, n, "of the grids", detail, low=SHARE)


def judge_batch(study: Study, law: Law) -> Finding:
    """Judge the exponent of N in the batch law; the rule is itself a test, so its t has no interval of its own."""
    t, n = abs(law.t["batch"][1]), law.n
    (p, *ends), (q, *tokens) = (law.exponent("batch", name) for name in SIZES)
    detail = f"batch ~ N^{p:.2f} [{ends[0]:.2f}, {ends[1]:.2f}] D^{q:.2f} [{tokens[0]:.2f}, {tokens[1]:.2f}], 95% "
    detail += f"bootstrap over the grids; {n - 3} degrees of freedom"
    verdict = "holds" if t < LARGEST_T else "fails"
    return study.judge("batch", value=t, interval=None, n=n, unit="|t|", verdict=verdict, detail=detail)


def judge_optimum(study: Study, held: pd.DataFrame) -> Finding:
    """Judge the loss at the predicted setting of the largest size, in percent over its grid's best."""
    worst = np.max(np.stack(held.draws.to_list()), axis=0)
    value, interval = float(held.regret.max()), tuple(np.quantile(worst, [0.025, 0.975]))
    each = ", ".join(f"{row.regret:.2f}% at D = {row.D:.3g}" for row in held.itertuples())
    detail = f"worst of {len(held)} grids of N = {held.N.iloc[0]:.3g} ({each}); law of {held.n_fitted.iloc[0]} grids; "
    detail += f"nearest runs {held.nearest.max():.2f}%, law of single best runs {held.argmin.max():.2f}%, "
    detail += f"smallest model's best setting kept {held.kept.max():.2f}%"
    return _say(study, "optimum", value, interval, len(held), "% over the grid's best", detail, high=WITHIN)


def _say(
    study: Study, name: str, value: float, interval: tuple[float, ...], n: int, unit: str, detail: str, **ends: float
) -> Finding:
    """Judge one claim by its interval."""
    bounds = (float(interval[0]), float(interval[1]))
    verdict = judge_interval(value, bounds, **ends)
    more = n_to_decide(value, bounds, n, **ends) if verdict == "inconclusive" else None
    detail += f"; about {more} grids would decide" if more and n < more <= 1000 else ""
    return study.judge(name, value=value, interval=bounds, n=n, unit=unit, verdict=verdict, detail=detail)


def jeffreys(k: int, n: int) -> tuple[float, float]:
    """Return Jeffreys' 95 % interval of a share, with 0 and 1 as ends where none or all count."""
    low, high = (float(betaincinv(k + 0.5, n - k + 0.5, q)) for q in (0.025, 0.975))
    return low if k else 0.0, high if k < n else 1.0

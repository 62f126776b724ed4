"""The study's claims, their rules, and the judgement.

The rule on over-training, as it was fixed beforehand: "Holds iff relative loss error <= 2% on held-out runs, <= 1/2 of
the no-M law's, and average-error prediction within 1 pp; per-task predictions reported as failing or not (expect
failures)." Each part is a claim of its own here. The rules on the Chinchilla runs were written before this study's
first run too, but the runs had been fitted by others and in trials of the fitter: they check, they do not foretell.
"""

import pandas as pd

from workbench.laws import Law
from workbench.study import Claim, Finding, Study

OVERTRAINING, REPLICATION = "overtraining-scaling", "chinchilla-replication"
WITHIN, HALF, POINTS = 2.0, 0.5, 1.0
NEAR = {"alpha": 0.002, "beta": 0.005}
EARLY = 1.01
ON = ("published",)
_HELD = "1.4B at 32x (RedPajama) and 6.9B (three corpora), C4 validation"
CLAIMS = (
    Claim(
        "loss",
        OVERTRAINING,
        "A law in compute and tokens per parameter, fitted to five small runs of a corpus, predicts the loss of runs "
        "of 300 times their compute.",
        f"relative loss error <= 2% on held-out runs, the worst of them: {_HELD}; E + (a M^eta + b M^-eta) C^-eta on "
        "the source's five runs (11M, 79M, 154M, 411M at 20 tokens per parameter, 11M at 320)",
        ON,
    ),
    Claim(
        "rival",
        OVERTRAINING,
        "Tokens per parameter must stand in the law.",
        "mean relative loss error on the held-out runs <= 1/2 of the no-M law's, E + A C^-alpha on the same five runs",
        ON,
    ),
    Claim(
        "downstream",
        OVERTRAINING,
        "The error averaged over tasks follows the loss and is predicted from 20 times less compute.",
        f"average-error prediction within 1 pp, the worst held-out run: {_HELD}; 17 tasks of the source; "
        "eps - k exp(-gamma L) on the five runs and 1.4B at 20 tokens per parameter, L by the fitted loss law",
        ON,
    ),
    Claim(
        "refit",
        REPLICATION,
        "Without the five runs of fewest tokens per parameter, the Chinchilla runs give the replication's exponents.",
        "240 runs: alpha within 0.002 of 0.3478, beta within 0.005 of 0.3658, objective no higher than at the "
        "replication's parameters",
        ON,
    ),
    Claim(
        "early",
        REPLICATION,
        "The mean of the losses in place of their sum lets a standard minimiser stop before the optimum.",
        "240 runs: sum of losses where L-BFGS-B stops on the mean >= 1.01 of the optimum's",
        ON,
    ),
    Claim(
        "rounding",
        REPLICATION,
        "The first paper's printed law asks for more tokens per parameter than its own runs support.",
        "tokens per parameter at 5.76e23 operations by the printed parameters above the refit's 90% bootstrap interval",
        ON,
    ),
    Claim(
        "leverage",
        REPLICATION,
        "Five of 245 runs decide the exponent of the data.",
        "beta of all 245 runs outside the 90% bootstrap interval of beta of the 240",
        ON,
    ),
)


def judge(study: Study, extrapolated: pd.DataFrame, tasks: pd.DataFrame, fits: pd.DataFrame, law: Law) -> list[Finding]:
    """Judge what tables can decide.

    The held-out runs are all there are, not a sample, so their worst decides, and what is small has no interval.

    Args:
        study: Takes the findings.
        extrapolated: Of ``law_results.extrapolate``.
        tasks: Of ``law_results.task_errors``.
        fits: Of ``law_results.forensics``, its first four rows the refit, all runs, the mean, the rounded; then the
            published ones.
        law: The refit, with its bootstrap.

    Returns:
        A finding for each claim.
    """
    n = len(extrapolated)
    off, rival = extrapolated["law"].abs(), extrapolated["no M"].abs()
    each = ", ".join(f"{r.corpus} {r.N / 1e9:.2g}B {r.law:+.2f}%" for r in extrapolated.itertuples())
    other = f"{extrapolated['law, all'].abs().max():.2f}%"
    detail = f"{each}; mean {off.mean():.2f}%; by all runs of at most 1/300 of the compute the worst is {other}"
    found = [_say(study, "loss", off.max(), n, "% off at worst", off.max() <= WITHIN, detail)]
    ratio = off.mean() / rival.mean()
    detail = f"mean {off.mean():.2f}% against {rival.mean():.2f}%, a pure power {extrapolated.pure.abs().mean():.2f}%"
    found.append(_say(study, "rival", ratio, n, "of the no-M law's error", ratio <= HALF, detail))
    points, near = extrapolated.points.abs(), (tasks.abs() <= POINTS).mean().mean()
    detail = ", ".join(f"{r.corpus} {r.N / 1e9:.2g}B {r.points:+.2f}" for r in extrapolated.itertuples())
    detail += f"; by the other corpora's law {extrapolated.other.abs().max():.2f} at worst; of single tasks "
    detail += f"{100 * near:.0f}% within 1 pp ({len(tasks)} tasks)"
    found.append(_say(study, "downstream", points.max(), n, "pp off at worst", points.max() <= POINTS, detail))
    return found + judge_chinchilla(study, fits, law)


def judge_chinchilla(study: Study, fits: pd.DataFrame, law: Law) -> list[Finding]:
    """Judge the forensics of the Chinchilla runs."""
    refit, every, early = (fits.iloc[i] for i in range(3))
    printed, published = fits.iloc[4], fits.iloc[-1]
    off = {name: abs(refit[name] - published[name]) for name in NEAR}
    near = all(off[name] <= NEAR[name] for name in NEAR) and published.objective >= 1
    detail = ", ".join(f"{k} {law.parameters[k]:.4f} {_ends(law, k)}" for k in NEAR)
    detail += f"; the replication's parameters have {published.objective:.4f} of the least objective"
    found = [_say(study, "refit", max(off[k] / NEAR[k] for k in NEAR), law.n, "of the tolerance at most", near, detail)]
    detail = f"alpha {early.alpha:.3f}, beta {early.beta:.3f}, {early.tokens:.1f} tokens per parameter instead of "
    detail += f"{refit.tokens:.1f}, from starts that are already good"
    found.append(
        _say(study, "early", early.objective, law.n, "of the least objective", early.objective >= EARLY, detail)
    )
    best = law.optimal(5.76e23).iloc[0]
    low, high = best.tokens_per_parameter_low, best.tokens_per_parameter_high
    detail = f"the refit asks for {best.tokens_per_parameter:.1f} [{low:.1f}, {high:.1f}], 90 % bootstrap; the first "
    detail += (
        f"paper's unrounded parameters for {fits.iloc[5].tokens:.0f}; the refit's own, rounded to two digits, for "
    )
    detail += f"{fits.iloc[3].tokens:.0f}"
    above = printed.tokens > high
    found.append(_say(study, "rounding", printed.tokens, law.n, "tokens per parameter, printed", above, detail))
    low, high = law.intervals["beta"]
    detail = f"without the five {refit.beta:.3f} [{low:.3f}, {high:.3f}], 90 % bootstrap; B {refit.B:,.0f} becomes "
    detail += f"{every.B:,.0f}"
    outside = not low <= every.beta <= high
    found.append(_say(study, "leverage", every.beta, law.n, "beta of all runs", outside, detail))
    return found


def _ends(law: Law, name: str) -> str:
    """Write a parameter's interval."""
    low, high = law.intervals[name]
    return f"[{low:.3f}, {high:.3f}]"


def _say(study: Study, name: str, value: float, n: int, unit: str, holds: bool, detail: str) -> Finding:
    """Say whether one rule holds."""
    verdict = "holds" if holds else "fails"
    return study.judge(name, value=value, interval=None, n=n, unit=unit, verdict=verdict, detail=detail)

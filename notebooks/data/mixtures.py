"""The study's claims, their rules, and the judgement.

The rule, as it was fixed beforehand: "Holds iff Spearman on 1B test mixtures >= 0.9 with 512 runs and >= 0.8 with 128,
chosen mixture in the top 10% of the 64; companion: picked mixture beats uniform by > 2 SE at 10x size." Each part is a
claim of its own here; the companion, which trains networks, is not judged. Gradient boosting decides, as in the source;
its settings were chosen by cross-validation over the 512 runs of 1M parameters alone.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from mix_models import spearman_draws
from scipy.stats import spearmanr

from workbench.study import Claim, Finding, Study, judge_interval, n_to_decide

WHOLE, PART, TOP = 0.9, 0.8, 0.1
N_WHOLE, N_PART = 512, 128
PAPER = "regmix"
CLAIMS = (
    Claim(
        "whole",
        PAPER,
        "A regression on 512 runs of 1M parameters ranks mixtures for models of 1B.",
        "Spearman on 1B test mixtures >= 0.9 with 512 runs: gradient boosting of the Pile-CC loss on the shares of 17 "
        "domains; bootstrap over the 64 mixtures",
        ("regmix",),
    ),
    Claim(
        "part",
        PAPER,
        "A quarter of the runs is nearly enough.",
        "Spearman on 1B test mixtures >= 0.8 with 128 runs: mean over random subsets; bootstrap over subsets and over "
        "the 64 mixtures",
        ("regmix",),
    ),
    Claim(
        "choice",
        PAPER,
        "The mixture that the regression picks is among the best for the large model.",
        "chosen mixture in the top 10% of the 64: rank of the lowest predicted loss among the true ones <= 6; "
        "bootstrap over the 512 runs",
        ("regmix",),
    ),
    Claim(
        "companion",
        PAPER,
        "In small networks trained here the picked mixture beats the uniform one.",
        "picked mixture beats uniform by > 2 SE at 10x size; that needs training, no part of this study",
    ),
)


def judge(study: Study, fits: pd.DataFrame, ranks: Sequence[int], truth: np.ndarray) -> list[Finding]:
    """Judge what a table of runs can decide.

    Args:
        study: Takes the findings.
        fits: Of ``mix_models.subsample``.
        ranks: Of ``mix_models.resample``, of the mixtures chosen after resampling the runs.
        truth: Losses of the large models, shape ``(n,)``.

    Returns:
        A finding for each claim but the companion's.
    """
    boosted = fits[fits.regressor == "boosting"]
    sizes = sorted(boosted.n_runs.unique())
    whole = boosted[boosted.n_runs == sizes[-1]]
    part = boosted[boosted.n_runs == (N_PART if N_PART in sizes else sizes[len(sizes) // 2])]
    found = [judge_ranking(study, "whole", whole.iloc[:1], truth, WHOLE, fits)]
    found.append(judge_ranking(study, "part", part, truth, PART, fits))
    return [*found, judge_choice(study, whole.iloc[0], ranks, truth)]


def judge_ranking(
    study: Study, name: str, rows: pd.DataFrame, truth: np.ndarray, least: float, fits: pd.DataFrame
) -> Finding:
    """Judge the rank correlation of predicted and true losses over mixtures."""
    predicted = np.stack(rows.predicted.to_list())
    value = float(np.mean([spearmanr(each, truth).statistic for each in predicted]))
    low, high = np.quantile(spearman_draws(predicted, truth), [0.025, 0.975])
    n_runs, others = int(rows.n_runs.iloc[0]), []
    for other in ("linear", "quadratic"):
        same = fits[(fits.regressor == other) & (fits.n_runs == n_runs)]
        others.append(f"{other} {same.spearman.mean():.3f}")
    detail = f"{n_runs} runs, {len(rows)} subset{'s' * (len(rows) > 1)}; {', '.join(others)}"
    verdict = judge_interval(value, (low, high), low=least)
    more = n_to_decide(value, (low, high), len(truth), low=least) if verdict == "inconclusive" else None
    detail += f"; about {more} mixtures would decide" if more and len(truth) < more <= 1000 else ""
    return study.judge(
        name, value=value, interval=(low, high), n=len(truth), unit="Spearman", verdict=verdict, detail=detail
    )


def judge_choice(study: Study, fitted: pd.Series, ranks: Sequence[int], truth: np.ndarray) -> Finding:
    """Judge the rank of the chosen mixture."""
    low, high = np.quantile(ranks, [0.025, 0.975], method="nearest")
    most = int(TOP * len(truth))
    inside = np.mean(np.array(ranks) <= most)
    detail = f"top {most} of {len(truth)} asked for; {100 * inside:.0f}% of {len(ranks)} resamples are; its loss is "
    detail += f"{fitted.regret:.2f}% above the best of the {len(truth)}, the median mixture's "
    detail += f"{100 * (np.median(truth) / truth.min() - 1):.2f}%"
    verdict = judge_interval(fitted["rank"], (low, high), high=most)
    return study.judge(
        "choice", value=fitted["rank"], interval=(low, high), n=len(truth), unit="rank", verdict=verdict, detail=detail
    )

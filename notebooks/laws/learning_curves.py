"""The study's claims, their rules, and the judgement.

The brief's rules name curves of networks to be trained and of taggers; on the published tables they are as written
here, fixed before the first run. A learner's or a configuration's regret counts against what the full search chooses,
and both searches choose by validation. What else the brief asks of this study needs training of its own and is not
judged: naive Bayes against logistic regression (``generative-vs-discriminative-heads``) and exponents across domains
(``deep-learning-scaling-empirical``).
"""

import numpy as np
import pandas as pd
from curve_trials import WAYS
from scipy.special import betaincinv

from workbench.seeds import generator
from workbench.statistics import mean_interval
from workbench.study import Claim, Finding, Study, judge_interval, n_to_decide

PFN, POS = "lc-pfn", "learning-curve-pos"
SPEED, SAVING, REGRET, TASKS = 1000.0, 2.0, 0.005, 0.7
NEAR, CURVES, USED = 1.0, 0.8, 0.6
N_COMPARED, N_CURVES, N_DATASETS, N_TASKS = 40, 300, 100, 12  # what the rules ask for at least
N_BOOTSTRAP = 4000
_ON = ("published",)
CLAIMS = (
    Claim(
        "likelihood",
        PFN,
        "A transformer fitted to a prior extrapolates as well as Markov chains that condition the same prior.",
        "new draws of the prior, four futures each: mean log density of the network less the sampler's >= 0, paired, "
        "interval over the curves; at least 40 curves",
        _ON,
    ),
    Claim(
        "speed",
        PFN,
        "It is thousands of times faster.",
        "CPU seconds a curve, sampler over network, both on the same batches: >= 1,000, interval over the batches; at "
        "least 40 curves",
        _ON,
    ),
    Claim(
        "epochs",
        PFN,
        "Stopping hopeless runs by its forecasts saves training and costs little (TaskSet, epochs).",
        "a run is given up where its chance to end below the best is under 5 %: saves >= 2x epochs with regret <= "
        "0.005 nats of test loss, means of 3 searches of 100 configurations, in >= 70 % of the tasks, Jeffreys "
        "interval; 12 tasks",
        _ON,
    ),
    Claim(
        "examples",
        PFN,
        "The same saves examples in choosing a learner (LCDB).",
        "as above: saves >= 2x examples with regret <= 0.5 points of test error in >= 70 % of the judged datasets, "
        "Jeffreys interval; at least 100 datasets",
        _ON,
    ),
    Claim(
        "estimate",
        POS,
        "A power law fitted again at every point tells the final error early.",
        "LCDB, at 30 % of the data: |predicted - final| <= 1 point in >= 80 % of the curves that have reached their "
        "prediction level, bootstrap over datasets; at least 300 curves",
        _ON,
    ),
    Claim(
        "monotone",
        POS,
        "From the prediction level on, its asymptotes move one way, towards the final error.",
        "no asymptote of the error falls, from the prediction level to the end, in >= 80 % of the curves, bootstrap "
        "over datasets; at least 300 curves",
        _ON,
    ),
    Claim(
        "saving",
        POS,
        "Stopping once little is left to gain saves data.",
        "stopping where the power law falls no more than 1 point until the end uses <= 60 % of the data, mean of all "
        "curves, bootstrap over datasets; at least 300 curves",
        _ON,
    ),
)


def judge(
    study: Study, compared: pd.DataFrame, epochs: pd.DataFrame, examples: pd.DataFrame, stops: pd.DataFrame
) -> list[Finding]:
    """Judge every claim by its rule; a run smaller than a rule asks for decides nothing.

    Args:
        study: Takes the findings.
        compared: A row a drawn curve: ``sampler``, ``network`` (log densities), ``r_hat``, ``batch`` and CPU seconds.
        epochs: Of ``curve_trials.searches_by_epochs``.
        examples: Of ``curve_trials.searches_by_examples``.
        stops: Of ``curve_trials.stopping``.

    Returns:
        A finding for each claim.
    """
    tasks = epochs.groupby("task").mean()
    found = [judge_likelihood(study, compared), judge_speed(study, compared)]
    found += [judge_search(study, "epochs", tasks, "nats", 1.0, N_TASKS)]
    found += [judge_search(study, "examples", examples, "points", 100.0, N_DATASETS)]
    return found + judge_stopping(study, stops)


def judge_likelihood(study: Study, compared: pd.DataFrame) -> Finding:
    """Judge the paired difference of log densities."""
    gap = compared.network - compared.sampler
    value, *interval = mean_interval(gap)
    agreed = compared.r_hat < 1.1
    detail = f"network {compared.network.mean():.3f}, sampler {compared.sampler.mean():.3f}; median difference "
    detail += f"{gap.median():+.3f}; ensembles agree (R-hat < 1.1) on {int(agreed.sum())}, where it is "
    detail += f"{gap[agreed].mean():+.3f}"
    return _say(study, "likelihood", value, interval, len(gap), "nats a future", detail, N_COMPARED, low=0.0)


def judge_speed(study: Study, compared: pd.DataFrame) -> Finding:
    """Judge the ratio of CPU times, a value a batch."""
    batches = compared.groupby("batch")[["sampler_seconds", "network_seconds"]].mean()
    value, *interval = np.exp(mean_interval(np.log(batches.sampler_seconds / batches.network_seconds)))
    each = batches.mean()
    detail = f"{each.sampler_seconds:.2f} s and {1000 * each.network_seconds:.2f} ms a curve, {len(batches)} batches; "
    detail += "training not counted"
    return _say(study, "speed", value, interval, len(compared), "times", detail, N_COMPARED, low=SPEED)


def judge_search(study: Study, name: str, rows: pd.DataFrame, unit: str, scale: float, least: int) -> Finding:
    """Judge in which share of tasks the search saves enough and costs little enough."""
    n, good = len(rows), {}
    for way in ("network", "behind"):
        ok = (rows[f"{way} saving"] >= SAVING) & (rows[f"{way} regret"] <= REGRET)
        good[way] = int(ok.sum())
    value, *interval = jeffreys(good["network"], n)
    regret = scale * rows["network regret"]
    detail = f"{good['network']} of {n} tasks; saving {rows['network saving'].median():.1f}x (median), at least "
    detail += f"{SAVING:g}x in {int((rows['network saving'] >= SAVING).sum())}; regret {regret.mean():.3g} {unit} "
    detail += (
        f"(mean), within the rule in {int((rows['network regret'] <= REGRET).sum())}; giving up whoever is behind "
    )
    detail += f"the best: {good['behind']} of {n}, {rows['behind saving'].median():.1f}x, "
    detail += f"{scale * rows['behind regret'].mean():.3g} {unit}"
    return _say(study, name, value, interval, n, "of the tasks", detail, least, low=TASKS)


def judge_stopping(study: Study, stops: pd.DataFrame) -> list[Finding]:
    """Judge the three claims on the iterated stopping rule."""
    known, found = stops[stops.known], []
    value, *interval = over_groups((known.rule.abs() <= NEAR).to_numpy(float), known.group)
    others = ", ".join(f"{way} {(known[way].abs() <= NEAR).mean():.0%}" for way in (*WAYS[:1], WAYS[3], *WAYS[-2:]))
    detail = f"{len(known)} of {len(stops)} curves have reached it; with a tenth of the points moved by 5 points "
    detail += f"{(known.distorted.abs() <= NEAR).mean():.0%}; within a point by other ways: {others}"
    least = N_CURVES if len(stops) < N_CURVES else 1
    found.append(_say(study, "estimate", value, interval, len(known), "of the curves", detail, least, low=CURVES))
    value, *interval = over_groups(stops.monotone.to_numpy(float), stops.group)
    detail = f"of a curve's steps {stops.rising.mean():.0%} rise"
    found.append(_say(study, "monotone", value, interval, len(stops), "of the curves", detail, N_CURVES, low=CURVES))
    value, *interval = over_groups(stops.used.to_numpy(), stops.group)
    halted = stops[stops.stopped]
    detail = (
        f"{len(halted)} curves stop; there the estimate is off by {halted.off.abs().median():.2f} points (median), "
    )
    detail += f"within 1 point in {(halted.off.abs() <= NEAR).mean():.0%}"
    found.append(_say(study, "saving", value, interval, len(stops), "of the data", detail, N_CURVES, high=USED))
    return found


def _say(
    study: Study, name: str, value: float, ends: list[float], n: int, unit: str, detail: str, least: int, **rule: float
) -> Finding:
    """Judge one claim; too few curves leave it open."""
    bounds = (float(ends[0]), float(ends[1]))
    verdict = judge_interval(value, bounds, **rule)
    if n < least:
        verdict, detail = "inconclusive", f"{detail}; the rule asks for at least {least}"
    elif verdict == "inconclusive" and (more := n_to_decide(value, bounds, n, **rule)) and n < more <= 100_000:
        detail += f"; about {more:,} would decide"
    return study.judge(name, value=value, interval=bounds, n=n, unit=unit, verdict=verdict, detail=detail)


def over_groups(values: np.ndarray, groups: pd.Series) -> tuple[float, float, float]:
    """Return a mean and its 95 % percentile interval over resampled groups, each with all its values."""
    sums = pd.DataFrame({"value": values, "n": 1.0}).groupby(groups.to_numpy()).sum().to_numpy()
    rows = generator(0, "bootstrap", len(sums)).integers(len(sums), size=(N_BOOTSTRAP, len(sums)))
    drawn = sums[rows].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(sums[:, 0].sum() / sums[:, 1].sum()), float(low), float(high)


def jeffreys(k: int, n: int) -> tuple[float, float, float]:
    """Return a share and Jeffreys' 95 % interval of it, 0 and 1 its ends where none or all count."""
    low, high = (float(betaincinv(k + 0.5, n - k + 0.5, q)) for q in (0.025, 0.975))
    return k / max(n, 1), low if k else 0.0, high if k < n else 1.0


def errors(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how far each way is off, in the frame's order: mean and median, the mean's interval over datasets."""
    rows = {}
    for way in WAYS:
        off = (frame[way] - frame.target).abs().to_numpy()
        mean, low, high = over_groups(off, frame.group)
        less, *ends = over_groups(off - (frame["last value"] - frame.target).abs().to_numpy(), frame.group)
        rows[way] = {"mean": mean, "low": low, "high": high, "median": float(np.median(off))}
        rows[way] |= {"less last": less, "less low": ends[0], "less high": ends[1]}
    return pd.DataFrame(rows).T


def coverage(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the share of curves whose end an 80 % interval holds, as fitted and calibrated, and the widths."""
    rows = {}
    for way in ("ensemble", "network"):
        for said, end in (("as fitted", " raw"), ("calibrated", "")):
            low, high = frame[f"{way} low{end}"], frame[f"{way} high{end}"]
            inside = ((low <= frame.target) & (frame.target <= high)).to_numpy(float)
            share, *ends = over_groups(inside, frame.group)
            rows[f"{way}, {said}"] = {"covered": share, "low": ends[0], "high": ends[1], "width": (high - low).median()}
    return pd.DataFrame(rows).T

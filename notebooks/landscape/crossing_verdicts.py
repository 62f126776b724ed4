"""The judgement of the study's claims, each by its rule."""

from collections.abc import Sequence
from typing import Any

import crossing_tables as tables
import crossings as rules
import numpy as np
import pandas as pd

from workbench.statistics import mean_interval
from workbench.study import Finding, Study, judge_interval, n_to_decide

Found = tuple[float, float, float, int]  # value, low, high, n


def say(study: Study, name: str, found: Found, unit: str, detail: str, unmet: str = "", **ends: float) -> Finding:
    """Judge a claim whose rule reads one number."""
    value, low, high, n = found
    missing = [unmet] if unmet else []
    missing += [f"the rule asks for at least {rules.SEEDS}"] if n < rules.SEEDS else []
    verdict = "inconclusive" if missing else judge_interval(value, (low, high), **ends)
    if verdict == "inconclusive" and not missing and (more := n_to_decide(value, (low, high), n, **ends) or 0) <= 1000:
        missing += [f"about {more} would decide"] if more > n else []
    detail = "; ".join(filter(None, [detail, *missing]))
    return study.judge(name, value=value, interval=(low, high), n=n, unit=unit, verdict=verdict, detail=detail)


def judge_dimensions(study: Study, rows: pd.DataFrame, dataset: str) -> list[Finding]:
    """Judge how the intrinsic dimension goes with density, and against both controls at the last density."""
    densities = tables.kept_accuracy(rows, rules.NEAR[dataset])
    last, n = densities[-1], len(rows.right.iloc[0])
    unmet = "" if len(densities) >= 3 else f"accuracy stays at {len(densities)} densities, the rule asks for 3"
    estimates = {kind: tables.estimate(rows, kind, last) for kind in ("magnitude", "shuffled", "another start")}
    dense = tables.estimate(rows, "magnitude", 1)
    slope = tables.over_examples(lambda keep: tables.halving(rows, "magnitude", densities, keep), n)
    other = tables.over_examples(lambda keep: tables.halving(rows, "shuffled", densities, keep), n)
    detail = f"densities 1 to {last:g}: d from {dense} to {estimates['magnitude']}; shuffled {other[0]:.2f} "
    detail += f"[{other[1]:.2f}, {other[2]:.2f}] per halving"
    found = [say(study, "falls", slope, "times per halving of density", detail, unmet, high=rules.FACTOR)]
    for name, kind in (("shuffled", "shuffled"), ("start", "another start")):
        ratio = tables.over_examples(lambda keep, k=kind: tables.log_ratio(rows, "magnitude", k, last, keep), n)
        detail = f"density {last:g}: {estimates['magnitude']} against {estimates[kind]}"
        found.append(say(study, name, ratio, f"of the dimensions with {kind}", detail, unmet, high=rules.RATIO))
    return found


def judge_further(study: Study, rows: pd.DataFrame, dataset: str, part: int = 8) -> Finding:
    """Judge at which density the subspace's solution falls, over that of direct training."""
    n, drop, tested = rows.right.iloc[0].shape[1], rules.FALLEN[dataset], set(rows.part)
    unmet = "" if part in tested else f"the rule asks for d = D/{part}"
    own = part if part in tested else min(tested)

    def ratio(keep: tables.Keep) -> np.ndarray:
        return tables.fallen(rows, own, drop, keep) - tables.fallen(rows, 0, drop, keep)

    found = tables.over_examples(ratio, n)
    logs = {each: tables.fallen(rows, each, drop) for each in (0, own)}
    at = {
        each: np.exp(log[np.isfinite(log)].mean()) if np.isfinite(log).any() else np.nan for each, log in logs.items()
    }
    accuracy = {each: np.mean([r[0].mean() for r in rows[rows.part == each].right]) for each in (0, own)}
    detail = f"falls by {100 * drop:g} points at density {at[own]:.3f} against {at[0]:.3f}; "
    detail += f"unpruned accuracy {accuracy[own]:.3f} against {accuracy[0]:.3f}"
    return say(study, "further", found, "of the density", detail, unmet, low=rules.FURTHER)


def judge_barriers(study: Study, rows: pd.DataFrame) -> Finding:
    """Judge the barrier to the retrained network in units of that to an independent one."""
    control = rows[rows.arm == "control"].set_index("seed").height

    def ratios(name: str) -> pd.Series:
        own = rows[(rows.arm == name) & (rows.density == rules.DENSITY)].set_index("seed")
        return own.height / control.loc[own.index]

    own = ratios("retrained")
    found: Found = (*mean_interval(own), len(own)) if len(own) else (np.nan, np.nan, np.nan, 0)
    also = ", ".join(
        f"{name} {ratios(name).mean():.3f}" for name in ("pruned", "shuffled, retrained", "from the start")
    )
    detail = f"control {control.mean():.3f} nats; other arms: {also}"
    return say(study, "barrier", found, "of the barrier between independent networks", detail, high=rules.BARRIER)


def judge_everywhere(
    study: Study, name: str, table: pd.DataFrame, unit: str, detail: str, unmet: str, **ends: float
) -> Finding:
    """Judge a claim whose rule reads a number at every d: one outside fails it; the farthest is shown."""
    if table.empty:
        unmet = unmet or "no tested d that the rule reads"
        return say(study, name, (np.nan, np.nan, np.nan, 0), unit, detail, unmet)
    verdicts = [judge_interval(row.mean_, (row.low, row.high), **ends) for row in _named(table)]
    worst = table.loc[(table["mean"] if "low" not in ends else (table["mean"] - 1).abs()).idxmax()]
    n = int(table.n.min())
    short = f"the rule asks for at least {rules.SEEDS}" if n < rules.SEEDS else ""
    verdict = next((each for each in ("fails", "inconclusive") if each in verdicts), "holds")
    verdict = "inconclusive" if short or unmet else verdict
    said = ", ".join(f"{d}: {row['mean']:.3f}" for d, row in table.iterrows())
    detail = "; ".join(filter(None, [f"at d = {said}", detail, unmet, short]))
    interval = (float(worst.low), float(worst.high))
    return study.judge(
        name, value=float(worst["mean"]), interval=interval, n=n, unit=unit, verdict=verdict, detail=detail
    )


def _named(table: pd.DataFrame) -> Any:
    """Return rows whose names no method of theirs hides."""
    return table.rename(columns={"mean": "mean_"}).itertuples()


def judge_curvature(study: Study, rows: pd.DataFrame) -> list[Finding]:
    """Judge sum and top of the curvatures inside random subspaces, and the control that contains the outliers."""
    random, D = rows[rows.arm == "random"], int(rows.D.iloc[0])
    share = tables.by_dimension(random, random.share)
    top = tables.by_dimension(random, random.top / random.predicted)
    through = rows[rows.arm == "through"]
    off = float((through.top / through.whole - 1).abs().max()) if len(through) else np.nan
    said = f"through the top eigenvectors off by {100 * off:.2g} % at most"
    unmet = "" if off <= 0.01 else "the control misses the whole space's top eigenvalue"
    shown = top[(top.index >= rules.FROM_TOP) & (top.index <= D / 4)]
    return [
        judge_everywhere(
            study, "trace", share[share.index >= rules.FROM_TRACE], "of d/D times the trace", "", "",
            low=rules.TRACE[0], high=rules.TRACE[1],
        ),
        judge_everywhere(
            study, "top", shown, "of the predicted top eigenvalue", said, unmet, low=rules.TOP[0], high=rules.TOP[1],
        ),
    ]  # fmt: skip


def judge_coefficients(study: Study, rows: pd.DataFrame) -> list[Finding]:
    """Judge the learning coefficient inside the subspace against d/2, and where it leaves it."""
    kept = rows[rows.value.notna()]
    table = tables.by_dimension(kept, kept.value / (kept.d / 2))
    said = f"{len(rows) - len(kept)} of {len(rows)} refused"
    left = tables.leaving(rows, rules.LEAVES).dropna()
    logs = np.log(left.value / left["count"])
    mean = mean_interval(logs) if len(left) else (np.nan,) * 3
    found: Found = (*(float(v) for v in np.exp(mean)), len(left))
    detail = f"lambda at d = {left.value.mean():.3g}, the count at {left['count'].mean():.3g}, means; {said}"
    return [
        judge_everywhere(study, "half", table[table.n >= rules.SEEDS], "of d/2", said, "", high=rules.HALF),
        say(study, "leaves", found, "of the predicted d", detail, low=rules.WHERE[0], high=rules.WHERE[1]),
    ]


def judge(
    study: Study,
    dataset: str,
    rows: pd.DataFrame,
    curved: pd.DataFrame,
    chains: pd.DataFrame,
    walls: pd.DataFrame,
    cut: pd.DataFrame,
) -> Sequence[Finding]:
    """Judge every claim; the learning coefficients only where chains ran.

    Args:
        study: Takes the findings.
        dataset: Which margins count.
        rows: Of ``crossing_tables.dimensions``.
        curved: Of ``curvatures``.
        chains: Of ``coefficients``; empty where none ran.
        walls: Of ``barriers``.
        cut: Of ``further``.

    Returns:
        The findings.
    """
    found = judge_dimensions(study, rows, dataset) + judge_curvature(study, curved)
    found += judge_coefficients(study, chains) if len(chains) else []
    return [*found, judge_barriers(study, walls), judge_further(study, cut, dataset)]

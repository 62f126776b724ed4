"""The judgement of the claims on the share of random networks that solve a task; the study's module states them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from volume_bits import FITS
from volume_trials import HITS, TARGETS

from workbench.statistics import mean_interval
from workbench.study import Finding, Study, judge_interval, n_to_decide

SEEDS, DRAWS, DIMENSIONS = 5, 180_000, range(2, 13)  # what the rules ask for; counted draws, a tenth more are fitted to
AT = 0.25  # target error at which classes and dimensions are compared
NEAR, RISE, LEFT = 1.0, 0.9, 0.5  # bits; rank correlation; part of the plain gap that the shuffled one may keep
MANY, SOME = 0.9, 0.05  # part of cells that must be counted; part of cells apart that decides
_CELL = ["family", "d", "class", "target"]


def differences(table: pd.DataFrame, law: str = FITS[0]) -> pd.DataFrame:
    """Return |fitted - counted| in bits for each cell: mean and interval over seeds.

    Args:
        table: Of ``volume_trials.volumes``.
        law: One of ``FITS``.

    Returns:
        A row a cell (family, d, class, target) that is counted in every seed: ``value``, ``low``, ``high``, ``signed``
        (mean of fitted - counted), ``tasks`` compared. The seeds differ in their networks too, so the counts' own
        error is part of the interval.
    """
    counted = table[(table.hits >= HITS) & np.isfinite(table[law])]
    apart = counted.assign(signed=counted[law] - counted.bits, value=(counted[law] - counted.bits).abs())
    grouped = apart.groupby([*_CELL, "seed"], observed=True)[["value", "signed"]].mean().reset_index()
    n_seeds, found = table.seed.nunique(), []
    sizes = apart.groupby(_CELL, observed=True).size()
    for cell, part in grouped.groupby(_CELL, observed=True):
        if len(part) == n_seeds:
            value, low, high = mean_interval(part.value)
            row = dict(zip(_CELL, cell, strict=True)) | {"value": value, "low": low, "high": high}
            found.append(row | {"signed": float(part.signed.mean()), "tasks": int(sizes[cell])})
    return pd.DataFrame(found, columns=[*_CELL, "value", "low", "high", "signed", "tasks"])


def seed_bits(table: pd.DataFrame, family: str, name: str, target: float = AT) -> pd.DataFrame:
    """Return mean bits over the tasks, a row a seed and a column a dimension."""
    part = table[(table.family == family) & (table["class"] == name) & (table.target == target)]
    return part.pivot_table(values="bits", index="seed", columns="d")


def rises(table: pd.DataFrame, name: str) -> list[float]:
    """Return Spearman's correlation of dimension and mean bits for each seed."""
    found = seed_bits(table, "teacher", name)
    return [float(spearmanr(found.columns, row).statistic) for row in found.to_numpy()]


def gaps(table: pd.DataFrame, family: str, target: float = AT) -> np.ndarray:
    """Return by how many bits the MLP needs more than the CNN, one a seed."""
    first, second = (seed_bits(table, family, name, target).to_numpy()[:, 0] for name in ("mlp", "cnn"))
    return np.asarray(first - second)


def counted_share(table: pd.DataFrame, families: Sequence[str], names: Sequence[str]) -> float:
    """Return which part of tasks and seeds, of families and classes at the target, is counted."""
    part = table[table.family.isin(families) & table["class"].isin(names) & (table.target == AT)]
    return float((part.hits >= HITS).mean())


def judge(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Judge every claim by its rule; a run smaller than the rules ask for decides nothing.

    Args:
        study: Takes the findings; the four claims are among its own.
        table: Of ``volume_trials.volumes``.

    Returns:
        The findings, in order.
    """
    missing = [f"{SEEDS} seeds"] if table.seed.nunique() < SEEDS else []
    missing += ["200,000 networks"] if table.draws.min() < DRAWS else []
    return [
        judge_tail(study, table, missing),
        judge_dimension(study, table, missing),
        *judge_gaps(study, table, missing),
    ]


def judge_tail(study: Study, table: pd.DataFrame, missing: list[str]) -> Finding:
    """Judge the fitted law: its worst cell is the value."""
    cells, said = differences(table), []
    for law in FITS:
        own = differences(table, law)
        said.append(
            f"{law} {100 * (own.value <= NEAR).mean():.0f} % of {len(own)} cells" if len(own) else f"{law} none"
        )
    detail = f"within {NEAR:g} bit on average: " + ", ".join(said)
    if cells.empty:
        return _say(study, "tail", None, None, 0, "bits", detail, [*missing, f"cells of {HITS} hits"])
    worst, beyond = cells.loc[cells.value.idxmax()], float((cells.low > NEAR).mean())
    where = f"{worst.family}, d = {worst.d}, {worst['class']}, error {worst.target:g}"
    detail = f"worst cell: {where}; {100 * beyond:.0f} % of cells beyond {NEAR:g} bit by their whole interval; {detail}"
    verdict = "fails" if beyond > SOME else "holds" if (cells.high <= NEAR).all() else "inconclusive"
    ends, n = (worst.low, worst.high), table.seed.nunique()
    return _say(study, "tail", worst.value, ends, n, "bits in the worst cell", detail, missing, verdict)


def judge_dimension(study: Study, table: pd.DataFrame, missing: list[str]) -> Finding:
    """Judge the rise of bits with dimension."""
    asked = set(DIMENSIONS) <= set(table[table.family == "teacher"].d)
    missing = missing + ([] if asked else ["dimensions 2 to 12"]) + _uncounted(table, ["teacher"], ["mlp"])
    value, low, high = mean_interval(rises(table, "mlp"))
    means = seed_bits(table, "teacher", "mlp").mean()
    others = [f"{name} {np.mean(rises(table, name)):.2f}" for name in ("linear", "polynomial", "radial")]
    detail = f"bits from {means.iloc[0]:.1f} (d = {means.index[0]}) to {means.iloc[-1]:.1f} (d = {means.index[-1]}); "
    detail += f"other classes: {', '.join(others)}"
    verdict = judge_interval(value, (low, high), low=RISE)
    more = n_to_decide(value, (low, high), table.seed.nunique(), low=RISE) if verdict == "inconclusive" else None
    detail += f"; about {more} seeds would decide" if more and not missing else ""
    n = table.seed.nunique()
    return _say(study, "dimension", value, (low, min(high, 1.0)), n, "rank correlation", detail, missing, verdict)


def judge_gaps(study: Study, table: pd.DataFrame, missing: list[str]) -> list[Finding]:
    """Judge the gap of fully connected and convolutional networks, as it is and with shuffled pixels."""
    n = table.seed.nunique()
    plain, low, high = mean_interval(gaps(table, "digits"))
    rest, bottom, top = mean_interval(gaps(table, "shuffled"))
    verdict = "holds" if low > 0 else judge_interval(plain, (low, high), low=np.nextafter(0, 1))
    means = {
        f"{name}{', shuffled' * (family == 'shuffled')}": seed_bits(table, family, name).to_numpy().mean()
        for family in ("digits", "shuffled") for name in ("mlp", "cnn")
    }  # fmt: skip
    detail = "bits: " + ", ".join(f"{name} {value:.2f}" for name, value in means.items())
    seen = sorted({*TARGETS} & {*table.target})
    others = [f"{gaps(table, 'digits', each).mean():+.2f} at {each:g}" for each in seen if each != AT]
    detail += f"; the gap at target errors that the rule does not ask for: {', '.join(others)}" if others else ""
    few = missing + _uncounted(table, ["digits"], ["mlp", "cnn"])
    first = _say(study, "convolution", plain, (low, high), n, "bits", detail, few, verdict)
    few = missing + _uncounted(table, ["digits", "shuffled"], ["mlp", "cnn"])
    few += [] if first.verdict == "holds" else ["a plain gap above 0"]
    verdict = judge_interval(rest, (bottom, top), high=LEFT * plain)
    detail = f"at most {LEFT * plain:.2f} bits count as gone; the plain gap is {plain:.2f}"
    return [first, _say(study, "shuffled", rest, (bottom, top), n, "bits", detail, few, verdict)]


def _uncounted(table: pd.DataFrame, families: Sequence[str], names: Sequence[str]) -> list[str]:
    """Say that too few cells are counted, where it is so."""
    return [] if counted_share(table, families, names) >= MANY else [f"{HITS} hits in {100 * MANY:g} % of cells"]


def _say(
    study: Study,
    name: str,
    value: float | None,
    interval: tuple[float, float] | None,
    n: int,
    unit: str,
    detail: str,
    missing: Sequence[str],
    verdict: str = "inconclusive",
) -> Finding:
    """Judge one claim; what is missing of what its rule asks for leaves it open."""
    if missing:
        verdict, detail = "inconclusive", f"{detail}; the rule asks for {' and '.join(missing)}"
    return study.judge(name, value=value, interval=interval, n=n, unit=unit, verdict=verdict, detail=detail)

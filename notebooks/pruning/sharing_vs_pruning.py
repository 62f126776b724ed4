"""The study's claims, their rules, and their judgement."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pruned import Difference, paired
from shared_arms import NAIVE, PRUNERS, SHARED, TICKETS, right_of
from wide_sparse import MEMBERS, wide_right

from workbench.study import Claim, Finding, Study, judge_interval

SHARING, SPARSE = "parameter-sharing-vs-pruning", "sparse-iso-flop"
MARGINS, MARGIN = {"digits": 0.015}, 0.003  # of accuracy: what a test of 360 images can tell; on any other data
COMPRESSIONS = {"mlp": (1, 2, 5, 10, 20, 50, 100), "lenet": (2, 10, 50)}
NEEDED = {"mlp": 5, "lenet": 2}  # compressions at which sharing must keep up
HIGH = 50  # compression from which on sharing must beat tickets
SEEDS = {"mlp": 3, "lenet": 2}  # that the rules ask for
WIDE_SEEDS = {"mlp": 5, "cnn": 2}
SPARSITIES, GAIN = (0.5, 0.75, 0.9), 0.005
AGREES = 0.05  # relative, simulation and closed form
_ON = ("digits", "mnist", "fashion_mnist")
CLAIMS = (
    Claim(
        "pruners",
        SHARING,
        "A randomly shared memory does as well as the best mask that is drawn before training, at every compression.",
        "stable sharing >= best of random, SNIP, GraSP and SynFlow - 0.3 points (digits: 1.5) at >= 5 of the 7 "
        "compressions 1, 2, 5, 10, 20, 50, 100 (MLP) and at >= 2 of 2, 10, 50 (LeNet); at least 3 and 2 seeds",
        _ON,
    ),
    Claim(
        "tickets",
        SHARING,
        "At high compression it beats even lottery tickets, whose masks are found by training again and again.",
        "stable sharing > tickets by 1 standard error (seeds and test examples) at every compression >= 50: MLP at 50 "
        "and 100, LeNet at 50; at least 3 and 2 seeds",
        _ON,
    ),
    Claim(
        "stable",
        SHARING,
        "At compression 1 the stable variant keeps the dense network's accuracy.",
        "stable sharing at compression 1 within 0.3 points of the dense MLP (digits: 1.5); at least 3 seeds",
        _ON,
    ),
    Claim(
        "wide",
        SPARSE,
        "A wider sparse layer in a dense one's place, at equal multiply-accumulates, raises accuracy with unchanged "
        "hyperparameters, and its mask must move.",
        "of Wide and Parallel at sparsity 50, 75 and 90 %, the one with RigL of the highest validation accuracy beats "
        "dense by >= 0.5 points (p < 0.05: its 95 % interval above 0), in the MLP and in the CNN, and RigL >= static "
        "mask there; at least 5 and 2 seeds",
        _ON[1:],
    ),
    Claim(
        "linear",
        "textbook",
        "In a linear model the expected errors of hashed and of pruned least squares have a closed form.",
        "simulated over exact error lies in [0.95, 1.05] for every arm at every compression, independent and "
        "correlated inputs",
    ),
)


def best_pruner(runs: pd.DataFrame, network: str, compression: int) -> str:
    """Return the mask drawn before training that is most accurate on the test images."""
    return max(PRUNERS, key=lambda arm: right_of(runs, network, arm, compression).mean())


def _has(runs: pd.DataFrame, network: str, arm: str, compression: int) -> bool:
    """Tell whether a run is there."""
    return bool(((runs.network == network) & (runs.arm == arm) & (runs.compression == compression)).any())


def sharing_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Set the stable shared network beside the others, in points.

    Args:
        runs: As ``measure_sharing`` returns them.

    Returns:
        A row a network and compression: its accuracy, the difference to the best pruner, and to each other arm, with
        the standard error over seeds and test images.
    """
    rows = []
    for network, compression in runs[["network", "compression"]].drop_duplicates().itertuples(index=False):
        name = best_pruner(runs, network, compression)
        ours, best = (right_of(runs, network, arm, compression) for arm in (SHARED, name))
        row = {"network": network, "1 /": compression, "shared, stable": f"{100 * ours.mean():.2f}"}
        row |= {"best pruner": name if compression > 1 else "dense", "over it": _points(paired(ours, best))}
        for arm in (NAIVE, "small dense", TICKETS):
            there = _has(runs, network, arm, compression)
            row[f"over {arm}"] = _points(paired(ours, right_of(runs, network, arm, compression))) if there else ""
        rows.append(row | {"seeds": len(ours)})
    return pd.DataFrame(rows).set_index(["network", "1 /"])


def wide_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a network, member, sparsity and mask: products, accuracies, gain over dense in points."""
    rows = []
    names = ["network", "member", "sparsity", "mask"]
    for (network, member, sparsity, mask), own in table.groupby(names, sort=False):
        gain = paired(
            wide_right(table, network, member, sparsity, mask), wide_right(table, network, "dense", 0.0, "dense")
        )
        rows.append({
            "network": network, "member": member, "sparsity": sparsity, "mask": mask,
            "products": int(own.macs.iloc[0]), "validation": 100 * own.validation_accuracy.mean(),
            "test": 100 * own.accuracy.mean(), "over dense": "" if member == "dense" else _points(gain),
            "seeds": len(own),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index(names)


def _points(difference: Difference) -> str:
    return f"{100 * difference.value:.2f} ± {100 * difference.se:.2f}"


def judge_sharing(study: Study, runs: pd.DataFrame, dataset: str) -> list[Finding]:
    """Judge sharing against masks drawn before training, against tickets, and against the dense network."""
    margin, n = MARGINS.get(dataset, MARGIN), int(runs[runs.network == "mlp"].seed.nunique())
    asked = {f"{seeds} {net} seeds": runs[runs.network == net].seed.nunique() >= seeds for net, seeds in SEEDS.items()}
    asked |= {f"{net} at 1/{c}": _has(runs, net, SHARED, c) for net, wanted in COMPRESSIONS.items() for c in wanted}
    verdicts, said, kept = [], [], 0
    for network, wanted in COMPRESSIONS.items():
        there = [c for c in wanted if _has(runs, network, SHARED, c)]
        each = {c: _against(runs, network, best_pruner(runs, network, c), c) for c in there}
        found = [judge_interval(d.value, d.interval, low=-margin) for d in each.values()]
        verdicts.append(count_verdict(found, NEEDED[network]))
        kept += found.count("holds")
        listed = ", ".join(f"1/{c} {_points(d)}" for c, d in each.items())
        said.append(f"{network}: {found.count('holds')} of {len(found)} kept, {found.count('fails')} broken ({listed})")
    unmet = _unmet(asked)
    findings = [
        study.judge("pruners", value=kept, interval=None, n=n, unit="compressions kept",
                    verdict=_combined(verdicts, unmet), detail="; ".join(said) + unmet),
        _judge_tickets(study, runs, n),
    ]  # fmt: skip
    dense = paired(right_of(runs, "mlp", SHARED, 1), right_of(runs, "mlp", "dense", 1))
    unmet = _unmet({f"{SEEDS['mlp']} seeds": n >= SEEDS["mlp"]})
    naive = paired(right_of(runs, "mlp", NAIVE, 1), right_of(runs, "mlp", "dense", 1))
    verdict = _combined([judge_interval(dense.value, dense.interval, -margin, margin)], unmet)
    findings.append(
        study.judge("stable", value=dense.value, interval=dense.interval, n=n, unit="accuracy over dense",
                    verdict=verdict, detail=f"the naive variant: {_points(naive)} points{unmet}")
    )  # fmt: skip
    return findings


def _against(runs: pd.DataFrame, network: str, arm: str, compression: int) -> Difference:
    """Compare stable sharing with another arm."""
    return paired(*(right_of(runs, network, each, compression) for each in (SHARED, arm)))


def _judge_tickets(study: Study, runs: pd.DataFrame, n: int) -> Finding:
    """Judge sharing against tickets at high compression: by one standard error in every cell."""
    cells = [(net, c) for net, wanted in COMPRESSIONS.items() for c in wanted if c >= HIGH]
    there = [cell for cell in cells if _has(runs, cell[0], TICKETS, cell[1])]
    found = {f"{net} 1/{c}": _against(runs, net, TICKETS, c) for net, c in there}
    asked = {f"{net} at 1/{c}": (net, c) in there for net, c in cells}
    asked |= {f"{seeds} {net} seeds": runs[runs.network == net].seed.nunique() >= seeds for net, seeds in SEEDS.items()}
    won, unmet = [bool(d.value > d.se) for d in found.values()], _unmet(asked)
    said = ", ".join(f"{name} {_points(d)}" for name, d in found.items())
    return study.judge(
        "tickets", value=sum(won), interval=None, n=n, unit=f"of {len(won)} cells won",
        verdict=_combined(["holds" if all(won) else "fails"], unmet), detail=said + unmet,
    )  # fmt: skip


def count_verdict(verdicts: Sequence[str], needed: int) -> str:
    """Return what "in at least so many" says: decided once the undecided cannot change it.

    Example:
        >>> count_verdict(["holds", "inconclusive", "fails"], 2)
        'inconclusive'
    """
    if verdicts.count("holds") >= needed:
        return "holds"
    return "fails" if len(verdicts) - verdicts.count("fails") < needed else "inconclusive"


def judge_wide(study: Study, table: pd.DataFrame) -> Finding:
    """Judge the family's best member with RigL, chosen by validation accuracy, against dense and the static mask."""
    verdicts, said, gains = [], [], []
    for network in WIDE_SEEDS:
        own = table[(table.network == network) & (table["mask"] == "RigL") & table.member.isin(MEMBERS)]
        best = own.groupby(["member", "sparsity"]).validation_accuracy.mean().idxmax()
        moving = wide_right(table, network, *best, "RigL")
        gain = paired(moving, wide_right(table, network, "dense", 0.0, "dense"))
        over = paired(moving, wide_right(table, network, *best, "static"))
        verdicts += [gain_verdict(gain), judge_interval(over.value, over.interval, low=0.0)]
        gains.append(gain)
        named = f"{network}, {best[0]} at {100 * best[1]:g} %"
        said.append(f"{named}: over dense {_points(gain)} points, over the static mask {_points(over)}")
    asked = {f"{n} {net} seeds": table[table.network == net].seed.nunique() >= n for net, n in WIDE_SEEDS.items()}
    unmet = _unmet(asked | {f"sparsity {s:g}": s in set(table.sparsity) for s in SPARSITIES})
    least = min(gains, key=lambda gain: gain.value)
    return study.judge(
        "wide", value=least.value, interval=least.interval, n=int(table.seed.nunique()),
        unit="accuracy over dense, the smaller of two", verdict=_combined(verdicts, unmet),
        detail="; ".join(said) + unmet,
    )  # fmt: skip


def gain_verdict(gain: Difference) -> str:
    """Judge a gain: at least ``GAIN``, and its interval above 0; it fails where the interval lies below ``GAIN``."""
    if np.isnan(gain.low):
        return "inconclusive"
    if gain.high < GAIN:
        return "fails"
    return "holds" if gain.value >= GAIN and gain.low > 0 else "inconclusive"


def judge_linear(study: Study, table: pd.DataFrame) -> Finding:
    """Judge the closed form: every ratio of simulated to exact error."""
    verdicts = [judge_interval(row.ratio, (row.low, row.high), 1 - AGREES, 1 + AGREES) for row in table.itertuples()]
    worst = table.iloc[(table.ratio - 1).abs().argmax()]
    detail = f"the farthest of {len(table)} from 1: {worst.arm} at 1/{worst.compression:g}"
    return study.judge(
        "linear", value=worst.ratio, interval=(worst.low, worst.high), n=int(worst.seeds), unit="of the exact error",
        verdict=_combined(verdicts, ""), detail=detail,
    )  # fmt: skip


def _combined(verdicts: Sequence[str], unmet: str) -> str:
    """Return what several conditions say together: all must hold, one that fails decides."""
    return "inconclusive" if unmet else next((v for v in ("fails", "inconclusive") if v in verdicts), "holds")


def _unmet(asked: Mapping[str, bool]) -> str:
    """Say which of a rule's conditions a run does not meet."""
    missing = ", ".join(name for name, met in asked.items() if not met)
    return f"; the rule asks for {missing}" if missing else ""

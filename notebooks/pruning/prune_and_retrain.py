"""The study's claims, their rules, and their judgement."""

from collections.abc import Mapping, Sequence

import pandas as pd
from pruned import Difference, paired, recovered
from retrain_few import UNTRAINED, losses_of
from sparse_arms import ARMS, scores_of
from tickets import CONTROLS, right_of

from workbench.study import Claim, Finding, Study, judge_interval

WON, SEEDS, TICKET_SEEDS = 0.8, 3, 5  # share of cells that must be won; seeds that the rules ask for
REDUCTION, POINTS, NATS = 8, {"digits": 0.03}, 0.05  # where the cost is judged, and what it may be
ALLOWED = 0.01  # of accuracy, on any other data
IMAGES, TEXT = ((0.8, 0.8), (0.9, 0.6)), ((0.5, 0.8), (0.7, 0.6))  # sparsity, and the share that must be recovered
NEAR = 0.005  # of accuracy: the smallest ticket and the dense network
CLAIMS = (
    Claim(
        "nonzeros",
        "to-prune-or-not",
        "With as many nonzero weights, a large network pruned gradually beats a small dense one, and about ten times "
        "fewer nonzeros cost little.",
        "large-sparse beats small-dense by more than 1 standard error (seeds and test examples) in at least 80 % of "
        "the cells, MLP and LeNet at 1/2, 1/4, 1/8, 1/16 of the nonzeros, with a text also a character transformer at "
        "1/4 and 1/8; and 1/8 of the nonzeros costs at most 1 point of accuracy (digits: 3 points) or 0.05 nats; at "
        "least 3 seeds",
        ("digits", "mnist", "fashion_mnist"),
    ),
    Claim(
        "few",
        "perp-retrain-few",
        "After magnitude pruning, retraining biases and norms alone recovers about as much as retraining everything, "
        "and does better than Wanda without retraining.",
        "character transformer, biases and LayerNorms (at most 2 % of its parameters): at least 80 % of full "
        "retraining's gain in test loss is recovered at sparsity 50 %, at least 60 % at 70 %, and the loss is below "
        "Wanda's at both; at least 3 seeds",
    ),
    Claim(
        "few-images",
        "perp-retrain-few",
        "The same in a convolutional network on images.",
        "small CNN, biases and BatchNorms (at most 2 % of its parameters): at least 80 % of full retraining's gain in "
        "test loss is recovered at sparsity 80 %, at least 60 % at 90 %, and the loss is below Wanda's at both; at "
        "least 3 seeds",
        ("digits", "mnist", "fashion_mnist"),
    ),
    Claim(
        "tickets",
        "lottery-ticket-hypothesis",
        "LeNet-300-100 holds winning tickets: pruned and rewound to its start it learns better, until too little is "
        "left; with another start or other places it does not.",
        "at the step of least validation loss: test accuracy with 21.1 % of the weights above that with 51.3 %, that "
        "above the dense network's, 3.6 % within 0.5 points of it, and at 21.1 % reinitialised and shuffled masks "
        "below the ticket; at least 5 seeds",
        ("mnist",),
    ),
)


def cell_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Set gradual pruning beside every other arm, in each network at each reduction.

    Args:
        runs: As ``measure_arms`` returns them.

    Returns:
        A row for each cell: score minus that of every other arm, in points (of a text: 0.01 nats), with its standard
        error; whether it beats small-dense by more than one.
    """
    rows = []
    for network, own in runs.groupby("network", sort=False):
        for reduction in sorted(set(own.reduction) - {1}):
            ours = scores_of(runs, network, "gradual", reduction)
            others = [*(a for a in ARMS if a != "gradual"), "dense"]
            found = {a: paired(ours, scores_of(runs, network, a, 1 if a == "dense" else reduction)) for a in others}
            row = {"network": network, "1 /": reduction, "beats small dense": _beats(found["small dense"])}
            rows.append(row | {f"over {a}": f"{100 * d.value:.2f} ± {100 * d.se:.2f}" for a, d in found.items()})
    return pd.DataFrame(rows).set_index(["network", "1 /"])


def _beats(difference: Difference) -> bool:
    """Tell whether a difference is above one standard error; with one seed nothing is known."""
    return bool(difference.value > difference.se)


def _combined(verdicts: Sequence[str], unmet: str) -> str:
    """Return what several conditions say together: all must hold, one that fails decides."""
    if unmet:
        return "inconclusive"
    return next((v for v in ("fails", "inconclusive") if v in verdicts), "holds")


def _unmet(asked: Mapping[str, bool]) -> str:
    """Say which of a rule's conditions a run does not meet."""
    missing = ", ".join(name for name, met in asked.items() if not met)
    return f"; the rule asks for {missing}" if missing else ""


def judge_nonzeros(study: Study, runs: pd.DataFrame, dataset: str) -> Finding:
    """Judge large-sparse against small-dense: a count of cells, and what 1/8 of the nonzeros costs."""
    n, won, costs, verdicts = runs.seed.nunique(), [], [], []
    for network, own in runs.groupby("network", sort=False):
        text = str(network).startswith("transformer")
        cells = sorted(set(own.reduction) & ({4, 8} if text else {2, 4, 8, 16}))
        won += [
            _beats(paired(scores_of(runs, network, "gradual", r), scores_of(runs, network, "small dense", r)))
            for r in cells
        ]
        if REDUCTION in cells:
            cost = paired(scores_of(runs, network, "dense", 1), scores_of(runs, network, "gradual", REDUCTION))
            allowed = NATS if text else POINTS.get(dataset, ALLOWED)
            verdicts.append(judge_interval(cost.value, cost.interval, high=allowed))
            ends = f"{cost.value:.4f} [{cost.low:.4f}, {cost.high:.4f}], at most {allowed:g}: {verdicts[-1]}"
            costs.append(f"{network} {ends}")
    share = sum(won) / max(1, len(won))
    verdicts.append("holds" if share >= WON else "fails")
    images = [{2, 4, 8, 16} <= set(runs[runs.network == network].reduction) for network in ("mlp", "lenet")]
    unmet = _unmet({f"{SEEDS} seeds": n >= SEEDS, "all cells": all(images)})
    detail = f"{sum(won)} of {len(won)} cells won; cost of 1/8 of the nonzeros: {'; '.join(costs)}{unmet}"
    verdict = _combined(verdicts, unmet)
    return study.judge("nonzeros", value=share, interval=None, n=n, unit="of cells", verdict=verdict, detail=detail)


def judge_few(study: Study, table: pd.DataFrame, claim: str, network: str) -> Finding:
    """Judge biases and norms against full retraining and Wanda, in one network."""
    few, n, verdicts, said = "biases + norms", table.seed.nunique(), [], []
    own, share = table[table.network == network], Difference(*[float("nan")] * 4)
    rule = TEXT if claim == "few" else IMAGES
    tested = [pair for pair in rule if pair[0] in set(own.sparsity)]
    for sparsity, bar in tested:
        losses = {arm: losses_of(table, network, arm, sparsity) for arm in (*UNTRAINED, "all kept", few)}
        share = recovered(losses["none"], losses[few], losses["all kept"])
        below = paired(losses[few], losses[UNTRAINED[1]])
        verdicts += [judge_interval(share.value, share.interval, low=bar)]
        verdicts += [judge_interval(below.value, below.interval, high=0.0)]
        said.append(
            f"sparsity {100 * sparsity:g} %: recovered {share.value:.2f} [{share.low:.2f}, {share.high:.2f}], "
            f"loss minus Wanda's {below.value:.3f} [{below.low:.3f}, {below.high:.3f}]"
        )
    part = float((own[own.arm == few].d / own[own.arm == few].D).max())
    asked = {f"{SEEDS} seeds": n >= SEEDS, "both sparsities": len(tested) == 2, "at most 2 % moved": part <= 0.02}
    detail = f"{'; '.join(said)}; {100 * part:.2f} % of the parameters moved{_unmet(asked)}"
    unit = f"of the gain at sparsity {100 * rule[-1][0]:g} %"
    verdict = _combined(verdicts, _unmet(asked))
    return study.judge(
        claim, value=share.value, interval=share.interval, n=n, unit=unit, verdict=verdict, detail=detail
    )


def judge_tickets(study: Study, table: pd.DataFrame) -> Finding:
    """Judge the shape of the lottery's curve and its two controls."""
    n, last = table.seed.nunique(), int(table["round"].max())
    asked = {f"{TICKET_SEEDS} seeds": n >= TICKET_SEEDS, "15 rounds": last >= CONTROLS[-1]}
    unmet = _unmet(asked)
    few, fewer, fewest = (min(k, last) for k in CONTROLS)
    ticket = {k: right_of(table, "ticket", k) for k in (0, few, fewer, fewest)}
    parts = {
        "21.1 % - 51.3 %": (paired(ticket[fewer], ticket[few]), 0.0, None),
        "51.3 % - dense": (paired(ticket[few], ticket[0]), 0.0, None),
        "3.6 % - dense": (paired(ticket[fewest], ticket[0]), -NEAR, NEAR),
    }
    if last >= CONTROLS[1]:
        for arm in ("reinitialised", "shuffled"):
            parts[f"21.1 % - {arm}"] = (paired(ticket[fewer], right_of(table, arm, fewer)), 0.0, None)
    verdicts = [judge_interval(d.value, d.interval, low, high) for d, low, high in parts.values()]
    said = [f"{name} {d.value:.4f} [{d.low:.4f}, {d.high:.4f}]" for name, (d, *_) in parts.items()]
    gain = paired(ticket[fewer], ticket[0])
    detail = f"accuracy, {'; '.join(said)}{unmet}"
    return study.judge(
        "tickets", value=gain.value, interval=gain.interval, n=n, unit="accuracy, 21.1 % - dense",
        verdict=_combined(verdicts, unmet), detail=detail,
    )  # fmt: skip

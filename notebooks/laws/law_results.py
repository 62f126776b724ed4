"""What the study on scaling laws measures: extrapolations from small runs, the Chinchilla forensics, a leaderboard."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from law_runs import TASKS, Runs

from workbench.datasets import published
from workbench.laws import FORMS, Form, Law, Range, fit_law

GOPHER = 5.76e23  # training operations of Gopher, and of Chinchilla
DROPPED = 5  # runs of fewest tokens per parameter that the replication left out
SMALL = 300  # times less compute
ERROR = Form(
    "error", "top - k exp(-gamma L)", ("L",), ("top", "k"), {"gamma": Range(0.1, 5.0, 41)},
    lambda v, e: (np.ones(1), -np.exp(-e["gamma"] * v["L"])), "Gadre et al. 2024, equation 5",
)  # fmt: skip
_TO_C = {"columns": {"x": "C"}}
FITTERS: dict[str, dict[str, Any]] = {
    "additive": {"form": "additive"},
    "additive, squared loss": {"form": "additive", "loss": "squared"},
    "additive, mean stops early": {"form": "additive", "reduction": "mean"},
    "over-training form": {"form": "overtraining"},
    "isoFLOP parabolas": {"form": "isoflop"},
    "no M: offset, power of C": {"form": "power_offset", **_TO_C},
    "pure power of C": {"form": "power", **_TO_C},
    "log-linear in N and D": {"form": "lr_batch"},
}


def five_small(corpus: pd.DataFrame) -> pd.DataFrame:
    """Return the source's five runs: four smallest sizes at 20 tokens per parameter, the smallest at 320."""
    sizes = np.sort(corpus.N.unique())[:4]
    base = corpus.N.isin(sizes) & np.isclose(corpus.M, 20)
    return corpus[base | ((sizes[0] == corpus.N) & np.isclose(corpus.M, 320))]


def held_out(corpus: pd.DataFrame) -> pd.DataFrame:
    """Return the runs to predict: the largest size, and the second at 640 tokens per parameter where there is one."""
    second, largest = np.sort(corpus.N.unique())[-2:]
    return corpus[(largest == corpus.N) | ((second == corpus.N) & np.isclose(corpus.M, 640))]


def extrapolate(runs: Runs, tick: Callable[[float], None] = lambda part: None) -> pd.DataFrame:
    """Predict each corpus's held-out runs from its small runs.

    Args:
        runs: All tables.
        tick: Called with the part done.

    Returns:
        A row a held-out run: ``corpus N M ratio`` (of its compute to that of the largest run fitted), ``loss error``;
        relative loss errors in percent of the ``law``, of ``no M`` and the ``pure`` power on the same five runs, of the
        law and the additive form on ``all`` runs of at most 1/300 of its compute; ``points``, the predicted less the
        measured error over tasks in percentage points, ``other``, the same by the error law of the other corpora.
    """
    rows = []
    for i, (name, corpus) in enumerate(runs.corpora.items()):
        tick(i / len(runs.corpora))
        five = five_small(corpus)
        laws = {
            "law": fit_law(five, "overtraining", n_bootstrap=0),
            "no M": fit_law(five, "power_offset", **_TO_C, n_bootstrap=0),
            "pure": fit_law(five, "power", **_TO_C, n_bootstrap=0),
        }
        of_errors = error_law([corpus])
        others = error_law([each for label, each in runs.corpora.items() if label != name])
        for _, run in held_out(corpus).iterrows():
            small = corpus[run.C / SMALL >= corpus.C]
            fitted = laws | {
                "law, all": fit_law(small, "overtraining", n_bootstrap=0),
                "additive, all": fit_law(small, "additive", n_bootstrap=0),
            }
            new = {key: [run[key]] for key in "NDCM"}
            seen = {key: law.predict(new).prediction.iloc[0] for key, law in fitted.items()}
            row = {"corpus": name, "N": run.N, "M": run.M, "ratio": run.C / five.C.max()}
            row |= {key: 100 * (value / run.loss - 1) for key, value in seen.items()}
            row |= {key: 100 * (predicted(law, seen["law"]) - run.error)
                    for key, law in (("points", of_errors), ("other", others))}  # fmt: skip
            rows.append(row | {"loss": run.loss, "error": run.error})
    return pd.DataFrame(rows)


def error_law(corpora: list[pd.DataFrame], task: str = "error") -> Law:
    """Fit the error over the loss, on each corpus's five small runs and its second largest size at 20 tokens."""
    parts = []
    for corpus in corpora:
        second = (np.sort(corpus.N.unique())[-2] == corpus.N) & np.isclose(corpus.M, 20)
        parts.append(pd.concat([five_small(corpus), corpus[second]]))
    rows = pd.concat(parts, ignore_index=True)
    return fit_law(rows, ERROR, target=task, columns={"L": "loss"}, loss="squared", n_bootstrap=0)


def predicted(law: Law, loss: float) -> float:
    """Return the error that a law predicts at a loss."""
    return float(law.predict({"loss": [loss]}).prediction.iloc[0])


def task_errors(runs: Runs, extrapolated: pd.DataFrame) -> pd.DataFrame:
    """Predict each task on each held-out run; return points off, predicted less measured, a task a row."""
    found: dict[str, dict[str, float]] = {}
    for name, rows in extrapolated.groupby("corpus"):
        corpus = runs.corpora[str(name)]
        laws = {task: error_law([corpus], task) for task in TASKS if task in corpus}
        for _, row in rows.iterrows():
            run = corpus[(corpus.N == row.N) & (corpus.M == row.M)].iloc[0]
            loss = run.loss * (1 + row["law"] / 100)
            off = {task: 100 * (predicted(law, loss) - run[task]) for task, law in laws.items()}
            found[f"{name}, {row.N / 1e9:.2g}B x {row.M:.0f}"] = off
    return pd.DataFrame(found)


def parameters_read() -> dict[str, dict[str, float]]:
    """Read the published fits of the Chinchilla runs, ``data/published/chinchilla.csv``, by whose they are."""
    table = pd.DataFrame(published("chinchilla")).set_index("fit")[["E", "A", "B", "alpha", "beta"]].astype(float)
    return {str(name): row.to_dict() for name, row in table.iterrows()}


def objective(runs: pd.DataFrame, parameters: Mapping[str, float], delta: float = 1e-3) -> float:
    """Return the sum of Huber's losses of the log residuals of an additive law."""
    r = np.abs(np.log(FORMS["additive"].predict({k: runs[k] for k in "ND"}, parameters) / runs.loss.to_numpy()))
    return float(np.where(r <= delta, r**2 / 2, delta * (r - delta / 2)).sum())


def tokens_per_parameter(parameters: Mapping[str, float], compute: float = GOPHER) -> float:
    """Return D / N where the additive law is least at ``compute = 6 N D``."""
    a, b = parameters["alpha"], parameters["beta"]
    n = (a * parameters["A"] / (b * parameters["B"])) ** (1 / (a + b)) * (compute / 6) ** (b / (a + b))
    return float(compute / 6 / n**2)


def forensics(
    runs: pd.DataFrame, others: Mapping[str, Mapping[str, float]], n_bootstrap: int
) -> tuple[pd.DataFrame, Law]:
    """Set fits of the Chinchilla runs beside the published ones, and return the refit without five runs too.

    Args:
        runs: The fewest tokens per parameter first.
        others: Published parameters by whose they are.
        n_bootstrap: Resamples.

    Returns:
        A row a fit: parameters, ``objective`` over the runs without the five, over the least there is,
        ``tokens`` per parameter at Gopher's compute; and the law.
    """
    fewer = runs.iloc[DROPPED:]
    law = fit_law(fewer, "additive", n_bootstrap=n_bootstrap)
    fits = {
        f"{len(fewer)} runs": law.parameters,
        f"all {len(runs)} runs": fit_law(runs, "additive", n_bootstrap=0).parameters,
        f"{len(fewer)} runs, mean stops early": fit_law(fewer, "additive", reduction="mean", n_bootstrap=0).parameters,
        f"{len(fewer)} runs, two digits": {k: float(f"{v:.2g}") for k, v in law.parameters.items()},
        **others,
    }
    rows = [
        {"fit": name, **p, "objective": objective(fewer, p) / law.objective, "tokens": tokens_per_parameter(p)}
        for name, p in fits.items()
    ]
    return pd.DataFrame(rows).set_index("fit"), law


def leaderboard(runs: Runs, share: float, tick: Callable[[float], None] = lambda part: None) -> pd.DataFrame:
    """Fit every fitter to every table without its top compute.

    Args:
        runs: All tables.
        share: Of the rows, held out.
        tick: Called with the part done.

    Returns:
        A row a table and fitter: ``table fitter``, ``error`` (mean relative error of the held-out rows in percent),
        ``worst``, ``n_fitted``, ``n_held``.
    """
    tables = {"Chinchilla": runs.chinchilla.iloc[DROPPED:], **runs.corpora, "Step Law": runs.steplaw}
    rows = []
    for i, (name, table) in enumerate(tables.items()):
        for fitter, arguments in FITTERS.items():
            law = fit_law(table, **arguments, hold_out=share, n_bootstrap=0)
            assert law.held_out is not None
            off = 100 * law.held_out.error.abs()
            rows.append((name, fitter, off.mean(), off.max(), law.n, len(off)))
        tick((i + 1) / len(tables))
    return pd.DataFrame(rows, columns=["table", "fitter", "error", "worst", "n_fitted", "n_held"])

"""The runs of the study on scaling laws: three published tables, or small stand-ins with known laws."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from workbench.datasets.sources import PLACES
from workbench.laws import FORMS
from workbench.laws.tables import ORIGINS, table
from workbench.seeds import generator

CORPORA = {"c4_original": "C4", "rpj": "RedPajama", "rw_original": "RefinedWeb"}
# The source's 17 tasks on which its small models are clearly above chance.
TASKS = [
    "bigbench_operators", "pubmed_qa_labeled", "hellaswag_zeroshot", "boolq", "arc_easy", "coqa",
    "bigbench_dyck_languages", "lambada_openai", "bigbench_novel_concepts", "winograd", "bigbench_cs_algorithms",
    "commonsense_qa", "bigbench_qa_wikidata", "hellaswag", "copa", "squad", "piqa",
]  # fmt: skip
PLANTED = {
    "additive": {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37},
    "overtraining": {"E": 1.5, "a": 60.0, "b": 110.0, "eta": 0.1},
    "error": {"top": 0.9, "k": 2.0, "gamma": 0.6},
}
NOISE = 2e-3  # of the planted logarithms of losses


@dataclass(frozen=True)
class Runs:
    """Tables of runs and what they stand on.

    Attributes:
        name: ``published`` or ``planted``.
        checksum: SHA-256 of the Chinchilla runs.
        note: In words, what the numbers stand on.
        chinchilla: ``N D C loss``, the fewest tokens per parameter first.
        corpora: By name, ``N M D C loss error`` and an error a task, C4 validation.
        steplaw: The best run of each grid, ``N D C loss``.
    """

    name: str
    checksum: str
    note: str
    chinchilla: pd.DataFrame
    corpora: dict[str, pd.DataFrame]
    steplaw: pd.DataFrame


def load(source: Literal["published", "planted"]) -> Runs:
    """Read the published tables, or make the stand-ins.

    Args:
        source: ``"published"`` reads ``WORKBENCH_DATA`` or downloads; ``"planted"`` needs neither.

    Returns:
        The runs.
    """
    if source == "planted":
        return planted()
    losses, tasks = table("mlfoundations_scaling"), 1 - table("mlfoundations_downstream").set_index("name")
    losses = losses[losses.validation == "c4_val"].join(tasks, on="name")
    losses["error"] = losses[TASKS].mean(axis=1)
    corpora = {label: losses[losses.dataset == key].reset_index(drop=True) for key, label in CORPORA.items()}
    grids = table("steplaw").groupby(["N", "D"], as_index=False).loss.min().assign(C=lambda t: 6 * t.N * t.D)
    names = ("chinchilla_epoch", "mlfoundations_scaling", "steplaw")
    note = "others' runs: " + "; ".join(f"{ORIGINS[name].citation}, {ORIGINS[name].repository}" for name in names)
    checksum = PLACES["chinchilla_epoch"][0].files[0].parts[0].sha256
    return Runs("published", checksum, note, _by_tokens(table("chinchilla_epoch")), corpora, grids)


def planted(seed: int = 0) -> Runs:
    """Make runs with known laws: budgets of sizes with five outliers, three corpora, seventeen grids."""
    rng = generator(seed, "planted laws")
    c, k = (each.ravel() for each in np.meshgrid(np.geomspace(1e18, 1e22, 8), np.geomspace(0.2, 5, 9)))
    size = 0.9 * np.sqrt(c / 6) * k
    runs = _measured(pd.DataFrame({"N": size, "D": c / 6 / size, "C": c}), "additive", rng)
    few = pd.DataFrame({"N": np.geomspace(3e9, 9e9, 5), "D": np.geomspace(4e8, 2e8, 5)}).assign(
        C=lambda t: 6 * t.N * t.D
    )
    few = _measured(few, "additive", rng).assign(loss=lambda t: t.loss * np.linspace(1.05, 1.3, 5))
    corpora = {label: _corpus(rng, i) for i, label in enumerate(CORPORA.values())}
    n, d = (each.ravel() for each in np.meshgrid(np.geomspace(2e8, 1e9, 4), np.geomspace(2e10, 2e11, 4)))
    grids = _measured(pd.DataFrame({"N": n, "D": d, "C": 6 * n * d}), "additive", rng)
    chinchilla = _by_tokens(pd.concat([few, runs], ignore_index=True))
    checksum = hashlib.sha256(chinchilla.to_numpy().tobytes()).hexdigest()
    return Runs("planted", checksum, "made-up runs of known laws; not a measurement", chinchilla, corpora, grids)


def _corpus(rng: np.random.Generator, i: int) -> pd.DataFrame:
    """Return the runs of one made-up corpus: four small sizes over-trained more and more, two large ones."""
    sizes = [1.06e7, 7.89e7, 1.54e8, 4.12e8]
    pairs = [(n, m) for n in sizes for m in 5.0 * 2 ** np.arange(8)]
    pairs += [(1.44e9, 20.0), (1.44e9, (80.0, 640.0, 320.0)[i]), (6.89e9, 20.0)]
    runs = pd.DataFrame(pairs, columns=["N", "M"]).assign(D=lambda t: t.N * t.M, C=lambda t: 6 * t.N**2 * t.M)
    runs = _measured(runs, "overtraining", rng)
    errors = {
        TASKS[j]: PLANTED["error"]["top"]
        - PLANTED["error"]["k"] * np.exp(-PLANTED["error"]["gamma"] * runs.loss)
        + 0.002 * rng.standard_normal(len(runs))
        for j in range(3)
    }
    return runs.assign(**errors, error=np.mean([*errors.values()], axis=0))


def _measured(runs: pd.DataFrame, form: str, rng: np.random.Generator) -> pd.DataFrame:
    """Return runs with the loss of a planted law."""
    loss = FORMS[form].predict({name: runs[name] for name in FORMS[form].variables}, PLANTED[form])
    return runs.assign(loss=loss * np.exp(NOISE * rng.standard_normal(len(runs))))


def _by_tokens(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with the fewest tokens per parameter first."""
    return runs.iloc[np.argsort((runs.D / runs.N).to_numpy(), kind="stable")].reset_index(drop=True)

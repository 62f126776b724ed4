"""The runs of the study on learning rates: Step Law's published tables, or a small stand-in with a known law."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from lr_laws import SETTINGS, SIZES, Exponents, Law

from workbench.datasets.sources import PLACES
from workbench.laws.tables import ORIGINS, table
from workbench.seeds import generator

PLANTED = Exponents(lr=(np.log(2.0), -0.7, 0.3), batch=(np.log(0.6), 0.0, 0.57))
NOISE = 5e-4  # of the planted losses


@dataclass(frozen=True)
class Runs:
    """Tables of runs and what they stand on.

    Attributes:
        name: ``steplaw`` or ``planted``.
        checksum: SHA-256 of the dense table.
        note: In words, what the numbers stand on.
        dense: A row a run: ``N D lr batch loss``.
        moe: Mixtures of experts, ``kind`` and ``N_active`` besides.
        law: The authors' own law, or what was planted.
    """

    name: str
    checksum: str
    note: str
    dense: pd.DataFrame
    moe: pd.DataFrame
    law: Exponents


def load(source: Literal["published", "planted"]) -> Runs:
    """Read the published tables, or make the stand-in.

    Args:
        source: ``"published"`` reads ``WORKBENCH_DATA`` or downloads; ``"planted"`` needs neither.

    Returns:
        The runs.
    """
    if source == "planted":
        return planted()
    fits = table("steplaw_fits").mean()
    law = Exponents((fits.ln_lr, fits.lr_N, fits.lr_D), (fits.ln_batch, 0.0, fits.batch_D))
    dense, moe, origin = table("steplaw"), table("steplaw_moe"), ORIGINS["steplaw"]
    note = f"{len(dense):,} dense language models and {len(moe):,} mixtures of experts that others trained: "
    note += f"{origin.citation}; github.com/{origin.repository} at {origin.commit[:7]}"
    checksum = PLACES["steplaw"][0].files[0].parts[0].sha256
    return Runs("steplaw", checksum, note, dense, moe, law)


def beside(law: Law, runs: Runs) -> str:
    """Say whether a fitted law's intervals hold the exponents that were planted, or those of the authors."""
    lines = []
    for setting in SETTINGS:
        for i, size in enumerate(SIZES, 1):
            (value, low, high), known = law.exponent(setting, size), getattr(runs.law, setting)[i]
            what = "planted" if runs.name == "planted" else "the authors'"
            found = f"{setting} ~ {size}^{value:.2f} [{low:.2f}, {high:.2f}]"
            lines.append(f"{found}: {what} {known:.2f} lies {'inside' if low <= known <= high else 'outside'}")
    return "\n".join(lines)


def planted(seed: int = 0) -> Runs:
    """Make grids of runs whose losses are exact bowls around a known law, with a little noise."""
    rng, rows = generator(seed, "planted runs"), []
    for n in (1e8, 2e8, 4e8, 8e8):
        for d in (20 * n, 60 * n, 200 * n):
            lr, batch = np.meshgrid(np.geomspace(2.5e-4, 1.6e-2, 9), 2.0 ** np.arange(16, 23))
            bowl = 0.02 * np.log(lr / PLANTED.predict("lr", n, d)) ** 2
            bowl += 0.015 * np.log(batch / PLANTED.predict("batch", n, d)) ** 2
            floor = 1.7 + 400 / n**0.34 + 410 / d**0.28
            loss = floor * (1 + bowl) + NOISE * rng.standard_normal(lr.shape)
            rows.append(pd.DataFrame({"N": n, "D": d, "lr": lr.ravel(), "batch": batch.ravel(), "loss": loss.ravel()}))
    dense = pd.concat(rows, ignore_index=True)
    moe = dense[dense.N == 4e8].assign(N=8e8, N_active=4e8, kind="half active")
    checksum = hashlib.sha256(dense.to_numpy().tobytes()).hexdigest()
    note = f"{len(dense)} made-up runs around a known law; not a measurement"
    return Runs("planted", checksum, note, dense, moe, PLANTED)

"""The runs of the study on mixtures: RegMix's published tables, or a small stand-in with a known law."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from workbench.datasets.sources import PLACES
from workbench.laws.tables import ORIGINS, table
from workbench.seeds import generator

TARGET = "loss_pile_cc"
PLANTED = ("arxiv", "freelaw", "github", "pile_cc", "wikipedia_en")
_HELPS = np.array([0.02, 0.1, 0.02, 1.0, 0.4])  # what a token of each planted domain is worth for Pile-CC
_NOISE = 0.005


@dataclass(frozen=True)
class Runs:
    """A table of runs and what it stands on.

    Attributes:
        name: ``regmix`` or ``planted``.
        checksum: SHA-256 of the table.
        note: In words, what the numbers stand on.
        table: A row a run: ``size split run``, shares ``mix_*``, losses ``loss_*``.
    """

    name: str
    checksum: str
    note: str
    table: pd.DataFrame


def load(source: Literal["published", "planted"]) -> Runs:
    """Read the published tables, or make the stand-in.

    Args:
        source: ``"published"`` reads ``WORKBENCH_DATA`` or downloads; ``"planted"`` needs neither.

    Returns:
        The runs.
    """
    if source == "planted":
        return planted()
    runs, origin = table("regmix"), ORIGINS["regmix"]
    counts = ", ".join(f"{n} {split} at {size}" for (size, split), n in runs.groupby(["size", "split"]).size().items())
    note = (
        f"runs that others trained ({counts}): {origin.citation}; github.com/{origin.repository} at {origin.commit[:7]}"
    )
    digests = "".join(part.sha256 for source in PLACES["regmix"][0].files for part in source.parts)
    return Runs("regmix", hashlib.sha256(digests.encode()).hexdigest(), note, runs)


def planted(seed: int = 0) -> Runs:
    """Make runs whose loss falls with what the mixture is worth, alike at every size, with a little noise."""
    rng, found = generator(seed, "planted mixtures"), []
    for size, split, n, floor in (("1M", "train", 256, 4.0), ("1M", "test", 96, 4.0), ("1B", "test", 64, 2.0)):
        mixed = rng.dirichlet(np.full(len(PLANTED), 0.5), n)
        frames = [(size, floor)] if (size, split) != ("1M", "test") else [(size, floor), ("60M", 3.0)]
        for name, least in frames:
            losses = {
                f"loss_{domain}": planted_loss(mixed, i, least) + _NOISE * rng.standard_normal(n)
                for i, domain in enumerate(PLANTED)
                if domain in {"pile_cc", "github"}
            }
            columns = {f"mix_{domain}": mixed[:, i] for i, domain in enumerate(PLANTED)}
            found.append(pd.DataFrame({"size": name, "split": split, "run": range(n), **columns, **losses}))
    runs = pd.concat(found, ignore_index=True)
    checksum = hashlib.sha256(runs.select_dtypes("number").to_numpy().tobytes()).hexdigest()
    return Runs("planted", checksum, f"{len(runs)} made-up runs around a known law; not a measurement", runs)


def planted_loss(mixed: np.ndarray, domain: int, floor: float) -> np.ndarray:
    """Return the exact loss on a domain: ``floor + (0.02 + worth)^-0.3``."""
    worth = _HELPS if PLANTED[domain] == "pile_cc" else np.where(np.arange(len(PLANTED)) == domain, 1.0, 0.05)
    return floor + (0.02 + mixed @ worth) ** -0.3

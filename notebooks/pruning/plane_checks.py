"""Checks of the study's exercises: each knows the right answer of this run, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from plane_trials import connectivity
from planes import Plane
from three_regimes import REGIMES, regimes

from workbench.exercises import check
from workbench.probes import linear_cka
from workbench.seeds import generator


def check_connectivity(function: Callable[[list[float]], Any]) -> None:
    """Check a function of the losses on a segment that returns LMC."""
    losses = [0.5, 0.9, 1.4, 0.8, 0.7]
    slips = (
        (0.8, "the sign is the other way round: a barrier makes LMC negative."),
        (-0.9, "take the mean of both ends, not one of them."),
        (-0.7, "take the mean of both ends, not one of them."),
        (np.mean(losses) - 1.4, "take the mean of the two ends, not of the whole segment."),
        (0.6 - np.mean(losses), "take the worst loss on the segment, not the mean one."),
    )
    note = "0 means that nothing on the segment is worse than its ends on average."
    check(function(losses), connectivity(losses), slips=slips, hint="Mean of first and last, minus the largest.")
    late = [1.0, 0.5, 0.5, 3.0]
    check(function(late), connectivity(late), hint="The worst may stand anywhere, at an end too.", note=note)


def check_regime(answer: Any, plane: Plane, density: float) -> None:
    """Check the regime of the hottest network at a density."""
    k = plane.densities.index(density)
    lmc, cka = plane.lmc.mean(0), plane.cka.mean(0)
    right = REGIMES[int(regimes(lmc, cka)[-1, k])]
    cold = REGIMES[int(regimes(lmc, cka)[0, k])]
    slips = [(cold, "this is the coldest network's: rows rise with temperature, so the hottest is the last.")]
    slips += [
        (name, "compare LMC with its threshold first, then CKA with its own.") for name in REGIMES if name != right
    ]
    note = f"LMC {lmc[-1, k]:.3f} nats, CKA {cka[-1, k]:.3f}."
    check(answer, right, slips=[s for s in slips if s[0] != right], hint="One of I, II-A, II-B.", note=note)


def check_similarity(function: Callable[[Any, Any], Any]) -> None:
    """Check a function of two networks' outputs, tensors of shape ``(n, outputs)``, that returns their linear CKA."""
    rng = generator(0, "check", "cka")
    a, b = (torch.from_numpy(rng.standard_normal((40, 3)) + 1.0) for _ in range(2))
    b = b + a
    raw = float((a.T @ b).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm()))
    right = linear_cka(a, b).value
    slips = (
        (raw, "centre the outputs first: subtract each column's mean."),
        (right**0.5, "square the norm of A'B."),
        (right**2, "square the norm of A'B alone, not the whole."),
        (1 - right, "this is a distance; 1 means alike."),
    )
    note = "It does not change when one network's outputs are rotated or scaled: a permutation of classes goes unseen."
    check(function(a, b), right, slips=slips, hint="|A'B|^2 / (|A'A| |B'B|) of centred outputs.", note=note)

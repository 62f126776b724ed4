"""Trials inside random subspaces through a trained network: eigenvalues, and the learning coefficient."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from crossing_maps import Inside, predicted_top, rotated
from crossing_trials import dense, objective_of
from torch import Tensor

from workbench import probes
from workbench.coordinates import Subspace
from workbench.objective import Supervised

N_TOP, N_THROUGH = 30, 10  # eigenvalues of the whole space; those that the control's subspace contains
PRIOR = 30.0  # precision of the prior: a direction that costs nothing spreads by 0.18
SHARP = 100.0  # n beta times the mean curvature, over the prior: below its mean by that much, a direction counts half
CHAINS = {"n_chains": 4, "n_leapfrog": 20}


def curvature_trial(
    dataset: str,
    n_train: int | None,
    width: int,
    n_steps: int,
    dims: Sequence[int],
    n_rotations: int,
    n_examples: int | None,
    seed: int,
) -> dict[str, Any]:
    """Find the eigenvalues of the Hessian inside random subspaces through a trained network; the trial.

    Args:
        dataset: Name of the data.
        n_train: Training images; None for all.
        width: Hidden units.
        n_steps: Of the training.
        dims: Dimensions of the subspaces.
        n_rotations: Random subspaces of each dimension.
        n_examples: Training images that the loss is the mean of; None for all.
        seed: Replicate.

    Returns:
        Trace and top eigenvalues of the whole space; for each subspace of each dimension their sum and the largest,
        in ``rows``, with the predicted largest. Arm ``"through"`` contains the top eigenvectors, where there is room.
    """
    objective, theta = objective_of(dataset, n_train, width, seed), dense(dataset, n_train, width, n_steps, seed)
    where = {"n_examples": n_examples, "seed": seed}
    total = probes.trace(objective, theta, **where)
    pairs = probes.top_eigenpairs(objective, theta, min(N_TOP, objective.D), 1e-3, max_products=1500, **where)
    values, rows = torch.from_numpy(pairs.values.copy()), []
    for d in dims:
        arms = [("random", r, None) for r in range(n_rotations)]
        arms += [("through", 0, pairs.vectors[:N_THROUGH])] if d > N_THROUGH else []
        for arm, r, through in arms:
            inside = Subspace(theta, rotated(objective.D, d, seed, r, arm, through=through))
            found = probes.hessian(objective, inside.initial(), coordinates=inside, **where).eigenvalues()
            row = {"arm": arm, "d": d, "sum": float(found.sum()), "top": float(found[0])}
            rows.append(row | {"predicted": predicted_top(values, total.value, objective.D, d)})
    return {
        "seed": seed, "D": objective.D, "trace": total.value, "method": total.method, "values": pairs.values.tolist(),
        "error": float(pairs.errors.max()), "rows": rows,
    }  # fmt: skip


def behavioural(objective: Supervised, theta: Tensor, n_examples: int | None, seed: int) -> Supervised:
    """Return the squared error to the outputs at theta on some training images: its minimum, zero, is at theta."""
    own = objective.sample(n_examples, seed)
    x = torch.cat([x for x, _ in own.splits["train"].chunks(1000)])
    return Supervised(own.model, (x, own.logits(theta, "train")), loss="squared_error")


def coefficient_trial(
    dataset: str, n_train: int | None, width: int, n_steps: int, d: int, n_examples: int, n_draws: int, seed: int
) -> dict[str, Any]:
    """Estimate the learning coefficient inside a random subspace through a trained network; the trial.

    Args:
        dataset: Name of the data.
        n_train: Training images; None for all.
        width: Hidden units.
        n_steps: Of the training.
        d: Dimension of the subspace.
        n_examples: Training images that the loss is the mean of.
        n_draws: Proposals of each chain.
        seed: Replicate: network, subspace, chains.

    Returns:
        ``value`` (None where refused), ``interval``, why it is refused, R-hat, acceptance, and the ``count`` that the
        curvatures inside the subspace give, ``1/2 sum h / (h + prior / (n beta))``.
    """
    objective, theta = objective_of(dataset, n_train, width, seed), dense(dataset, n_train, width, n_steps, seed)
    loss = behavioural(objective, theta, n_examples, seed)
    heat = SHARP * PRIOR * objective.D / probes.trace(loss, theta).value
    inside = Subspace(theta, rotated(objective.D, d, seed, "coefficient"))
    curvatures = probes.hessian(loss, inside.initial(), coordinates=inside).eigenvalues()
    x, y = loss.train_batch(None)
    within = Supervised(Inside(loss, inside), (x, y), loss="squared_error")
    found = probes.learning_coefficient(
        within, within.theta_0, beta=heat / n_examples, prior=PRIOR, n_steps=n_draws, seed=seed, **CHAINS
    )
    kept = found.refused is None
    return {
        "seed": seed, "d": d, "value": found.value if kept else None, "refused": found.refused, "heat": heat,
        "interval": list(found.interval) if kept else None, "count": soft_count(curvatures, heat),
        "r_hat": found.r_hat.tolist(), "acceptance": found.acceptance.tolist(), "by_arm": found.by_arm.tolist(),
    }  # fmt: skip


def soft_count(curvatures: np.ndarray, heat: float, prior: float = PRIOR) -> float:
    """Return the learning coefficient of a quadratic at a temperature: half of each direction that it can tell."""
    h = np.maximum(curvatures, 0)
    return float((h / (h + prior / heat)).sum() / 2)

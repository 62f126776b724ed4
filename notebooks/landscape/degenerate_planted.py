"""ReLU networks with planted degeneracy, and the number of free directions that follows from how they are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from degenerate_trials import run
from torch import nn

from workbench import Sweep, probes
from workbench.errors import require, require_choice
from workbench.objective import Supervised
from workbench.seeds import generator

ZERO = 1e-10  # eigenvalues below this part of the largest count as zero
TILT = 0.3  # by how much twins differ, relative to their norm
FIRES = (0.2, 0.8)  # share of the inputs on which every unit fires


class Kind(NamedTuple):
    """What a group of units has in common: ``alpha`` and ``gamma``, see ``Group``; None is the group's size."""

    alpha: int | None
    gamma: int | None


KINDS = {
    "single": Kind(1, 1),
    "twins": Kind(None, None),  # fire together
    "copies": Kind(1, None),  # of one unit, but for a factor
    "merged": Kind(None, 1),  # twins whose outgoing weights are proportional
    "unread": Kind(1, 0),  # no outgoing weights
}


class Group(NamedTuple):
    """Units of one layer that fire on the same inputs."""

    kind: str
    size: int

    @property
    def alpha(self) -> int:
        """Rank of the incoming weights."""
        return KINDS[self.kind].alpha if KINDS[self.kind].alpha is not None else self.size  # type: ignore[return-value]

    @property
    def gamma(self) -> int:
        """Rank of the outgoing weights."""
        return KINDS[self.kind].gamma if KINDS[self.kind].gamma is not None else self.size  # type: ignore[return-value]


@dataclass(frozen=True)
class Design:
    """How a network is made; no group is larger than the ranks before and behind it.

    Attributes:
        inputs: Number of inputs.
        input_rank: Dimension of the subspace in which they lie.
        layers: Groups of every hidden layer.
        outputs: Number of outputs.
        bias: Whether layers have one.
    """

    inputs: int
    input_rank: int
    layers: tuple[tuple[Group, ...], ...]
    outputs: int
    bias: bool

    @property
    def widths(self) -> list[int]:
        """Inputs, hidden widths, outputs."""
        return [self.inputs, *(sum(g.size for g in groups) for groups in self.layers), self.outputs]

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return sum((a + self.bias) * b for a, b in zip(self.widths, self.widths[1:], strict=False))

    @property
    def free(self) -> int:
        """Free directions.

        Layer l reads activations of rank a_l, and gradients of rank g_l reach it, so that a_l g_l of its directions
        move the outputs. A group of units that fire together is linear there: what its incoming weights change (rank
        alpha), its outgoing ones (rank gamma) can change as well, alpha gamma directions, which are counted twice. For
        single units that is their scale, for s twins s^2. Hence, summed over layers and groups,

            effective = sum a_l g_l - sum alpha gamma,  a_(l+1) = sum alpha + bias,  g_l = sum gamma.
        """
        alphas = [sum(g.alpha for g in groups) for groups in self.layers]
        gammas = [sum(g.gamma for g in groups) for groups in self.layers]
        a = [each + self.bias for each in (self.input_rank, *alphas)]
        both = sum(g.alpha * g.gamma for groups in self.layers for g in groups)
        return self.n_parameters - (int(np.dot(a, [*gammas, self.outputs])) - both)


SIZES = {"small": (8, (10,), 5, True), "deep": (8, (12, 12), 6, False), "large": (16, (28, 24), 8, False)}
PLANTS: dict[str, tuple[Group, ...]] = {
    "nothing": (),
    "activations": (Group("copies", 3),),
    "gradients": (Group("unread", 1), Group("unread", 1), Group("merged", 2)),
    "twins": (Group("twins", 3), Group("twins", 2)),
    "all": (Group("copies", 2), Group("unread", 1), Group("merged", 2), Group("twins", 3)),
}


def design(plant: str, size: str) -> Design:
    """Return one of the study's designs: what is planted in each hidden layer, the rest single units."""
    require_choice("plant", plant, tuple(PLANTS))
    require_choice("size", size, tuple(SIZES))
    inputs, widths, outputs, bias = SIZES[size]
    rank = inputs - inputs // 4 if plant in ("activations", "all") else inputs
    return Design(inputs, rank, tuple(filled(PLANTS[plant], width) for width in widths), outputs, bias)


def filled(groups: Sequence[Group], width: int) -> tuple[Group, ...]:
    """Return the groups and as many single units as make up the width."""
    left = width - sum(g.size for g in groups)
    require(left >= 0, "width", "must have room for the planted groups", width)
    return (*groups, *[Group("single", 1)] * left)


def build(plan: Design, n_examples: int, seed: int) -> Supervised:
    """Make a network and inputs as planned; its targets are its own outputs, so the point is a minimum of loss zero.

    Of a larger number of inputs in the subspace those are kept on which all units of a group fire or none does.

    Args:
        plan: The design.
        n_examples: Inputs.
        seed: Weights and inputs.

    Returns:
        The squared error as a function of theta, in float64; ``theta_0`` is the minimum.

    Raises:
        InputError: If too few inputs are left, which other weights or less planting would mend.
    """
    rng = generator(seed, "planted", *plan.widths, plan.input_rank, plan.free)
    span = np.linalg.qr(rng.standard_normal((plan.inputs, plan.input_rank)))[0]
    x = rng.standard_normal((30 * n_examples, plan.input_rank)) @ span.T * np.sqrt(plan.inputs / plan.input_rank)
    values, before, layers = x, (), []
    for groups in plan.layers:
        rows: list[np.ndarray] = []
        for group in groups:
            rows += _members(rng, group, before, values, plan.bias)
        weight = np.array(rows)
        fires, first = _extended(values, plan.bias) @ weight.T > 0, 0
        kept = np.ones(len(values), dtype=bool)
        for group in groups:
            own = fires[:, first : first + group.size]
            kept &= own.all(1) | ~own.any(1)
            first += group.size
        x, values = x[kept], np.maximum(_extended(values[kept], plan.bias) @ weight.T, 0)
        before = groups
        layers.append(weight)
    require(len(x) >= n_examples, "n_examples", f"must be at most the {len(x)} on which groups agree", n_examples)
    last = rng.standard_normal((plan.outputs, values.shape[1] + plan.bias)) / np.sqrt(values.shape[1])
    layers.append(np.array([_planted_columns(row, before) for row in last]))
    return _objective(layers, x[:n_examples], plan.bias)


def _extended(values: np.ndarray, bias: bool) -> np.ndarray:
    return np.concatenate([values, np.ones((len(values), 1))], axis=1) if bias else values


def _planted_columns(row: np.ndarray, before: Sequence[Group]) -> np.ndarray:
    """Return a unit's incoming weights with those of the planted groups it reads as planted."""
    row, first = row.copy(), 0
    for group in before:
        if group.kind == "unread":
            row[first] = 0
        if group.kind == "merged":
            row[first : first + group.size] = row[first] * (1 + np.arange(group.size) / group.size)
        first += group.size
    return row


def _members(
    rng: np.random.Generator, group: Group, before: Sequence[Group], values: np.ndarray, bias: bool
) -> list[np.ndarray]:
    """Draw the incoming weights of a group's units; the first fires on neither few nor most of the inputs."""
    size = values.shape[1] + bias
    for _ in range(1000):
        base = _planted_columns(rng.standard_normal(size) / np.sqrt(size), before)
        if FIRES[0] < (_extended(values, bias) @ base > 0).mean() < FIRES[1]:
            break
    if group.kind == "copies":
        return [base * (1 + k / group.size) for k in range(group.size)]
    tilts = [_planted_columns(rng.standard_normal(size), before) for _ in range(group.size - 1)]
    return [base, *(base + TILT * np.linalg.norm(base) * tilt / np.linalg.norm(tilt) for tilt in tilts)]


def _objective(layers: Sequence[np.ndarray], x: np.ndarray, bias: bool) -> Supervised:
    """Return the loss of a network of given weights whose targets are its outputs."""
    modules: list[nn.Module] = []
    for weight in layers:
        linear = nn.Linear(weight.shape[1] - bias, len(weight), bias=bias, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight[:, : weight.shape[1] - bias]))
            if bias:
                linear.bias.copy_(torch.from_numpy(weight[:, -1]))
        modules += [linear, nn.ReLU()]
    network, inputs = nn.Sequential(*modules[:-1]), torch.from_numpy(x)
    with torch.no_grad():
        return Supervised(network, (inputs, network(inputs)), loss="squared_error", dtype=torch.float64)


def n_zero(values: np.ndarray) -> int:
    """Return how many eigenvalues are zero but for rounding."""
    return int((np.abs(values) <= ZERO * np.abs(values).max()).sum())


def planted_trial(plant: str, size: str, n_examples: int, seed: int) -> dict[str, Any]:
    """Compare a planted network's predicted number of free directions with its Hessian; the trial.

    Args:
        plant: What is planted, of ``PLANTS``.
        size: Of ``SIZES``.
        n_examples: Inputs for each output and hundred parameters, at least 300 in all.
        seed: Weights and inputs.

    Returns:
        ``predicted``, ``zeros``, what ranks alone leave free (``by_rank``), D, and all eigenvalues over the largest.
    """
    plan = design(plant, size)
    objective = build(plan, max(300, n_examples * plan.n_parameters // (100 * plan.outputs)), seed)
    values = probes.hessian(objective, objective.theta_0).eigenvalues()
    ranks = probes.degeneracy(objective, objective.theta_0)
    return {
        "plant": plant, "size": size, "seed": seed, "D": plan.n_parameters, "predicted": plan.free,
        "zeros": n_zero(values), "by_rank": ranks.free, "values": (values / values[0]).tolist(),
    }  # fmt: skip


def measure(
    sweep: Sweep, tick: Callable[[float], None], sizes: Sequence[str], seeds: Sequence[int], n_examples: int
) -> pd.DataFrame:
    """Run every plant, size and seed; return a row a network, its eigenvalues in ``values``."""
    asked = [
        {"plant": plant, "size": size, "n_examples": n_examples, "seed": seed}
        for size in sizes
        for plant in PLANTS
        for seed in seeds
    ]
    return pd.DataFrame(run(sweep, planted_trial, asked, tick))

"""Checks of the exercises on crossings: each knows the right answer, and why the likely wrong ones are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.exercises import check
from workbench.seeds import generator


def check_inside(function: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Check the eigenvalues of a quadratic inside a subspace, from H, shape ``(D, D)``, and P, shape ``(D, d)``."""
    rng = generator(0, "check", "inside")
    half, P = rng.standard_normal((6, 6)), np.linalg.qr(rng.standard_normal((6, 3)))[0]
    H = half @ half.T
    right = np.linalg.eigvalsh(P.T @ H @ P)[::-1]
    slips = (
        (right[::-1], "the largest first."),
        (np.linalg.eigvalsh(H)[::-1][:3], "these are the largest of the whole space: P is not in them."),
        (np.diag(P.T @ H @ P), "this is the diagonal of P'HP; its eigenvalues are asked for."),
        (np.linalg.eigvalsh(P @ P.T @ H @ P @ P.T)[::-1], "these are D numbers; the zeros outside are no part of it."),
    )
    note = "Their sum is the trace of P'HP, whose mean over rotations is d/D times the trace of H."
    check(function(H, P), right, slips=slips, rtol=1e-5, hint="The Hessian in phi is P'HP.", note=note)


def check_steps(function: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Check the factor per halving of density from densities and dimensions."""
    density, d = np.array([1, 0.5, 0.25, 0.125]), np.array([100.0, 70.0, 60.0, 40.0])
    slope = np.polyfit(-np.log2(density), np.log(d), 1)[0]
    right = float(np.exp(slope))
    slips = (
        (1 / right, "upside down: d is multiplied by it when the density is halved, not doubled."),
        (slope, "this is the slope of log d; a factor is asked for."),
        (float(np.exp(np.polyfit(np.log(density), np.log(d), 1)[0])), "per factor e of density; a halving is a step."),
        (float((d[-1] / d[0]) ** (1 / 3)), "this uses the two ends alone; fit a line through all logs."),
        (float(np.exp(np.polyfit(-np.log2(density), np.log2(d), 1)[0])), "log2 on one side and exp on the other."),
    )
    check(function(density, d), right, slips=slips, rtol=1e-5, hint="A line through log d over -log2 density.")


def check_soft(function: Callable[[np.ndarray, float, float], Any]) -> None:
    """Check the learning coefficient that curvatures give at a temperature with a prior."""
    h, heat, prior = np.array([4.0, 1.0, 0.1, 0.0]), 50.0, 10.0
    right = float((heat * h / (heat * h + prior)).sum() / 2)
    slips = (
        (2 * right, "each direction counts at most a half."),
        (len(h) / 2, "this is d/2: it takes every direction for one that the temperature can tell."),
        (float((h > 0).sum() / 2), "this is the count at temperature zero; weigh each direction by the prior too."),
        (float((h / (h + prior)).sum() / 2), "n beta is missing: the chains feel n beta times the loss."),
        (float((prior / (heat * h + prior)).sum() / 2), "this is what the prior holds; the loss holds the rest."),
    )
    hint = "Each direction is normal with precision n beta h + prior: what is n beta h/2 times its variance?"
    check(function(h, heat, prior), right, slips=slips, hint=hint, note="Without a prior it would be half the rank.")

"""The tour's claims, their rules, its networks and trials, and the judgement."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtrit
from torch import Tensor

import workbench
from workbench import merging, probes
from workbench.datasets import Dataset
from workbench.errors import require
from workbench.study import Claim, Finding, Study, judge_interval, n_to_decide

N_CLASSES, N_LOOKED = 10, 30  # eigenvalues among which the outliers end
SEEDS, WIDTH, STEPS = 5, 32, 2000  # what the rules ask for
FACTOR, RADIUS, ADAPTIVE_RADIUS = 5.0, 0.05, 0.5  # of the rescaled layer; of the balls of sharpness
MOVED, KEPT, SAME, HALF, NEAR = 2.0, 0.01, 1e-6, 0.5, 2
PARTNER = 100  # seed s is joined with a network of its own: s + 100
_ASKED = f"; at least {SEEDS} seeds, {WIDTH} hidden units, {STEPS:,} steps"
CLAIMS = (
    Claim(
        "outliers",
        "emergent-local-geometry",
        "After training, as many eigenvalues of the Hessian stand out from the bulk as there are classes.",
        f"k = where eigenvalue k over eigenvalue k + 1 is largest, among the first {N_LOOKED}: the mean over seeds is "
        f"{N_CLASSES} - {NEAR} to {N_CLASSES} + {NEAR}" + _ASKED,
        ("digits",),
    ),
    Claim(
        "tiny",
        "gradient-tiny-subspace",
        "After training, the gradient lies mostly in the span of as many top eigenvectors as there are classes.",
        f"the top {N_CLASSES} eigenvectors hold at least half of the training loss's squared gradient" + _ASKED,
        ("digits",),
    ),
    Claim(
        "rescaled",
        "sharp-minima-generalize",
        "Rescaling a layer moves the top eigenvalue and leaves the function; a measure in each weight's unit stays.",
        f"first layer times {FACTOR:g}, second over {FACTOR:g}: the top eigenvalue grows at least {MOVED:g} times, in "
        f"every seed outputs change by at most {SAME:g} and adaptive sharpness by at most {100 * KEPT:g} %" + _ASKED,
        ("digits",),
    ),
    Claim(
        "aligned",
        "git-re-basin",
        "Reordering units to match takes most of the barrier between two independently trained networks away.",
        "barrier of training loss after weight matching over that before: at most a half" + _ASKED,
        ("digits",),
    ),
)

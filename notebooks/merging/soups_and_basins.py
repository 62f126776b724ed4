"""The study's claims and their rules."""

from workbench.study import Claim

SOUPS, FISHER = "model-soups", "fisher-merging"
REPEATS, RUNS = 5, 16  # what the rules ask for
GAIN = {"mnist": (0.2, 0.5), "digits": (0.0, 0.0)}  # of the greedy soup, in points: in distribution, shifted
POSITIVE = 0.8  # share of repeats in which the soup gains
LOW, HIGH, CORRELATION = 2.0, 20.0, 0.6  # barriers in points of test error
MARGIN, NEAR = 1.0, 1.0  # Fisher over plain in points; distance to the joint optimum in % of its norm
_ON = ("digits", "mnist")
CLAIMS = (
    Claim(
        "soup",
        SOUPS,
        "A greedy soup of fine-tunings is better than the best single one in distribution.",
        f"greedy soup >= best single + 0.2 points on average, positive in >= 4/5 repeats (digits: above it, as 360 "
        f"images decide no fifth of a point); at least {REPEATS} repeats of {RUNS} fine-tunings",
        _ON,
    ),
    Claim(
        "shift",
        SOUPS,
        "It is better under shift too.",
        f"greedy soup >= best single + 0.5 points on rotated and noisy images on average, positive in >= 4/5 repeats "
        f"(digits: above it); at least {REPEATS} repeats of {RUNS} fine-tunings",
        _ON,
    ),
    Claim(
        "basin",
        SOUPS,
        "Fine-tunings of one start share a basin.",
        f"barrier of test error < {LOW:g} points for a shared start, mean over pairs; at least {REPEATS} repeats",
        _ON,
    ),
    Claim(
        "apart",
        SOUPS,
        "Runs of independent starts do not.",
        f"barrier of test error > {HIGH:g} points for independent starts, mean over pairs; at least {REPEATS} repeats",
        _ON,
    ),
    Claim(
        "gap",
        SOUPS,
        "Flatness and confidence predict by how much the loss of a pair's soup differs from its ensemble's.",
        f"correlation >= {CORRELATION:g} over the pairs of a shared start, mean of the repeats; at least {REPEATS} "
        "repeats",
        _ON,
    ),
    Claim(
        "experts",
        FISHER,
        "Fisher weights merge experts better than a plain average does.",
        f"Fisher >= plain + {MARGIN:g} point with equal grids of lambda, chosen on validation, mean of class-split and "
        f"rotation experts; at least {REPEATS} seeds",
        _ON,
    ),
    Claim(
        "donor",
        FISHER,
        "They merge a donor task into a target better too.",
        f"Fisher >= plain + {MARGIN:g} point with equal grids of lambda, chosen on validation; at least {REPEATS} "
        "seeds",
        _ON,
    ),
    Claim(
        "toy",
        FISHER,
        "Where the Fisher matrix is diagonal, Fisher merging finds the joint optimum and the plain average does not.",
        f"logistic regression, features active one at a time: distance to the joint optimum <= {NEAR:g} % of its norm "
        f"for Fisher merging, > {NEAR:g} % for the plain average; at least {REPEATS} seeds",
    ),
)

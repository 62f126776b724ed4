"""The study's claims and their rules, fixed before the first run."""

from workbench.study import Claim

SHARING, SPARSE = "parameter-sharing-vs-pruning", "sparse-iso-flop"
MARGINS, MARGIN = {"digits": 0.015}, 0.003  # of accuracy: what a test of 360 images can tell; on any other data
COMPRESSIONS = {"mlp": (1, 2, 5, 10, 20, 50, 100), "lenet": (2, 10, 50)}
NEEDED = {"mlp": 5, "lenet": 2}  # compressions at which sharing must keep up
HIGH = 50  # compression from which on sharing must beat tickets
SEEDS = {"mlp": 3, "lenet": 2}  # that the rules ask for
WIDE_SEEDS = {"mlp": 5, "cnn": 2}
SPARSITIES, GAIN = (0.5, 0.75, 0.9), 0.005
AGREES = 0.05  # relative, simulation and closed form
_ON = ("digits", "mnist", "fashion_mnist")
CLAIMS = (
    Claim(
        "pruners",
        SHARING,
        "A randomly shared memory does as well as the best mask that is drawn before training, at every compression.",
        "stable sharing >= best of random, SNIP, GraSP and SynFlow - 0.3 points (digits: 1.5) at >= 5 of the 7 "
        "compressions 1, 2, 5, 10, 20, 50, 100 (MLP) and at >= 2 of 2, 10, 50 (LeNet); at least 3 and 2 seeds",
        _ON,
    ),
    Claim(
        "tickets",
        SHARING,
        "At high compression it beats even lottery tickets, whose masks are found by training again and again.",
        "stable sharing > tickets by 1 standard error (seeds and test examples) at every compression >= 50: MLP at 50 "
        "and 100, LeNet at 50; at least 3 and 2 seeds",
        _ON,
    ),
    Claim(
        "stable",
        SHARING,
        "At compression 1 the stable variant keeps the dense network's accuracy.",
        "stable sharing at compression 1 within 0.3 points of the dense MLP (digits: 1.5); at least 3 seeds",
        _ON,
    ),
    Claim(
        "wide",
        SPARSE,
        "A wider sparse layer in a dense one's place, at equal multiply-accumulates, raises accuracy with unchanged "
        "hyperparameters, and its mask must move.",
        "of Wide and Parallel at sparsity 50, 75 and 90 %, the one with RigL of the highest validation accuracy beats "
        "dense by >= 0.5 points (p < 0.05: its 95 % interval above 0), in the MLP and in the CNN, and RigL >= static "
        "mask there; at least 5 and 2 seeds",
        _ON[1:],
    ),
    Claim(
        "linear",
        "textbook",
        "In a linear model the expected errors of hashed and of pruned least squares have a closed form.",
        "simulated over exact error lies in [0.95, 1.05] for every arm at every compression, independent and "
        "correlated inputs",
    ),
)

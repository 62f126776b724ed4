"""The study's claims and their rules, all of them predictions of its own; ``crossing_verdicts`` judges them."""

from workbench.study import Claim

PAPER = "own prediction"
SEEDS = 4  # what the rules ask for at least
NEAR = {"digits": 0.02, "mnist": 0.01}  # accuracy stays: within this of the dense network's
FALLEN = {"digits": 0.03, "mnist": 0.01}  # accuracy has fallen: by this, under pruning without training
FRACTION, FACTOR, RATIO = 0.9, 0.9, 0.8
TRACE, TOP, FROM_TRACE, FROM_TOP = (0.9, 1.1), (0.8, 1.25), 16, 64
HALF, LEAVES, WHERE = 1.05, 0.9, (2 / 3, 3 / 2)
BARRIER, DENSITY, FURTHER = 0.1, 0.125, 1.25
IMAGES = ("digits", "mnist")
CLAIMS = (
    Claim(
        "falls",
        "own prediction",
        "Pruned by magnitude and put back to its start, a network has the fewer intrinsic dimensions the fewer weights "
        "it keeps, as long as accuracy stays.",
        "d at 90 % of the dense network's accuracy, over the densities from 1 down to the last at which training all "
        "kept weights comes within 2 points (MNIST: 1) of dense, at least three of them: factor per halving of density "
        "(slope of log d) at most 0.9, mean over seeds; at least 4 seeds",
        ("digits", "mnist"),
    ),
    Claim(
        "shuffled",
        "own prediction",
        "The fall is due to which weights are kept, not to how many.",
        "at the last of these densities: d with magnitude masks over d with the same masks shuffled within each layer "
        "at most 0.8, geometric mean over seeds; at least 4 seeds",
        ("digits", "mnist"),
    ),
    Claim(
        "start",
        "own prediction",
        "It is due to the start too: with another start the same mask needs more dimensions.",
        "at the last of these densities: d with magnitude masks and their own start over d with the same masks and "
        "another start at most 0.8, geometric mean over seeds; at least 4 seeds",
        ("digits", "mnist"),
    ),
    Claim(
        "trace",
        "own prediction",
        "Control: the curvatures inside a random subspace of dimension d sum to d/D of the trace.",
        "at the trained dense network, orthonormal random P: sum of the d eigenvalues over d/D times the exact trace "
        "in [0.9, 1.1] at every tested d from 16 on, mean over networks and rotations; at least 4 seeds",
    ),
    Claim(
        "top",
        "own prediction",
        "The top curvature inside a random subspace is a straight line in d/D, from what the other outliers push to "
        "the whole space's top eigenvalue.",
        "top eigenvalue over t l_1 + (1 - t)/D sum_{i>1} l_i l_1/(l_1 - l_i), t = d/D, nothing fitted: in [0.8, 1.25] "
        "at every tested d from 64 to D/4, mean over networks and rotations; and l_1 itself to 1 % in subspaces of the "
        "same d that contain the top 10 eigenvectors; at least 4 seeds",
    ),
    Claim(
        "half",
        "own prediction",
        "Control: the learning coefficient inside a subspace of dimension d is at most d/2.",
        "mean over networks of lambda over d/2 at most 1.05 at every tested d with at least 4 networks whose chains "
        "are not refused",
    ),
    Claim(
        "leaves",
        "own prediction",
        "It leaves d/2 where the curvatures inside the subspace say so.",
        "d at which lambda falls below 0.9 d/2 (interpolated in log d) over the d at which 1/2 sum h/(h + prior/(n "
        "beta)) does, h the eigenvalues of P'HP: in [2/3, 3/2], geometric mean over networks; refused chains are "
        "missing; at least 4 networks",
    ),
    Claim(
        "barrier",
        "own prediction",
        "Pruned and retrained, a network stays in the dense network's basin.",
        "density 1/8, retrained from the pruned weights: barrier of training loss to the dense network over that "
        "between it and a dense network trained from another start at most 0.1, mean over seeds; at least 4 seeds",
        ("digits", "mnist"),
    ),
    Claim(
        "further",
        "own prediction",
        "A solution found inside a random subspace does not prune further than one trained directly, but less far.",
        "d = D/8, magnitude pruning without retraining: density at which accuracy falls by 3 points (MNIST: 1) below "
        "its own, over that of the directly trained network, at least 1.25, geometric mean over seeds; at least 4 "
        "seeds",
        ("digits", "mnist"),
    ),
)

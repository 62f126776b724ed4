"""A share of networks in bits: counted with its interval, and by laws fitted to a histogram of errors."""

import numpy as np
from scipy.special import betaincinv, chdtr, log_ndtr, ndtri

ENDS = (0.1, 0.01)  # shares through which the law of the tail goes
FITS = ("gaussian", "tail", "chi-squared")


def errors(target: float, n: int) -> int:
    """Return the most wrong answers of n that a target error allows."""
    return int(target * n + 1e-9)


def bits(hits: np.ndarray, draws: int) -> np.ndarray:
    """Return ``-log2`` of a counted share, ``(hits + 1/2) / (draws + 1)``, finite where there is no hit."""
    return np.asarray(-np.log2((np.asarray(hits) + 0.5) / (draws + 1)))


def bits_interval(hits: np.ndarray, passes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a counted share in bits, by Clopper and Pearson; inf where nothing was hit.

    Each pass stands for f and -f, of which one at most is a hit: hits are binomial of ``passes`` with twice the share.
    """
    hits = np.asarray(hits, dtype=float)
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), passes - hits + 1, 0.025), 0)
    high = np.where(hits < passes, betaincinv(hits + 1, np.maximum(passes - hits, 1), 0.975), 1)
    with np.errstate(divide="ignore"):
        return 1 - np.log2(high), 1 - np.log2(low)


def fitted_bits(counts: np.ndarray, most: int) -> dict[str, float]:
    """Return the bits of at most so many wrong answers by laws fitted to a histogram of f and -f.

    Args:
        counts: How many networks have 0, 1, ... wrong answers, symmetric.
        most: Wrong answers that are allowed; half an answer is added, as the laws are continuous.

    Returns:
        gaussian: mean and standard deviation of all networks. tail: the Gaussian through the largest numbers of wrong
        answers that a tenth and a hundredth of them stay within, nan where these are one. chi-squared: a multiple of a
        chi-squared variable with that mean and deviation, as errors that are sums of squares have it.
    """
    k, total = np.arange(len(counts)), counts.sum()
    mean = float(counts @ k / total)
    deviation = float(np.sqrt(counts @ (k - mean) ** 2 / total))
    with np.errstate(divide="ignore", invalid="ignore"):
        bell = -log_ndtr((most + 0.5 - mean) / deviation) / np.log(2)
        square = -np.log2(chdtr(2 * mean**2 / deviation**2, (most + 0.5) * 2 * mean / deviation**2))
    below = counts.cumsum() / total
    ends = [int((below <= end).sum()) - 1 for end in ENDS]
    straight = np.nan
    if ends[0] > ends[1] >= 0 and below[ends[1]] > 0:
        z = ndtri(below[ends])
        at = z[0] + (z[0] - z[1]) / (ends[0] - ends[1]) * (most - ends[0])
        straight = float(-log_ndtr(at) / np.log(2))
    return dict(zip(FITS, (float(bell), straight, float(square)), strict=True))

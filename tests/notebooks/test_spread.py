"""The ratio of several intrinsic dimensions: exact cases and coverage."""

import math

import numpy as np
import pytest
from spread import spread_interval, spread_ratio

from tests.tables import baseline, noisy, power_law, table
from workbench.dimension import intrinsic_dim
from workbench.errors import InputError
from workbench.seeds import generator
from workbench.statistics import student_draws


@pytest.mark.parametrize("truth", [[0.0, 0.0, 0.0, 0.0], [0.0, 0.1, 0.2, 0.6]])
def test_spread_interval_covers_though_the_spread_is_biased_upward(truth):
    rng = generator(4, "spread")
    hits, spreads = [], []
    for _ in range(150):
        values = np.array(truth) + 0.1 * rng.standard_normal(4)
        draws = [v + 0.1 * rng.standard_normal(500) for v in values]
        spread, low, high = spread_interval(values, draws)
        hits.append(low <= np.ptp(truth) <= high)
        spreads.append(spread)
    assert np.mean(spreads) > np.ptp(truth)
    assert np.mean(hits) >= 0.93


def test_spread_interval_does_not_pair_draws_of_one_seed():
    draws = student_draws(0, 2000, generator(0, "same"))
    _, low, high = spread_interval([0.0, 0.0], [draws, draws])
    assert low == 0
    assert high == pytest.approx(1.96 * np.sqrt(2), rel=0.1)


def test_spread_ratio_of_widths():
    estimates = [intrinsic_dim(noisy(seed), baseline([0.977, 0.978, 0.979])) for seed in range(4)]
    ratio, low, high = spread_ratio(estimates)
    assert 1 <= low <= ratio <= high < 2
    assert low == 1
    censored = intrinsic_dim(table([50, 100], power_law([50, 100]), n_seeds=3), baseline())
    assert spread_ratio([*estimates, censored])[2] == math.inf
    assert censored.value < min(e.value for e in estimates)
    assert spread_ratio([*estimates, censored])[1] == 1  # it may be as large as the others
    below = intrinsic_dim(table([50, 100], power_law([9000, 9900]), n_seeds=3), baseline())
    assert spread_ratio([*estimates, below])[1] > 2  # it can only be still smaller
    alone = intrinsic_dim(noisy(n_seeds=1), baseline())
    assert spread_ratio([*estimates, alone])[1:] == (None, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spread_ratio([]), "estimates must be at least two"),
        (lambda: spread_interval([1.0], []), "draws must be one array"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

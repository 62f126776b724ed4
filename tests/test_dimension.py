"""Intrinsic dimension: exact answers, censoring, no table without an answer."""

import json
import math

import numpy as np
import pytest

from tests.tables import D, answered, baseline, noisy, power_law, table
from workbench.dimension import Runs, intrinsic_dim
from workbench.errors import InputError
from workbench.seeds import generator


@pytest.mark.parametrize("offsets", [(1.0,), (0.8, 1.0, 1.25)])
def test_a_noiseless_power_law_is_recovered(offsets):
    """The offsets average in log error, so their geometric mean of 1 leaves the crossing in place."""
    dims = np.array([150, 300, 500, 700, 1200, 2400])
    scores = np.concatenate([1 - (1 - power_law(dims)) * o for o in offsets])
    runs = Runs(np.tile(dims, len(offsets)), np.repeat(np.arange(len(offsets)), 6), scores)
    estimate = intrinsic_dim(runs, baseline())
    assert estimate.method == "line"
    assert estimate.value == pytest.approx(560, rel=1e-6)


def test_a_step_lies_between_the_last_failing_and_the_first_passing_d():
    estimate = intrinsic_dim(table([10, 50, 100, 200], [0.1, 0.1, 0.95, 0.95], n_seeds=3), baseline())
    assert 50 <= estimate.value <= 100
    assert estimate.low <= estimate.value <= estimate.high


def test_without_a_slope_the_isotonic_curve_is_interpolated():
    """Each seed alone at its d: no slope within seeds, so straight lines in log d."""
    runs = Runs(np.array([10, 100]), np.array([0, 1]), np.array([0.5, 0.9]))
    estimate = intrinsic_dim(runs, baseline([0.7], 1000), 1.0)
    assert estimate.method == "isotonic"
    assert estimate.value == pytest.approx(math.sqrt(1000), rel=1e-9)


def test_ties_and_a_decreasing_curve_still_give_an_answer():
    flat = intrinsic_dim(table([10, 20, 40, 80], [0.2, 0.6, 0.6, 0.9]), baseline([0.6], 100), 1.0)
    assert 10 <= flat.value <= 40
    falling = intrinsic_dim(table([10, 20, 40], [0.9, 0.8, 0.7]), baseline([0.8], 100), 1.0)
    assert falling.censored == "below"


@pytest.mark.parametrize(
    ("dims", "censored", "text"), [([50, 100, 200], "above", "> 200"), ([800, 1600], "below", "<= 800")]
)
def test_censored_answers_are_said_as_such(dims, censored, text):
    estimate = intrinsic_dim(table(dims, power_law(dims), n_seeds=3), baseline())
    assert estimate.censored == censored
    assert str(estimate) == text
    assert (estimate.high == math.inf) if censored == "above" else (estimate.low == 0)


def test_an_end_that_no_run_supports_is_infinite():
    runs = noisy(dims=(200, 330, 570), sd=0.006)
    estimate = intrinsic_dim(runs, baseline(), 0.895)
    assert estimate.censored is None
    assert estimate.high == math.inf
    assert str(estimate).endswith("> 570]")
    assert json.loads(json.dumps(estimate.record(), allow_nan=False))["high"] is None


def test_one_seed_has_no_interval_of_seeds():
    estimate = intrinsic_dim(noisy(n_seeds=1), baseline())
    assert (estimate.low, estimate.high, estimate.covers) == (None, None, ())
    assert "one seed" in str(estimate)


def test_one_seed_with_examples_has_an_interval_of_examples_only():
    rng = generator(0, "examples")
    latent, dims = rng.uniform(size=1000), [200, 400, 800, 1600]
    runs, full = answered(dims, latent, power_law(dims)), answered([D], latent, [0.88 / 0.9])
    estimate = intrinsic_dim(runs, full)
    assert estimate.covers == ("examples",)
    assert estimate.low < estimate.value < estimate.high
    assert str(estimate).endswith("(one seed: interval leaves seeds out)")


def test_paired_examples_cancel():
    """Runs and baseline wrong on the same examples: an absolute threshold feels them more than 0.99 of the baseline."""
    latent = generator(1, "paired").uniform(size=400)
    dims = [25, 50, 100, 200, 400, 800]
    runs, full = answered(dims, latent, power_law(dims, slope=0.2, truth=100)), answered([5000], latent, [0.89])
    local = intrinsic_dim(runs, full, 0.99)
    absolute = intrinsic_dim(runs, full, threshold=local.threshold)
    assert np.std(local.log_draws) < 0.6 * np.std(absolute.log_draws)


def test_a_diverged_run_counts_as_failing():
    clean = noisy()
    scores = clean.scores.copy()
    scores[(clean.dims == 560) & (clean.seeds == 1)] = np.nan
    estimate = intrinsic_dim(Runs(clean.dims, clean.seeds, scores), baseline([0.977, np.nan]))
    assert estimate.n_diverged == 2
    assert str(estimate).endswith("(2 diverged)")
    assert estimate.value > intrinsic_dim(clean, baseline([0.977])).value
    assert intrinsic_dim(Runs(clean.dims, clean.seeds, scores * np.nan), baseline()).censored == "above"


def test_the_estimate_rises_with_the_threshold_and_does_not_depend_on_order():
    for seed in range(8):
        runs = noisy(seed)
        values = [intrinsic_dim(runs, baseline(), threshold=t).value for t in np.linspace(0.84, 0.91, 20)]
        assert (np.diff(values) > 0).all()
    order = generator(0, "order").permutation(len(runs))
    again = intrinsic_dim(Runs(runs.dims[order], runs.seeds[order], runs.scores[order]), baseline())
    reference = intrinsic_dim(runs, baseline())
    assert (again.value, again.low, again.high) == pytest.approx((reference.value, reference.low, reference.high))


def test_a_line_that_leaves_its_window_is_not_trusted():
    """Only a diverged run below the threshold: the slope of the others would put the crossing far under it."""
    dims, scores = [4, 184, 826, 1156, 1268], [np.nan, 0.935, 0.970, 0.966, 0.967]
    estimate = intrinsic_dim(table(dims, scores), baseline(), threshold=0.6)
    assert estimate.method == "isotonic"
    assert 4 < estimate.value < 184


def test_any_table_has_an_answer_within_its_interval():
    for seed in range(200):
        rng = generator(seed, "any table")
        pairs = np.unique(rng.integers((1, 0), (200, 3), size=(int(rng.integers(1, 20)), 2)), axis=0)
        scores = np.where(rng.uniform(size=len(pairs)) < 0.1, np.nan, np.round(rng.uniform(size=len(pairs)), 1))
        estimate = intrinsic_dim(Runs(*pairs.T, scores), baseline(total=200), float(rng.uniform(0.1, 1)))
        assert 1 <= estimate.value <= 200
        if estimate.low is not None:
            assert estimate.low <= estimate.value * (1 + 1e-9)
            assert estimate.value <= estimate.high * (1 + 1e-9)


def test_the_baselines_own_spread_widens_the_interval():
    runs = noisy()
    steady = intrinsic_dim(runs, baseline([0.977, 0.978, 0.979]))
    shaky = intrinsic_dim(runs, baseline([0.968, 0.978, 0.988]))
    assert shaky.covers == ("seeds", "baseline")
    assert shaky.value == pytest.approx(steady.value)
    assert shaky.high / shaky.low > 1.2 * steady.high / steady.low


def examples(n):
    return Runs([1], [0], [1.0], np.ones((1, n), bool))


RUNS = table([100, 1000], [0.8, 0.9])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Runs([], [], []), "dims must be a non-empty list"),
        (lambda: Runs([1.5], [0], [0.1]), "dims must be integers"),
        (lambda: Runs([0], [0], [0.1]), "dims must be integers of at least 1"),
        (lambda: Runs([1, 2], [0], [0.1, 0.2]), "seeds must be 2 integers"),
        (lambda: Runs([1, 2], [0, 0], [0.1]), "scores must be 2 numbers"),
        (lambda: Runs([1, 1], [0, 0], [0.1, 0.2]), "seeds must not repeat at one d"),
        (lambda: Runs([1], [0], [np.inf]), "scores must be finite"),
        (lambda: Runs([1], [0], [0.5], np.array([[1, 0]])), "correct must be boolean"),
        (lambda: Runs([1], [0], [0.7], np.array([[True, False]])), "correct must average to the scores"),
        (lambda: intrinsic_dim(RUNS, baseline(), 0.0), r"fraction must be in \(0, 1\]"),
        (lambda: intrinsic_dim(RUNS, baseline(), 1.1), r"fraction must be in \(0, 1\]"),
        (lambda: intrinsic_dim(RUNS, baseline(), True), r"fraction must be in \(0, 1\], got True"),
        (lambda: intrinsic_dim(RUNS, baseline(), "banana"), r"fraction must be in \(0, 1\]"),
        (lambda: intrinsic_dim(RUNS, baseline(total=500)), "dims must be in 1..D=500, got 1000"),
        (lambda: intrinsic_dim(RUNS, RUNS), "baseline must be runs at d = D alone"),
        (lambda: intrinsic_dim(RUNS, baseline([np.nan])), "baseline must hold a run that did not diverge"),
        (lambda: intrinsic_dim(RUNS, baseline([-3.0])), "baseline must have a positive mean"),
        (lambda: intrinsic_dim(RUNS, baseline(), threshold="global"), "threshold must be 'local' or a number"),
        (lambda: intrinsic_dim(RUNS, baseline([475.0])), "scores must be at most 1, got 475.0; divide returns"),
        (lambda: intrinsic_dim(examples(50), examples(40)), "correct must be over the same test examples"),
        (lambda: intrinsic_dim(RUNS, baseline(), level=95), "level must be between 0 and 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

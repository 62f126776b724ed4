"""Intrinsic dimension: exact answers, censoring, error and coverage by simulation, the search."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from workbench.dimension import Runs, both_thresholds, grid, intrinsic_dim, search, spread_ratio
from workbench.errors import InputError
from workbench.seeds import generator

D = 199_210


def power_law(d, slope=0.55, truth=560.0):
    """Accuracy whose log error is linear in log d: 0.88 at ``truth``."""
    return 1 - 0.12 * (np.asarray(d, dtype=float) / truth) ** -slope


def baseline(scores=(0.88 / 0.9,), total=D):
    return Runs(np.full(len(scores), total), np.arange(len(scores)), np.array(scores))


def table(dims, scores, n_seeds=1):
    dims = np.asarray(dims)
    seeds = np.repeat(np.arange(n_seeds), len(dims))
    return Runs(np.tile(dims, n_seeds), seeds, np.tile(scores, n_seeds))


def noisy(seed=0, n_seeds=3, sd=0.004, dims=(200, 330, 560, 900, 1600)):
    rng = generator(seed, "noisy")
    return grid(
        lambda pairs: [float(power_law(d) + sd * rng.standard_normal()) for d, _ in pairs], dims, range(n_seeds)
    )


@pytest.mark.parametrize("offsets", [(1.0,), (0.8, 1.0, 1.25)])
def test_a_noiseless_power_law_is_recovered(offsets):
    """The offsets average in log error, so their geometric mean of 1 leaves the crossing in place."""
    dims = np.array([150, 300, 500, 700, 1200, 2400])
    scores = np.concatenate([1 - (1 - power_law(dims)) * o for o in offsets])
    runs = Runs(np.tile(dims, len(offsets)), np.repeat(np.arange(len(offsets)), 6), scores)
    estimate = intrinsic_dim(runs, baseline())
    assert estimate.method == "line"
    assert estimate.value == pytest.approx(560, rel=1e-6)


def test_both_thresholds_come_from_the_same_runs():
    local, absolute = both_thresholds(table([200, 400, 800, 1600], power_law([200, 400, 800, 1600])), baseline())
    assert local.value == pytest.approx(560, rel=1e-6)
    assert absolute.value == pytest.approx(560 * 1.2 ** (1 / 0.55), rel=1e-6)
    assert (local.fraction, absolute.fraction, absolute.threshold) == (0.9, None, 0.9)


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
    latent = rng.uniform(size=1000)

    def run(pairs):
        return [(float((right := latent < power_law(d)).mean()), right) for d, _ in pairs]

    runs = grid(run, [200, 400, 800, 1600], [0])
    full = grid(lambda pairs: [(float((right := latent < 0.88 / 0.9).mean()), right) for _ in pairs], [D], [0])
    estimate = intrinsic_dim(runs, full)
    assert estimate.covers == ("examples",)
    assert estimate.low < estimate.value < estimate.high
    assert str(estimate).endswith("(one seed: interval leaves seeds out)")


def test_paired_examples_cancel():
    """Runs and baseline wrong on the same examples: an absolute threshold feels them more than 0.99 of the baseline."""
    latent = generator(1, "paired").uniform(size=400)

    def run(pairs):
        scores = {d: power_law(d, slope=0.2, truth=100) if d < 5000 else 0.89 for d, _ in pairs}
        return [(float((right := latent < scores[d]).mean()), right) for d, _ in pairs]

    runs, full = grid(run, [25, 50, 100, 200, 400, 800], [0]), grid(run, [5000], [0])
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


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parent / "benchmarks" / "bench_estimator.py"
    spec = importlib.util.spec_from_file_location("bench_estimator", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_estimator"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_estimator"]


def test_nine_runs_are_accurate_and_the_usual_rule_is_biased(bench):
    nine = bench.simulate(bench.World(), bench.nine, 3, 400, "test")
    assert nine["rmse"] <= 2.5
    assert abs(nine["bias"]) <= 1.0
    usual = bench.simulate(bench.World(), bench.full_grid, 3, 150, "test")
    assert abs(usual["bias"]) <= 1.0
    assert usual["habit_bias"] > 8


@pytest.mark.parametrize(
    "world",
    [
        {"seed_sd": 0.004, "baseline_sd": 0.001},
        {"seed_sd": 0.004, "baseline_sd": 0.001, "n_examples": 360},
        {"run_sd": 0.006, "seed_sd": 0.006, "baseline_sd": 0.003, "n_examples": 360, "slope": 1.5},
    ],
)
def test_the_interval_covers(bench, world):
    result = bench.simulate(bench.World(**world), bench.nine, 3, 300, "coverage")
    assert 90 <= result["coverage"] <= 99


def trained(log):
    def run(pairs):
        log.append(list(pairs))
        return [float(power_law(d)) for d, _ in pairs]

    return run


def test_the_search_needs_nine_runs():
    log, said = [], []
    runs = search(trained(log), 200, 1600, [3, 4, 5], baseline(), progress=lambda *step: said.append(step))
    assert log[0] == [(d, 3) for d in (200, 336, 566, 951, 1600)]
    assert log[1] == [(d, s) for s in (4, 5) for d in (500, 627)]
    assert len(runs) == 9
    assert [step[:2] for step in said] == [(5, 9), (9, 9)]
    assert said[0][2] == "first pass: d = 200, 336, 566, 951, 1600"
    assert intrinsic_dim(runs, baseline()).value == pytest.approx(560, rel=1e-6)


def test_the_search_is_deterministic():
    first, second = (search(trained([]), 10, 1500, [0, 1], baseline()) for _ in range(2))
    np.testing.assert_array_equal(first.dims, second.dims)


@pytest.mark.parametrize(("low", "high"), [(5, 40), (3000, 50_000), (1, D)])
def test_the_search_brackets_from_anywhere(low, high):
    log = []
    runs = search(trained(log), low, high, [0, 1, 2], baseline())
    assert intrinsic_dim(runs, baseline()).value == pytest.approx(560, rel=1e-6)
    assert len(runs) <= 5 + 8 + 4
    assert len(set(zip(runs.dims.tolist(), runs.seeds.tolist(), strict=True))) == len(runs)


def test_the_search_stops_at_its_budget_and_at_D():
    hard = search(lambda pairs: [0.1 for _ in pairs], 2, 8, [0, 1], baseline())
    assert hard.dims.max() == 8 * 2**8
    assert str(intrinsic_dim(hard, baseline())) == "> 2048"
    small = search(lambda pairs: [0.1 for _ in pairs], 2, 8, [0, 1], baseline(total=20))
    assert small.dims.max() == 20
    easy = search(lambda pairs: [0.95 for _ in pairs], 2, 8, [0, 1], baseline(total=20))
    assert easy.dims.min() == 1


def test_nothing_is_trained_against_a_baseline_that_failed():
    log = []
    with pytest.raises(InputError, match="baseline must hold a run that did not diverge"):
        search(trained(log), 200, 1600, [0], baseline([np.nan]))
    assert not log


def test_the_search_keeps_examples():
    latent = generator(2, "search").uniform(size=500)

    def run(pairs):
        return [(float((right := latent < power_law(d)).mean()), right) for d, _ in pairs]

    runs = search(run, 200, 1600, [0, 1], baseline())
    assert runs.correct.shape == (7, 500)


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
        (lambda: search(trained([]), 0, 10, [0], baseline()), f"low must be in 1..D={D}, got 0"),
        (lambda: search(trained([]), 10, D + 1, [0], baseline()), "high must be in low..D"),
        (lambda: search(trained([]), 1, 10, [], baseline()), "seeds must be a non-empty list"),
        (lambda: search(trained([]), 1, 10, [1, 1], baseline()), "seeds must be a non-empty list of different"),
        (lambda: search(lambda pairs: [], 1, 10, [0], baseline()), "run must return one result for each of 5 runs"),
        (lambda: grid(lambda _: [(1.0, [True] * 9), 0.5], [1, 2], [0]), r"correct must be boolean of shape \(2, "),
        (lambda: grid(trained([]), [], [0]), "dims must be a non-empty list"),
        (lambda: grid(trained([]), [True], [0]), "dims must be a non-empty list of different integers"),
        (lambda: spread_ratio([]), "estimates must be at least two"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

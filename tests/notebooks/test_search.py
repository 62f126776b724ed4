"""Where the study places its runs, and how good the estimates from there are by simulation."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from search import grid, search

from tests.tables import D, baseline, power_law
from workbench.dimension import intrinsic_dim
from workbench.errors import InputError
from workbench.seeds import generator


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[1] / "benchmarks" / "bench_estimator.py"
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search(trained([]), 0, 10, [0], baseline()), f"low must be in 1..D={D}, got 0"),
        (lambda: search(trained([]), 10, D + 1, [0], baseline()), "high must be in low..D"),
        (lambda: search(trained([]), 1, 10, [], baseline()), "seeds must be a non-empty list"),
        (lambda: search(trained([]), 1, 10, [1, 1], baseline()), "seeds must be a non-empty list of different"),
        (lambda: search(lambda pairs: [], 1, 10, [0], baseline()), "run must return one result for each of 5 runs"),
        (lambda: grid(lambda _: [(1.0, [True] * 9), 0.5], [1, 2], [0]), r"correct must be boolean of shape \(2, "),
        (lambda: grid(trained([]), [], [0]), "dims must be a non-empty list"),
        (lambda: grid(trained([]), [True], [0]), "dims must be a non-empty list of different integers"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

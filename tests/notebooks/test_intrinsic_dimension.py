"""The first study: its trials, its analysis, and the notebook as a user runs it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import intrinsic_dimension as study
import measure
import numpy as np
import pytest
import replicate
import torch
import toy

from tests.tables import baseline, power_law, table
from workbench.datasets import Dataset, Split, published
from workbench.dimension import Runs
from workbench.errors import InputError
from workbench.sweeps import Sweep
from workbench.training import train_group

SETTINGS = {
    "dataset": "digits",
    "n_train": None,
    "subspace_dims": [20, 1000],
    "seeds": [0, 1, 2],
    "fraction": 0.9,
    "design": "search",
    "learning_rate": "rule",
    "n_epochs": 20,
    "batch_size": 64,
    "device": "cpu",
    "widths": [30, 60],
    "projection": "hashed",
    "compared_projections": ["dense"],
    "n_toy_seeds": 1,
    "cartpole_dims": [4],
    "cartpole_seeds": [0],
}
TRIAL = {"dataset": "digits", "n_train": 200, "control": "none", "network": "mlp-10", "kind": "hashed", "n_epochs": 2}
TRIAL |= {
    "batch_size": 64,
    "device": "cpu",
    "splits": ("validation", "test"),
    "jobs": [[20, 1.0], [50, 1.0]],
    "seed": 0,
}


def test_the_toy_is_ten_group_sums():
    A, y = toy.equations()
    assert (A.shape, y.shape) == ((10, 1000), (10, 1))
    theta = torch.from_numpy(np.random.default_rng(0).normal(size=1000))
    by_hand = sum((theta[100 * (k - 1) : 100 * k].sum() - k) ** 2 for k in range(1, 11))
    torch.testing.assert_close((A @ theta - y.view(-1)).square().sum(), by_hand)


@pytest.mark.parametrize("kind", ["dense", "sparse", "hashed", "fastfood", "block_hadamard"])
def test_the_toy_is_solved_at_ten_and_not_at_nine(kind):
    for seed in range(5):
        result = toy.residuals(kind, [9, 10, 20], seed)
        assert result["loss"][0] > 0.1
        assert result["loss"][1] < 1e-18
        assert toy.intrinsic_dim(result) == 10
    assert toy.intrinsic_dim({"d": [3], "loss": [5.0]}) is None


def test_projection_families_agree_within_their_intervals(tmp_path):
    settings = measure.Settings(**SETTINGS)
    arms = [measure.Arm("mlp-30", kind) for kind in ("dense", "sparse", "hashed", "fastfood")]
    measured = measure.measure_arms(settings, Sweep(tmp_path, workers=1), arms=arms).values()
    ends = [(m.local.low, m.local.high) for m in measured]
    assert max(low for low, _ in ends) <= min(high for _, high in ends)
    for m in measured:
        assert 9 <= len(m.runs) <= 12
        assert m.local.low < m.local.value < m.local.high
        assert m.local.value < m.D / 5
        assert m.local.threshold == pytest.approx(0.9 * m.baseline.scores.mean())
        assert m.absolute.threshold == 0.9


def test_both_thresholds_come_from_the_same_runs():
    local, absolute = measure.both_thresholds(
        table([200, 400, 800, 1600], power_law([200, 400, 800, 1600])), baseline()
    )
    assert local.value == pytest.approx(560, rel=1e-6)
    assert absolute.value == pytest.approx(560 * 1.2 ** (1 / 0.55), rel=1e-6)
    assert (local.fraction, absolute.fraction, absolute.threshold) == (0.9, None, 0.9)


def test_a_group_of_subspaces_equals_single_trials():
    together = replicate.train_replicate(**TRIAL)["runs"]
    alone = [replicate.train_replicate(**TRIAL | {"jobs": [job]})["runs"][0] for job in TRIAL["jobs"]]
    assert together == alone


def test_every_subspace_has_the_rate_matched_to_its_dimension(monkeypatch):
    recipes = []

    def keep(objective, maps, given, seed, **options):
        recipes.extend(given)
        return train_group(objective, maps, given, seed, **options)

    monkeypatch.setattr(replicate, "train_group", keep)
    D = replicate.train_replicate(**TRIAL | {"jobs": [[20, 1.0], [20, 3.0], [80, 1.0]]})["D"]
    base = replicate.LR * math.sqrt(D / 20)
    assert [recipe.lr for recipe in recipes] == pytest.approx([base, 3 * base, base / 2])
    replicate.train_replicate(**TRIAL | {"kind": "full", "jobs": [[1, 1.0]]})
    assert recipes[-1].lr == replicate.LR


def test_replicates_share_neither_start_nor_projection_nor_order():
    images = replicate.data("digits", 200, "none")
    first, second = (replicate.objective_of("mlp-10", images, seed) for seed in (0, 1))
    assert not torch.equal(first.theta_0, second.theta_0)
    assert not torch.equal(next(first.minibatches(0, 64)), next(second.minibatches(1, 64)))
    P, Q = (replicate.coordinates(first.theta_0, "hashed", 20, seed).projection for seed in (0, 1))
    assert not torch.equal(P.index, Q.index)


def test_nothing_is_chosen_on_the_test_split(monkeypatch):
    before = replicate.train_replicate(**TRIAL)["runs"]
    images = replicate.data("digits", 200, "none")
    scrambled = Split(images.test.x.flip(0), images.test.y.roll(7))
    others = {name: getattr(images, name) for name in ("name", "train", "validation", "n_classes", "checksum", "note")}
    monkeypatch.setattr(replicate, "data", lambda *_: Dataset(test=scrambled, **others))
    after = replicate.train_replicate(**TRIAL)["runs"]
    assert [run["choice"] for run in before] == [run["choice"] for run in after]
    assert [run["score"] for run in before] != [run["score"] for run in after]


@pytest.mark.parametrize("design", ["search", "grid"])
@pytest.mark.parametrize("learning_rate", ["checked", "tuned"])
def test_baseline_and_subspaces_have_the_same_budget(tmp_path, monkeypatch, design, learning_rate):
    """Count the runs of the baseline and of the subspaces at one d: rates tried, seeds."""
    tried = {}

    def record(kind, jobs, **_):
        runs = []
        for d, multiplier in jobs:
            tried.setdefault((kind, d), set()).add(round(multiplier, 3))
            accuracy = 0.95 if kind == "full" else 1 - 1 / math.sqrt(d)
            correct = np.arange(1000) < 1000 * accuracy
            packed = np.packbits(correct).tobytes().hex()
            runs.append({
                "d": d,
                "choice": [-abs(multiplier - 3), 0.0],
                "score": correct.mean(),
                "correct": packed,
                "n": 1000,
            })
        return {"D": 1, "runs": runs}

    monkeypatch.setattr(measure, "train_replicate", record)
    record.__module__, record.__qualname__ = "replicate", "record"
    options = SETTINGS | {"design": design, "learning_rate": learning_rate, "subspace_dims": [20, 100, 1000]}
    arm = measure.Arm("mlp-30", "hashed")
    measured = measure.measure_arms(measure.Settings(**options), Sweep(tmp_path, workers=1), arms=[arm])[arm]
    budgets = {
        kind: {len(rates) for (k, _), rates in tried.items() if (k == "full") == (kind == "full")}
        for kind in ("full", "P")
    }
    assert max(budgets["full"]) == max(budgets["P"]) == 3
    if learning_rate == "checked":
        assert measured.multipliers == (3.0, 3.0)
    assert measured.local.value == pytest.approx((1 / (1 - 0.9 * 0.95)) ** 2, rel=0.05)


def test_a_weighed_solution_reads_back_as_what_was_trained(tmp_path):
    settings = measure.Settings(**SETTINGS | {"n_epochs": 5})
    sweep = Sweep(tmp_path / "trials", workers=1)
    arm = measure.Arm("mlp-30", "hashed")
    measured = measure.measure_arms(settings, sweep, arms=[arm])[arm]
    files = study.weigh(measured, settings, sweep, tmp_path)
    d = math.ceil(measured.local.value)
    assert files["float32"]["bits"] == 32 * d
    assert files["dense"]["bits"] == 32 * measured.D
    assert files["float32"]["accuracy"] == files["dense"]["accuracy"]
    assert files["float32"]["compression"] > 1
    assert files["float32"]["file bytes"] == (tmp_path / "solution_float32.npz").stat().st_size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 1.5}, r"fraction must be in \(0, 1\], got 1.5"),
        ({"design": "guess"}, "design must be one of search, grid"),
        ({"subspace_dims": []}, "subspace_dims must be a list of different numbers"),
        ({"compared_projections": ["denes"]}, "compared_projections must be one of dense, sparse"),
        ({"cartpole_dims": [4, 5000]}, "cartpole_dims must lie in 1..D=562, the parameters of the policy"),
        ({"cartpole_dims": [8, 4]}, "cartpole_dims must rise"),
        ({"seeds": [1, 1]}, "seeds must be a list of different numbers"),
        ({"subspace_dims": [10, 10**6]}, r"subspace_dims must lie in 1..D=3,190, the parameters of mlp-30"),
        ({"batch_size": 10_000}, r"batch_size must be at most \d+, the training examples, got 10000"),
        ({"subspace_dims": [0, 10]}, r"subspace_dims must lie in 1..D=3,190"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        measure.Settings(**SETTINGS | options)


class Kept:
    """Stands in for a study: keeps what was judged."""

    def __init__(self):
        self.said = {}

    def judge(self, claim, *, verdict, detail, **_):
        self.said[claim] = (verdict, detail)


def judged(toy_found, d_of_width, pole, sd=0.001, **options):
    """Judge made-up runs whose accuracy crosses 0.9 of the baseline at a given d for each width."""
    settings = measure.Settings(**SETTINGS | {"widths": [40, 200], "cartpole_seeds": [0, 1, 2, 3, 4]} | options)
    measured = {}
    for arm in settings.main:
        truth = d_of_width[int(arm.network.removeprefix("mlp-"))] if arm.network != "lenet" else 300
        dims, seeds = np.repeat([truth // 2, truth, 2 * truth], 3), np.tile([0, 1, 2], 3)
        noise = sd * np.random.default_rng(0).standard_normal(9)
        D = settings.n_parameters(arm.network)
        runs = Runs(dims, seeds, 0.9 * 0.98 + 0.05 * np.log2(dims / truth) + noise)
        baseline = Runs(np.full(3, D), np.arange(3), 0.98 + sd * np.array([-1.0, 0, 1]))
        measured[arm] = measure.Measured(
            arm, D, runs, baseline, *measure.both_thresholds(runs, baseline), (1.0, 1.0), 0.0
        )
    kept = Kept()
    study.judge(kept, settings, toy_found, measured, study.smallest_solved([2, 16, 20], pole, 4))
    return kept.said


def test_the_table_of_published_values_cuts_no_place():
    """Pandas cuts texts at 50 letters, and what is cited at second hand says so only at its end."""
    cells = json.loads(Path(study.__file__).with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    source = next("".join(cell["source"]) for cell in cells if cell["id"] == "published")
    settings = measure.Settings(**SETTINGS)
    arms = dict.fromkeys(settings.arms, SimpleNamespace(local="> 20", absolute="<= 10"))
    names = {"beside_published": study.beside_published, "settings": settings, "measured": arms}
    page = eval(source, names)._repr_html_()
    places = [row for row in published("li2018") if row["network"] in {"FC", "LeNet"} and "MNIST" in row["dataset"]]
    assert max(len(row["place"] + row["source"]) for row in places) > 50
    assert not [row for row in places if f">{row['place']}; {row['source']}</td>" not in page]
    assert ">199,210<" in page


def test_every_verdict_can_hold_and_can_fail():
    ten, solved = [10] * 10, [[False] * 5, [True] * 5, [True] * 5]
    at_2 = [[True] * 5, *solved[1:]]
    good = judged(ten, {40: 700, 200: 750}, at_2)
    assert {name: verdict for name, (verdict, _) in good.items()} == dict.fromkeys(good, "holds")
    bad = judged([10] * 8 + [9, 11], {40: 600, 200: 3000}, solved)
    assert {name: verdict for name, (verdict, _) in bad.items()} == dict.fromkeys(bad, "fails")


def test_a_run_that_does_not_meet_a_rules_conditions_decides_nothing():
    at_2 = [[True] * 5, [True] * 5, [True] * 5]
    said = judged([10] * 9, {40: 700, 200: 750}, at_2, fraction=0.8)
    assert said["toy"] == (
        "inconclusive",
        "d_int of each seed: [10, 10, 10, 10, 10, 10, 10, 10, 10]; the rule asks for 10 seeds",
    )
    assert said["mnist"][0] == said["widths"][0] == "inconclusive"
    assert said["mnist"][1].endswith("the rule asks for fraction 0.9")
    said = judged([10] * 10, {150: 700, 160: 750}, at_2, widths=[150, 160])
    assert said["mnist"][1].endswith("the rule asks for 2 x 200 units")
    assert said["widths"][1].endswith("the rule asks for D varying tenfold")


def test_an_interval_across_the_bound_is_inconclusive_and_says_how_many_seeds_would_decide():
    at_2 = [[True] * 5, [True] * 5, [True] * 5]
    verdict, detail = judged([10] * 10, {40: 500, 200: 850}, at_2, sd=0.012)["widths"]
    assert verdict == "inconclusive"
    assert "seeds would" in detail


def run(*arguments, out, **environment):
    command = [sys.executable, "-m", "workbench", "run", "intrinsic-dimension", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=280)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "subspace_dim=3"], "did you mean subspace_dims"),
        (["-p", "learning_rate=banana"], "learning_rate"),
        (["-p", "n_epochs=True"], "n_epochs"),
        (["-p", "subspace_dims=[]"], "subspace_dims"),
        (["-p", "fraction=1.5"], "fraction"),
        (["--profile", "smoke", "-p", "subspace_dims=10,100000"], "1..D="),
        (["--profile", "smoke", "-p", "dataset=mnist"], "WORKBENCH_DATA"),
    ],
)
def test_bad_input_is_refused_before_work_starts(tmp_path, arguments, said):
    code, text = run(*arguments, out=tmp_path, WORKBENCH_DATA=str(tmp_path / "nowhere"))
    assert code == 2, text
    assert said in text
    assert not list((tmp_path / "trials").glob("*"))


def test_the_notebook_runs_at_the_smoke_profile_and_again_from_what_it_kept(tmp_path):
    code, text = run("--profile", "smoke", out=tmp_path)
    assert code == 0, text
    (folder,) = (tmp_path / "intrinsic_dimension").iterdir()
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    names = [finding["claim"]["name"] for finding in results["findings"]]
    assert names == ["toy", "mnist", "widths", "cartpole"]
    assert {finding["claim"]["paper"] for finding in results["findings"]} == {"intrinsic-dimension-landscapes"}
    verdicts = {finding["claim"]["name"]: finding["verdict"] for finding in results["findings"]}
    # fewer seeds than the rules ask for decide nothing, and the rule on MNIST says nothing of digits
    assert verdicts == dict.fromkeys(names, "inconclusive") | {"mnist": "illustration"}
    assert len(results["dataset"]["checksum"]) == 64
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (record["status"], record["profile"], record["parameters"]["seeds"]) == ("done", "smoke", [0, 1])
    assert (folder / "executed.ipynb").is_file()
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "inconclusive" in page
    assert len(page) < 500_000
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()}
    assert set(results["extra"]["trials"]) == {name.removesuffix(".json") for name in kept}
    code, text = run("--profile", "smoke", out=tmp_path)
    assert code == 0, text
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()} == kept


@pytest.mark.parametrize(
    ("counts", "value", "text"),
    [((0, 4, 5), 4, "4"), ((5, 5, 5), 2, "<= 2"), ((0, 1, 3), None, "> 8"), ((4, 0, 5), 2, "<= 2")],
)
def test_smallest_solved(counts, value, text):
    solved = np.arange(5) < np.array(counts)[:, None]
    assert study.smallest_solved([2, 4, 8], solved, at_least=4) == (value, counts, text)


def test_d_of_one_is_not_censored():
    assert study.smallest_solved([1, 2], [[True], [True]], at_least=1).text == "1"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: study.smallest_solved([], np.zeros((0, 2), bool), 1), "dims must be a non-empty list"),
        (lambda: study.smallest_solved([2, 1], np.zeros((2, 2), bool), 1), "list that increases"),
        (lambda: study.smallest_solved([1, 2], np.zeros((2, 2)), 1), "solved must be boolean"),
        (lambda: study.smallest_solved([1], np.zeros((1, 2), bool), 3), "at_least must be in 1..n_seeds=2"),
    ],
)
def test_a_bad_table_of_solved_seeds_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

"""The first study's exercises: a right answer passes, each likely wrong one is told why."""

import json
import math
from pathlib import Path

import exercises
import measure
import numpy as np
import pandas as pd
import pytest

from workbench.dimension import Runs
from workbench.exercises import WrongAnswer

NOTEBOOK = Path(exercises.__file__).with_name("intrinsic_dimension.ipynb")


def made(scores=(0.5, 0.85, 0.95, 0.87, 0.92, 0.88, 0.9), dims=(50, 100, 200, 90, 110, 90, 110)):
    """Return a measurement whose threshold is 0.9 of 0.98; at d = 110 one of two runs reaches it."""
    runs = Runs(np.array(dims), np.array([0, 0, 0, 1, 1, 2, 2][: len(dims)]), np.array(scores))
    baseline = Runs(np.full(3, 5000), np.arange(3), np.array([0.97, 0.98, 0.99]))
    return measure.Measured(
        measure.Arm("mlp-200", "hashed"), 5000, runs, baseline, *measure.both_thresholds(runs, baseline), (1, 1), 0
    )


def solved(k, **names):
    """Run the worked solution of an exercise as it stands in the notebook; return its names."""
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]}
    names |= {"np": np, "pd": pd}
    exec(cells[f"exercise-{k}"], names)
    return names


def test_worked_solutions_are_right(capsys):
    middle = made()
    exercises.check_compression(solved(1, middle=middle)["compression"], middle)
    exercises.check_smallest(solved(2, middle=middle)["smallest"], middle)
    exercises.check_constraints(solved(3)["n_dims"])
    assert capsys.readouterr().out.count("Right.") == 3
    never = made(scores=[0.1, 0.2, 0.3], dims=[50, 100, 200])
    assert solved(2, middle=never)["smallest"] is None
    exercises.check_smallest(None, never)


def test_a_diverged_run_fails_in_the_solution_as_in_the_check():
    middle = made(scores=(0.5, 0.85, 0.95, 0.87, math.nan, 0.88, 0.9))
    assert solved(2, middle=middle)["smallest"] == 200
    exercises.check_smallest(200, middle)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda D, d: D / d, "the seed is missing"),
        (lambda D, d: (8 + 4 * d) / (4 * D), "turn the ratio round"),
        (lambda D, d: 4 * D / (8 + 4 * (d - 1)), "round up"),
        (lambda D, d: 4 * D / (1 + 4 * d), "the seed takes 8 bytes"),
        (lambda D, d: 4 * D - (8 + 4 * d), "a ratio is asked for"),
        (lambda D, d: None, "There is no answer yet"),
        (lambda D, d: 1000.0, "1000 is too large. Divide 4 D bytes"),
    ],
)
def test_a_wrong_compression_is_explained(answer, why):
    middle = made()
    with pytest.raises(WrongAnswer, match=why):
        exercises.check_compression(answer(middle.D, math.ceil(middle.local.value)), middle)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (50, r"the mean there is 0.5000, below the threshold of 0.8820\."),
        (90, r"the mean there is 0.8750, below the threshold of 0.8820\."),
        (200, "a smaller tested d reaches the threshold as well"),
        (120, r"120 is too large\. Take the mean of the scores at each tested d \(50, 90, 100, 110, 200\)"),
        (None, "There is no answer yet"),
    ],
)
def test_a_wrong_smallest_dimension_is_explained(answer, why):
    with pytest.raises(WrongAnswer, match=why):
        exercises.check_smallest(answer, made())


def test_one_lucky_run_and_the_fit_are_no_answer():
    middle = made(scores=(0.5, 0.85, 0.95, 0.89, 0.92, 0.86, 0.9))
    with pytest.raises(WrongAnswer, match=r"below the threshold of 0.8820 \(one run reaches it\)"):
        exercises.check_smallest(90, middle)
    for fitted in (middle.local.value, round(middle.local.value)):
        with pytest.raises(WrongAnswer, match="this is the fitted d_int90"):
            exercises.check_smallest(fitted, middle)


@pytest.mark.parametrize(("answer", "why"), [(12, "two of the twelve"), (990, "D - 10"), (7, "7 is too small")])
def test_a_wrong_number_of_constraints_is_explained(answer, why):
    with pytest.raises(WrongAnswer, match=why):
        exercises.check_constraints(answer)

"""The examples of CONTRIBUTING.md: each is taken out of the page and run."""

import copy
import doctest
import importlib.util
import itertools
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.coordinates import test_coordinates as every
from workbench import pruning
from workbench.errors import InputError
from workbench.objective import Supervised

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(heading: str, language: str) -> str:
    """Return the code of the section with this heading."""
    section = re.search(rf"(?s)### {heading}\n(.*?)(?=\n### |\Z)", TEXT)[1]
    (block,) = re.findall(rf"(?s)```{language}\n(.*?)```", section)
    return block


@pytest.fixture
def example(tmp_path):
    """Return a function that imports a section's example as a file of its own."""

    def load(heading: str):
        path = tmp_path / f"{heading.replace(' ', '_').lower()}_example.py"
        path.write_text(blocks(heading, "python"), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    yield load
    for name in [name for name in sys.modules if name.endswith("_example")]:
        del sys.modules[name]


def test_a_study(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    lines = [line.partition("#")[0].strip() for line in blocks("A study", "sh").splitlines()]
    assert all(line.startswith("workbench ") for line in lines)
    for line in lines:
        command = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert {path.name for path in (tmp_path / "notebooks" / "pruning").glob("my_question.*")} == {
        f"my_question.{suffix}" for suffix in ("ipynb", "py", "yml")
    }
    assert list((tmp_path / "runs" / "my_question").glob("*/results.json"))


@pytest.mark.parametrize("heading", ["A coordinate map", "A probe", "A score"])
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_an_example_passes_make_check_as_it_stands(heading, command):
    where = ["--stdin-filename", f"workbench/{heading.split()[-1]}.py", "-"]
    source = blocks(heading, "python")
    ruff = [sys.executable, "-m", "ruff", *command, *where]
    done = subprocess.run(ruff, cwd=ROOT, input=source, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr


def conformance() -> list:
    """Return the tests of every map, with what they are called with beside a map's name."""
    found = []
    for name, test in vars(every).items():
        marks = [mark.args for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        if ("name", every.NAMES) in marks:
            others = [[{argument: value} for value in values] for argument, values in marks if argument != "name"]
            found += [(name, dict(pair for each in row for pair in each.items())) for row in itertools.product(*others)]
    return [pytest.param(name, given, id=f"{name} {given or ''}") for name, given in found]


@pytest.mark.parametrize(("name", "given"), conformance())
def test_a_coordinate_map(example, monkeypatch, name, given):
    kind = example("A coordinate map").RandomEntries

    def build(_: str, dtype: torch.dtype = torch.float64):
        return kind(torch.randn(every.D, dtype=dtype, generator=torch.Generator().manual_seed(0)), 5, seed=0)

    monkeypatch.setattr(every, "build", build)
    torch.manual_seed(0)
    getattr(every, name)("random entries", **given)


def test_a_coordinate_map_moves_its_entries_alone(example):
    kind = example("A coordinate map").RandomEntries
    theta_0 = torch.zeros(100)
    maps = [kind(theta_0, 7, seed) for seed in (0, 0, 1)]
    moved = [set(each.push(torch.ones(7), torch.empty(100)).nonzero().flatten().tolist()) for each in maps]
    assert [len(entries) for entries in moved] == [7, 7, 7]
    assert moved[0] == moved[1] != moved[2]
    for d in (0, 101):
        with pytest.raises(InputError, match=rf"d must be in 1\.\.D=100, got {d}"):
            kind(theta_0, d, seed=0)


def passes_its_examples(module) -> bool:
    failed, tried = doctest.testmod(module)
    return tried > 0 and failed == 0


def state(objective: Supervised) -> list:
    """Return all that a probe must leave as it was."""
    numbers = [objective.theta, objective.grad, *objective.model.buffers(), torch.get_rng_state()]
    keys = np.random.get_state()  # noqa: NPY002  # the old generator is what a probe might use unasked
    return copy.deepcopy([*numbers, keys[1].tolist(), keys[2], random.getstate(), objective.model.training])


def test_a_probe(example):
    probe = example("A probe")
    assert passes_its_examples(probe)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2)
    )
    objective = Supervised(model, (torch.randn(8, 3), torch.arange(8) % 2))
    objective.grad.fill_(3.0)
    objective.model.train()
    theta = torch.randn(objective.D)
    kept, before = theta.clone(), state(objective)
    found = probe.gradient_curvature(objective, theta)
    for was, now in zip(before, state(objective), strict=True):
        assert torch.equal(was, now) if isinstance(was, torch.Tensor) else was == now
    assert torch.equal(theta, kept)
    g = objective.gradient(theta)
    assert found.norm == pytest.approx(float(g.norm()))
    way, step = g / g.norm(), 1e-2
    bent = (objective.gradient(theta + step * way) - objective.gradient(theta - step * way)) @ way / (2 * step)
    assert found.curvature == pytest.approx(float(bent), rel=0.02, abs=1e-3)
    assert (found.n_examples, found.seed) == (8, 0)


def test_a_score(example):
    score = example("A score")
    assert passes_its_examples(score)
    model = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.ReLU(), torch.nn.Linear(20, 2))
    objective = Supervised(model, (torch.randn(8, 30), torch.arange(8) % 2))
    theta, prunable = objective.theta_0.clone(), pruning.prunable(objective.layout)
    theta[: 30 * 20] *= 1000  # by magnitude alone the other layer would go
    scores = score.relative_magnitude(objective, theta)
    for density, n_kept in ((0.01, 6), (0.5, 320), (1.0, 640)):
        mask = pruning.select(scores, density, prunable=prunable, layout=objective.layout)
        assert int(mask[prunable].sum()) == n_kept
        assert mask[~prunable].all()
        if density < 1:
            assert scores[mask & prunable].min() >= scores[~mask].max()  # larger = keep
    half = pruning.select(scores, 0.5, prunable=prunable, layout=objective.layout)
    assert 0.3 < float(half[620:660].float().mean()) < 0.7

"""What the shell is offered while a person types."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.runner import console


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("one/20260101T000000Z-aaaaaa", "one/20260103T000000Z-bbbbbb", "two/20260102T000000Z-cccccc"):
        path = tmp_path / "runs" / name
        path.mkdir(parents=True)
        (path / "run.json").write_text(json.dumps({}))
    (tmp_path / "mine.ipynb").write_text("{}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.ipynb").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Typed:
    """What the callback is told of the options already typed."""

    def __init__(self, **params):
        self.params = params


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("intrinsic-d", ["intrinsic-dimension"]),
        ("intrinsic_d", ["intrinsic_dimension"]),
        ("dimension/", ["dimension/intrinsic_dimension"]),
        ("mi", ["mixtures", "mine.ipynb"]),
        ("sub/", ["sub/deep.ipynb"]),
        ("[", []),
        ("nothing/of/the/kind", []),
    ],
)
def test_studies_are_offered_as_they_are_written(folder, typed, offered):
    assert console.complete_study(typed) == offered


def test_runs_are_offered_newest_first(folder):
    everything = console.complete_run(Typed(), "")
    assert everything == ["20260103T000000Z-bbbbbb", "20260102T000000Z-cccccc", "20260101T000000Z-aaaaaa"]
    assert console.complete_run(Typed(out=folder / "runs"), "one/20260103") == ["one/20260103T000000Z-bbbbbb"]
    assert console.complete_run(Typed(out=folder / "elsewhere"), "") == []


def test_completion_never_raises(monkeypatch):
    monkeypatch.setattr("workbench.runner.studies.studies", lambda: 1 / 0)
    monkeypatch.setattr("workbench.records.all_runs", lambda out: 1 / 0)
    assert console.complete_study("a") == []
    assert console.complete_run(Typed(), "a") == []


def test_the_shell_is_answered(folder):
    asked = {"COMP_WORDS": "workbench show intrinsic-", "COMP_CWORD": "2", "_WORKBENCH_COMPLETE": "complete_bash"}
    script = Path(sys.executable).with_name("workbench")
    done = subprocess.run([script], cwd=folder, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["intrinsic-dimension"]
    assert done.stderr == ""


def test_completion_imports_nothing_heavy():
    code = (
        "import sys, workbench.runner.cli; from workbench.runner import console; console.complete_study('');"
        "print({'torch', 'pandas', 'papermill', 'plotly', 'nbformat'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

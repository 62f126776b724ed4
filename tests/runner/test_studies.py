"""Studies: how they are named, and what their source says they claim, without running any of it."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workbench.files import write_json
from workbench.runner import cli, studies
from workbench.verdicts import Claim

BESIDE = """
from workbench import study
from nowhere import RULE
PAPER = "a-paper"
open("ran", "w")
CLAIMS = (
    study.Claim("second", PAPER, "Two " "lines.", rule=RULE, datasets=("digits", "mnist")),
    Claim(name="third", paper=PAPER, sentence=f"d is {1 + 1}", rule="r", datasets=None),
)
"""


def test_claims_are_read_from_cells_and_the_file_beside(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    book = notebook("%matplotlib inline\nopen('ran', 'w')\nClaim('first', 'p', 's', 'r')", "%%bash\nls", "a b")
    book.with_suffix(".py").write_text(BESIDE)
    assert studies.claims(book) == [
        Claim("first", "p", "s", "r"),
        Claim("second", "a-paper", "Two lines.", "RULE", ("digits", "mnist")),
        Claim("third", "a-paper", "f'd is {1 + 1}'", "r"),
    ]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "call", ["Claim()", "Claim({[]: 1})", "Claim(*all)", "Claim(**all)", "Claim('a', 1, None, x.y, z, more=2)", "("]
)
def test_claims_that_are_not_written_down_do_no_harm(notebook, call):
    assert all(isinstance(claim.rule, str) for claim in studies.claims(notebook(call)))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("About 3 minutes on 2 cores", 3),
        ("90 seconds.", 1.5),
        (".5 hours", 30),
        ("Version 1.2.3 minutes", 2.3),
        ("Soon.", None),
        ("", None),
    ],
)
def test_minutes(notebook, text, minutes):
    book = notebook("pass")
    data = json.loads(book.read_text())
    source = f"# Q?\n\n**Time.** {text}\n"
    data["cells"].insert(0, {"cell_type": "markdown", "metadata": {}, "source": source, "id": "first"})
    book.write_text(json.dumps(data))
    assert studies.describe(book) == {"question": "Q?", "time": text, "minutes": minutes}


@pytest.mark.parametrize("spelling", ["my-own", "./my-own", "my-own.ipynb", "../{here}/my-own", "{absolute}"])
def test_ones_own_notebook_needs_no_ending(notebook, tmp_path, monkeypatch, spelling):
    monkeypatch.chdir(tmp_path)
    book = notebook("pass", name="my-own")
    text = spelling.format(here=tmp_path.name, absolute=tmp_path / "my-own")
    assert studies.find(text).resolve() == book.resolve()


@pytest.mark.parametrize(
    "spelling", ["deep-study", "deep_study", "some-family/deep_study", "notebooks/some_family/deep-study"]
)
def test_a_study_in_any_spelling(notebook, tmp_path, monkeypatch, spelling):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks" / "some_family").mkdir(parents=True)
    book = notebook("pass", name="notebooks/some_family/deep_study")
    monkeypatch.chdir(tmp_path)
    assert studies.find(spelling.replace("/", os.sep)) == book
    assert studies.find(str(Path(spelling).with_suffix(""))) == book


def test_newest_verdicts_are_those_of_the_newest_run_that_has_any(tmp_path):
    claim = {"claim": {"name": "toy"}, "verdict": "holds"}
    for name, found in (("1", [claim]), ("2", []), ("3", [3]), ("4", 5)):
        write_json(tmp_path / "demo" / name / "results.json", {"findings": found})
    (tmp_path / "demo" / "4" / "results.json").write_text("{")
    assert studies.last_verdicts(tmp_path, "demo") == {"toy": "holds"}
    assert studies.last_verdicts(tmp_path, "other") == {}


def test_show_says_how_to_run_what_was_meant(notebook):
    book = notebook("pass", name="a b")
    said = CliRunner().invoke(cli.app, ["show", str(book)]).stdout
    assert said.endswith(f"workbench run '{book}' --profile laptop -p name=value\n")

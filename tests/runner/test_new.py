"""A study from the template: what is written, what is refused, and that it runs at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.review import review, review_run
from workbench.errors import InputError
from workbench.runner import studies
from workbench.runner.new import new_study

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_study_runs_at_once(project, command):
    made = command("new", "pruning/my-question")
    assert (made.returncode, made.stderr) == (0, "")
    assert "workbench run my-question --profile smoke" in made.stdout
    assert files(project / "notebooks") == {f"pruning/my_question.{suffix}" for suffix in ("ipynb", "py", "yml")}
    listed = {row["study"]: row for row in json.loads(command("list", "--json").stdout)}
    assert listed["pruning/my_question"]["question"].startswith("My question: what does")
    assert "n_examples: Annotated[int, Ge(100), Le(1000)] = 100" in command("show", "my-question").stdout

    done = command("run", "my-question", "--profile", "smoke", "--json", WORKBENCH_WORKERS="1")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [finding["claim"]["name"] for finding in record["results"]["findings"]] == ["cost"]
    book = json.loads((Path(record["folder"]) / "executed.ipynb").read_text(encoding="utf-8"))
    shown = {cell["id"]: cell.get("outputs") for cell in book["cells"]}
    static, explorer = (shown[name][0]["data"]["application/vnd.plotly.v1+json"] for name in ("figure", "explorer"))
    assert static["data"] == explorer["data"]  # the explorer opens on the static view
    (slider,) = explorer["layout"]["sliders"]
    assert [step["label"] for step in slider["steps"]] == ["100", "150", "300"]
    assert explorer["frames"][0]["data"][2]["y"] != explorer["frames"][2]["data"][2]["y"]  # and computes anew


@pytest.mark.parametrize("name", ["pruning/my-question", "aa", "zebra", "a_name_that_has_thirty_letters"])
def test_a_new_study_passes_every_check(project, name):
    """Of notebooks and ruff, whatever its name sorts before."""
    made = new_study(name)
    assert review(made) == []
    own = ["--config", str(ROOT / "pyproject.toml"), "--config", f"src = ['{ROOT.as_posix()}']", "."]
    for check in (["ruff", "check", *own], ["ruff", "format", "--check", *own]):
        done = subprocess.run([sys.executable, "-m", *check], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_types_of_a_new_study_fit(project):
    """By itself mypy reads workbench/ alone; the module of a new study passes it as well."""
    module = new_study("pruning/my-question").with_suffix(".py")
    done = subprocess.run([sys.executable, "-m", "mypy", module], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_new_study_passes_every_check_of_its_figures(project, monkeypatch):
    monkeypatch.setenv("WORKBENCH_WORKERS", "1")
    assert review_run(new_study("pruning/my-question")) == []
    assert files(project) == {"pyproject.toml", *(f"notebooks/pruning/my_question.{x}" for x in ("ipynb", "py", "yml"))}


def test_nothing_of_the_template_is_left(project):
    made = new_study("my_question")
    assert made == project / "notebooks" / "my_question.ipynb"
    for suffix in (".ipynb", ".py", ".yml"):
        assert "template" not in made.with_suffix(suffix).read_text(encoding="utf-8").lower()
    assert "# My question: what" in made.read_text(encoding="utf-8")
    assert studies.find("my-question") == made


def test_where_there_is_no_project_the_working_directory_takes_it(tmp_path, command):
    made = command("new", "mine")
    assert "workbench run mine.ipynb --profile smoke" in made.stdout
    assert files(tmp_path) == {"mine.ipynb", "mine.py", "mine.yml"}
    assert command("run", "mine.ipynb", "--profile", "smoke", "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "must be made of small letters"),
        ("Three", "must be made of small letters"),
        ("3d", "must be made of small letters"),
        ("_hidden", "must be made of small letters"),
        ("a_name_that_has_31_letters_in_i", "must be made of small letters, digits and underscores, at most 30,"),
        ("my question", "must be made of small letters"),
        ("../outside", "must be made of small letters"),
        ("/tmp/outside", "must be made of small letters"),
        ("pruning/../../outside", "must be made of small letters"),
        ("a/b/c", "must be made of small letters"),
        ("torch", "must not be the name of a Python module"),
        ("pruning/statistics", "must not be the name of a Python module"),
        ("lambda", "must not be the name"),
        ("other/intrinsic-dimension", "must be new, got .*intrinsic_dimension.ipynb has it"),
    ],
)
def test_names_that_cannot_be_are_refused(project, name, message):
    with pytest.raises(InputError, match=f"NAME {message}"):
        new_study(name)
    assert files(project) == {"pyproject.toml"}


@pytest.mark.parametrize("suffix", [".py", ".yml", ".ipynb"])
def test_a_file_that_is_there_is_kept(project, suffix):
    there = (project / "notebooks" / "mine").with_suffix(suffix)
    there.write_text("{}")
    with pytest.raises(InputError, match="NAME must be new"):
        new_study("mine")
    assert files(project / "notebooks") == {there.name}
    assert there.read_text() == "{}"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_does_not_lead_out(project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (project / "notebooks" / "family").symlink_to(outside)
    with pytest.raises(InputError, match="is a link that leaves it"):
        new_study("family/mine")
    assert files(outside) == set()


def test_without_a_template_the_remedy_is_named(project, monkeypatch):
    monkeypatch.setattr("workbench.runner.new.roots", lambda: [project / "notebooks"])
    with pytest.raises(InputError, match=r"the template must stand in notebooks/.*pip install -e"):
        new_study("mine")

"""A course: what is written and refused, and that nbgrader takes it over; it is the reference here."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from traitlets.config import PyFileConfigLoader

from tests.lesson import MODULE, PROFILES, code, write_lesson
from tests.review import all_notebooks
from workbench.errors import InputError
from workbench.runner.course import write_course
from workbench.runner.new import new_study
from workbench.runner.studies import profiles
from workbench.schema import read_schema

pytest.importorskip("nbgrader", reason="the course needs nbgrader: pip install -e '.[course]'")

BIN = Path(sys.executable).parent
EDITIONS = ("source", "release")


@pytest.fixture
def lesson(tmp_path):
    return write_lesson(tmp_path / "notebooks")


def sources(path: Path) -> dict[str, str]:
    return {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}


def nbgrader(folder: Path, *arguments: str) -> str:
    """Run nbgrader as somebody does who has activated the environment; it calls alembic by name."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_two_editions_of_one_source(tmp_path, lesson):
    out = tmp_path / "course"
    written = write_course([lesson], out)
    names = {f"{edition}/tiny/tiny.{suffix}" for edition in EDITIONS for suffix in ("ipynb", "py", "yml")}
    names |= {"README.md", "nbgrader_config.py"}
    assert {path.relative_to(out).as_posix() for path in written} == names
    assert {path for path in out.rglob("*") if path.is_file()} == set(written)
    for edition in EDITIONS:
        assert (out / edition / "tiny" / "tiny.py").read_text() == MODULE
        assert (out / edition / "tiny" / "tiny.yml").read_text() == PROFILES
    original, solved, student = (
        sources(path) for path in (lesson, *(out / e / "tiny" / "tiny.ipynb" for e in EDITIONS))
    )
    assert solved == original
    assert student.pop("exercise-1") == "answer = None\n# YOUR CODE HERE\nraise NotImplementedError()"
    assert student.pop("exercise-2") == "name = None\n# YOUR CODE HERE\nraise NotImplementedError()"
    assert student.items() <= original.items()
    for edition in EDITIONS:
        book = nbformat.read(out / edition / "tiny" / "tiny.ipynb", as_version=4)
        assert not [cell.id for cell in book.cells if cell.metadata.get("jupyter", {}).get("source_hidden")]


def test_the_readme_says_what_awaits(tmp_path, lesson):
    write_course([lesson], tmp_path / "course")
    text = (tmp_path / "course" / "README.md").read_text(encoding="utf-8")
    expected = """
## 1. What is the mean of the first n numbers?

`tiny`, 2 points. About 2 seconds; with the exercises it fits a 50-minute lab.

- to say what a mean is,
  and where it lies;
- to judge a claim.

Start: `workbench lab release/tiny/tiny.ipynb`
"""
    assert expected in text


def hide(cells):
    hidden = "\n### BEGIN HIDDEN TESTS\nassert name.islower()\n### END HIDDEN TESTS"
    next(cell for cell in cells if cell["id"] == "exercise-2-check")["source"] += hidden


def test_nbgrader_writes_the_same_release(tmp_path):
    out = tmp_path / "course"
    write_course([write_lesson(tmp_path / "notebooks", hide)], out)
    ours = out / "release" / "tiny"
    assert "HIDDEN" in (out / "source" / "tiny" / "tiny.ipynb").read_text()
    assert "HIDDEN" not in (ours / "tiny.ipynb").read_text()
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    shutil.rmtree(ours)
    nbgrader(out, "generate_assignment", "tiny", "--no-db")
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == before


def answered(path: Path, **answers: str) -> Path:
    """Fill in a student's answers."""
    book = json.loads(path.read_text())
    for cell in book["cells"]:
        cell["source"] = answers.get(cell["id"].replace("-", "_"), cell["source"])
    path.write_text(json.dumps(book))
    return path


def graded(path: Path, settings: Any, **values: object) -> tuple[list[float], list[str], dict[str, Any]]:
    """Execute as nbgrader does: points and errors of the checks, outputs of all cells by their ids."""
    from nbgrader.preprocessors import Execute
    from nbgrader.utils import determine_grade

    book = nbformat.read(path, as_version=4)
    given = nbformat.v4.new_code_cell("\n".join(f"{name} = {value!r}" for name, value in values.items()))
    book.cells.insert([cell.id for cell in book.cells].index("parameters") + 1, given)
    done, _ = Execute(config=settings).preprocess(book, {"metadata": {"path": str(path.parent)}})
    checks = [cell for cell in done.cells if cell.id.endswith("-check")]
    outputs = {cell.id: cell.outputs for cell in done.cells if cell.cell_type == "code"}
    return [determine_grade(cell)[0] for cell in checks], [c.outputs[-1].get("evalue") for c in checks], outputs


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Yield what reads a course's nbgrader_config.py; nothing else says that nobody sits there."""
    monkeypatch.delenv("WORKBENCH_BATCH", raising=False)
    monkeypatch.setenv("WORKBENCH_WORKERS", "1")
    return lambda out: PyFileConfigLoader("nbgrader_config.py", str(out)).load_config()


def test_answers_earn_their_points_and_wrong_ones_are_told_why(tmp_path, lesson, settings):
    out = tmp_path / "course"
    write_course([lesson], out)
    shutil.copytree(out / "release" / "tiny", out / "submitted" / "eve" / "tiny")
    wrong = answered(out / "submitted" / "eve" / "tiny" / "tiny.ipynb", exercise_1="answer = n / 2")
    points, _, outputs = graded(out / "source" / "tiny" / "tiny.ipynb", settings(out), n=3)
    assert points == [1, 1]
    assert "application/vnd.plotly.v1+json" in outputs["explorer"][0].data  # no live widget
    points, told, _ = graded(wrong, settings(out), n=3)
    assert points == [0, 0]
    none = "There is no answer yet: put yours in its place and run the cell again."
    assert told == ["That is n / 2: the numbers begin at 1, not at 0.", none]


def test_the_exercises_of_a_new_study_are_graded(tmp_path, settings, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    study, out = new_study("mine"), tmp_path / "course"
    write_course([study], out)
    smoke = profiles(read_schema(study))["smoke"]
    for edition, earned in (("source", [1, 1]), ("release", [0, 0])):
        points, told, _ = graded(out / edition / "mine" / "mine.ipynb", settings(out), **smoke)
        assert points == earned, told


def at_smoke(notebook: Path, folder: Path) -> Path:
    """Copy a study whose parameters are those of its smoke profile: nbgrader takes a notebook as it stands."""
    shutil.copytree(notebook.parent, folder, ignore=shutil.ignore_patterns("__pycache__", "runs"))
    path, schema = folder / notebook.name, read_schema(notebook)
    values = profiles(schema)["smoke"]
    book = nbformat.read(path, as_version=4)
    cell = next(cell for cell in book.cells if cell.id == "parameters")
    lines = [f"{p.name}: {p.source} = {values.get(p.name, p.default)!r}  # {p.help}" for p in schema.parameters]
    cell.source = "\n".join(lines)
    nbformat.write(book, path)
    return path


def first_answer(book: Path) -> str:
    """Return the name that the check of the first exercise is given."""
    return next(node.id for node in ast.walk(ast.parse(sources(book)["exercise-1-check"]).body[0].value.args[0])
                if isinstance(node, ast.Name))  # fmt: skip


STUDIES = [path for path in all_notebooks() if not path.stem.startswith("_")]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("study", [None, *STUDIES], ids=lambda path: path.stem if path else "tiny")
def test_nbgrader_takes_the_course_over(tmp_path, lesson, study, monkeypatch):
    """Into its gradebook, three submissions, a table of points."""
    monkeypatch.setenv("WORKBENCH_WORKERS", "1")
    monkeypatch.delenv("WORKBENCH_BATCH", raising=False)
    out, lesson = tmp_path / "course", at_smoke(study, tmp_path / "study") if study else lesson
    write_course([lesson], out)
    name = lesson.stem
    points = sum(key.endswith("-check") for key in sources(lesson))
    nbgrader(out, "generate_assignment", name, "--force")
    for student, edition in (("ada", "source"), ("bob", "release"), ("eve", "source")):
        shutil.copytree(out / edition / name, out / "submitted" / student / name)
    answered(out / "submitted" / "eve" / name / f"{name}.ipynb", exercise_1=f"{first_answer(lesson)} = -7.25")
    nbgrader(out, "autograde", name)
    nbgrader(out, "export")
    rows = [line.split(",") for line in (out / "grades.csv").read_text().splitlines()]
    student, score = rows[0].index("student_id"), rows[0].index("score")
    assert {row[student]: float(row[score]) for row in rows[1:]} == {"ada": points, "bob": 0, "eve": points - 1}


def test_modules_are_found_and_not_executed(tmp_path):
    extra = code("more", "import helper\nfrom parts import inner")
    lesson = write_lesson(tmp_path / "notebooks", lambda cells: cells.insert(6, extra))
    folder = lesson.parent
    (folder / "helper.py").write_text("import deeper\nopen('ran', 'w')\n")
    (folder / "deeper.py").write_text("")
    (folder / "unused.py").write_text("")
    (folder / "parts").mkdir()
    for name in ("__init__.py", "inner.py"):
        (folder / "parts" / name).write_text("")
    written = write_course([lesson], tmp_path / "course")
    release = tmp_path / "course" / "release" / "tiny"
    names = {path.relative_to(release).as_posix() for path in written if path.is_relative_to(release)}
    modules = {"tiny.py", "helper.py", "deeper.py", "parts/__init__.py", "parts/inner.py"}
    assert names == {"tiny.ipynb", "tiny.yml", *modules}
    assert not list(tmp_path.rglob("ran"))


def silent(cells):
    cells[0]["source"] = cells[0]["source"].partition("**You will learn**")[0]


def unmarked(cells):
    for cell in cells:
        cell["metadata"].pop("nbgrader", None)


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (silent, "('', 2)"),
        (unmarked, r"('- to say what a mean is,\n  and where it lies;\n- to judge a claim.', 0)"),
        (list.clear, "('', 0)"),
    ],
)
def test_a_study_that_teaches_nothing_is_refused(tmp_path, change, got):
    lesson = write_lesson(tmp_path / "notebooks", change)
    with pytest.raises(InputError) as refused:
        write_course([lesson], tmp_path / "course")
    assert str(refused.value) == f"{lesson} must have objectives and points, got {got}; see _template"
    assert not (tmp_path / "course").exists()


def test_what_nbgrader_does_not_take_is_refused(tmp_path):
    stray = code("more", "### BEGIN SOLUTION\na = 1\n### END SOLUTION")
    lesson = write_lesson(tmp_path / "notebooks", lambda cells: cells.insert(6, stray))
    told = (
        r"tiny\.ipynb: nbgrader \(extra workbench\[course\]\) must take it, got RuntimeError\(.Solution region detected"
    )
    with pytest.raises(InputError, match=told):
        write_course([lesson], tmp_path / "course")
    assert not (tmp_path / "course").exists()


def test_nothing_is_overwritten_unasked(tmp_path, lesson):
    out = tmp_path / "course"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    (out / "README.md").write_bytes(b"\xff\n")
    told = f"--out must hold no other files of these names, got ['{out / 'README.md'}']; --force replaces them"
    with pytest.raises(InputError) as refused:
        write_course([lesson], out)
    assert str(refused.value) == told
    assert {path.name for path in out.iterdir()} == {"thesis.tex", "README.md"}
    write_course([lesson], out, force=True)
    write_course([lesson], out)  # the same again
    changed = out / "source" / "tiny" / "tiny.py"
    changed.write_text("# mine\n")
    with pytest.raises(InputError, match=r"got \['.*source.tiny.tiny\.py'\]; --force"):
        write_course([lesson], out)
    assert changed.read_text() == "# mine\n"
    write_course([lesson], out, force=True)
    assert changed.read_text() == MODULE
    assert (out / "thesis.tex").read_text() == "years of work"


def test_one_name_is_one_assignment(tmp_path, lesson):
    other = write_lesson(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"STUDY must be named once, got \['tiny', 'tiny'\]"):
        write_course([lesson, other], tmp_path / "course")


def test_without_nbgrader_the_remedy_is_named(tmp_path, lesson, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbgrader", None)
    for name in [name for name in sys.modules if name.startswith("nbgrader.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"nbgrader \(extra workbench\[course\]\) must take it, got .*None in sys"):
        write_course([lesson], tmp_path / "course")


def test_the_command_says_what_it_wrote(tmp_path, lesson, command):
    done = command("course", "notebooks/tiny.ipynb")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [str(Path("course") / name) for name in ("README.md", "nbgrader_config.py")]
    assert all((tmp_path / line).is_file() for line in lines)
    (tmp_path / "course" / "README.md").write_text("mine")
    done = command("course", "notebooks/tiny.ipynb")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--out must hold no other files of these names" in done.stderr
    assert command("course", "notebooks/tiny.ipynb", "--force").returncode == 0

"""The check of notebooks: this repository's, a study that breaks no rule, each rule broken alone, figures."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import plotly.graph_objects as go
import pytest
import yaml

from tests.lesson import WORDS, code, exercise, markdown, write_lesson
from tests.review import RULES, all_notebooks, main, review, review_outputs, review_run
from workbench.errors import InputError
from workbench.figures.style import finish

ROOT = Path(__file__).parents[1]

ID = "is no id that names one cell and stays; give each cell a name of small letters, digits and dashes such as "
ID += "run-text, no UUID and not 8 hexadecimal digits"
SOLUTION = "is not whole; put the solution between '### BEGIN SOLUTION' and '### END SOLUTION', each a line of its own"
CHECK = "is not whole; call, in one line, a check of the study's own module, where the right answer stands"
PROJECT = "an absolute path; name what lies in the project"
WIDGETS = "which may hang a batch run; use workbench.widgets"
MAGIC = "a magic or shell line; write plain Python"
BEHIND = "stands behind"


def put(name, key, value):
    """Return a change that sets an entry of a cell."""

    def change(cells):
        next(cell for cell in cells if cell["id"] == name)[key] = value

    return change


def swap(name, old, new):
    """Return a change of a cell's text."""

    def change(cells):
        cell = next(cell for cell in cells if cell["id"] == name)
        assert old in cell["source"]
        cell["source"] = cell["source"].replace(old, new)

    return change


def drop(name):
    return lambda cells: cells.remove(next(cell for cell in cells if cell["id"] == name))


def add(name, source, kind=code):
    """Return a change that adds a cell behind the set-up."""
    place = ["title", "imports", "parameters", "prediction", "predict", "setup"]
    return lambda cells: cells.insert(len(place), kind(name, source))


def move(name, to):
    return lambda cells: cells.insert(to, cells.pop([cell["id"] for cell in cells].index(name)))


@pytest.mark.parametrize("path", all_notebooks(), ids=lambda path: path.stem)
def test_the_notebooks_of_this_repository(path):
    assert review(path) == []


@pytest.mark.parametrize("path", all_notebooks(), ids=lambda path: path.stem)
def test_their_figures_at_the_smoke_profile(path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_WORKERS", "1")
    assert review_run(path) == []


def test_a_study_that_breaks_no_rule(tmp_path):
    assert review(write_lesson(tmp_path)) == []


FAULTS = {
    "no question": (swap("title", "# What is the mean of the first n numbers?", "# The mean"), "title",
                    "is not whole; begin with the question: '# ...?'"),
    "no source": (swap("title", "**Source.**", "Source:"), "title",
                  "is not whole; write '**Source.**' and what the study reproduces"),
    "no time": (swap("title", "2 seconds", "soon"), "title",
                "is not whole; write '**Time.** About ... minutes', of the laptop profile"),
    "no lab": (swap("title", "50-minute", "short"), "title",
               "is not whole; say behind '**Time.**' how it fits a 50-minute lab"),
    "one objective": (swap("title", "\n- to judge a claim.", ""), "title",
                      "is not whole; write '**You will learn**' and below it a list of 2 to 4 objectives"),
    "five objectives": (swap("title", "a claim.", "a claim.\n- a\n- b\n- c"), "title",
                        "is not whole; write '**You will learn**' and below it a list of 2 to 4 objectives"),
    "no rules": (swap("prediction", "|", "/"), "prediction",
                 "is not whole; give claims and rules as a table, and say what to predict"),
    "prediction not shown": (swap("predict", "\nprediction", ""), "predict",
                             "is not whole; write 'prediction = widgets.predict(...)' and below it 'prediction'"),
    "no report": (swap("verdict", "study.report()", "study.run_dir"), "verdict",
                  "is not whole; judge the claims and end with study.report(...)"),
    "result alone": (swap("prediction-result", "prediction.beside", "print"), "prediction-result",
                     "is not whole; show prediction.beside(...)"),
    "no limits": (swap("reading", "Limits", "Ends"), "reading",
                  "is not whole; say how to read the result and what its limits are"),
    "no reading list": (drop("further-reading"), "further-reading", "is missing; add a markdown cell of this id"),
    "code as text": (put("explorer-text", "cell_type", "raw"), "explorer-text", "is no markdown cell; change its type"),
    "order": (move("setup", 4), "predict", f"{BEHIND} setup; move it before"),
    "title not first": (move("imports", 0), "title", f"{BEHIND} imports; move it before"),
    "no solution": (swap("exercise-1", "### BEGIN SOLUTION\n", ""), "exercise-1", SOLUTION),
    "no end": (swap("exercise-1", "### END SOLUTION", "### end"), "exercise-1", SOLUTION),
    "right answer seen": (put("exercise-2-check", "source", 'check(name, "arithmetic")'), "exercise-2-check", CHECK),
    "two checks": (put("exercise-2-check", "source", "tiny.check_name(name)\ntiny.check_name(name)"),
                   "exercise-2-check", CHECK),
    "no check": (put("exercise-2-check", "source", "assert name"), "exercise-2-check", CHECK),
    "a fourth": (lambda cells: cells.append(markdown("exercise-4-text", "More.")), "exercise-4-text",
                 "belongs to none of two or three exercises, numbered from 1; merge it"),
    "id of nbformat": (put("figure", "id", "0a1b2c3d"), "0a1b2c3d", ID),
    "id of JupyterLab": (put("figure", "id", "f4b1a2c3-0a1b-4c2d-8e3f-0123456789ab"),
                         "f4b1a2c3-0a1b-4c2d-8e3f-0123456789ab", ID),
    "id of words": (put("figure", "id", "My figure"), "My figure", ID),
    "no id": (lambda cells: cells[6].pop("id"), "None", ID),
    "one id twice": (add("figure", "tiny.draw(n)"), "figure", ID),
    "outputs": (put("setup", "outputs", [{"output_type": "stream", "name": "stdout", "text": "a"}]), "setup",
                "keeps outputs or an execution count; strip it with nbstripout --keep-id"),
    "execution count": (put("setup", "execution_count", 3), "setup",
                        "keeps outputs or an execution count; strip it with nbstripout --keep-id"),
    "papermill's": (put("setup", "metadata", {"papermill": {}}), "setup",
                    "keeps papermill of a run; delete it from the metadata"),
    "long cell": (add("more", "a = 1\n" * 21), "more",
                  "has 21 lines; keep 20, and split it or move some to the study's module"),
    "syntax": (add("more", "a ="), "more", "is no Python (invalid syntax (<unknown>, line 1)); correct it"),
    "interact": (add("more", "widgets.interact(f)"), "more", f"holds 'interact', {WIDGETS}"),
    "decorator": (add("more", "@widgets.interact\ndef f(): pass"), "more", f"holds '@widgets.interact', {WIDGETS}"),
    "Output": (add("more", "out = ipywidgets.Output()"), "more", f"holds 'Output', {WIDGETS}"),
    "magic by call": (add("more", 'get_ipython().run_line_magic("time", "")'), "more",
                      f"holds 'get_ipython', {WIDGETS}"),
    "path": (add("more", 'data = open("/data/images.bin")'), "more", f"holds '\"/data/images.bin\"', {PROJECT}"),
    "home": (add("more", "data = Path('~/images')"), "more", f"holds \"'~/images'\", {PROJECT}"),
    "drive": (add("more", 'data = Path("C:/images")'), "more", f"holds '\"C:/images\"', {PROJECT}"),
    "path in text": (add("more", "It lies in /home/me/runs.", markdown), "more", f"holds '/home/me/runs.', {PROJECT}"),
    "wordy": (add("more", WORDS * 3, markdown), "notebook", "has 2322 words of text; say it in 500 to 1200"),
    "taciturn": (swap("prediction", WORDS, ""), "notebook", "has 82 words of text; say it in 500 to 1200"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "cell", "what"), FAULTS.values(), ids=FAULTS)
def test_one_fault_is_one_line(tmp_path, change, cell, what):
    assert review(write_lesson(tmp_path, change)) == [(cell, what)]


@pytest.mark.parametrize(
    ("text", "named"),
    [("%time a = 1", "%time a = 1"), ("!ls", "!ls"), ("a = 1\n  %matplotlib inline", "%matplotlib inline"),
     ("%%bash\nls", "%%bash")],
)  # fmt: skip
def test_magics_are_named(tmp_path, text, named):
    magic, syntax = review(write_lesson(tmp_path, add("more", text)))
    assert magic == ("more", f"holds {named!r}, {MAGIC}")
    assert syntax[1].startswith("is no Python")


def test_what_only_looks_wrong_passes(tmp_path):
    text = (
        'ratio = (\n    n\n    % 2\n)\nurl = "https://example.org/a"\nunit = "steps/s, m/s/s"\nface = outputs = n / 2'
    )
    assert review(write_lesson(tmp_path, add("face", text))) == []
    words = "[a paper](https://arxiv.org/abs/1), a and/or b, `data/published/x.csv`, p/n."
    assert review(write_lesson(tmp_path, add("more-text", words, markdown))) == []


@pytest.mark.parametrize("kind", ["", "-check"])
def test_marks_of_nbgrader_must_be_whole(tmp_path, kind):
    marks = json.dumps(RULES["exercise"][f"exercise-{{k}}{kind}"]["metadata"]).replace("{k}", "1")
    told = f"is not marked for nbgrader; set its metadata {marks}"
    name = f"exercise-1{kind}"
    assert review(write_lesson(tmp_path, put(name, "metadata", {}))) == [(name, told)]


def test_a_missing_exercise_is_told_whole(tmp_path):
    faults = review(write_lesson(tmp_path, drop("exercise-2")))
    assert {name for name, _ in faults} == {"exercise-2"}
    missing, solution, marks = (what for _, what in faults)
    assert (missing, solution) == ("is missing; add a code cell of this id", SOLUTION)
    assert '"grade_id": "exercise-2"' in marks


def test_a_third_exercise_must_be_whole(tmp_path):
    text = markdown("exercise-3-text", "Another.")
    faults = review(write_lesson(tmp_path, lambda cells: cells.insert(-1, text)))
    assert {name for name, _ in faults} == {"exercise-3", "exercise-3-check"}


def test_hidden_tests_may_follow_the_check(tmp_path):
    hidden = "tiny.check_name(name)\n### BEGIN HIDDEN TESTS\nassert name\n### END HIDDEN TESTS"
    assert review(write_lesson(tmp_path, put("exercise-2-check", "source", hidden))) == []


def lines(cells, exercises: bool) -> int:
    code_cells = [cell for cell in cells if cell["cell_type"] == "code"]
    counted = [cell for cell in code_cells if exercises or not cell["id"].startswith("exercise-")]
    return sum(len(cell["source"].splitlines()) for cell in counted)


def fill(cells, n: int) -> None:
    """Add cells until the study has ``n`` lines of code without its exercises."""
    while (left := n - lines(cells, False)) > 0:
        cells.insert(6, code(f"more-{left}", "a = 1\n" * min(left, 20)))


def test_lines_of_code_are_counted_without_exercises(tmp_path):
    assert review(write_lesson(tmp_path, lambda cells: fill(cells, 120))) == []
    told = "has 121 lines of code without its exercises; keep 120, and move some to its module"
    assert review(write_lesson(tmp_path, lambda cells: fill(cells, 121))) == [("notebook", told)]


def test_lines_of_code_are_counted_in_all(tmp_path):
    solution = "### BEGIN SOLUTION\n" + "a = 1\n" * 17 + "### END SOLUTION"

    def change(cells, n):
        for k in (1, 2):
            put(f"exercise-{k}", "source", solution)(cells)  # with the checks, 40 lines
        fill(cells, n)

    assert review(write_lesson(tmp_path, lambda cells: change(cells, 120))) == []

    def longer(cells):
        cells[-1:-1] = exercise(3, "Another.", "a = 1", "a = 2", "tiny.check_name(name)")
        change(cells, 120)

    told = "has 165 lines of code; keep 160, and move some to its module"
    assert review(write_lesson(tmp_path, longer)) == [("notebook", told)]


@pytest.mark.parametrize("name", ["widgets", "papermill"])
def test_state_of_a_run_is_named(tmp_path, name):
    told = f"keeps {name} of a run; delete it from the metadata"
    assert review(write_lesson(tmp_path, **{name: {}})) == [("notebook", told)]


@pytest.mark.parametrize(
    ("source", "profiles", "told"),
    [
        ("n: int = 5", None, "has n without a comment; say behind it what it is, with its unit"),
        ("n = 5  # a number", None, "must be an annotated assignment such as 'seed: int = 0'"),
        ("n: int = 'a'  # a number", None, "defaults: n must be int, got 'a'"),
        (None, "smoke: {}\n", "tiny.yml must hold a profile paper, got ['laptop', 'smoke']; write 'paper:'"),
        (None, "smoke: {m: 1}\npaper: {}\n", "tiny.yml, profile smoke: m must be a parameter of tiny"),
        (None, "smoke: {n: a}\npaper: {}\n", "tiny.yml, profile smoke: n must be int, got 'a'"),
        (None, "smoke: {}\npaper: {}\nlarge: {n: 1.5}\n", "tiny.yml, profile large: n must be int, got 1.5"),
        (None, "smoke: 3\n", "tiny.yml: smoke must map parameters to values"),
    ],
)
def test_parameters_and_profiles(tmp_path, source, profiles, told):
    path = write_lesson(tmp_path, put("parameters", "source", source) if source else lambda cells: None)
    if profiles:
        path.with_suffix(".yml").write_text(profiles)
    ((cell, what),) = review(path)
    assert cell == "parameters"
    assert told in what


def test_one_cell_is_tagged_parameters(tmp_path):
    ((cell, what),) = review(write_lesson(tmp_path, put("parameters", "metadata", {})))
    assert (cell, "must have exactly one cell tagged parameters, got 0" in what) == ("parameters", True)


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_lesson(tmp_path, add("more", 'Path("ran").touch()'))
    path.with_suffix(".py").write_text('open("ran", "w")\ndef check_mean(): pass\ndef check_name(): pass\n')
    assert review(path) == []
    assert not (tmp_path / "ran").exists()


def test_what_is_no_notebook_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "other.ipynb"
    path.write_text("[]")
    with pytest.raises(InputError, match=r"other\.ipynb must be a notebook"):
        review(path)
    assert main(["other.ipynb", "missing.ipynb"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("other.ipynb: notebook: cannot be read: other.ipynb must be a notebook (.ipynb), got")
    assert second.startswith("missing.ipynb: notebook: cannot be read: ")


def test_the_hook_strips_a_run_and_nothing_else(tmp_path):
    """nbstripout by itself numbers the cells anew."""
    (hooks,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (entry,) = [hook["entry"] for hook in hooks["hooks"] if hook["id"] == "nbstripout"]
    program, *options = entry.split()
    copies = {tmp_path / path.name: json.loads(path.read_text()) for path in all_notebooks()}
    for path in all_notebooks():
        book = nbformat.read(path, as_version=4)
        for cell in book.cells:
            if cell.cell_type == "code":
                cell.metadata |= {"execution": {}, "collapsed": True}
                cell.execution_count, cell.outputs = 1, [nbformat.v4.new_output("stream", text="a")]
        book.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
        nbformat.write(book, tmp_path / path.name)
    subprocess.run([sys.executable, "-m", Path(program).name, *options, *copies], check=True)  # as pre-commit: at once
    assert {path: json.loads(path.read_text()) for path in copies} == copies


def figure(**layout) -> go.Figure:
    drawn = go.Figure([go.Scatter(y=[1, 2]), go.Scatter(y=[2, 1], hoverinfo="skip")])
    drawn.update_xaxes(title="Step")
    drawn.update_yaxes(title="Loss (nats)")
    return finish(drawn, "A title", "A caption.").update_layout(**layout)


def executed(folder: Path, *data: dict) -> Path:
    """Write a notebook with outputs of these mimetypes, a cell each."""
    cells = [nbformat.v4.new_code_cell("", id=f"cell-{k}", outputs=[nbformat.v4.new_output("display_data", part)])
             for k, part in enumerate(data)]  # fmt: skip
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "executed.ipynb")
    return folder / "executed.ipynb"


def shown(drawn: go.Figure) -> dict:
    return {"application/vnd.plotly.v1+json": json.loads(drawn.to_json())}


@pytest.mark.parametrize(
    ("drawn", "told"),
    [
        (figure(), []),
        (figure(title_text=""), ["draws a figure without a title; figures.style.finish gives it one"]),
        (figure(title=None), ["draws a figure without a title; figures.style.finish gives it one",
                              "draws a figure without a caption; figures.style.finish gives it one"]),
        (figure(title_subtitle_text=None), ["draws a figure without a caption; figures.style.finish gives it one"]),
        (figure(xaxis_title=None), ["draws a figure whose xaxis has no title; name the quantity and its unit"]),
        (figure(yaxis2={"overlaying": "y"}),
         ["draws a figure whose yaxis2 has no title; name the quantity and its unit"]),
        (figure(xaxis2={"showticklabels": False}), []),
        (figure().update_traces(hoverinfo="skip"),
         ["draws a figure that says nothing on hover; let one trace say what a point is"]),
    ],
)  # fmt: skip
def test_figures_say_what_they_show(tmp_path, drawn, told):
    assert review_outputs(executed(tmp_path, shown(drawn))) == [("cell-0", what) for what in told]


def test_axes_of_a_space_are_titled_too(tmp_path):
    scene = {f"{axis}axis": {"title": {"text": axis}} for axis in "xy"}
    drawn = finish(go.Figure(go.Scatter3d(x=[1], y=[1], z=[1])), "A title", "A caption.").update_layout(scene=scene)
    assert review_outputs(executed(tmp_path, shown(drawn))) == []
    scene["zaxis"] = {"title": {"text": ""}}
    drawn.update_layout(scene=scene)
    assert [what for _, what in review_outputs(executed(tmp_path, shown(drawn)))] == [
        "draws a figure whose zaxis has no title; name the quantity and its unit"
    ]


def test_live_widgets_and_nothing_at_all_are_told(tmp_path):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "a"}
    told = [
        ("cell-0", "shows a live widget, which needs a kernel; in batch show the plain figure"),
        ("notebook", "draws no figure; show one"),
    ]
    assert review_outputs(executed(tmp_path, view)) == told
    assert review_outputs(executed(tmp_path, view, shown(figure()))) == told[:1]


def test_a_picture_has_no_caption_to_check(tmp_path):
    told = ("cell-0", "shows a picture, whose caption nobody can check; draw it with plotly")
    assert review_outputs(executed(tmp_path, {"image/png": "iVBORw0KGgo="}, shown(figure()))) == [told]


def test_the_command_says_a_line_a_fault(tmp_path):
    """As `make check` and the pre-commit hook start it."""

    def command(*arguments: object) -> tuple[int, str]:
        line = [sys.executable, "-m", "tests.review", *map(str, arguments)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        assert done.stderr == ""
        return done.returncode, done.stdout

    assert command() == (0, f"{len(all_notebooks())} notebooks reviewed, nothing to change\n")
    path = write_lesson(tmp_path, drop("further-reading"))
    name, _, told = command(path)[1].partition(": ")
    assert ((ROOT / name).resolve(), told) == (path, "further-reading: is missing; add a markdown cell of this id\n")
    assert command(path, *all_notebooks())[0] == 1


def test_the_command_runs_the_smoke_profile(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORKBENCH_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    write_lesson(tmp_path / "good")
    assert main(["good/tiny.ipynb", "--run"]) == 0
    assert capsys.readouterr().out == "1 notebooks reviewed, nothing to change\n"
    faulty = write_lesson(tmp_path / "faulty").with_suffix(".py")
    faulty.write_text(faulty.read_text().replace('title="Largest', 'visible=True, color="red")  # ("'))
    write_lesson(tmp_path / "broken", add("more", "1 / 0"))
    assert main(["faulty/tiny.ipynb", "broken/tiny.ipynb", "--run"]) == 1
    where, told = (
        Path("faulty") / "tiny.ipynb",
        "draws a figure whose xaxis has no title; name the quantity and its unit",
    )
    assert capsys.readouterr().out.splitlines() == [
        f"{where}: figure: {told}",
        f"{where}: explorer: {told}",
        f"{Path('broken') / 'tiny.ipynb'}: notebook: fails at its smoke profile (cell 7, line 1: ZeroDivisionError: "
        "division by zero); mend it",
    ]
    assert not list(tmp_path.rglob("runs"))

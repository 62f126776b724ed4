"""The command line as a user meets it; kernels start in two of these tests only."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from workbench.errors import InputError
from workbench.records import Run
from workbench.runner import cli, launch, papermill, studies
from workbench.runner.launch import run_key
from workbench.runner.outcome import Outcome
from workbench.runner.studies import last_verdicts

STUDY = """\
from workbench.study import Claim, Study, judge_interval
from types import SimpleNamespace
import plotly.graph_objects as go
data = SimpleNamespace(name="digits", checksum="abc", note="digits <script>alert(1)</script>")
claims = [Claim("toy", "a-paper", "Ten constraints need ten dimensions.", "d_int = 10"),
          Claim("mnist", "a-paper", "On MNIST.", "in [375, 1500]", ("mnist",))]
study = Study("demo", parameters={"a": a, "text": text}, claims=claims, stages={"toy": 1, "rest": 3}, dataset=data)
for stage in ("toy", "rest"):
    with study.stage(stage) as tick:
        tick(0.5)
"""
FIGURE = """\
figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="</script><b>"),
                   frames=[go.Frame(data=[go.Scatter(y=[k])], name=str(k)) for k in range(2)])
steps = [{"label": str(k), "method": "animate", "args": [[str(k)]]} for k in range(2)]
figure.update_layout(sliders=[{"steps": steps}])
figure"""
VERDICT = """\
study.judge("toy", value=9, interval=(8.5, 9.5), n=10, unit="dimensions", verdict=judge_interval(9, (8.5, 9.5), 10, 10))
study.judge("mnist", value=500, interval=(400, 600), n=3, unit="dimensions", verdict="holds")
study.report(curve=[1, 2])"""


def test_a_study_from_command_to_page(tmp_path, notebook, command):
    book = notebook(STUDY, FIGURE, VERDICT, parameters="a: int = 1\ntext: str = '<img src=x onerror=alert(1)>'")
    done = command("run", book, "-p", "a=3", "--out", "out", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "FAILS  Ten constraints need ten dimensions." in done.stdout
    assert "measured  9 dimensions [8.5, 9.5] (n = 10)" in done.stdout
    assert "ILLUSTRATION  On MNIST." in done.stdout
    assert "paper     a-paper" in done.stdout
    assert "100%  rest" in done.stderr
    folder = next((tmp_path / "out" / "demo").iterdir())
    for name in ("executed.ipynb", "page.html", "run.json"):
        assert str(folder / name) in done.stdout
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["profile"], record["parameters"]["a"]) == ("done", "laptop", 3)
    assert record["workers"] == 2
    assert record["versions"]["torch"].startswith("2.")
    assert last_verdicts(tmp_path / "out", "demo") == {"toy": "fails", "mnist": "illustration"}
    _check_page(folder / "page.html", tmp_path / "out" / "plotly.min.js")


def _check_page(page, library):
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 500_000
    resources = re.findall(r"""<(?:script|img|link|iframe|source)[^>]*?(?:src|href)\s*=\s*["']?([^"'\s>]+)""", text)
    assert resources == ["../../plotly.min.js"]
    assert (page.parent / resources[0]).resolve() == library
    assert not re.search(r"@import|url\(|https?://cdn", text)
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    (figure,) = re.findall(r'<script class="plotly" type="application/json">(.*?)</script>', text)
    data = json.loads(figure)
    assert data["data"][0]["name"] == "</script><b>"
    assert len(data["frames"]) == 2
    assert data["layout"]["sliders"]
    assert "a = 3" not in text  # papermill's own cell; the header lists the parameters
    assert ": done, profile laptop<" in text
    assert 'id="code">' in text  # code is folded until asked for
    assert text.count(">fails<") == 2  # first thing on the page, and where the notebook says it
    assert "plotly.js" in library.read_text(encoding="utf-8")[:200]


def test_a_failing_study_has_record_and_page(tmp_path, notebook, command):
    done = command("run", notebook("raise RuntimeError('<b>oh</b> [red]')"), "--json")
    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert record["status"] == "failed"
    assert record["error"]["message"] == "<b>oh</b> [red]"
    page = (tmp_path / "runs" / "demo" / record["run"] / "page.html").read_text(encoding="utf-8")
    assert "cell 2, line 1: RuntimeError: &lt;b&gt;oh&lt;/b&gt; [red]" in page


@pytest.fixture
def invoke(monkeypatch, tmp_path, capsys):
    """Run the command line in this process; starting a kernel is an error."""

    def refuse(*_, **__):
        raise AssertionError("a kernel was about to start")

    monkeypatch.setattr(papermill, "execute", refuse)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=stop.value.code, out=out, err=err)

    return call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "b=3"], "b must be a parameter of demo"),
        (["-p", "a=banana"], "-p: a must be int, got 'banana'"),
        (["-p", "a=True"], "-p: a must be int, got True"),
        (["-p", "a"], "must be name=value"),
        (["--profile", "paper"], "--profile must be one of laptop, smoke, got 'paper'"),
        (["--params", "missing.yml"], "missing.yml must be a readable YAML"),
        (["--params", "bad.yml"], "bad.yml: a must be int, got '3'"),
        (["--seed", "3"], "--seed: seed must be a parameter of demo"),
        (["--out", "file"], "out must be a folder that can be written, got 'file'"),
        (["--workers", "0"], "--workers"),
        (["--dry-run", "--executor", "slurm"], "executor must be serial, processes or dask:ADDRESS, got 'slurm'"),
        (["--typo", "0"], "--typo"),
    ],
)
def test_bad_input_ends_before_a_kernel_starts(tmp_path, notebook, invoke, arguments, message):
    book = notebook("pass")
    (tmp_path / "demo.yml").write_text("smoke: {a: 2}\n")
    (tmp_path / "bad.yml").write_text("a: '3'\n")
    (tmp_path / "file").touch()
    done = invoke("run", book, *arguments)
    assert done.code == cli.REFUSED
    assert message in done.err
    assert not (tmp_path / "runs").exists()


def test_values_come_in_order_of_precedence(tmp_path, notebook, invoke):
    book = notebook("pass", parameters="a: int = 1\nb: int = 1\nc: int = 1\nseed: int = 0\nd: int = 1")
    (tmp_path / "demo.yml").write_text("smoke: {b: 2, c: 2, d: 2}\n")
    (tmp_path / "p.yml").write_text("c: 3\nd: 3\n")
    options = ["--profile", "smoke", "--params", "p.yml", "-p", "d=4", "--seed", "7", "--dry-run", "--json"]
    done = invoke("run", book, *options)
    assert done.code == 0
    assert json.loads(done.out)["parameters"] == {"a": 1, "b": 2, "c": 3, "seed": 7, "d": 4}
    assert "seed" in invoke("run", book, "--dry-run").out


def test_help_names_the_parameters_of_the_study(notebook, invoke):
    book = notebook("pass", parameters="a: int = 1  # a number [of things]\nnames: list[str] = ['x']")
    done = invoke("run", "-p", "a=3", book, "--help")
    assert done.code == 0
    assert "Parameters of demo" in done.out
    assert "   a: int = 1  a number [of things]" in done.out
    assert "   names: list[str] = ['x']" in done.out
    assert "Parameters of" not in invoke("run", "--help").out


def make_run(out, book, values, status, **more):
    """Make the record of a run as an earlier process left it."""
    run = Run.start(out, "demo", values, notebook=str(book), profile="smoke", **more)
    results = {"schema": 1, "study": "demo", "data": "digits", "findings": [], "unjudged": []}
    (run.folder / "results.json").write_text(json.dumps(results))
    run.finish(status)
    return run.folder


@pytest.fixture
def launched(monkeypatch):
    """Launch nothing; remember what was asked for."""
    calls = []

    def remember(book, values, **settings):
        calls.append((book, values, settings))
        outcome = Outcome("interrupted", {"cell": 2, "name": "Interrupted", "message": "m"}, signal=2)
        return launch.Launched(Run.read(next(settings["out"].glob("demo/*"))), outcome, None, reused=False)

    monkeypatch.setattr(launch, "launch", remember)
    return calls


def test_resume_takes_everything_from_the_record(tmp_path, notebook, invoke, launched):
    book, values = notebook("pass", parameters="a: int = 1\nb: int = 2"), {"a": 3, "b": 2}
    more = {"key": run_key(book, values), "executor": "serial", "workers": 3, "timeout": 9}
    folder = make_run(tmp_path / "elsewhere", book, values, "interrupted", **more)
    done = invoke("resume", folder.name[:-2], "--out", "elsewhere")
    assert done.code == 130
    assert f"resume {folder.name} --out {tmp_path / 'elsewhere'}" in done.err
    assert "note:" not in done.err
    settings = {"executor": "serial", "workers": 3, "timeout": 9, "profile": "smoke", "out": tmp_path / "elsewhere"}
    assert launched == [(book, values, settings)]
    invoke("resume", folder.name, "--out", "elsewhere", "--timeout", 60)  # what ended it early need not end it again
    assert launched[1] == (book, values, settings | {"timeout": 60})


def test_resume_says_when_it_is_a_new_run(tmp_path, notebook, invoke, launched):
    folder = make_run(tmp_path / "runs", notebook("pass"), {"a": 3}, "failed", key="another")
    done = invoke("resume", "demo")
    assert f"have changed since {folder.name}: this is a new run" in done.err
    assert f"resume {folder.name}\n" in done.err  # the usual folder needs no --out
    assert launched[0][2]["workers"] is None


def test_resume_shows_what_is_done(tmp_path, notebook, invoke):
    folder = make_run(tmp_path / "runs", notebook("pass"), {"a": 3}, "done")
    done = invoke("resume", folder.name, "--json")
    assert done.code == 0
    assert json.loads(done.out)["reused"]


@pytest.mark.parametrize("inside", [True, False])
def test_resume_runs_no_notebook_that_came_with_a_record(tmp_path, notebook, invoke, inside):
    folder = make_run(tmp_path / "runs", notebook("pass"), {"a": 3}, "failed")
    planted = folder / "executed.ipynb"
    if inside:
        planted.write_text(notebook("pass").read_text())
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "notebook": str(planted)}))
    done = invoke("resume", folder.name)
    assert done.code == cli.REFUSED
    assert "must be of a notebook that is still there" in done.err


def test_a_cluster_named_by_a_strangers_record_is_not_asked(tmp_path, notebook, invoke, launched):
    folder = make_run(tmp_path / "runs", notebook("pass"), {"a": 3}, "failed", executor="dask:tcp://evil:1")
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "elsewhere"}))
    invoke("resume", folder.name)
    assert launched[0][2]["executor"] is None


def test_show(tmp_path, notebook, invoke):
    (tmp_path / "demo.yml").write_text("smoke: {a: 2}\n")
    book = notebook("pass")
    assert "a number" in invoke("show", book).out
    assert json.loads(invoke("show", book, "--json").out)["profiles"] == {"laptop": {}, "smoke": {"a": 2}}


@pytest.fixture
def project(tmp_path, notebook, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    for place in ("notebooks/dimension/a_study", "notebooks/width/a_study", "notebooks/width/other_study"):
        folder = (tmp_path / place).parent
        folder.mkdir(parents=True, exist_ok=True)
        notebook("pass", name=place)
    notebook("pass", name="notebooks/_template")
    monkeypatch.setattr(studies, "roots", lambda: [tmp_path / "notebooks"])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a-study", "write dimension/a_study or width/a_study"),
        ("other-stud", "did you mean other_study"),
        ("zzzz", "workbench list"),
        ("x.ipynb", "notebook that exists"),
        ("_template", "must be a study or a path"),
    ],
)
def test_a_study_that_is_not_there(project, name, message):
    with pytest.raises(InputError, match=message):
        studies.find(name)


def test_list(project, invoke):
    book = json.loads((project / "notebooks/width/other_study.ipynb").read_text())
    text = "# How wide?\n\n**Time.** About 3 minutes.\n"
    book["cells"].insert(0, {"cell_type": "markdown", "metadata": {}, "source": text, "id": "first"})
    (project / "notebooks/width/other_study.ipynb").write_text(json.dumps(book))
    rows = json.loads(invoke("list", "--json").out)
    assert [row["study"] for row in rows] == ["dimension/a_study", "width/a_study", "width/other_study"]
    expected = {"question": "How wide?", "time": "About 3 minutes.", "minutes": 3, "papers": [], "claims": []}
    assert rows[2] == {"study": "width/other_study", **expected, "verdicts": {}}
    results = project / "runs/other_study/1/results.json"
    results.parent.mkdir(parents=True)
    results.write_text('{"findings": [{"claim": {"name": "toy"}, "verdict": "fails"}]}')
    (row,) = [line for line in invoke("list").out.splitlines() if line.startswith("width/other_study")]
    assert row.split() == ["width/other_study", "How", "wide?", "1:", "toy", "fails", "3"]


@pytest.mark.parametrize("text", ["smoke: 3", "- a"])
def test_profiles_that_are_no_profiles(tmp_path, notebook, invoke, text):
    book = notebook("pass")
    (tmp_path / "demo.yml").write_text(text)
    assert invoke("run", book, "--dry-run").code == cli.REFUSED


def test_every_command_teaches_by_example():
    for name in ("run", "resume", "sweep", "show", "list"):
        assert f"Example: workbench {name}" in CliRunner().invoke(cli.app, [name, "--help"]).output


def test_command_line_imports_nothing_heavy():
    heavy = ("torch", "papermill", "nbformat", "pandas")
    code = f"import sys, workbench.runner.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

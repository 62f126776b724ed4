"""Claims are judged by their rule, on their data, and said as they came out."""

import gc
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest

from workbench.errors import DataError, InputError
from workbench.records import Run, find_run
from workbench.study import Claim, Study, judge_interval, n_to_decide
from workbench.verdicts import Finding, read_report

CLAIMS = [
    Claim("anywhere", "a-paper", "A <b>claim</b> on any data.", "value >= 1"),
    Claim("mnist", "a-paper", "A claim on MNIST.", "value in [375, 1500]", ("mnist",)),
]
DIGITS = SimpleNamespace(name="digits", checksum="abc", note="1,437 training images of scikit-learn digits")


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path / "runs" / "demo" / "1"))
    (tmp_path / "runs" / "demo" / "1").mkdir(parents=True)

    def build(**changes):
        settings = {"parameters": {"seed": 0}, "claims": CLAIMS, "stages": {"a": 1, "b": 3}, "dataset": DIGITS}
        return Study("demo", **{**settings, **changes})

    return build


@pytest.mark.parametrize(
    ("value", "interval", "low", "high", "verdict"),
    [
        (750, (600, 900), 375, 1500, "holds"),
        (750, (375, 1500), 375, 1500, "holds"),
        (750, (374, 900), 375, 1500, "inconclusive"),
        (200, (100, 374), 375, 1500, "fails"),
        (2000, (1501, 3000), 375, 1500, "fails"),
        (math.inf, (1500, math.inf), 375, 1500, "fails"),
        (math.inf, (1000, math.inf), 375, 1500, "inconclusive"),
        (math.inf, (400, math.inf), 375, None, "holds"),
        (-math.inf, (-math.inf, 10), 10, None, "fails"),
        (-math.inf, (-math.inf, 10), None, 15, "holds"),
        (750, (600, math.inf), 375, 1500, "inconclusive"),
        (math.nan, (0, 1), 0, 1, "inconclusive"),
        (0.5, (math.nan, 1), 0, 1, "inconclusive"),
        (None, None, 0, 1, "inconclusive"),
        (3, (-9, 9), None, None, "holds"),
    ],
)
def test_judge_interval(value, interval, low, high, verdict):
    assert judge_interval(value, interval, low, high) == verdict


def test_number_that_would_decide():
    assert n_to_decide(10, (8, 12), 5, high=11) == 20
    assert n_to_decide(10, (9, 11), 5, low=0) == 5
    assert n_to_decide(10, (8, 12), 5, high=10) is None
    assert n_to_decide(math.inf, (8, math.inf), 5, high=10) is None


def test_the_rule_decides_only_on_its_own_data(make):
    study = make()
    finding = study.judge("mnist", value=500, interval=(400, 600), n=3, unit="dimensions", verdict="holds")
    assert finding.verdict == "illustration"
    assert "decides on mnist, this run used digits" in finding.detail
    on_mnist = make(dataset=SimpleNamespace(name="mnist", checksum="", note=""))
    assert on_mnist.judge("mnist", value=500, interval=(400, 600), n=3, unit="", verdict="holds").verdict == "holds"
    without = make(dataset=None)
    assert without.judge("mnist", value=1, interval=None, n=3, unit="", verdict="fails").verdict == "illustration"


def test_report_survives_its_file(make):
    study = make()
    study.judge("anywhere", value=math.inf, interval=(1500, math.inf), n=3, unit="dimensions", verdict="fails")
    report = study.report(curve=[1.0, math.nan])
    again = read_report(study.run_dir / "results.json")
    assert again == report
    assert again.findings[0].measured == "> 1500 dimensions (n = 3)"
    assert again.unjudged == (CLAIMS[1],)
    data = json.loads((study.run_dir / "results.json").read_text())
    assert data["schema"] == 1
    assert data["dataset"] == vars(DIGITS)
    assert data["extra"] == {"curve": [1.0, "nan"]}
    assert not (study.run_dir / "run.json").exists()


def test_report_as_table_and_text(make):
    study = make()
    study.judge("anywhere", value=0.5, interval=(0.4, 0.6), n=3, unit="<i>", verdict="fails", detail="a & b")
    report = study.report()
    page = report._repr_html_()
    assert "&lt;b&gt;claim" in page
    assert "&lt;i&gt;" in page
    assert "a &amp; b" in page
    assert ">fails<" in page
    assert "not judged in this run" in page
    assert "1,437 training images" in page
    assert str(report).startswith("FAILS  A <b>claim</b>")
    assert "[0.4, 0.6] (n = 3)" in str(report)
    assert "NOT JUDGED IN THIS RUN  A claim on MNIST." in str(report)


def test_a_failure_is_as_large_as_a_success(make):
    study = make()
    pages = []
    for verdict in ("holds", "fails"):
        study.judge("anywhere", value=1, interval=(1, 1), n=1, unit="", verdict=verdict)
        pages.append(study.report()._repr_html_())
    sizes = [page.count("font-size:1.3em") for page in pages]
    assert sizes == [1, 1]


def test_progress_is_weighted_by_cost_and_never_goes_back(make):
    study = make()
    with study.stage("a") as tick:
        tick(0.5)
        tick(2.0)
    with study.stage("b") as tick:
        tick(1.0)
        tick(0.2)
    with study.stage("a") as tick:
        tick(0.1)
    lines = [json.loads(line) for line in (study.run_dir / "progress.jsonl").read_text().splitlines()]
    overall = [line["overall"] for line in lines]
    assert overall == sorted(overall)
    assert next(line["overall"] for line in lines if line["stage"] == "b") == 0.25
    assert overall[-1] == 1.0


def test_by_hand_the_study_writes_its_own_record(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WORKBENCH_RUN_DIR", raising=False)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    study = Study("demo", parameters={"seed": 1}, claims=[], stages={"a": 1}, dataset=None)
    assert study.runs_dir == tmp_path / "runs"
    assert json.loads((study.run_dir / "run.json").read_text())["status"] == "running"
    with study.stage("a") as tick:
        tick(1.0)
    study.report()
    record = json.loads((study.run_dir / "run.json").read_text())
    assert (record["status"], record["parameters"]) == ("done", {"seed": 1})
    assert "torch" in record["versions"]
    assert capsys.readouterr().out.count("100%  a") == 1


def test_by_hand_a_run_is_owned_as_long_as_its_study(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_RUN_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    study = Study("demo", parameters={}, claims=[], stages={"a": 1}, dataset=None)
    folder = study.run_dir
    gc.collect()
    assert Run.read(folder).status == "running"
    del study  # its cell is run again
    gc.collect()
    assert Run.read(folder).status == "interrupted"
    code = "import os; from workbench.study import Study\n"
    code += "study = Study('killed', parameters={}, claims=[], stages={'a': 1}, dataset=None); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)  # as a kernel that is restarted
    assert find_run(tmp_path / "runs", "killed").status == "interrupted"


def test_two_runs_never_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_RUN_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    folders = {Study("demo", parameters={}, claims=[], stages={"a": 1}, dataset=None).run_dir for _ in range(3)}
    assert len(folders) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"claims": [CLAIMS[0], CLAIMS[0]]}, "claims must have names that differ"),
        ({"stages": {"a": 0}}, "stages must have positive costs"),
    ],
)
def test_bad_settings(make, change, message):
    with pytest.raises(InputError, match=message):
        make(**change)


def test_bad_names(make):
    study = make()
    with pytest.raises(InputError, match="name must be one of anywhere, mnist, got 'typo'"):
        study.judge("typo", value=1, interval=None, n=1, unit="", verdict="holds")
    with pytest.raises(InputError, match="verdict must be one of holds, fails"):
        study.judge("mnist", value=1, interval=None, n=1, unit="", verdict="maybe")
    with pytest.raises(InputError, match="stage must be one of a, b"), study.stage("typo"):
        pass


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "{}", "[]", '{"schema": 2}', '{"schema": 1, "findings": [{"verdict": "x"}]}']
)
def test_a_stranger_record_is_refused(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match=r"results\.json must hold results of schema 1"):
        read_report(tmp_path / "results.json")


def test_unwritable_folder_is_bad_input(tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_RUN_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(InputError, match="out must be a folder that can be written"):
        Study("demo", parameters={}, claims=[], stages={"a": 1}, dataset=None)


def test_measured_text():
    claim = CLAIMS[0]
    assert Finding(claim, None, None, 3, "", "inconclusive", "").measured == "no value"
    assert Finding(claim, 4.0, (2.0, math.inf), 3, "d", "holds", "").measured == "4 d [2, ∞] (n = 3)"
    assert (
        Finding(claim, 19754.0, (9999.5, 123456.0), 3, "", "holds", "").measured == "19,754 [10,000, 123,456] (n = 3)"
    )
    assert Finding(claim, -math.inf, (-math.inf, 10.0), 3, "d", "holds", "").measured == "< 10 d (n = 3)"
    assert Finding(claim, 1.2, (math.nan, math.nan), 1, "d", "holds", "").measured == "1.2 d (n = 1, no spread)"
    assert Finding(claim, math.inf, None, 5, "d", "fails", "").measured == "∞ d (n = 5)"

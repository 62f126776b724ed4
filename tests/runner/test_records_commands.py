"""The commands on what is kept, as a person calls them."""

import csv
import json
import math
import sys
from types import SimpleNamespace

import pytest

from workbench.files import write_json
from workbench.records import Run
from workbench.runner import cli
from workbench.runner.grid import write_manifest
from workbench.study import Claim, Study
from workbench.sweeps import trial_digest

KEYS = ["a" * 32, "b" * 32]


@pytest.fixture
def invoke(tmp_path, monkeypatch, capsys):
    """Call the command line in a folder of its own; what a stream is not, is not a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["workbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=stop.value.code or 0, out=out, err=err)

    return call


def make_run(out, study, seed, value, **more):
    run = Run.start(out, study, {"seed": seed, "same": 1}, profile="smoke", **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_RUN_DIR", str(run.folder))
        told = Study(study, parameters={}, claims=[Claim("c", "p", "s", "r")], stages={"a": 1}, dataset=None)
    told.judge("c", value=value, interval=(0.5, math.inf), n=3, unit="d", verdict="holds" if seed else "fails")
    told.report(trials=KEYS[: seed + 1])
    run.finish("done")
    for key in KEYS[: seed + 1]:
        record = {"schema": 1, "key": key, "function": "m.f", "parameters": {"d": 1}, "result": {"x": 2.0}}
        record |= {"seconds": 1.0, "finished": 5.0}
        write_json(out / "trials" / f"{key}.json", record | {"digest": trial_digest(record)})
    return run


@pytest.fixture
def two(tmp_path):
    out = tmp_path / "runs"
    return make_run(out, "a_study", 0, 1.0), make_run(out, "other", 1, math.inf)


def test_runs(tmp_path, invoke, two):
    out = invoke("runs").out
    assert all(run.folder.name in out for run in two)
    assert "c fails" in out
    rows = json.loads(invoke("runs", "--json").out)
    assert [(row["parameters.seed"], row["results.c"], row["results.c.high"]) for row in rows] == [
        (0, 1.0, "inf"), (1, "inf", "inf"),
    ]  # fmt: skip
    assert [row["study"] for row in json.loads(invoke("runs", "a-study", "--json").out)] == ["a_study"]
    done = invoke("runs", "--csv", "runs.csv")
    assert (done.code, done.out) == (0, "2 rows in runs.csv\n")
    with (tmp_path / "runs.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["results.c"] for row in table] == ["1.0", "inf"]
    refused = invoke("runs", "nothing")
    assert (refused.code, "STUDY must have runs in runs" in refused.err) == (2, True)


def test_runs_of_a_study_are_told_apart_by_their_parameters(tmp_path, invoke):
    def cells():
        head, _, *lines = invoke("runs").out.splitlines()
        first, last = head.index("parameters"), head.index("minutes")
        return [line[first:last].strip() for line in lines if line.strip()]

    for width, seed in ((8, 0), (8, 1), (16, 0)):
        Run.start(tmp_path / "runs", "demo", {"width": width, "seed": seed, "same": 1}, profile="smoke")
    Run.start(tmp_path / "runs", "demo", {"width": 99, "seed": 9, "same": 9}, profile="laptop")  # as that column says
    Run.start(tmp_path / "runs", "other", {"rate": 0.1})
    assert sorted(cells()) == ["", "", "width=16, seed=0", "width=8, seed=0", "width=8, seed=1"]
    Run.start(tmp_path / "runs", "other", {"rate": 0.25, "dims": list(range(90))})
    assert sorted(cells())[1:3] == ["rate=0.1, dims=None", "rate=0.25, dims=[0, 1, 2, 3, 4, 5, 6, 7,…"]


def test_no_runs_are_said_with_the_folder_looked_in(tmp_path, invoke):
    said = f"no runs in {tmp_path / 'elsewhere'}; `workbench run STUDY` makes one\n"
    for more, out in ((), ""), (("--json",), "[]\n"):
        done = invoke("runs", "--out", "elsewhere", *more)
        assert (done.code, done.out, done.err) == (0, out, said)


def test_what_cannot_be_read_is_said(invoke, two):
    (two[0].folder / "run.json").write_text("{")
    done = invoke("runs", "--json")
    assert (done.code, len(json.loads(done.out))) == (0, 1)
    assert "warning: left out of the table:" in done.err
    assert "UserWarning" not in done.err


def test_compare(invoke, two):
    data = json.loads(invoke("compare", "a-study", "other", "--json").out)
    assert data["parameters"] == {"seed": [0, 1]}
    assert data["environment"] == {}
    assert data["findings"]["c"] == [
        {"measured": "1 d [0.5, ∞] (n = 3)", "verdict": "fails"},
        {"measured": "> 0.5 d (n = 3)", "verdict": "holds"},
    ]
    first = two[0]
    write_json(first.folder / "run.json", first.record | {"commit": "c0ffee", "versions": {"torch": "1.0"}})
    out = invoke("compare", "a-study", "other").out
    for text in ("seed", "c0ffee", "torch", "> 0.5 d (n = 3), holds", "done"):
        assert text in out
    assert "same" not in out
    lines = [line.split()[:1] for line in out.splitlines()]
    for head, first in (("parameters", "seed"), ("environment", "commit"), ("findings", "c")):
        at = lines.index([head])
        assert (lines[at - 1], lines[at + 1]) == ([], [first])
    for arguments in (["other"], ["other", "third"]):
        assert invoke("compare", *arguments).code == 2


def test_a_run_without_results_is_compared_too(tmp_path, invoke, two):
    run = Run.start(tmp_path / "runs", "a_study", {"seed": 0}, profile="smoke")
    run.finish("failed")
    data = json.loads(invoke("compare", run.folder.name, two[1].folder.name, "--json").out)
    assert (data["status"], data["findings"]["c"][0]) == (["failed", "done"], None)
    assert data["parameters"] == {"seed": [0, 1], "same": [None, 1]}


def test_a_run_goes_from_one_folder_to_another(tmp_path, invoke, two):
    done = invoke("export", "other", "run.zip")
    assert (done.code, "with 2 trials" in done.out) == (0, True)
    done = invoke("export", "other", "run.zip")
    assert (done.code, "FILE.zip must not exist yet, got 'run.zip'" in done.err) == (2, True)
    assert "1 runs, 2 trials; 3 of these new" in invoke("import", "run.zip", "--out", "there").out
    assert "0 of these new" in invoke("import", "run.zip", "--out", "there").out
    assert [row["study"] for row in json.loads(invoke("runs", "--out", "there", "--json").out)] == ["other"]
    (tmp_path / "run.zip").write_bytes(b"PK nothing")
    done = invoke("import", "run.zip", "--out", "there")
    assert (done.code, "run.zip must be a file that `workbench export` wrote" in done.err) == (2, True)
    assert invoke("export", "other", "run.tar").code == 2
    assert invoke("import", "missing.zip").code == 2


def test_shards_are_joined_into_one_table(tmp_path, invoke):
    for i in (0, 1):
        run = make_run(tmp_path / f"shard-{i}", "demo", i, float(i + 1))
        point = {"index": i, "parameters": {"seed": i}, "run": run.folder.name, "status": "done", "seconds": 60}
        about = {"schema": 1, "study": "demo", "id": "abc", "notebook": "demo.ipynb", "profile": "smoke"}
        more = {"shard": [i + 1, 2], "base": {}, "grid": {"seed": [0, 1]}, "points": [point]}
        write_manifest({**about, **more}, tmp_path / f"shard-{i}")
    done = invoke("merge", "shard-0", "shard-1")
    assert done.code == 0, done.err
    assert "1 fails" in done.out
    assert "2 holds" in done.out
    assert "1.5 ± 0.71 (n = 2)" in done.out
    assert "mean ± standard deviation over the n seeds, each a run of its own\n" in done.out
    assert len((tmp_path / "runs" / "demo" / "sweep-abc.csv").read_text().splitlines()) == 3
    assert invoke("merge", "missing").code == 2


def test_clean_shows_asks_and_removes(tmp_path, invoke, two, monkeypatch):
    (tmp_path / "runs" / "trials" / f"{'c' * 32}.failed.json").write_text("{}")
    assert "m.f" in invoke("clean").out
    assert [row["name"] for row in json.loads(invoke("clean", "--json").out)["rows"]] == ["m.f", "failed"]
    refused = invoke("clean", "failed")
    assert (refused.code, "--yes must be given" in refused.err) == (2, True)
    assert "trials that failed" in refused.out  # what would go
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, left in (("n", True), ("y", False)):
        monkeypatch.setattr("typer.confirm", lambda text, abort, answer=answer: answer == "y" or sys.exit(1))
        invoke("clean", "failed")
        assert (tmp_path / "runs" / "trials" / f"{'c' * 32}.failed.json").exists() == left
    assert json.loads(invoke("clean", "m.f", "--yes", "--json").out)["removed"] == 2
    assert invoke("clean").out.count("m.f") == 0
    assert invoke("clean", "m.f", "--yes").code == 2
    assert all((run.folder / "results.json").exists() for run in two)


@pytest.mark.parametrize("name", ["runs", "compare", "export", "import", "merge", "clean"])
def test_every_command_teaches_by_example(invoke, name):
    assert f"Example: workbench {name}" in invoke(name, "--help").out

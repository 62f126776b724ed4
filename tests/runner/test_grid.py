"""Grids, manifests and tables of sweeps; runs are stand-ins but for one of real processes."""

import json
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from workbench.errors import DataError, InputError
from workbench.records import Run, all_runs
from workbench.runner import grid, work
from workbench.runner.launch import run_key
from workbench.runner.studies import resolve
from workbench.runner.work import Children

PARAMETERS = "a: int = 1\nwidths: list[int] = [1]\nname: str = 'x'\nseed: int = 0\nlr: float | None = None"


@pytest.fixture
def read(notebook):
    book = notebook("pass", parameters=PARAMETERS)

    def call(*grids, **settings):
        return grid.read_grid(book, grids=grids, profile="laptop", **settings)

    return call


def test_points_are_the_product_each_value_of_its_declared_type(read):
    found = read("widths=[10,20],[30]", "lr=1e-3,none", assignments=["a=3"])
    assert found.points() == [
        {"widths": [10, 20], "lr": 0.001},
        {"widths": [10, 20], "lr": None},
        {"widths": [30], "lr": 0.001},
        {"widths": [30], "lr": None},
    ]
    assert found.base == {"a": 3, "name": "x", "seed": 0}


def test_plain_values_over_a_list_are_lists_of_one(read):
    assert read("widths=10,20").swept == {"widths": [[10], [20]]}


@pytest.mark.parametrize(("text", "seeds"), [("0:3", [0, 1, 2]), (":2", [0, 1]), ("4,7", [4, 7]), ("5", [5])])
def test_seeds(read, notebook, text, seeds):
    assert read(seeds=text).swept == {"seed": seeds}
    book = notebook("pass", parameters="seeds: list[int] = [0, 1]")
    several = grid.read_grid(book, grids=[], seeds=text, profile="laptop")
    assert several.swept == {"seeds": [[seed] for seed in seeds]}
    assert resolve(book, profile="laptop", file=None, assignments=["seeds=0,1,2"]) == {"seeds": [0, 1, 2]}  # one run


@pytest.mark.parametrize(
    ("grids", "settings", "message"),
    [
        (["a=1,b"], {}, "-g: a must be int, got 'b'"),
        (["wdths=1"], {}, "^-g: wdths must be a parameter of demo, .* did you mean widths"),
        (["a"], {}, "-g must be name=a,b,c"),
        (["a="], {}, "-g must be name=a,b,c"),
        (["a=1", "a=2"], {}, "-g a must be given once"),
        (["a=1"], {"assignments": ["a=2"]}, "-g a must be given once"),
        (["a=1,2,1"], {}, "must have values that differ"),
        ([], {}, "-g must name what is swept"),
        ([], {"seeds": "3:3"}, "--seeds must be first:end"),
        ([], {"seeds": "0:1000000000000"}, "--seeds must be at most 10000"),
        ([], {"seeds": "x"}, "--seeds must be first:end"),
        (["seed=1"], {"seeds": "0:2"}, "-g seed must be given once"),
        (["a=1"], {"profile": "tiny"}, "--profile must be one of"),
    ],
)
def test_bad_grids_are_refused(notebook, grids, settings, message):
    book = notebook("pass", parameters=PARAMETERS)
    with pytest.raises(InputError, match=message):
        grid.read_grid(book, **{"grids": grids, "profile": "laptop"} | settings)


def test_seeds_need_a_parameter_that_holds_them(notebook):
    with pytest.raises(InputError, match="--seeds: seed must be a parameter of demo"):
        grid.read_grid(notebook("pass"), grids=[], seeds="0:2", profile="laptop")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2"])
def test_shards_that_are_none(text):
    with pytest.raises(InputError, match="--shard must be i/n"):
        grid.read_shard(text)


def test_an_id_is_the_sweeps_and_not_the_shards(read):
    one, other = read("a=1,2", seeds="0:3"), read("a=1,2", seeds="0:4")
    assert one.id == read("a=1,2", seeds="0:3").id != other.id
    assert one.id == "69e98147"
    shards = [grid.new_manifest(one, "laptop", (i, 4)) for i in range(1, 5)]
    assert [len(shard["points"]) for shard in shards] == [2, 2, 1, 1]
    assert {shard["id"] for shard in shards} == {one.id}
    assert grid.join(shards) == grid.new_manifest(one, "laptop")


def test_joining_keeps_the_better_account(read):
    early, late = (grid.new_manifest(read("a=1,2"), "laptop") for _ in range(2))
    late["points"][0] |= {"run": "r", "status": "done"}
    early["points"][1] |= {"status": "failed"}
    for order in ([early, late], [late, early]):
        assert [point["status"] for point in grid.join(order)["points"]] == ["done", "failed"]
    with pytest.raises(InputError, match="must be of one sweep"):
        grid.join([early, grid.new_manifest(read("a=3"), "laptop")])


def test_a_manifest_is_read_or_refused(read, tmp_path):
    manifest = grid.new_manifest(read("a=1,2"), "laptop", (1, 2))
    grid.write_manifest(manifest, tmp_path)
    path = tmp_path / "demo" / f"sweep-{manifest['id']}.1-of-2.json"
    assert grid.read_manifest(path) == manifest
    for wrong in (
        [],
        {},
        {**manifest, "schema": 2},
        {**manifest, "study": "../demo"},
        {**manifest, "id": "../x"},
        {**manifest, "points": [{**manifest["points"][0], "run": "../../etc"}]},
        {**manifest, "points": [{**manifest["points"][0], "status": "well"}]},
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match="must be the manifest of a sweep"):
            grid.read_manifest(path)


def finding(value, verdict="holds"):
    claim = {"name": "toy", "paper": "p", "sentence": "s", "rule": "r", "datasets": None}
    entries = {"claim": claim, "value": value, "interval": [value - 1, value + 1], "n": 3, "unit": "", "detail": ""}
    return entries | {"verdict": verdict}


def make_run(out, parameters, key, value, seconds=120.0):
    run = Run.start(out, "demo", parameters, key=key, profile="laptop")
    results = {"schema": 1, "study": "demo", "data": "d", "findings": [finding(value)], "unjudged": []}
    (run.folder / "results.json").write_text(json.dumps(results))
    run.finish("done")
    path = run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds}))
    return run


def test_table_and_spread(read, tmp_path):
    swept = read("a=1,2", "widths=[1,2]", seeds="0:2")
    manifest = grid.new_manifest(swept, "laptop")
    for point, value in zip(manifest["points"][:3], (10.0, 12.0, 20.0), strict=True):
        run = make_run(tmp_path, point["parameters"], "k", value)
        point |= {"run": run.folder.name, "status": "done", "seconds": 90.0}
    manifest["points"][3] |= {"status": "failed"}
    rows = grid.table(manifest, tmp_path)
    assert list(rows.columns[:5]) == ["a", "widths", "seed", "run", "status"]
    assert rows["toy"].tolist()[:3] == [10, 12, 20]
    assert rows["toy.verdict"].tolist()[:3] == ["holds"] * 3
    assert rows["minutes"].tolist()[:3] == [1.5] * 3
    assert pd.isna(rows.loc[3, "toy"])
    found = grid.spread(rows, manifest)
    assert found is not None
    assert found[["a", "toy.mean", "toy.n"]].values.tolist() == [[1, 11.0, 2], [2, 20.0, 1]]
    assert found.loc[0, "toy.sd"] == pytest.approx(2**0.5)
    assert grid.spread(rows, {"grid": {"a": [1, 2]}}) is None
    grid.write_table(rows, manifest, tmp_path)
    again = pd.read_csv(tmp_path / "demo" / f"sweep-{manifest['id']}.csv")
    assert again["toy.low"].tolist()[:3] == [9, 11, 19]


@pytest.fixture
def children(monkeypatch):
    """Stand-ins for the processes of a sweep: (exit code, record, errors) by point."""
    ends, started = {}, []

    class Some:
        def __init__(self, commands, at_once, environment, stops):
            started.append(SimpleNamespace(commands=commands, at_once=at_once, environment=environment))

        def ended(self):
            for number in started[-1].commands:
                code, record, err = ends.get(number, (0, {"status": "done", "run": f"r{number}", "seconds": 6}, ""))
                yield number, code, "" if record is None else json.dumps({"folder": "/f", **record}), err

    monkeypatch.setattr(work, "Children", Some)
    return SimpleNamespace(ends=ends, started=started)


def make_work(swept, out, **options):
    manifest = grid.new_manifest(swept, "laptop")
    force = options.pop("force", False)
    return work.Work(swept, manifest, out, {"executor": None, "workers": 4, "timeout": 9.0} | options, force)


def test_what_is_done_is_neither_run_nor_counted(read, tmp_path, children):
    swept = read("a=1,2,3")
    for a in (1, 3):
        make_run(tmp_path, {"a": a}, run_key(swept.notebook, swept.base | {"a": a}), 1.0)
    todo = make_work(swept, tmp_path)
    said = todo.announcement()
    assert said.startswith("3 runs of demo, 2 of them done already; 1 to run, 1 at once, 4 workers each: ")
    assert said.endswith(": about 0:02:00 by 2 earlier runs")
    todo.run([])
    (started,) = children.started
    assert list(started.commands) == [1]
    assert [point["status"] for point in todo.manifest["points"]] == ["done"] * 3
    assert grid.read_manifest(tmp_path / "demo" / f"sweep-{swept.id}.json") == todo.manifest
    forced = make_work(swept, tmp_path, force=True)
    assert len(forced.missing) == 3
    assert forced._command(forced.missing[0], tmp_path)[-1] == "--force"


def test_cost_without_earlier_runs_is_the_notebooks_word(read, tmp_path, notebook):
    assert make_work(read("a=1,2"), tmp_path).announcement().endswith("how long one takes is not known yet")
    swept = read("a=1,2")
    book = json.loads(swept.notebook.read_text())
    book["cells"].insert(0, {"cell_type": "markdown", "metadata": {}, "id": "first"})
    for more, wanted in (
        (".", "3 minutes."),
        (" on 2.5 GHz; it fills a lab.", "3 minutes on 2.5 GHz"),
        (". Two.", "3 minutes"),
    ):
        book["cells"][0]["source"] = f"# Q\n\n**Time.** About 3 minutes{more}\n"
        swept.notebook.write_text(json.dumps(book))
        assert make_work(swept, tmp_path).announcement().endswith(f"one run, by its own word: About {wanted}")


def test_workers_are_shared_out(read, tmp_path):
    command = make_work(read("a=1,2,3"), tmp_path)
    assert (command.at_once, command._options["workers"], command._options["executor"]) == (3, 1, "serial")
    two = make_work(read("a=1,2"), tmp_path)
    assert (two.at_once, two._options["workers"], two._options["executor"]) == (2, 2, "processes")
    arguments = two._command(two.missing[1], tmp_path)
    assert arguments[:4] == [sys.executable, "-m", "workbench", "run"]
    assert {"--workers=2", "--timeout=9.0", "--json", f"--out={tmp_path}"} <= set(arguments)
    assert json.loads((tmp_path / "1.json").read_text())["a"] == 2


def test_failures_are_named_with_the_file_that_says_why(read, tmp_path, children, capsys):
    error = {"cell": 2, "line": 3, "name": "ValueError", "message": "no"}
    children.ends[0] = (1, {"status": "failed", "run": "r0", "seconds": 6, "error": error}, "")
    children.ends[1] = (2, {"status": "refused", "run": "r1", "seconds": 1, "error": error}, "")
    children.ends[2] = (4, None, "storage: full")
    children.ends[3] = (-15, None, "")
    todo = make_work(read("a=1,2,3,4,5"), tmp_path)
    todo.run([])
    assert [point["status"] for point in todo.manifest["points"]] == [
        "failed",
        "refused",
        "failed",
        "interrupted",
        "done",
    ]
    assert todo.manifest["points"][1]["run"] is None
    assert list(todo.problems.values()) == [1, 2, 4]
    first, _, third = todo.problems
    assert first == "failed  a=1  0.1 min  r0: cell 2, line 3: ValueError: no; see /f/run.json"
    assert third == "failed  a=3: storage: full"
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "1/5  failed  a=1  0.1 min  r0"
    assert len(lines) == 5


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_children_get_each_signal_once_and_nothing_else_starts(tmp_path):
    code = (
        "import signal, sys, time; got = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: got.append(1))\n"
        "open(sys.argv[1], 'w').close(); time.sleep(1.5); print(len(got))"
    )
    stops: list[int] = []
    commands = {number: [sys.executable, "-c", code, str(tmp_path / str(number))] for number in range(3)}

    def stop():
        end = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        stops.append(signal.SIGTERM)

    threading.Thread(target=stop).start()
    found = list(Children(commands, 2, {}, stops).ended())
    assert sorted((number, out.strip()) for number, _, out, _ in found) == [(0, "1"), (1, "1")]
    assert not (tmp_path / "2").exists()


def test_a_sweep_from_command_to_table(tmp_path, notebook, command):
    cell = (
        "from workbench.study import Claim, Study\n"
        "claims = [Claim('toy', 'p', 's', 'r')]\n"
        "study = Study('demo', parameters={'a': a}, claims=claims, stages={'x': 1}, dataset=None)\n"
        "value = 1 / (a - 2) + seed\n"
        "study.judge('toy', value=value, interval=(value, value), n=1, unit='', verdict='holds')\n"
        "study.report()"
    )
    book = notebook(cell, parameters="a: int = 1\nseed: int = 0")
    arguments = ("sweep", book, "-g", "a=1,2", "--seeds", "0:2", "--workers", "2")
    done = command(*arguments)
    assert done.returncode == 3, done.stderr
    assert "4 runs of demo, 0 of them done already; 4 to run, 2 at once, 1 worker each;" in done.stderr
    assert done.stderr.count("ZeroDivisionError: division by zero; see ") == 2
    assert "-0.5 ± 0.71 (n = 2)" in done.stdout
    (path,) = (tmp_path / "runs" / "demo").glob("sweep-*.csv")
    rows = pd.read_csv(path)
    assert rows["toy"].dropna().tolist() == [-1.0, 0.0]
    assert rows["status"].tolist() == ["done", "done", "failed", "failed"]
    again = command(*arguments, "--dry-run", "--json")
    assert again.returncode == 0
    data = json.loads(again.stdout)
    assert [row["status"] for row in data["rows"]] == ["done", "done", "pending", "pending"]
    assert data["spread"][0]["toy.mean"] == -0.5
    assert {Run.read(folder).record["sweep"] for folder in all_runs(tmp_path / "runs")} == {data["id"]}

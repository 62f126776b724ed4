"""The site: what stands on it, what is left out, what a broken building leaves."""

import json
import re

import nbformat
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.stored import CLAIM, code, finding, stored_run
from workbench.errors import StorageError
from workbench.runner import cli, site, studies
from workbench.runner.site import build_site
from workbench.verdicts import Claim

OTHER = Claim("other", "b-paper", "Nobody looked.", "x > 1")


@pytest.fixture(autouse=True)
def no_studies(monkeypatch):
    monkeypatch.setattr(studies, "roots", list)


@pytest.fixture
def build(tmp_path):
    """Build the site; return the text of its replication table and what was warned about."""

    def run() -> tuple[str, list[str]]:
        warned: list[str] = []
        index = build_site(tmp_path / "runs", tmp_path / "site", warned.append)
        assert index == tmp_path / "site" / "index.html"
        return index.with_name("replication.html").read_text(encoding="utf-8"), warned

    return run


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text[text.index("<body") :]))


def verdicts(text: str) -> list[str]:
    return re.findall(r'class="badge"[^>]*>(\w+)<', text)


def test_the_newest_run_that_is_not_smoke_stands_first_and_others_are_folded(tmp_path, build):
    out = tmp_path / "runs"
    for at, verdict, profile in (
        (1.7e9, "holds", "laptop"),
        (1.8e9, "fails", "paper"),
        (1.9e9, "inconclusive", "smoke"),
        (2e9, "holds", "smoke"),
    ):
        stored_run(out, finding(verdict), at=at, profile=profile, data="digits")
    text, warned = build()
    assert not warned
    first, fold, rest = text.partition("<details>")
    assert fold
    assert (verdicts(first), verdicts(rest)) == (["fails"], ["holds", "holds", "inconclusive"])
    assert "Claims: 1 (0 holds, 1 fails, 0 inconclusive, 0 illustration, 0 not judged)" in words(text)
    assert (
        "its newest run that is neither part of a sweep nor of profile smoke; where there is none, with the newest of "
        "a sweep; where all are of profile smoke, with one of these by the same rule, whatever it said"
    ) in words(text)
    assert re.findall(r"<th [^>]*>([^<]+)", text) == [
        "Study", "Paper", "Claim", "Rule, fixed in advance", "Measured", "Verdict", "Minutes", "Run",
    ]  # fmt: skip
    cells = re.findall(r"<td[^>]*>(.*?)</td>", first)
    assert [words(f"<body>{cell}").strip() for cell in cells[:-1]] == [
        "demo", "a-paper", CLAIM.sentence, CLAIM.rule, "10 dimensions [9, 12.5] (n = 10)", "fails", "0.0",
    ]  # fmt: skip
    assert words(f"<body>{cells[-1]}").endswith("2027-01-15, paper, digits ")
    assert "same rule" in rest


def test_runs_of_profile_smoke_alone_stand_as_any(tmp_path, build):
    for at, verdict in ((1.7e9, "holds"), (1.8e9, "fails")):
        stored_run(tmp_path / "runs", finding(verdict), at=at)
    assert verdicts(build()[0]) == ["fails", "holds"]


@pytest.mark.parametrize("more", [{}, {"profile": "laptop"}])
def test_a_run_of_a_sweep_speaks_only_where_none_else_of_its_kind_does(tmp_path, build, more):
    out = tmp_path / "runs"
    stored_run(out, finding("holds", OTHER), finding("inconclusive"), at=1.9e9, sweep="69e98147", **more)
    stored_run(out, finding("fails"), at=1.7e9, **more)
    text, _ = build()
    assert verdicts(text) == ["fails", "inconclusive", "holds"]


def test_a_sweep_outranks_profile_smoke(tmp_path, build):
    stored_run(tmp_path / "runs", finding("holds"), at=1.7e9, sweep="69e98147", profile="laptop")
    stored_run(tmp_path / "runs", finding("fails"), at=1.9e9)
    assert verdicts(build()[0]) == ["holds", "fails"]


def test_a_verdict_does_not_go_with_a_claim_that_its_notebook_drops(tmp_path, build, monkeypatch):
    for name in ("demo", "gone"):
        stored_run(tmp_path / "runs", finding("fails", OTHER), study=name, at=1.7e9, profile="laptop")
        stored_run(tmp_path / "runs", finding(), study=name, unjudged=(Claim("built", "p", "In a loop.", "r"),))
    folder = tmp_path / "notebooks" / "width"
    folder.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[code("Claim('toy', 'p', 's', 'r')")]), folder / "demo.ipynb")
    monkeypatch.setattr(studies, "roots", lambda: [tmp_path / "notebooks"])
    text = words(build()[0])
    assert text.count("Nobody looked.") == 2
    assert text.count("In a loop.") == 2
    assert "Claims: 6 (2 holds, 2 fails, 0 inconclusive, 0 illustration, 2 not judged)" in text
    assert "A claim that its notebook has dropped stays." in text


def test_a_run_by_hand_is_said_to_have_no_page(tmp_path, build):
    run = stored_run(tmp_path / "runs", finding(), profile=None)
    (run.folder / "executed.ipynb").unlink()
    text, _ = build()
    assert f"{run.folder.name} (by hand, no page)<" in text
    landing = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert f"Run {run.folder.name} (by hand, no page) (done): " in words(landing)


def test_an_earlier_rule_that_was_another_is_shown(tmp_path, build):
    stored_run(tmp_path / "runs", finding(claim=Claim("toy", "p", "s", "the old rule")), at=1.7e9)
    stored_run(tmp_path / "runs", finding())
    assert "the old rule" in words(build()[0])


def test_claims_not_judged_and_studies_never_run_are_there(tmp_path, build, monkeypatch):
    stored_run(tmp_path / "runs", finding(), unjudged=(OTHER,))
    folder = tmp_path / "notebooks" / "width"
    folder.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[code("Claim('c', 'k', 'Never run.', 'r')")]), folder / "later.ipynb")
    (folder / "broken.ipynb").write_text("{")
    namesake = nbformat.v4.new_notebook(cells=[code("Claim('d', 'k', 'Nor this.', 'r')")])
    (tmp_path / "notebooks" / "depth").mkdir()
    nbformat.write(namesake, tmp_path / "notebooks" / "depth" / "later.ipynb")
    monkeypatch.setattr(studies, "roots", lambda: [tmp_path / "notebooks"])
    text, warned = build()
    assert "demo b-paper Nobody looked. x &gt; 1 not judged in this run" in words(text)
    assert "later k Never run. r no run yet" in words(text)
    assert "Nor this. r no run yet" in words(text)
    assert "1 holds, 0 fails, 0 inconclusive, 0 illustration, 3 not judged" in words(text)
    assert len(warned) == 1
    assert "broken.ipynb" in warned[0]


def test_runs_that_came_to_nothing_stand_below_with_why(tmp_path, build):
    out = tmp_path / "runs"
    stored_run(out, at=1e9, status="failed", error={"cell": 3, "name": "ValueError", "message": "<b>no</b>"})
    gone = stored_run(out, at=1.1e9)
    gone.record["status"] = "running"
    (gone.folder / "run.json").write_text(json.dumps(gone.record))
    stored_run(out, finding(), at=1.2e9, status="interrupted")  # broke off after an earlier attempt's results
    text = words(build()[0])
    assert "Runs without verdicts" in text
    assert "failed cell 3: ValueError: &lt;b&gt;no&lt;/b&gt;" in text
    assert text.count("interrupted the process ended without a word") == 2
    assert "Claims: 0 (" in text


def test_what_cannot_be_read_is_named_and_left_out(tmp_path, build):
    out = tmp_path / "runs"
    good, *bad = [stored_run(out, finding(), at=at).folder for at in (1e9, 1.1e9, 1.2e9, 1.3e9)]
    (bad[0] / "run.json").write_text('{"schema": 1')
    (bad[1] / "results.json").write_text("[]")
    (bad[2] / "executed.ipynb").write_text('{"cells": 3}')
    text, warned = build()
    assert [folder.name for folder in bad if not any(str(folder) in line for line in warned)] == []
    assert len(warned) == 3
    assert good.name in text
    assert bad[0].name not in text
    assert bad[1].name not in text
    assert f"{bad[2].name} (no page)<" in text  # its verdict stays
    assert f"{bad[2].name}.html" not in text


def test_numbers_are_there_as_csv_and_text_is_no_formula(tmp_path, build):
    stored_run(tmp_path / "runs", finding("fails"), parameters={"d": -3, "text": "=1+1", "mark": "\ud800"})
    build()
    table = pd.read_csv(tmp_path / "site" / "runs.csv")
    wanted = ["study", "parameters.d", "parameters.text", "results.toy", "results.toy.verdict"]
    assert table[wanted].values.tolist() == [["demo", -3, "'=1+1", 10.0, "fails"]]


def test_pages_are_written_once_until_something_changes(tmp_path, build):
    run = stored_run(tmp_path / "runs", finding())
    build()
    (page,) = (tmp_path / "site" / "pages").glob("*/*.html")
    page.write_text("mine")
    build()
    assert page.read_text() == "mine"
    (run.folder / "results.json").touch()
    build()
    assert page.read_text() != "mine"


def test_a_page_of_a_run_whose_process_is_gone_is_written_again(tmp_path, build):
    run = stored_run(tmp_path / "runs", finding())
    (run.folder / "run.json").write_text(json.dumps(run.record | {"status": "running"}))
    build()
    (page,) = (tmp_path / "site" / "pages").glob("*/*.html")
    assert ": interrupted, " in page.read_text()
    page.write_text("as it was when it ran")
    build()
    assert ": interrupted, " in page.read_text()


def test_a_large_page_is_owned_up_to(tmp_path, build):
    stored_run(tmp_path / "runs", cells=[code("x", {"text/plain": "x" * site.LARGE})])
    (warned,) = build()[1]
    assert "has 0.5 MB: the notebook's own outputs are large" in warned


@pytest.mark.parametrize("broken", ["write_page", "write_csv", "write_text"])
def test_an_earlier_site_outlives_a_building_that_breaks_off(tmp_path, build, monkeypatch, broken):
    stored_run(tmp_path / "runs", finding("holds"))
    build()
    stored_run(tmp_path / "runs", finding("fails"), at=1.9e9)
    before = {path: path.read_bytes() for path in (tmp_path / "site").rglob("*.html")}

    def fail(*_, **__):
        raise StorageError("disk full")

    monkeypatch.setattr(site, broken, fail)
    with pytest.raises(StorageError):
        build()
    assert {path: path.read_bytes() for path in before} == before


def report(*arguments: object) -> tuple[int, str, str]:
    """Run the command; return its code, output and errors."""
    done = CliRunner().invoke(cli.app, ["report", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_report(tmp_path):
    out = tmp_path / "runs"
    broken = stored_run(out, finding(), at=1.7e9).folder
    (broken / "run.json").write_text("{")
    stored_run(out, finding())
    code, said, errors = report("--out", out)
    assert (code, said.split()) == (0, ["site", str(out / "site" / "index.html")])
    assert str(broken) in errors
    code, said, _ = report("--out", out, "--site", tmp_path / "there", "--json")
    assert code == 0
    assert json.loads(said)["index"] == str(tmp_path / "there" / "index.html")
    assert (tmp_path / "there" / "runs.csv").is_file()
    assert CLAIM.sentence in (tmp_path / "there" / "index.html").read_text(encoding="utf-8")


def test_report_that_cannot_start_or_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored_run(tmp_path / "runs", finding())
    (tmp_path / "file").touch()
    for arguments, wanted in ((["--out", "nowhere"], cli.REFUSED), (["--site", "file/site"], cli.STORAGE)):
        monkeypatch.setattr("sys.argv", ["workbench", "report", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == wanted

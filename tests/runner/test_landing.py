"""The landing page: the question, the map of studies, what their runs say, how to run one and to add one."""

import html
import json
import re

import nbformat
import pytest

from tests.stored import CLAIM, code, finding, stored_run
from workbench.runner import studies
from workbench.runner.site import build_site
from workbench.verdicts import Claim

OTHER = Claim("other", "b-paper", "Nobody looked.", "x > 1")
STRANGE = "</p><script>x()</script> & \"quoted\" 'x' {{ 7 * 7 }} \ud800"


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Write studies, as family and name, question and claims' sentences; build the site, return its landing page."""
    monkeypatch.setattr(studies, "roots", lambda: [tmp_path / "notebooks"])

    def run(*known: tuple[str, str, list[str]]) -> str:
        for name, question, sentences in known:
            path = tmp_path / "notebooks" / f"{name}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            claims = "\n".join(f"Claim('{at}', 'a-paper', {text!r}, 'r')" for at, text in enumerate(sentences))
            cells = [nbformat.v4.new_markdown_cell(f"# {question}"), code(claims)]
            path.write_text(json.dumps(nbformat.v4.new_notebook(cells=cells)))  # a lone surrogate as its escape
        return build_site(tmp_path / "runs", tmp_path / "site", pytest.fail).read_text(encoding="utf-8")

    return run


def lines(text: str) -> list[str]:
    """Return what stands on a page, a line for each of its blocks."""
    body = re.sub(r"\s+", " ", text[text.index("<main") :])
    body = re.sub(r"</?(h\d|p|li|ul|pre|main)\b[^>]*>", "\n", body)
    texts = (html.unescape(re.sub(r"<[^>]+>", "", line)).strip() for line in body.split("\n"))
    return [line for line in texts if line]


def test_the_map_shows_families_studies_and_what_their_runs_say(tmp_path, build):
    out = tmp_path / "runs"
    stored_run(out, finding("fails"), unjudged=(OTHER,), study="demo", profile="laptop", data="digits")
    # Of profile smoke: it does not speak.
    stored_run(out, finding("holds"), unjudged=(OTHER,), study="demo", at=1.9e9)
    text = build(
        ("width/wide_net", "Does width matter?", ["Wider is better."]),
        ("start_here", "What is theta?", []),
        ("dimension/demo", "How many?", [CLAIM.sentence]),
    )
    said = lines(text)
    assert said[0] == "What is a neural network's parameter worth?"
    claims = "4 (0 holds, 1 fails, 0 inconclusive, 0 illustration, 3 not judged)"
    assert said[2].startswith(f"Studies: 3, run here: 1. Claims: {claims}. Every claim with its rule")
    assert said[3 : said.index("Run a study")] == [
        "Start here", "start-here", "What is theta?", "Never run here: workbench run start-here",
        "Dimension", "demo", "How many?", "Paper: a-paper, b-paper", f"fails {CLAIM.sentence}",
        "not judged: Nobody looked.", f"not judged: {CLAIM.sentence}",
        "Run 20270115T080000Z-ID (done): 2027-01-15, laptop, digits. Runs: 2.".replace("ID", run_id(text)),
        "Width", "wide-net", "Does width matter?", "Paper: a-paper", "not judged: Wider is better.",
        "Never run here: workbench run width/wide-net",
    ]  # fmt: skip
    assert f'<a href="pages/demo/20270115T080000Z-{run_id(text)}.html">' in text
    assert 'href="replication.html"' in text
    assert 'href="runs.csv"' in text


def run_id(text: str) -> str:
    return re.search(r"20270115T080000Z-(\w+)\.html", text)[1]


def test_it_says_how_to_run_a_study_and_how_to_add_one(build):
    said = lines(build(("start_here", "What is theta?", []), ("width/wide", "Q?", [])))
    assert said[said.index("Run a study") :] == [
        "Run a study",
        "In a clone of the repository, whose README.md says how to install it:",
        "workbench run start-here --profile smoke # the smallest form workbench lab start-here # by hand, in "
        "JupyterLab workbench report # this site, with the new run",
        "Add a study",
        "This makes a notebook of your own from the template, in its family's folder. It runs at once and stands on "
        "this map after the next workbench report; “Adding something” in CONTRIBUTING.md goes on from there.",
        "workbench new family/name",
    ]


def test_runs_without_a_notebook_here_are_on_the_map(tmp_path, build):
    stored_run(tmp_path / "runs", finding(), study="foreign_study")
    said = lines(build())
    assert said[3:6] == ["Without a notebook here", "foreign-study", "Paper: a-paper"]
    assert "workbench run my_own.ipynb --profile smoke" in said[said.index("Run a study") + 2]


def test_a_run_that_failed_is_said_to_have_failed(tmp_path, build):
    stored_run(tmp_path / "runs", status="failed", error={"name": "E", "message": "m"})
    assert any(re.match(r"Run \S+ \(failed\): ", line) for line in lines(build()))


def test_what_a_stranger_wrote_is_text(tmp_path, build):
    claim = Claim("c", STRANGE, STRANGE, STRANGE)
    stored_run(tmp_path / "runs", finding(claim=claim, detail=STRANGE), profile=STRANGE, data=STRANGE)
    text = build(("width/later", STRANGE, [STRANGE]))
    table = (tmp_path / "site" / "replication.html").read_text(encoding="utf-8")
    safe = html.escape(STRANGE, quote=False).replace("\ud800", r"\ud800")
    for page, wanted in ((text, 5), (table, 6)):
        found = page.replace("&#34;", '"').replace("&#39;", "'")
        assert found.count(safe) >= wanted
        assert "<script" not in page
        assert "49" not in re.sub(r"Z-[0-9a-f]{6}", "", page[page.index("<main") :])  # but in a run's id


def test_a_site_without_runs_and_studies_still_says_how_to_begin(tmp_path, build):
    (tmp_path / "runs").mkdir()
    assert "Studies: 0, run here: 0. Claims: 0 (" in lines(build())[2]

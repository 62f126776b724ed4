"""Pages as text; what they do in a browser is tested there."""

import re

import nbformat
import plotly.graph_objects as go
import pytest

from tests.stored import code, curves, plotly_data, stored_run
from workbench.runner.html import clean
from workbench.runner.pages import write_page


@pytest.fixture
def page(tmp_path):
    """Write the page of a run with the given cells; return it."""

    def write(*cells, **more) -> str:
        run = stored_run(tmp_path, cells=list(cells), **more)
        notebook, target = run.folder / "executed.ipynb", run.folder / "page.html"
        write_page(notebook, target, library=tmp_path / "plotly.min.js", record=run.record)
        return target.read_text(encoding="utf-8")

    return write


TABLE = '<table><tbody><tr><td style="color: red;" colspan="2">x</td></tr></tbody></table>'


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("<b>bold</b> &lt;i&gt;", "<b>bold</b> &lt;i&gt;"),
        (TABLE, TABLE),
        ('<img src="data:image/png;base64,AA==" alt="a">', '<img src="data:image/png;base64,AA==" alt="a">'),
        ('<a href="https://a.org">a</a>', '<a href="https://a.org">a</a>'),
        ('<a href="javascript:x()">a</a><a href="data:text/html,x">b</a>', "<a>a</a><a>b</a>"),
        ('<a href="&#106;avascript:x()">a</a><a href=" javascript:x()">b</a>', "<a>a</a><a>b</a>"),
        ('<img src="data:text/html,x"><img src="x.png" onerror="x()" srcset="y">', "<img><img>"),
        ("a<script>x()</script>b<style>p{}</style>c<SCRIPT >y", "abcy"),
        ('<p style="background: url(x)">a</p><p style="position: fixed">b</p>', '<p>a</p><p style="">b</p>'),
        ('<meta http-equiv="refresh" content="0"><base href="x"><form><input></form><iframe></iframe>', ""),
    ],
)
def test_html_keeps_its_format_alone(given, kept):
    assert clean(given).strip() == kept


def test_policy_comes_first_and_its_number_is_used_once(page):
    first, second = (page(code("1", plotly_data(curves())), parameters={"n": n}) for n in range(2))
    policy = r'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="(.*?)">'
    (rules,), (others,) = (re.findall(policy, text) for text in (first, second))
    assert rules != others
    nonce = re.search(r"script-src 'nonce-(\w{32})'", rules)[1]
    assert rules.startswith("default-src 'none'; ")
    assert "unsafe" not in rules.replace("style-src 'unsafe-inline'", "")
    ours = re.findall(r"<script nonce=\"(\w+)\"", first)
    assert ours == [nonce] * 2
    assert first.count("<script") == 3  # and the figure, which is data


def test_a_figure_stays_where_it_was_shown_and_its_text_ends_nothing(page):
    figures = [go.Figure(layout={"title": f"</script><b>{n}"}) for n in "ab"]
    text = page(*(code(f"name_{n}", plotly_data(figure)) for n, figure in enumerate(figures)))
    places = [text.index(word) for word in ("name_0", "b>a", "name_1", "b>b")]
    assert places == sorted(places)
    assert text.count("</script><b>") == 0


def test_a_widget_is_named(page):
    assert "A live control" in page(code("w", {"application/vnd.jupyter.widget-view+json": {}}))


def test_worked_solutions_and_checks_are_left_out(page):
    question = nbformat.v4.new_markdown_cell("**1.** How many?")
    shown = {"text/html": "<p>Right.</p>"}
    answers = code("the_answer", plotly_data(curves())), code("check_n(n)", shown)
    for cell, mark in zip(answers, ("solution", "grade"), strict=True):
        cell.metadata["nbgrader"] = {"solution": False, "grade": False, mark: True}
    others = [code("kept_a"), code("kept_b")]
    others[0].metadata["nbgrader"], others[1].metadata["nbgrader"] = {"solution": False, "grade": False}, "a text"
    text = page(question, *answers, *others)
    assert not [word for word in ("the_answer", "Right.", "check_n", "<figure", "plotly.min.js") if word in text]
    assert not [word for word in ("How many?", "kept_a", "kept_b") if word not in text]


def test_pictures_and_tables_come_through(page):
    svg = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    frame = '<table class="dataframe"><tbody><tr><td>1</td></tr></tbody></table>'
    text = page(code("s", {"image/svg+xml": svg}, {"image/png": "AA=="}, {"text/html": frame}))
    assert "data:image/svg+xml;base64," in text
    assert "data:image/png;base64,AA==" in text
    assert frame in text


@pytest.mark.parametrize("error", [{"name": "E"}, {"cell": 1, "traceback": "deep"}, "text", None, []])
def test_a_record_may_lack_what_ours_have(page, error):
    text = page(nbformat.v4.new_markdown_cell("hello"), status="failed", error=error, profile=None)
    assert "hello" in text
    assert ": failed<" in text
    assert ("<summary>Traceback" in text) == (isinstance(error, dict) and "traceback" in error)

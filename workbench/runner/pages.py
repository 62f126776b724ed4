"""Turns an executed notebook into a page that opens offline, stays small and runs our own scripts only.

nbconvert alone drops plotly's figures or puts 4.8 MB of library into every page, and its own page asks a content
network for MathJax and widgets; so only its cells are used, and one ``plotly.min.js`` beside all pages draws.
"""

import functools
import importlib.resources
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

import nbformat
from markupsafe import Markup
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from workbench.figures import Figure
from workbench.files import atomic, write_text
from workbench.runner import alternatives
from workbench.runner.html import clean, render
from workbench.runner.outcome import PAPERMILLS_OWN, error_line
from workbench.verdicts import Report

_PLOTLY, _WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
_SCROLLED = 'role="group" aria-label="Output" tabindex="0"'  # what may be wide is scrolled by keyboard too
_COLOURS = ("default", "github-dark")  # of code, by day and by night
_ORIGIN = ("started", "seconds", "profile", "workers", "commit", "dirty", "platform")


def write_page(
    notebook: Path, page: Path, *, library: Path, record: dict[str, Any], report: Report | None = None, home: str = ""
) -> None:
    """Write the page of a run from its notebook as executed, which is anybody's.

    ``home`` leads to the site around the page, if there is one; ``library`` is the ``plotly.min.js`` of all pages,
    written if need be.
    """
    nonce, figures = secrets.token_hex(16), list[str]()
    book = nbformat.read(notebook, as_version=4)
    # What papermill's own cells say stands in the header; answers are the reader's to find.
    cells = [cell for cell in book.cells if not PAPERMILLS_OWN & set(cell.metadata.get("tags", []))]
    book.cells = [cell for cell in cells if not _answers(cell)]
    for cell in book.cells:
        for output in cell.get("outputs", []):
            _make_html(output, nonce, figures)
    body = clean(_exporter().from_notebook_node(book)[0])
    body = re.sub(r"<th\b[^>]*>(&nbsp;|\s)*</th>", "<td></td>", body)  # it heads nothing
    # The page's own heading is the first.
    body = re.sub(r"(</?h)([1-5])\b", lambda found: f"{found[1]}{int(found[2]) + 1}", body)
    body = re.sub(rf'(<div class="output_html[^>]*)>(?!\s*<p>{nonce})', rf"\1 {_SCROLLED}>", body)
    body = re.sub(rf"<p>{nonce}-(\d+)</p>", lambda found: figures[int(found[1])], body)
    if figures:
        _write_library(library)
    versions, failure = record.get("versions"), error_line(record.get("error"))
    origin = {name: record.get(name) for name in _ORIGIN} | (versions if isinstance(versions, dict) else {})
    trace = record["error"].get("traceback") if failure else None
    colours = [HtmlFormatter(nobackground=True, style=name).get_style_defs(".highlight") for name in _COLOURS]
    text = render(
        "run",
        nonce=nonce if figures else "",
        style=Markup(f"{colours[0]}@media screen and (prefers-color-scheme:dark){{{colours[1]}}}"),
        home=home,
        record=record,
        failure=failure,
        facts={"Traceback": trace, "Parameters": record["parameters"], "Environment": origin},
        verdicts=Markup(report._repr_html_()) if report else "",
        notebook=Markup(body),
        library=Path(os.path.relpath(library, page.parent)).as_posix(),
    )
    write_text(page, text)


@functools.cache
def _exporter() -> HTMLExporter:
    """Return what makes HTML of cells; to compile its templates takes longer than to fill them."""
    return HTMLExporter(template_name="basic")


def _answers(cell: Any) -> bool:
    """Return whether a cell holds the worked solution of an exercise, or checks it."""
    marks = cell.metadata.get("nbgrader")
    return isinstance(marks, dict) and (marks.get("solution") is True or marks.get("grade") is True)


def _make_html(output: Any, nonce: str, figures: list[str]) -> None:
    """Put a place nobody else can name where a figure of plotly goes, and say where a live widget was."""
    data = output.get("data", {})
    if _PLOTLY in data:
        output["data"] = {"text/html": f"<p>{nonce}-{len(figures)}</p>"}
        figures.append(_figure(data[_PLOTLY], len(figures) + 1))
    elif _WIDGET in data:
        output["data"] = {"text/html": "<p><i>A live control: open the notebook in JupyterLab.</i></p>"}


def _figure(data: Any, number: int) -> str:
    """Return the place of a figure, what stands for it, and its numbers."""
    try:
        figure = Figure(data, skip_invalid=True)
    except Exception:  # anybody's JSON
        figure = Figure(layout={"title": "What plotly cannot describe"})
    # "<" would let a string inside the figure end the script element.
    text = Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
    return render("figure", json=text, figure=figure, said=alternatives, name=f"figure {number}")


def _write_library(path: Path) -> None:
    """Write plotly's own JavaScript unless the installed version's is there already."""
    script = (importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    if not path.is_file() or path.read_bytes() != script:
        with atomic(path) as temporary:
            temporary.write_bytes(script)

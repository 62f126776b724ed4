"""Turns an executed notebook into a page that opens offline, stays small and runs our own scripts only.

nbconvert alone drops plotly's figures or puts 4.8 MB of library into every page, and its own page asks a content
network for MathJax and widgets; so only its cells are used, and one ``plotly.min.js`` beside all pages draws.
"""

import functools
import html
import importlib.resources
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from workbench.files import atomic, write_text
from workbench.runner.html import clean, frame
from workbench.runner.outcome import PAPERMILLS_OWN, error_line

_STYLE = """
main{contain:paint} main pre{margin:.4em 0} .highlight pre{background:var(--soft);padding:.6em .8em}
main th,main td{border:0;border-bottom:1px solid var(--line)} .prompt,.anchor-link{display:none}
main img{max-width:100%;background:#fff} .output_area{overflow-x:auto} .status{font-size:1.3em}
.plotly-figure{min-height:420px;background:#fff;color:#1a1a1a} #code:not(:checked)~main .input{display:none}
"""
# JSON.parse never runs what it reads. newPlot takes frames and plays none; the slider's own step is then shown.
_DRAW = """
for (const data of document.querySelectorAll('script.plotly')) (async place => {
  const figure = JSON.parse(data.textContent), slider = (figure.layout.sliders || [])[0];
  figure.config = Object.assign({responsive: true, displaylogo: false}, figure.config);
  const step = slider && slider.steps[slider.active || 0];
  const drawn = await Plotly.newPlot(place, figure);
  if (figure.frames && step && step.method == 'animate') Plotly.animate(drawn, ...step.args);
})(data.previousElementSibling).catch(error => { data.previousElementSibling.textContent = 'No figure: ' + error; });
"""
_PLOTLY, _WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
_FIGURE = '<div class="plotly-figure"></div><script class="plotly" type="application/json">{}</script>'
_COLOURS = ("default", "github-dark")  # of code, by day and by night
_ORIGIN = ("started", "seconds", "profile", "workers", "commit", "dirty", "platform")


def write_page(
    notebook: Path, page: Path, *, library: Path, record: dict[str, Any], verdicts: str = "", home: str = ""
) -> None:
    """Write the page of a run from its notebook as executed, which is anybody's.

    ``verdicts`` and ``home`` are HTML; ``library`` is the ``plotly.min.js`` of all pages, written if need be.
    """
    nonce, figures = secrets.token_hex(16), list[str]()
    book = nbformat.read(notebook, as_version=4)
    # What papermill's own cells say stands in the header.
    book.cells = [cell for cell in book.cells if not PAPERMILLS_OWN & set(cell.metadata.get("tags", []))]
    for cell in book.cells:
        for output in cell.get("outputs", []):
            _make_html(output, nonce, figures)
    body = clean(_exporter().from_notebook_node(book)[0])
    body = re.sub(rf"<p>{nonce}-(\d+)</p>", lambda found: _FIGURE.format(figures[int(found[1])]), body)
    scripts = ""
    if figures:
        _write_library(library)
        source = html.escape(Path(os.path.relpath(library, page.parent)).as_posix())
        scripts = f'<script nonce="{nonce}" src="{source}"></script><script nonce="{nonce}">{_DRAW}</script>'
    colours = [HtmlFormatter(nobackground=True, style=name).get_style_defs(".highlight") for name in _COLOURS]
    style = f"{_STYLE}{colours[0]}@media (prefers-color-scheme:dark){{{colours[1]}}}"
    code = '<input type="checkbox" id="code"><label for="code"> show the code</label>'
    content = f"{home}{_header(record)}{verdicts}\n{code}\n<main>{body}</main>"
    write_text(page, frame(f"{record['study']} {record['run']}", style, content, scripts, nonce))


def failure_line(record: dict[str, Any]) -> str:
    """Return what ended a run early, as a line; nothing where nothing did."""
    error = record.get("error")
    return error_line({"name": "", "message": "", **error}) if isinstance(error, dict) else ""


@functools.cache
def _exporter() -> HTMLExporter:
    """Return what makes HTML of cells; to compile its templates takes longer than to fill them."""
    return HTMLExporter(template_name="basic")


def _make_html(output: Any, nonce: str, figures: list[str]) -> None:
    """Put a place nobody else can name where a figure of plotly goes, and say where a live widget was."""
    data = output.get("data", {})
    if _PLOTLY in data:
        # "<" would let a string inside the figure end the script element.
        figures.append(json.dumps(data[_PLOTLY], separators=(",", ":")).replace("<", "\\u003c"))
        output["data"] = {"text/html": f"<p>{nonce}-{len(figures) - 1}</p>"}
    elif _WIDGET in data:
        output["data"] = {"text/html": "<p><i>A live control: open the notebook in JupyterLab.</i></p>"}


def _write_library(path: Path) -> None:
    """Write plotly's own JavaScript unless the installed version's is there already."""
    script = (importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    if not path.is_file() or path.read_bytes() != script:
        with atomic(path) as temporary:
            temporary.write_bytes(script)


def _header(record: dict[str, Any]) -> str:
    """Return what the run was, every value escaped."""
    failure, versions = failure_line(record), record.get("versions")
    origin = {name: record.get(name) for name in _ORIGIN} | (versions if isinstance(versions, dict) else {})
    trace = record["error"].get("traceback") if failure else None
    facts = {"Traceback": trace, "Parameters": record["parameters"], "Environment": origin}
    profile = f", profile {record['profile']}" if record.get("profile") else ""
    study, run, status = map(html.escape, (record["study"], record["run"], record["status"] + profile))
    return (
        f'<h1>{study}</h1><p class="status">Run {run}: {status}</p>'
        + (f'<p class="error">{html.escape(failure)}</p>' if failure else "")
        + "".join(f"<details><summary>{k}</summary>{_show(v)}</details>" for k, v in facts.items() if v)
    )


def _show(value: Any) -> str:
    """Return names and values as a table, else text as it stands."""
    if not isinstance(value, dict):
        return f"<pre>{html.escape(str(value))}</pre>"
    rows = (f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in value.items())
    return f"<table>{''.join(rows)}</table>"

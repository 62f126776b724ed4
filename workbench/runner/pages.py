"""Turns an executed notebook into a page that opens offline, stays small and runs our own scripts only.

Plotly's figures are drawn by one ``plotly.min.js`` that all pages of a folder share. nbconvert alone drops them (their
output type has no HTML of its own) or embeds the library's 4.8 MB in every page, and its own page asks a content
network for MathJax, require.js and widgets; so only its cells are used, inside a page of ours.
"""

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

LARGE = 500_000  # characters; a page is smaller unless the notebook's own outputs are not
_STYLE = """
main pre{margin:.4em 0} .highlight pre{background:var(--soft);padding:.6em .8em}
main th,main td{border:0;border-bottom:1px solid var(--line)} .dataframe{font-size:90%} main{contain:paint}
main table.dataframe tr th{text-align:left;vertical-align:top!important}
main table.dataframe tbody th{color:var(--faint);font-weight:400;white-space:nowrap}
main table.dataframe .number{text-align:right;white-space:nowrap}
main img{max-width:100%;background:#fff} .output_area{overflow-x:auto} .prompt,.anchor-link{display:none}
.status{font-size:1.3em} .plotly-figure{min-height:420px;background:#fff;color:#1a1a1a}
#code:not(:checked)~main .input{display:none}
"""
# pandas writes all cells alike: a column whose cells are numbers or bounds such as "> 750 [200, inf]" goes right.
_ALIGN = """
for (const table of document.querySelectorAll('table.dataframe')) {
  for (let i = 0; i < (table.rows[0]?.cells.length || 0); i++) {
    const cells = [...table.rows].map(row => row.cells[i]).filter(cell => cell);
    if (cells.slice(1).every(cell => /^([<>+-]?\\s*\\d|NaN|None|inf|$)/.test(cell.textContent.trim())))
      for (const cell of cells) cell.classList.add('number');
  }
}
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
_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_FIGURE = '<div class="plotly-figure"></div><script class="plotly" type="application/json">{}</script>'


def write_page(
    notebook: Path, page: Path, *, library: Path, record: dict[str, Any], verdicts: str = "", home: str = ""
) -> None:
    """Write the page of a run.

    Args:
        notebook: As executed; anybody's.
        page: The file to write.
        library: ``plotly.min.js`` of all pages, written if need be.
        record: The run's.
        verdicts: A table as HTML, which comes first.
        home: Link to the page above, if any.
    """
    nonce, figures = secrets.token_hex(16), list[str]()
    book = nbformat.read(notebook, as_version=4)
    # What papermill's own cells say stands in the header.
    book.cells = [cell for cell in book.cells if not PAPERMILLS_OWN & set(cell.metadata.get("tags", []))]
    for cell in book.cells:
        for output in cell.get("outputs", []):
            _make_html(output, nonce, figures)
    raw, _ = HTMLExporter(template_name="basic").from_notebook_node(book)
    body = re.sub(rf"<p>{nonce}-(\d+)</p>", lambda found: _FIGURE.format(figures[int(found[1])]), clean(raw))
    scripts = f'<script nonce="{nonce}">{_ALIGN}</script>'
    if figures:
        write_library(library)
        source = html.escape(Path(os.path.relpath(library, page.parent)).as_posix())
        scripts += f'<script nonce="{nonce}" src="{source}"></script><script nonce="{nonce}">{_DRAW}</script>'
    dark = HtmlFormatter(nobackground=True, style="github-dark").get_style_defs(".highlight")
    colours = HtmlFormatter(nobackground=True).get_style_defs(".highlight")
    size = f'<p class="note">The notebook\'s own outputs are large: {len(body) / 1e6:.1f} MB.</p>'
    text = frame(
        f"{record['study']} {record['run']}",
        f"{_STYLE}{colours}@media (prefers-color-scheme:dark){{{dark}}}",
        f"{home}{_header(record)}{verdicts}{size if len(body) > LARGE else ''}\n"
        f'<input type="checkbox" id="code"><label for="code"> show the code</label>\n<main>{body}</main>',
        scripts,
        nonce,
    )
    write_text(page, text)


def failure_line(record: dict[str, Any]) -> str:
    """Return what ended a run early, as a line; nothing where nothing did."""
    error = record.get("error")
    return error_line({"name": "", "message": "", **error}) if isinstance(error, dict) else ""


def _make_html(output: Any, nonce: str, figures: list[str]) -> None:
    """Put a place nobody else can name where a figure of plotly goes, and say where a live widget was."""
    data = output.get("data", {})
    if _PLOTLY in data:
        # "<" would let a string inside the figure end the script element.
        figures.append(json.dumps(data[_PLOTLY], separators=(",", ":")).replace("<", "\\u003c"))
        output["data"] = {"text/html": f"<p>{nonce}-{len(figures) - 1}</p>"}
    elif _WIDGET in data:
        output["data"] = {"text/html": "<p><i>A live control: open the notebook in JupyterLab.</i></p>"}


def write_library(path: Path) -> None:
    """Write plotly's own JavaScript unless the installed version's is there already."""
    script = (importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    if not path.is_file() or path.read_bytes() != script:
        with atomic(path) as temporary:
            temporary.write_bytes(script)


def _header(record: dict[str, Any]) -> str:
    """Return what the run was, every value escaped."""

    def table(values: dict[str, Any]) -> str:
        rows = (f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in values.items())
        return f"<table>{''.join(rows)}</table>"

    def fold(title: str, inside: str) -> str:
        return f"<details><summary>{title}</summary>{inside}</details>"

    names = ("started", "seconds", "profile", "workers", "commit", "dirty", "platform")
    origin = {name: record.get(name) for name in names}
    failure = f'<p class="error">{html.escape(why)}</p>' if (why := failure_line(record)) else ""
    if failure and (trace := record["error"].get("traceback")):
        failure += fold("Traceback", f"<pre>{html.escape(str(trace))}</pre>")
    profile = f", profile {record['profile']}" if record.get("profile") else ""
    versions = record.get("versions")
    return (
        f"<h1>{html.escape(record['study'])}</h1>"
        f'<p class="status">Run {html.escape(record["run"])}: {html.escape(record["status"] + profile)}</p>{failure}'
        + fold("Parameters", table(record["parameters"]))
        + fold("Environment", table(origin | (versions if isinstance(versions, dict) else {})))
    )

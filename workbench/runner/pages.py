"""Turns an executed notebook into a page that opens offline and stays small.

Plotly's figures are drawn by one ``plotly.min.js`` that all pages of a folder of runs share. nbconvert alone drops them
(their output type has no HTML of its own) or embeds the library's 4.8 MB in every page, and its own page asks a content
network for MathJax, require.js and widgets; so only its cells are used, inside a page of ours.
"""

import html
import importlib.resources
import json
import os
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from workbench.files import atomic, write_text
from workbench.runner.papermill import PAPERMILLS_OWN, error_line

_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_FIGURE = '<div class="plotly-figure"></div><script type="application/json" class="plotly">{}</script>'
_STYLE = """
body{font:16px/1.55 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1a1a1a;background:#fff}
pre{overflow-x:auto;font-size:85%;line-height:1.4;margin:.4em 0} .highlight pre{background:#f5f5f2;padding:.6em .8em}
table{border-collapse:collapse;margin:1em 0;border:0}
th,td{text-align:left;padding:.35em 1em .35em 0;vertical-align:top}
main th,main td{border:0;border-bottom:1px solid #ddd} .dataframe{font-size:90%}
main table.dataframe tr th{text-align:left;vertical-align:top!important}
main table.dataframe tbody th{color:#888;font-weight:400;white-space:nowrap}
main table.dataframe .number{text-align:right;white-space:nowrap}
img,svg{max-width:100%} .output_area{overflow-x:auto} .prompt,.anchor-link{display:none}
.status{font-size:1.3em} .error{border-left:4px solid #D55E00;padding-left:1em;color:#8a2f00}
.plotly-figure{min-height:420px} #code:not(:checked)~main .input{display:none}
"""
# pandas writes all cells alike: a column whose cells are numbers or bounds such as "> 750 [200, inf]" goes right.
_ALIGN = """
for (const table of document.querySelectorAll('table.dataframe')) {
  for (let i = 0; i < table.rows[0].cells.length; i++) {
    const cells = [...table.rows].map(row => row.cells[i]).filter(cell => cell);
    if (cells.slice(1).every(cell => /^([<>+-]?\\s*\\d|NaN|None|inf|$)/.test(cell.textContent.trim())))
      for (const cell of cells) cell.className = 'number';
  }
}
"""
# JSON.parse never runs what it reads. newPlot takes frames and plays none; the slider's own step is then shown.
_DRAW = """
for (const data of document.querySelectorAll('script.plotly')) {
  const figure = JSON.parse(data.textContent), slider = (figure.layout.sliders || [])[0];
  figure.config = Object.assign({responsive: true, displaylogo: false}, figure.config);
  const step = slider && slider.steps[slider.active || 0];
  Plotly.newPlot(data.previousElementSibling, figure).then(drawn => {
    if (figure.frames && step && step.method == 'animate') Plotly.animate(drawn, ...step.args);
  });
}
"""


def write_page(notebook: Path, page: Path, *, library: Path, record: dict[str, Any], verdicts: str = "") -> None:
    """Write the page of a run: ``verdicts``, a table as HTML, first; figures drawn by the ``library`` of all runs."""
    book = nbformat.read(notebook, as_version=4)
    # What papermill's own cells say stands in the header.
    book.cells = [cell for cell in book.cells if not PAPERMILLS_OWN & set(cell.metadata.get("tags", []))]
    for cell in book.cells:
        for output in cell.get("outputs", []):
            _make_html(output)
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(book)
    scripts = f"<script>{_ALIGN}</script>"
    if 'class="plotly"' in body:
        _write_library(library)
        source = Path(os.path.relpath(library, page.parent)).as_posix()
        scripts += f'<script src="{html.escape(source)}"></script><script>{_DRAW}</script>'
    title = html.escape(f"{record['study']} {record['run']}")
    colours = HtmlFormatter(nobackground=True).get_style_defs(".highlight")
    write_text(
        page,
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}{colours}</style></head><body>\n'
        f"{_header(record)}{verdicts}\n"
        '<input type="checkbox" id="code"><label for="code"> show the code</label>\n'
        f"<main>{body}</main>\n{scripts}</body></html>\n",
    )


def _make_html(output: Any) -> None:
    """Give a figure of plotly an HTML form and say where a live widget was."""
    data = output.get("data", {})
    if _PLOTLY in data:
        # "<" would let a string inside the figure end the script element.
        figure = json.dumps(data[_PLOTLY], separators=(",", ":")).replace("<", "\\u003c")
        output["data"] = {"text/html": _FIGURE.format(figure)}
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

    def table(values: dict[str, Any]) -> str:
        rows = (f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in values.items())
        return f"<table>{''.join(rows)}</table>"

    names = ("started", "seconds", "profile", "workers", "commit", "dirty", "platform")
    origin = {name: record.get(name) for name in names}
    error = record.get("error")
    failure = html.escape(error_line(error)) if error else ""
    return (
        f"<h1>{html.escape(record['study'])}</h1>"
        f'<p class="status">Run {html.escape(record["run"])}: {html.escape(record["status"])}, '
        f"profile {html.escape(record['profile'])}</p>"
        + (f'<p class="error">{failure}</p>' if failure else "")
        + f"<details><summary>Parameters</summary>{table(record['parameters'])}</details>"
        + f"<details><summary>Environment</summary>{table(origin | record['versions'])}</details>"
    )

"""Turns an executed notebook into a page that opens offline and stays small.

Plotly's figures are drawn by one ``plotly.min.js`` that all pages of a folder of runs share. nbconvert alone drops them
(their output type has no HTML of its own) or embeds the library's 4.8 MB in every page, and its own page asks a content
network for MathJax, require.js and widgets; so only its cells are used, inside a page of ours.
"""

import html
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor

from workbench.errors import DataError
from workbench.files import atomic, write_text

_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_FIGURE = '<div class="plotly-figure"></div><script type="application/json" class="plotly">{}</script>'
_STYLE = """
body{font:16px/1.55 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1a1a1a;background:#fff}
pre{overflow-x:auto;font-size:85%;line-height:1.4;margin:.4em 0} .highlight pre{background:#f5f5f2;padding:.6em .8em}
table{border-collapse:collapse;margin:1em 0} th,td{text-align:left;padding:.3em .8em .3em 0;vertical-align:top}
img,svg{max-width:100%} .output_area{overflow-x:auto} .prompt,.anchor-link{display:none}
.status{font-size:1.3em} .error{border-left:4px solid #D55E00;padding-left:1em;color:#8a2f00}
.plotly-figure{min-height:420px} #code:not(:checked)~main .input{display:none}
"""
# Frames and sliders are part of the figure. JSON.parse never runs what it reads.
_DRAW = """
for (const data of document.querySelectorAll('script.plotly')) {
  const figure = JSON.parse(data.textContent);
  figure.config = Object.assign({responsive: true, displaylogo: false}, figure.config);
  Plotly.newPlot(data.previousElementSibling, figure);
}
"""


def write_page(notebook: Path, page: Path, *, library: Path, record: dict[str, Any], verdicts: str = "") -> None:
    """Write the page of a run.

    Args:
        notebook: Executed notebook.
        page: Where the page goes.
        library: The shared ``plotly.min.js``; written if there are figures and it is not there.
        record: The run's record: study, run, status, parameters, versions; shown escaped.
        verdicts: The verdict table as HTML, shown first.
    """
    exporter = HTMLExporter(template_name="basic", preprocessors=[_Figures])
    body, _ = exporter.from_notebook_node(nbformat.read(notebook, as_version=4))
    scripts = ""
    if 'class="plotly"' in body:
        write_library(library)
        source = Path(os.path.relpath(library, page.parent)).as_posix()
        scripts = f'<script src="{html.escape(source)}"></script><script>{_DRAW}</script>'
    title = html.escape(f"{record['study']} {record['run']}")
    write_text(
        page,
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}{_code_style()}</style></head><body>\n'
        f"{_header(record)}{verdicts}\n"
        '<input type="checkbox" id="code" checked><label for="code"> show the code</label>\n'
        f"<main>{body}</main>\n{scripts}</body></html>\n",
    )


def write_library(path: Path) -> None:
    """Write plotly's own JavaScript unless the installed version's is there already.

    Args:
        path: Where all pages of a folder of runs look for it.

    Raises:
        DataError: If plotly is not installed whole.
    """
    spec = importlib.util.find_spec("plotly")  # its file, not its code: only figures import plotly
    folder = Path(((spec and spec.submodule_search_locations) or [""])[0])
    source = folder / "package_data" / "plotly.min.js"
    if not source.is_file():
        raise DataError(f"{source} must hold plotly's JavaScript, got no file; install plotly again")
    script = source.read_bytes()
    if path.is_file() and path.read_bytes() == script:
        return
    with atomic(path) as temporary:
        temporary.write_bytes(script)


class _Figures(Preprocessor):
    """Gives plotly's figures an HTML form and says where a live widget was."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        """Replace the data of one cell's outputs."""
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if _PLOTLY in data:
                # "<" would let a string inside the figure end the script element.
                figure = json.dumps(data[_PLOTLY], separators=(",", ":")).replace("<", "\\u003c")
                output["data"] = {"text/html": _FIGURE.format(figure)}
            elif _WIDGET in data:
                output["data"] = {"text/html": "<p><i>A live control: open the notebook in JupyterLab.</i></p>"}
        return cell, resources


def _header(record: dict[str, Any]) -> str:
    """Return what the run was, every value escaped."""

    def table(values: dict[str, Any]) -> str:
        rows = (f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in values.items())
        return f"<table>{''.join(rows)}</table>"

    origin = {name: record.get(name) for name in ("started", "seconds", "profile", "commit", "dirty", "platform")}
    error = record.get("error") or {}
    failure = f"cell {error.get('cell')}: {error.get('name')}: {error.get('message')}" if error else ""
    return (
        f"<h1>{html.escape(str(record['study']))}</h1>"
        f'<p class="status">Run {html.escape(str(record["run"]))}: {html.escape(str(record["status"]))}</p>'
        + (f'<p class="error">{html.escape(failure)}</p>' if failure else "")
        + f"<details><summary>Parameters</summary>{table(record.get('parameters', {}))}</details>"
        + f"<details><summary>Environment</summary>{table(origin | record.get('versions', {}))}</details>"
    )


def _code_style() -> str:
    """Return the colours of highlighted code."""
    from pygments.formatters import HtmlFormatter

    return str(HtmlFormatter(nobackground=True).get_style_defs(".highlight"))

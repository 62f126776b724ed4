"""Says what to change in a study's notebook: ``python -m tests.review [--run] [NOTEBOOK...]``, by default in all.

The rules stand in ``review.yml``. A notebook is read as data; only ``--run`` executes it, at its smoke profile, and
looks at the figures that come out.
"""

import argparse
import ast
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from workbench.errors import InputError, require
from workbench.files import read_json
from workbench.runner.checks import temporary_folder
from workbench.runner.outcome import error_line
from workbench.runner.stops import collected_signals, leave_if
from workbench.runner.studies import profiles, resolve
from workbench.schema import read_cells, read_schema
from workbench.values import read_file

Cells = Sequence[dict[str, Any]]
Fault = tuple[str, str]  # a cell's id; what is wrong with it and the remedy
RULES = read_file(Path(__file__).with_suffix(".yml"))
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
_PLOTLY, _WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"


def all_notebooks() -> list[Path]:
    """Return the notebooks of the repository, the template among them."""
    return sorted(path for path in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def review(notebook: Path) -> list[Fault]:
    """Return what to change in a study's notebook; nothing of it is executed.

    Args:
        notebook: Its profiles stand beside it.

    Returns:
        For each fault the cell's id, and what is wrong with the remedy.

    Raises:
        InputError: If the file is no notebook.
    """
    cells = read_cells(notebook)
    book = {"id": "notebook", "source": "", "metadata": read_json(notebook).get("metadata", {})}
    faults = [*_ids(cells), *_parameters(notebook), *lesson(cells), *_sizes(cells)]
    return faults + [(str(cell.get("id")), what) for cell in [book, *cells] for what in _source(cell)]


def _ids(cells: Cells) -> Iterator[Fault]:
    """Yield ids that are missing, not alone, or drawn at random."""
    names = [str(cell.get("id")) for cell in cells]
    for name in dict.fromkeys(names):
        if names.count(name) > 1 or not re.fullmatch(RULES["id"], name):
            rule = "small letters, digits and dashes such as run-text, no UUID and not 8 hexadecimal digits"
            yield name, f"is no id that names one cell and stays; give each cell a name of {rule}"


def _parameters(notebook: Path) -> Iterator[Fault]:
    """Yield what is wrong with the parameters and their profiles."""
    try:
        schema = read_schema(notebook)
        for parameter in schema.parameters:
            if not parameter.help:
                yield "parameters", f"has {parameter.name} without a comment; say behind it what it is, with its unit"
        known, where = profiles(schema), f"{notebook.stem}.yml"
        for name in dict.fromkeys([*RULES["profiles"], *known]):
            require(name in known, where, f"must hold a profile {name}", [*known], f"write '{name}:' and its values")
            schema.check(known[name], f"{where}, profile {name}")
    except InputError as problem:
        yield "parameters", str(problem)


def lesson(cells: Cells) -> Iterator[Fault]:
    """Yield the parts of a study, exercises among them, that are missing, not as they must be, or out of order."""
    by_id = {str(cell.get("id")): cell for cell in cells}
    parts = _parts(3 if any(name.startswith("exercise-3") for name in by_id) else 2)
    for name, part in parts.items():
        if name not in by_id:
            yield name, f"is missing; add a {part['cell']} cell of this id"
        cell = by_id.get(name, {"cell_type": part["cell"], "source": "", "metadata": {}})
        yield from ((name, what) for what in _lacking(cell, part))
    further = [name for name in by_id if name.startswith("exercise-") and name not in parts]
    yield from ((name, "belongs to none of two or three exercises, numbered from 1; merge it") for name in further)
    places = {name: place for place, name in enumerate(parts)}
    ordered = [name for number, name in enumerate(by_id) if name in parts or number == 0]
    for before, name in pairwise(ordered):
        if places.get(before, len(parts)) > places[name]:
            yield name, f"stands behind {before}; move it before"


def _parts(n_exercises: int) -> dict[str, dict[str, Any]]:
    """Return the parts of a study in their order, the exercises before the last."""
    *parts, last = RULES["parts"].items()
    text = json.dumps(RULES["exercise"])
    exercises = [json.loads(text.replace("{k}", str(k + 1))) for k in range(n_exercises)]
    return dict([*parts, *(part for exercise in exercises for part in exercise.items()), last])


def _lacking(cell: dict[str, Any], part: dict[str, Any]) -> Iterator[str]:
    """Yield what a part's cell lacks."""
    if cell.get("cell_type") != part["cell"]:
        yield f"is no {part['cell']} cell; change its type"
    for pattern, remedy in part.get("needs", {}).items():
        if not re.search(pattern, cell["source"]):
            yield f"is not whole; {remedy}"
    wanted = part.get("metadata", {})
    if any(cell["metadata"].get(key) != value for key, value in wanted.items()):
        yield f"is not marked for nbgrader; set its metadata {json.dumps(wanted)}"


def _sizes(cells: Cells) -> Iterator[Fault]:
    """Yield sizes of the whole that are too large for one sitting, or too small to say enough."""
    words = sum(len(cell["source"].split()) for cell in cells if cell.get("cell_type") == "markdown")
    least, most = RULES["words"]
    if not least <= words <= most:
        yield "notebook", f"has {words} words of text; say it in {least} to {most}"
    code = [cell for cell in cells if cell.get("cell_type") == "code"]
    study = [cell for cell in code if not str(cell.get("id")).startswith("exercise-")]
    for (what, most), part in zip(RULES["lines"].items(), (study, code), strict=True):
        if (n := _lines(part)) > most:
            yield "notebook", f"has {n} {what}; keep {most}, and move some to its module"


def _source(cell: dict[str, Any]) -> Iterator[str]:
    """Yield what a cell must not hold."""
    kind, source = cell.get("cell_type", ""), cell["source"]
    for name in RULES["of_a_run"]:
        if name in cell["metadata"]:
            yield f"keeps {name} of a run; delete it from the metadata"
    for pattern, what in RULES["never"].get(kind, {}).items():
        if found := re.search(pattern, source):
            yield f"holds {found[0].strip()!r}, {what}"
    if kind != "code":
        return
    if cell.get("outputs") != [] or cell.get("execution_count", 0) is not None:
        yield "keeps outputs or an execution count; strip it with nbstripout --keep-id"
    if (n := _lines([cell])) > RULES["cell_lines"]:
        yield f"has {n} lines; keep {RULES['cell_lines']}, and split it or move some to the study's module"
    try:
        ast.parse(source)
    except (SyntaxError, ValueError) as error:
        yield f"is no Python ({error}); correct it"


def _lines(cells: Cells) -> int:
    """Count the lines of cells."""
    return sum(len(cell["source"].splitlines()) for cell in cells)


def review_run(notebook: Path) -> list[Fault]:
    """Execute a notebook at its smoke profile in a temporary folder; return what to change in its figures."""
    from workbench.runner.papermill import execute

    values = resolve(notebook, profile="smoke", file=None, assignments=[])
    with temporary_folder() as runs, collected_signals() as stops:
        folder = runs / notebook.stem / "smoke"
        folder.mkdir(parents=True)
        outcome = execute(notebook, values, folder, stops=stops)
        leave_if(stops)
        if outcome.error:
            return [("notebook", f"fails at its smoke profile ({error_line(outcome.error)}); mend it")]
        return review_outputs(folder / "executed.ipynb")


def review_outputs(executed: Path) -> list[Fault]:
    """Return what to change in the figures of an executed notebook: titles, captions, axes, hover, live widgets."""
    cells = read_cells(executed)
    shown = [(str(cell.get("id")), out.get("data", {})) for cell in cells for out in cell.get("outputs", [])]
    faults = [(name, what) for name, data in shown for what in _shown(data)]
    return faults if any(_PLOTLY in data for _, data in shown) else [*faults, ("notebook", "draws no figure; show one")]


def _shown(data: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one output, a mapping of its forms."""
    if _WIDGET in data:
        yield "shows a live widget, which needs a kernel; in batch show the plain figure"
    if _PLOTLY in data:
        yield from (f"draws a figure {what}" for what in _figure(data[_PLOTLY]))
    elif any(kind.startswith("image/") for kind in data):
        yield "shows a picture, whose caption nobody can check; draw it with plotly"


def _figure(figure: dict[str, Any]) -> Iterator[str]:
    """Yield what a figure of plotly lacks."""
    layout = figure["layout"]
    title = layout.get("title", {})
    if not title.get("text"):
        yield "without a title; figures.style.finish gives it one"
    if not title.get("subtitle", {}).get("text"):
        yield "without a caption; figures.style.finish gives it one"
    axes = {"xaxis": {}, "yaxis": {}} | {**layout, **layout.get("scene", {})}
    for name, axis in axes.items():
        hidden = re.fullmatch(r"[xyz]axis\d*", name) is None or False in {
            axis.get("visible"),
            axis.get("showticklabels"),
        }
        if not hidden and not axis.get("title", {}).get("text"):
            yield f"whose {name} has no title; name the quantity and its unit"
    if all(trace.get("hoverinfo") in {"skip", "none"} for trace in figure["data"]):
        yield "that says nothing on hover; let one trace say what a point is"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each fault; return the number to exit with: 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.review", description="Say what to change in notebooks.")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all under notebooks/")
    parser.add_argument("--run", action="store_true", help="run the smoke profiles too, and look at the figures")
    given = parser.parse_args(arguments)
    paths = given.notebooks or all_notebooks()
    faults = 0
    for path in paths:
        try:
            found = review(path)
            if given.run:
                found += [("notebook", "was not run: mend these first")] if found else review_run(path)
        except InputError as problem:
            found = [("notebook", f"cannot be read: {problem}")]
        for cell, what in found:
            print(f"{os.path.relpath(path)}: {cell}: {what}", flush=True)
        faults += len(found)
    if not faults:
        print(f"{len(paths)} notebooks reviewed, nothing to change")
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())

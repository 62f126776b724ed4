"""A course: studies in an instructors' and a students' edition, laid out as nbgrader lays out its own.

Both come from the one notebook, the second by nbgrader's own steps; nothing of it is executed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import InputError, require
from workbench.files import write_text
from workbench.runner.studies import describe
from workbench.schema import read_cells
from workbench.sources import source_files

# What `nbgrader generate_assignment` does, but for its database.
_STEPS = "LockCells ClearSolutions ClearOutput CheckCellMetadata ClearHiddenTests ClearMarkScheme ComputeChecksums"


def write_course(notebooks: Sequence[Path], out: Path, *, force: bool = False) -> list[Path]:
    """Write studies as a course: ``source`` with their solutions, ``release`` without, a README for both.

    Args:
        notebooks: One for each assignment, in the order of the course.
        out: Folder of the course.
        force: Whether files that would change may be replaced.

    Returns:
        The files written.

    Raises:
        InputError: If a study has no objectives or exercises, nbgrader does not take it or is not installed, or a file
            would be lost.
    """
    import jinja2

    names = [notebook.stem for notebook in notebooks]
    require(len(set(names)) == len(names), "STUDY", "must be named once", names, "assignments have their names")
    templates = jinja2.Environment(loader=jinja2.PackageLoader("workbench.runner"), keep_trailing_newline=True)
    files = {out / "README.md": templates.get_template("course.md").render(studies=map(_about, notebooks))}
    files[out / "nbgrader_config.py"] = templates.get_template("course_config.txt").render()
    for path in notebooks:
        files |= {out / edition / path.stem / name: text for edition, name, text in _assignment(path.resolve())}
    lost = [str(file) for file, text in files.items() if file.is_file() and file.read_text("utf-8", "replace") != text]
    require(force or not lost, "--out", "must hold no other files of these names", lost, "--force replaces them")
    for file, text in files.items():
        write_text(file, text)
    return list(files)


def _about(notebook: Path) -> dict[str, Any]:
    """Return what the README says of an assignment, or raise InputError if the study teaches nothing."""
    cells = read_cells(notebook)
    points = sum(cell["metadata"].get("nbgrader", {}).get("points", 0) for cell in cells)
    goals = "".join(cell["source"] for cell in cells[:1]).partition("**You will learn**")[2].strip()
    require(bool(goals and points), str(notebook), "must have objectives and points", (goals, points), "see _template")
    return {"name": notebook.stem, "points": points, "objectives": goals, **describe(notebook)}


def _assignment(notebook: Path) -> Iterator[tuple[str, str, str]]:
    """Yield edition, name and text of an assignment's files: the notebook, the modules and profiles it needs."""
    needed = [file for name, file in source_files(notebook).items() if not name.startswith("workbench.")]
    beside = [file for file in [*needed[1:], notebook.with_suffix(".yml")] if file.is_file()]
    for edition, book in _editions(notebook).items():
        yield edition, notebook.name, book
        for file in beside:
            yield edition, file.relative_to(notebook.parent).as_posix(), file.read_text(encoding="utf-8")


def _editions(notebook: Path) -> dict[str, str]:
    """Return a notebook with its solutions shown, and without them, by the folders that nbgrader gives these."""
    import nbformat

    book = nbformat.read(notebook, as_version=4)
    for cell in book.cells:
        cell.metadata.get("jupyter", {}).pop("source_hidden", None)
    solved = nbformat.writes(book)
    try:
        from nbgrader import preprocessors

        for step in _STEPS.split():
            book, _ = getattr(preprocessors, step)().preprocess(book, {})
    except Exception as error:  # nbgrader's own, of several kinds, or there is none
        raise InputError(f"{notebook}: nbgrader (extra workbench[course]) must take it, got {error!r}") from error
    return {"source": f"{solved}\n", "release": f"{nbformat.writes(book)}\n"}

"""A course: studies in an instructors' and a students' edition, laid out as nbgrader lays out its own.

Both come from the one notebook, the second by nbgrader's own steps; nothing of it is executed.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.errors import InputError, require
from workbench.files import atomic
from workbench.runner.review import lesson
from workbench.runner.studies import describe
from workbench.schema import read_cells
from workbench.sources import source_files

# In nbgrader's kernels figures are plain, and nothing waits for a click: nobody sits there.
_CONFIG = """# `workbench course` wrote this for nbgrader.
c = get_config()
c.CourseDirectory.course_id = "workbench"
c.Execute.timeout = 3600  # seconds of a cell
c.Execute.extra_arguments = ["--IPKernelApp.exec_lines=import os; os.environ['WORKBENCH_BATCH'] = '1'"]
"""


def write_course(notebooks: Sequence[Path], out: Path, *, force: bool = False) -> list[Path]:
    """Write studies as a course.

    Args:
        notebooks: One for each assignment, in the order of the course.
        out: Folder of the course.
        force: Whether files that would change may be replaced, and a folder used that is no course.

    Returns:
        The files written.

    Raises:
        InputError: If a study is no lesson yet, a file would be lost, or nbgrader is not installed.
    """
    import jinja2

    names = [notebook.stem for notebook in notebooks]
    require(len(set(names)) == len(names), "STUDY", "must be named once", names, "assignments have their names")
    template = jinja2.Template((Path(__file__).parent / "templates" / "course.md").read_text(encoding="utf-8"))
    readme = template.render(studies=[_about(notebook) for notebook in notebooks])
    files = {"README.md": readme.encode(), "nbgrader_config.py": _CONFIG.encode()}
    for notebook in notebooks:
        files |= _assignment(notebook.resolve())
    there = [name for name, content in files.items() if (out / name).exists() and (out / name).read_bytes() != content]
    strange = out.exists() and any(out.iterdir()) and not (out / "nbgrader_config.py").is_file()
    rule = "must be empty or a course, with these files as they would be written"
    require(force or not (there or strange), "--out", rule, there or str(out), "--force replaces what is there")
    for name, content in files.items():
        with atomic(out / name) as temporary:
            temporary.write_bytes(content)
    return [out / name for name in files]


def _about(notebook: Path) -> dict[str, Any]:
    """Return what the README says of an assignment, or raise InputError if the study is no lesson yet."""
    cells = read_cells(notebook)
    lacking = [f"\n  {cell}: {what}" for cell, what in lesson(cells) if cell.startswith(("title", "exercise-"))]
    if lacking:
        raise InputError(f"{notebook} must have objectives and exercises to enter a course, got{''.join(lacking)}")
    points = sum(cell["metadata"].get("nbgrader", {}).get("points", 0) for cell in cells)
    objectives = re.findall(r"(?m)^[-*] .*(?:\n {2,}.*)*", cells[0]["source"])
    return {"name": notebook.stem, "points": points, "objectives": "\n".join(objectives), **describe(notebook)}


def _assignment(notebook: Path) -> dict[str, bytes]:
    """Return the files of an assignment in both editions, each with the modules and profiles that it needs."""
    folder, module, profiles = notebook.parent, notebook.with_suffix(".py"), notebook.with_suffix(".yml")
    found = [item for path in (notebook, module) if path.is_file() for item in source_files(path).items()]
    needed = {file for name, file in found if not name.startswith("workbench.") and file.suffix == ".py"}
    needed |= {profiles} if profiles.is_file() else set()
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(needed)}
    editions = zip(("source", "release"), _editions(notebook), strict=True)
    whole = {edition: {notebook.name: book, **files} for edition, book in editions}
    return {f"{edition}/{notebook.stem}/{name}": part for edition in whole for name, part in whole[edition].items()}


def _editions(notebook: Path) -> list[bytes]:
    """Return a notebook with its solutions shown, and without them."""
    import nbformat

    try:
        from nbgrader import preprocessors as steps
    except ImportError as error:
        raise InputError("course needs the package nbgrader; pip install 'workbench[course]'") from error
    book = nbformat.read(notebook, as_version=4)
    for cell in book.cells:
        cell.metadata.get("jupyter", {}).pop("source_hidden", None)
    source = nbformat.writes(book)
    # What `nbgrader generate_assignment` does, but for its database.
    names = "LockCells ClearSolutions ClearOutput CheckCellMetadata ClearHiddenTests ClearMarkScheme ComputeChecksums"
    try:
        for name in names.split():
            book, _ = getattr(steps, name)().preprocess(book, {})
    except Exception as error:  # nbgrader's own, of several kinds
        raise InputError(f"{notebook} must be a notebook that nbgrader takes, got {error}") from error
    return [edition.encode() + b"\n" for edition in (source, nbformat.writes(book))]

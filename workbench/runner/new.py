"""Makes a study from the template: a notebook that runs at once, its profiles, its own module."""

import importlib.util
import keyword
import re
from pathlib import Path

from workbench.errors import InputError, require
from workbench.files import write_text
from workbench.records import project_folder
from workbench.runner.studies import roots, studies

_SUFFIXES = (".py", ".yml", ".ipynb")  # the notebook last: a study is there once it is complete


def new_study(name: str) -> Path:
    """Copy the template, this project's before the package's own, under a new name.

    Args:
        name: ``name`` or ``family/name``; dashes count as underscores.

    Returns:
        The notebook, in ``notebooks/`` of the project, or in the working directory where the project has none.

    Raises:
        InputError: If the name is no module's name or already one, or if there is no template.
    """
    spelt = name.replace("-", "_")
    fits = re.fullmatch("([a-z][a-z0-9_]*/)?[a-z][a-z0-9_]{,29}", spelt) is not None
    # 30, because the notebook's import of its module is one line of at most 120.
    rule = "must be made of small letters, digits and underscores, at most 30, each part starting with a letter"
    require(fits, "NAME", rule, name, "write name or family/name")
    *family, stem = spelt.split("/")
    taken = next((path for path in studies() if path.stem == stem), None)
    require(taken is None, "NAME", "must be new", name, f"{taken} has it, and runs are kept under a study's name")
    # The notebook imports its module by this name, ahead of everything installed.
    free = importlib.util.find_spec(stem) is None and not keyword.iskeyword(stem)
    require(free, "NAME", "must not be the name of a Python module or keyword", name, f"for example {stem}_study")
    notebooks = project_folder() / "notebooks"
    base = notebooks if notebooks.is_dir() else Path.cwd()
    folder = base.joinpath(*family)
    inside = folder.resolve().is_relative_to(base.resolve())
    require(inside, "NAME", f"must lie in {base}", name, f"{folder} is a link that leaves it")
    targets = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES]
    there = next((path for path in targets if path.exists() or path.is_symlink()), None)
    require(there is None, "NAME", "must be new", name, f"{there} exists")
    template = next((path for path in (root / "_template.ipynb" for root in roots()) if path.is_file()), None)
    if template is None:
        raise InputError(
            "the template must stand in notebooks/, got none there; it comes with a clone of the repository, so work "
            "in one or install the package from one with pip install -e"
        )
    for path in targets:
        text = template.with_suffix(path.suffix).read_text(encoding="utf-8").replace("_template", stem)
        write_text(path, text.replace("# Template:", f"# {stem.replace('_', ' ').capitalize()}:"))
    return targets[-1]

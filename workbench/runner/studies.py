"""Finds studies by name: every notebook under ``notebooks/``, and anybody's own by its path."""

import difflib
from pathlib import Path
from typing import Any

from workbench import records
from workbench.errors import InputError
from workbench.runner.schema import Schema, read_cells, read_schema
from workbench.runner.values import read_file

DEFAULT_PROFILE = "laptop"  # the values of the parameters cell itself


def roots() -> list[Path]:
    """Return the folders of studies: this project's and the one the package was installed from.

    Returns:
        Existing folders, each once.
    """
    places = [records.project_folder() / "notebooks", Path(__file__).resolve().parents[2] / "notebooks"]
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def studies() -> list[Path]:
    """Return the notebooks of all studies.

    Returns:
        Paths in the order of family and name; templates (a leading underscore) and saved copies left out.
    """
    found: dict[tuple[str, ...], Path] = {}
    for root in roots():
        for path in sorted(root.rglob("*.ipynb")):
            parts = path.relative_to(root).parts
            if not any(part.startswith(("_", ".")) for part in parts):
                found.setdefault(parts, path)
    return list(found.values())


def find(study: str) -> Path:
    """Find a study's notebook.

    Args:
        study: ``intrinsic-dimension``, ``intrinsic_dimension``, ``dimension/intrinsic_dimension`` or a path.

    Returns:
        The notebook, absolute.

    Raises:
        InputError: If there is none or more than one.
    """
    if study.endswith(".ipynb"):
        path = Path(study).absolute()
        if not path.is_file():
            raise InputError(f"STUDY must be a notebook that exists, got {study!r}; `workbench list` shows those here")
        return path
    wanted = tuple(study.replace("-", "_").strip("/").split("/"))
    known = studies()
    matches = [path for path in known if (*path.parts[:-1], path.stem)[-len(wanted) :] == wanted]
    if len(matches) == 1:
        return matches[0].absolute()
    if matches:
        names = " or ".join(f"{path.parent.name}/{path.stem}" for path in matches)
        raise InputError(f"STUDY must name one notebook, got {study!r}; write {names}")
    near = difflib.get_close_matches(wanted[-1], [path.stem for path in known], n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else "`workbench list` shows what there is"
    raise InputError(f"STUDY must be a study or a path to a notebook, got {study!r}; {remedy}")


def profiles(schema: Schema) -> dict[str, dict[str, Any]]:
    """Read the profiles that stand beside a notebook.

    Args:
        schema: The notebook's.

    Returns:
        Values by profile, not yet checked; the default profile is always there.

    Raises:
        InputError: If the file is no mapping of mappings.
    """
    path = schema.notebook.with_suffix(".yml")
    found = read_file(path) if path.is_file() else {}
    for name, values in found.items():
        if not isinstance(values, dict):
            raise InputError(f"{path}: {name} must map parameters to values, got {values!r}; write '{name}: {{}}'")
    return {DEFAULT_PROFILE: {}, **found}


def resolve(
    notebook: Path, *, profile: str, file: Path | None, assignments: list[str], seed: int | None = None
) -> tuple[Schema, dict[str, Any]]:
    """Put a run's parameters together: defaults, then profile, file, ``-p``, seed; each checked by itself.

    Args:
        notebook: The study.
        profile: Name of a profile.
        file: A YAML or JSON file of values.
        assignments: ``name=value`` texts.
        seed: Value of the parameter ``seed``.

    Returns:
        The schema and a checked value for every parameter.

    Raises:
        InputError: If anything is unknown, of the wrong type or out of bounds.
    """
    schema = read_schema(notebook)
    known = profiles(schema)
    if profile not in known:
        raise InputError(f"--profile must be one of {', '.join(known)}, got {profile!r}")
    sources: list[tuple[str, dict[str, Any]]] = [
        (f"profile {profile}", known[profile]),
        (str(file), read_file(file) if file else {}),
        ("-p", schema.parse(assignments)),
        ("--seed", {} if seed is None else {"seed": seed}),
    ]
    given: dict[str, Any] = {}
    for origin, values in sources:
        checked = schema.check(values, origin)
        given |= {name: checked[name] for name in values}
    return schema, schema.check(given, notebook.name)


def question(notebook: Path) -> str:
    """Return the first line of a notebook's first text.

    Args:
        notebook: A notebook.

    Returns:
        Its heading without the signs of Markdown; empty where it has none.
    """
    for cell in read_cells(notebook):
        if cell.get("cell_type") == "markdown":
            return "".join(cell.get("source", "")).strip().partition("\n")[0].strip("# ")
    return ""

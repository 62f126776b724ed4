"""Finds studies by name: every notebook under ``notebooks/``, and anybody's own by its path."""

import difflib
import json
from pathlib import Path
from typing import Any

from workbench import records
from workbench.errors import InputError
from workbench.schema import Schema, read_cells, read_schema
from workbench.values import read_file

DEFAULT_PROFILE = "laptop"  # the values of the parameters cell itself


def roots() -> list[Path]:
    """Return the folders of studies: this project's and the one the package was installed from."""
    places = [records.project_folder() / "notebooks", Path(__file__).resolve().parents[2] / "notebooks"]
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def studies() -> list[Path]:
    """Return the notebooks of all studies, by family and name; templates (a leading underscore) are left out."""
    found: dict[Path, Path] = {}
    for root in roots():
        for path in sorted(root.rglob("*.ipynb")):
            relative = path.relative_to(root)
            if not any(part.startswith(("_", ".")) for part in relative.parts):
                found.setdefault(relative, path)
    return list(found.values())


def find(study: str) -> Path:
    """Return the notebook that ``a-study``, ``a_study``, ``family/a_study`` or a path means, or raise InputError."""
    if study.endswith(".ipynb"):
        path = Path(study).absolute()
        if not path.is_file():
            raise InputError(f"STUDY must be a notebook that exists, got {study!r}; `workbench list` shows those here")
        return path
    wanted = tuple(study.replace("-", "_").strip("/").split("/"))
    known = studies()
    matches = [path for path in known if path.with_suffix("").parts[-len(wanted) :] == wanted]
    if len(matches) == 1:
        return matches[0].absolute()
    if matches:
        names = " or ".join(f"{path.parent.name}/{path.stem}" for path in matches)
        raise InputError(f"STUDY must name one notebook, got {study!r}; write {names}")
    near = difflib.get_close_matches(wanted[-1], [path.stem for path in known], n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else "`workbench list` shows what there is"
    raise InputError(f"STUDY must be a study or a path to a notebook, got {study!r}; {remedy}")


def profiles(schema: Schema) -> dict[str, dict[str, Any]]:
    """Return the values of each profile beside a notebook, not yet checked; the default profile is always there."""
    path = schema.notebook.with_suffix(".yml")
    found = read_file(path) if path.is_file() else {}
    for name, values in found.items():
        if not isinstance(values, dict):
            raise InputError(f"{path}: {name} must map parameters to values, got {values!r}; write '{name}: {{}}'")
    return {DEFAULT_PROFILE: {}, **found}


def resolve(
    notebook: Path, *, profile: str, file: Path | None, assignments: list[str], seed: int | None = None
) -> dict[str, Any]:
    """Return a checked value for every parameter: defaults, then profile, file, ``-p``, seed; or raise InputError."""
    schema = read_schema(notebook)
    known = profiles(schema)
    if profile not in known:
        raise InputError(f"--profile must be one of {', '.join(known)}, got {profile!r}")
    return (
        schema.check({parameter.name: parameter.default for parameter in schema.parameters}, "defaults")
        | schema.check(known[profile], f"profile {profile}")
        | schema.check(read_file(file) if file else {}, str(file))
        | schema.parse(assignments)
        | schema.check({} if seed is None else seeded(schema, seed), "--seed")
    )


def seeded(schema: Schema, seed: int) -> dict[str, Any]:
    """Return what one seed means to a study: its ``seed``, or a list of one as its ``seeds``."""
    return {"seeds": [seed]} if "seeds" in schema.names and "seed" not in schema.names else {"seed": seed}


def describe(notebook: Path) -> dict[str, str]:
    """Return ``question`` and ``time`` from a notebook's first text: its heading and its line ``**Time.** ...``."""
    texts = ["".join(cell.get("source", "")) for cell in read_cells(notebook) if cell.get("cell_type") == "markdown"]
    lines = texts[0].strip().splitlines() if texts else []
    times = [line.removeprefix("**Time.**").strip() for line in lines if line.startswith("**Time.**")]
    return {"question": lines[0].strip("# ") if lines else "", "time": times[0] if times else ""}


def last_verdicts(out: Path, study: str) -> dict[str, str]:
    """Return claim -> verdict of the newest run in ``out`` that has any; none where no run can be read."""
    for path in sorted(out.glob(f"{study}/*/results.json"), reverse=True):
        try:
            findings = json.loads(path.read_text(encoding="utf-8"))["findings"]
            return {str(finding["claim"]["name"]): str(finding["verdict"]) for finding in findings}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}

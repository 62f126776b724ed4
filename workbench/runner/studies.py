"""Finds studies by name: every notebook under ``notebooks/``, and anybody's own by its path."""

import ast
import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from workbench import records
from workbench.errors import InputError
from workbench.schema import Schema, read_cells, read_schema
from workbench.values import read_file
from workbench.verdicts import Claim

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

    def spelt(path: Path) -> tuple[str, ...]:
        return tuple(part.replace("-", "_") for part in path.parts)

    own = Path(study if study.endswith(".ipynb") else f"{study}.ipynb").absolute()
    wanted, known = spelt(Path(study)), studies()
    matches = [path for path in known if spelt(path.with_suffix(""))[-len(wanted) :] == wanted]
    if len(matches) == 1:
        return matches[0].absolute()
    if own.is_file():
        return own
    if study.endswith(".ipynb"):
        raise InputError(f"STUDY must be a notebook that exists, got {study!r}; `workbench list` shows those here")
    if matches:
        names = " or ".join(f"{path.parent.name}/{path.stem}" for path in matches)
        raise InputError(f"STUDY must name one notebook, got {study!r}; write {names}")
    near = difflib.get_close_matches(wanted[-1] if wanted else "", [path.stem for path in known], n=1, cutoff=0.5)
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


def describe(notebook: Path) -> dict[str, Any]:
    """Return ``question``, ``time`` (text) and ``minutes`` from a notebook's heading and its line ``**Time.** ...``."""
    texts = ["".join(cell.get("source", "")) for cell in read_cells(notebook) if cell.get("cell_type") == "markdown"]
    lines = texts[0].strip().splitlines() if texts else []
    times = [line.removeprefix("**Time.**").strip() for line in lines if line.startswith("**Time.**")]
    time = times[0] if times else ""
    found = re.search(r"([\d.]*\d) *(second|minute|hour)", time)
    minutes = float(found[1]) * {"second": 1 / 60, "minute": 1, "hour": 60}[found[2]] if found else None
    return {"question": lines[0].strip("# ") if lines else "", "time": time, "minutes": minutes}


def claims(notebook: Path) -> list[Claim]:
    """Return the claims of a study as its code cells, and the file of its name beside it, write them down.

    Calls of ``Claim`` are read and nothing is executed. An argument that is neither a literal nor the name of one is
    returned as written.
    """
    cells = [cell for cell in read_cells(notebook) if cell.get("cell_type") == "code"]
    texts = ["".join(cell.get("source", "")) for cell in cells]
    if (beside := notebook.with_suffix(".py")).is_file():
        texts.append(beside.read_text(encoding="utf-8", errors="replace"))
    nodes = [node for text in texts for node in _nodes(text)]
    constants = {
        node.targets[0].id: node.value.value
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    found: dict[str, Claim] = {}
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Claim":
            claim = _claim(node, constants)
            found.setdefault(claim.name, claim)
    return list(found.values())


def _nodes(text: str) -> Iterator[ast.AST]:
    """Yield the nodes of a cell or file in the order of its lines; what is no Python has none."""
    # Lines that only IPython understands.
    lines = ["" if line.startswith(("%", "!")) else line for line in text.splitlines()]
    try:
        tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return
    yield from sorted(ast.walk(tree), key=lambda node: getattr(node, "lineno", 0))


def _claim(call: ast.Call, constants: dict[str, Any]) -> Claim:
    """Return what a call of Claim says."""
    names = [field.name for field in fields(Claim)]
    given: dict[str, Any] = dict.fromkeys(names[:4], "")
    written = [*zip(names, call.args, strict=False), *((word.arg, word.value) for word in call.keywords)]
    for name, node in written:
        if name in names:
            try:
                value = constants[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)
            except (KeyError, ValueError):
                value = ast.unparse(node)
            given[name] = value if name == "datasets" else str(value)
    if isinstance(given.get("datasets"), str):
        given["datasets"] = (given["datasets"],)
    return Claim(**given)


def last_verdicts(out: Path, study: str) -> dict[str, str]:
    """Return claim -> verdict of the newest run in ``out`` that has any; none where no run can be read."""
    for path in sorted((out / study).glob("*/results.json"), reverse=True):
        try:
            findings = json.loads(path.read_text(encoding="utf-8"))["findings"]
            return {str(finding["claim"]["name"]): str(finding["verdict"]) for finding in findings}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}

"""Finds studies by name: every notebook under ``notebooks/``, and anybody's own by its path."""

import ast
import contextlib
import difflib
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from workbench import records
from workbench.errors import DataError, InputError, require, require_choice
from workbench.files import read_json
from workbench.schema import Schema, read_cells, read_schema
from workbench.values import read_file
from workbench.verdicts import Claim

DEFAULT_PROFILE = "laptop"  # the values of the parameters cell itself


def roots() -> list[Path]:
    """Return the folders of studies: this project's and the one the package was installed from."""
    return list(dict.fromkeys([records.project_folder() / "notebooks", Path(__file__).parents[2] / "notebooks"]))


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
        return matches[0]
    if own.is_file():
        return own
    near = difflib.get_close_matches(own.stem.replace("-", "_"), [path.stem for path in known], n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else "`workbench list` shows what there is"
    if matches:
        remedy = "write " + " or ".join(f"{path.parent.name}/{path.stem}" for path in matches)
    raise InputError(f"STUDY must be a study or a path to a notebook that exists, got {study!r}; {remedy}")


def profiles(schema: Schema) -> dict[str, dict[str, Any]]:
    """Return the values of each profile beside a notebook, not yet checked; the default profile is always there."""
    path = schema.notebook.with_suffix(".yml")
    found = read_file(path) if path.is_file() else {}
    for name, values in found.items():
        rule = "must map parameters to values"
        require(isinstance(values, dict), f"{path}: {name}", rule, values, f"write '{name}: {{}}'")
    return {DEFAULT_PROFILE: {}, **found}


def resolve(
    notebook: Path, *, profile: str, file: Path | None, assignments: Sequence[str], seed: int | None = None
) -> dict[str, Any]:
    """Return a checked value for every parameter: defaults, then profile, file, ``-p``, seed; or raise InputError."""
    schema = read_schema(notebook)
    known = profiles(schema)
    require_choice("--profile", profile, tuple(known))
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
    text = "\n".join(_texts(notebook, "markdown")).strip()
    line = re.search(r"(?m)^\*\*Time\.\*\*(.*)", text)
    time = line[1].strip() if line else ""
    found = re.search(r"(\d*\.?\d+) *(second|minute|hour)", time)
    minutes = float(found[1]) * {"second": 1 / 60, "minute": 1, "hour": 60}[found[2]] if found else None
    return {"question": text.partition("\n")[0].strip("# "), "time": time, "minutes": minutes}


def claims(notebook: Path) -> list[Claim]:
    """Return the claims of a study as its code cells, and the file of its name beside it, write them down.

    Calls of ``Claim`` are read and nothing is executed. An argument that is neither a literal nor the name of one is
    returned as written.
    """
    texts = _texts(notebook, "code")
    if (beside := notebook.with_suffix(".py")).is_file():
        texts.append(beside.read_text(encoding="utf-8", errors="replace"))
    constants, calls = dict[str, Any](), list[ast.Call]()
    for node in (node for text in texts for node in _nodes(text)):
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Constant(value)):
                constants[name] = value
            case ast.Call(ast.Name("Claim") | ast.Attribute(attr="Claim")):
                calls.append(node)
    return list({claim.name: claim for claim in (_claim(call, constants) for call in calls)}.values())


def _texts(notebook: Path, kind: str) -> list[str]:
    """Return the sources of a notebook's cells of a kind."""
    return [cell["source"] for cell in read_cells(notebook) if cell.get("cell_type") == kind]


def _nodes(text: str) -> list[ast.AST]:
    """Return the nodes of a cell or file in the order of its lines; what is no Python has none."""
    code = re.sub(r"(?m)^[%!].*", "", text)  # without lines that only IPython understands
    try:
        return sorted(ast.walk(ast.parse(code)), key=lambda node: getattr(node, "lineno", 0))
    except (SyntaxError, ValueError, RecursionError):
        return []


def _claim(call: ast.Call, constants: dict[str, Any]) -> Claim:
    """Return what a call of Claim says."""

    def read(node: ast.expr) -> Any:
        try:
            return constants[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)
        except (KeyError, TypeError, ValueError):
            return ast.unparse(node)

    names = [field.name for field in fields(Claim)]
    given = dict(zip(names, call.args, strict=False)) | {str(word.arg): word.value for word in call.keywords}
    values: dict[str, Any] = dict.fromkeys(names[:4], "") | {k: read(node) for k, node in given.items() if k in names}
    datasets = values.pop("datasets", None)
    texts = {name: str(value) for name, value in values.items()}
    return Claim(**texts, datasets=(datasets,) if isinstance(datasets, str) else datasets)


def last_verdicts(out: Path, study: str) -> dict[str, str]:
    """Return claim -> verdict of the newest run in ``out`` that has any; none where no run can be read."""
    for path in sorted((out / study).glob("*/results.json"), reverse=True):
        with contextlib.suppress(DataError, KeyError, TypeError):
            if found := {str(f["claim"]["name"]): str(f["verdict"]) for f in read_json(path)["findings"]}:
                return found
    return {}

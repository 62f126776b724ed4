"""A notebook's parameters: read from its source without executing it, checked before a kernel starts.

The one cell tagged ``parameters`` holds annotated assignments of literals, such as
``subspace_dims: list[int] = [10, 30]  # trainable directions``. Annotations come from an allow-list; bounds are those
of ``annotated_types``: ``Annotated[float, Gt(0), Le(1)]``.
"""

import ast
import difflib
import io
import json
import tokenize
import types
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from workbench.errors import InputError, is_number, reading
from workbench.values import readings

_SCALARS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
_BOUNDS = ("Gt", "Ge", "Lt", "Le", "MinLen", "MaxLen")
_ALLOWED = f"{', '.join(_SCALARS)}, Literal[...], list[...], tuple[...], X | None, Annotated[X, {'/'.join(_BOUNDS)}(n)]"


@dataclass(frozen=True)
class Parameter:
    """A line of the parameters cell; ``kind`` is its type for Python, ``source`` as written, ``help`` its comment."""

    name: str
    kind: Any
    source: str
    default: Any
    help: str

    def check(self, value: Any, origin: str) -> Any:
        """Return a value as plain Python, or raise InputError; strictly: ``True`` is no integer, ``"1"`` no number."""
        import pydantic  # here, because `list` does without and has no time for it

        config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)
        try:
            # Through JSON: strict checks then take a list for a tuple, which no file could otherwise write.
            return pydantic.TypeAdapter(self.kind, config=config).validate_json(json.dumps(value))
        except Exception as error:  # pydantic's own, for a value or for a type that cannot be
            said = [fault["msg"].lower() for fault in getattr(error, "errors", list)()] or [str(error)]
            why = " or ".join(dict.fromkeys(said))
            raise InputError(f"{origin}: {self.name} must be {self.source}, got {value!r}; {why}") from error

    def read(self, text: str, origin: str) -> Any:
        """Return the first reading of a text, such as ``[10, 30]``, that the type takes, or raise InputError."""
        refusals = []
        for value in readings(text):
            try:
                return self.check(value, origin)
            except InputError as error:
                refusals.append(error)
        # The first reading whose form is right and only its content wrong says most: -1,2 is a list with a bad item.
        raise min(refusals, key=_distance)


def _distance(refusal: InputError) -> tuple[int, bool]:
    """Tell how far a refused value is from its type: less when what is wrong lies deeper, or is no type."""
    faults: list[dict[str, Any]] = getattr(refusal.__cause__, "errors", list)()
    return min(((-len(fault["loc"]), fault["type"].endswith("_type")) for fault in faults), default=(0, True))


@dataclass(frozen=True)
class Schema:
    """What a notebook may be given: its parameters in the order of the cell, at least one."""

    notebook: Path
    parameters: tuple[Parameter, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the cell."""
        return tuple(parameter.name for parameter in self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        """Return the parameter of that name, or raise InputError."""
        return self.known(name, "schema")

    def check(self, given: dict[str, Any], origin: str) -> dict[str, Any]:
        """Check values by name, or raise InputError; ``origin`` says where they came from."""
        return {name: self.known(name, origin).check(value, origin) for name, value in given.items()}

    def parse(self, assignments: Iterable[str]) -> dict[str, Any]:
        """Read and check ``name=value`` texts by the declared types; raise InputError for what is none."""
        given: dict[str, Any] = {}
        for assignment in assignments:
            name, equals, text = (part.strip() for part in assignment.partition("="))
            if not (name and equals):
                raise InputError(f"-p must be name=value, got {assignment!r}; write for example -p {self.names[0]}=...")
            if name in given:
                raise InputError(f"-p {name} must be given once, got it twice; keep one")
            given[name] = self.known(name, "-p").read(text, "-p")
        return given

    def known(self, name: str, origin: str) -> Parameter:
        """Return the parameter of that name, or raise InputError with the nearest; ``origin`` says who named it."""
        if name in self.names:
            return self.parameters[self.names.index(name)]
        near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"choose from {', '.join(self.names)}"
        raise InputError(f"{origin}: {name} must be a parameter of {self.notebook.stem}, got an unknown name; {remedy}")


def read_schema(notebook: Path) -> Schema:
    """Read a notebook's parameters from its source; nothing is executed.

    Returns:
        Its schema, the defaults checked against their own types and bounds.

    Raises:
        InputError: If the file is no notebook, has not exactly one cell tagged ``parameters``, or that cell holds
            anything but annotated literals of allowed types.
    """
    sources = [cell["source"] for cell in read_cells(notebook) if "parameters" in (cell["metadata"].get("tags") or [])]
    if len(sources) != 1:
        raise InputError(
            f"{notebook} must have exactly one cell tagged parameters, got {len(sources)}; "
            "tag the cell of annotated assignments (in JupyterLab: property inspector, cell tags)"
        )
    where = f"parameters cell of {notebook.name}"
    with reading(f"{where} must be plain Python", kind=InputError):
        statements = ast.parse(sources[0]).body
        tokens = tokenize.generate_tokens(io.StringIO(sources[0]).readline)
        comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    # Imports of what annotations need let the cell run by itself.
    imports = [n for n in statements if isinstance(n, ast.ImportFrom) and n.module in {"typing", "annotated_types"}]
    parameters = [_parameter(node, comments, where) for node in statements if node not in imports]
    schema = Schema(notebook, tuple(parameters))
    if len(set(schema.names)) != len(schema.names) or not parameters:
        raise InputError(f"{where} must give each parameter once and at least one, got {', '.join(schema.names)!r}")
    schema.check({parameter.name: parameter.default for parameter in parameters}, f"{where}: defaults")
    return schema


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """Read the cells of an ``.ipynb`` file as data, their sources joined; raise InputError if it is none."""
    with reading(f"{notebook} must be a notebook (.ipynb)", kind=InputError):
        # Not nbformat: importing it costs as long as the whole command line may take.
        cells = [dict(cell) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]]
        needed = [{"source": "".join(c.get("source", "")), "metadata": dict(c.get("metadata", {}))} for c in cells]
        return [cell | checked for cell, checked in zip(cells, needed, strict=True)]


def _parameter(node: ast.stmt, comments: dict[int, str], where: str) -> Parameter:
    """Read one annotated assignment."""
    from annotated_types import MinLen

    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
        rule = f"line {node.lineno}, must be an annotated assignment such as 'seed: int = 0'"
        raise InputError(f"{where}, {rule}, got {ast.unparse(node)!r}")
    name, where = node.target.id, f"{where}: {node.target.id}"
    default, kind = _literal(node.value, where), _kind(node.annotation, where)
    if get_origin(kind) is list and default:
        # A sweep over nothing is a mistake unless the author says otherwise, by MinLen(0) or an empty default.
        kind = Annotated[kind, MinLen(1)]
    comment = next((comments[i] for i in sorted(comments) if node.lineno <= i <= (node.end_lineno or i)), "")
    return Parameter(name, kind, ast.unparse(node.annotation), default, comment)


def _kind(node: ast.expr, where: str) -> Any:
    """Build a type from its source, through the allow-list only."""
    match node:
        case ast.Name(id=name) if name in _SCALARS:
            return _SCALARS[name]
        case ast.Constant(value=None):
            return types.NoneType
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _kind(left, where) | _kind(right, where)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            values = _literal(choices, where)
            values = values if isinstance(values, tuple) else (values,)
            if all(isinstance(value, str | int) for value in values):
                return Literal[values]
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return types.GenericAlias(list, (_kind(item, where),))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=items):
            elements = items.elts if isinstance(items, ast.Tuple) else [items]
            kinds = [... if ast.unparse(element) == "..." else _kind(element, where) for element in elements]
            if ... not in kinds or (len(kinds) == 2 and kinds[0] is not ...):
                return types.GenericAlias(tuple, tuple(kinds))
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *notes])) if notes:
            return Annotated[_kind(inner, where), *(_bound(note, where) for note in notes)]
    raise InputError(f"{where} must have a type out of {_ALLOWED}, got {ast.unparse(node)!r}")


def _literal(node: ast.expr, where: str) -> Any:
    """Return what a literal says."""
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise InputError(f"{where} must be a literal, got {ast.unparse(node)!r}; write it out") from error


def _bound(node: ast.expr, where: str) -> Any:
    """Read a bound such as ``Ge(1)`` or ``Gt(-0.5)``."""
    import annotated_types

    match node:
        case ast.Call(func=ast.Name(id=name), args=[number], keywords=[]) if name in _BOUNDS:
            value = _literal(number, where)
            if is_number(value):
                return getattr(annotated_types, name)(value)
    raise InputError(f"{where} must have bounds out of {', '.join(_BOUNDS)} with one number, got {ast.unparse(node)!r}")

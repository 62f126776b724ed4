"""A notebook's parameters: read from its source without executing it, checked before a kernel starts.

The one cell tagged ``parameters`` holds annotated assignments of literals, such as
``subspace_dims: list[int] = [10, 30]  # trainable directions``. Annotations come from an allow-list; bounds are those
of ``annotated_types``: ``Annotated[float, Gt(0), Le(1)]``.
"""

import ast
import difflib
import io
import json
import math
import tokenize
import types
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types
import pydantic

from workbench.errors import InputError
from workbench.runner.values import read

_SCALARS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
_BOUNDS = ("Gt", "Ge", "Lt", "Le", "MinLen", "MaxLen")
_ALLOWED = f"{', '.join(_SCALARS)}, Literal[...], list[...], tuple[...], X | None, Annotated[X, {'/'.join(_BOUNDS)}(n)]"


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell.

    Attributes:
        name: What it is called.
        kind: Its type, as Python's typing knows it.
        source: Its type, as the author wrote it.
        default: Its value when nothing else is given.
        help: The comment at the line's end.
    """

    name: str
    kind: Any
    source: str
    default: Any
    help: str


@dataclass(frozen=True)
class Schema:
    """What a notebook may be given.

    Attributes:
        notebook: The notebook.
        parameters: Its parameters in the order of the cell.
    """

    notebook: Path
    parameters: tuple[Parameter, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the cell."""
        return tuple(parameter.name for parameter in self.parameters)

    def check(self, given: dict[str, Any], origin: str) -> dict[str, Any]:
        """Check values strictly: ``True`` is no integer, ``"banana"`` no number, an unknown name an error.

        Args:
            given: Values by name; what is missing takes its default.
            origin: Where they came from, for the message.

        Returns:
            A value for every parameter, as plain Python.

        Raises:
            InputError: If a name is unknown or a value breaks its type or bounds.
        """
        for name in given:
            self._known(name, origin)
        try:
            # Through JSON: strict checks then take a list for a tuple, which no file could otherwise write.
            model = self._model.model_validate_json(json.dumps(given))
        except TypeError as error:
            raise InputError(f"{origin} must hold numbers, strings, booleans and lists, got {error}") from error
        except pydantic.ValidationError as error:
            raise InputError(f"{origin}: {self._explain(error, given)}") from error
        return {name: getattr(model, name) for name in self.names}

    def parse(self, assignments: Iterable[str]) -> dict[str, Any]:
        """Read ``name=value`` by the declared types: ``1e-3`` is a float, ``true`` a bool, ``[10, 30]`` a list.

        Args:
            assignments: What stood behind each ``-p``.

        Returns:
            Values by name, not yet checked against bounds.

        Raises:
            InputError: If one is no assignment, names no parameter, comes twice, or cannot be read as its type.
        """
        given: dict[str, Any] = {}
        for assignment in assignments:
            name, equals, text = (part.strip() for part in assignment.partition("="))
            if not equals:
                raise InputError(f"-p must be name=value, got {assignment!r}; write for example -p {self.names[0]}=...")
            parameter = self._known(name, "-p")
            if name in given:
                raise InputError(f"-p {name} must be given once, got it twice; keep one")
            try:
                given[name] = read(text, parameter.kind)
            except ValueError as error:
                raise InputError(f"-p {name} must be {parameter.source}, got {text!r}; {error}") from error
        return given

    def _known(self, name: str, origin: str) -> Parameter:
        """Return the parameter of that name or raise with the nearest one."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        near = difflib.get_close_matches(str(name), self.names, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]}?" if near else f"choose from {', '.join(self.names)}"
        raise InputError(f"{origin}: {name} must be a parameter of {self.notebook.stem}, got an unknown name; {remedy}")

    def _explain(self, error: pydantic.ValidationError, given: dict[str, Any]) -> str:
        """Turn pydantic's first complaint about each parameter into our one line."""
        lines = []
        for name in dict.fromkeys(str(entry["loc"][0]) for entry in error.errors() if entry["loc"]):
            first = next(entry for entry in error.errors() if entry["loc"] and entry["loc"][0] == name)
            source = next(parameter.source for parameter in self.parameters if parameter.name == name)
            lines.append(f"{name} must be {source}, got {given[name]!r}; {first['msg'].lower()}")
        return "; ".join(lines) or str(error)

    @cached_property
    def _model(self) -> type[pydantic.BaseModel]:
        """The strict model of the parameters."""
        fields: dict[str, Any] = {p.name: (p.kind, p.default) for p in self.parameters}
        config = pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
        return pydantic.create_model("Parameters", __config__=config, **fields)


def read_schema(notebook: Path) -> Schema:
    """Read a notebook's parameters from its source; nothing is executed.

    Args:
        notebook: An ``.ipynb`` file.

    Returns:
        Its schema, the defaults checked against their own types and bounds.

    Raises:
        InputError: If the file is no notebook, has not exactly one cell tagged ``parameters``, or that cell holds
            anything but annotated literals of allowed types.
    """
    cells = [cell for cell in read_cells(notebook) if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise InputError(
            f"{notebook} must have exactly one cell tagged parameters, got {len(cells)}; "
            "tag the cell of annotated assignments (in JupyterLab: property inspector, cell tags)"
        )
    source = "".join(cells[0].get("source", ""))
    where = f"parameters cell of {notebook.name}"
    try:
        statements = ast.parse(source).body
        comments = _comments(source)
    except (SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"{where} must be plain Python, got {error}") from error
    parameters = [_parameter(node, comments, where) for node in statements if not _is_harmless(node)]
    schema = Schema(notebook, tuple(parameters))
    if len(set(schema.names)) != len(schema.names) or not parameters:
        raise InputError(f"{where} must give each parameter once and at least one, got {', '.join(schema.names)!r}")
    if clash := [name for name in schema.names if name.startswith("_") or hasattr(pydantic.BaseModel, name)]:
        raise InputError(f"{where} must use other names than {', '.join(clash)}; pydantic uses them itself")
    schema.check({parameter.name: parameter.default for parameter in parameters}, f"{where}: defaults")
    return schema


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """Read a notebook's cells as data.

    Args:
        notebook: An ``.ipynb`` file.

    Returns:
        Its cells.

    Raises:
        InputError: If it cannot be read or is no notebook.
    """
    try:
        # Not nbformat: importing it costs as long as the whole command line may take.
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return [dict(cell) for cell in cells]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{notebook} must be a notebook (.ipynb), got {type(error).__name__}: {error}") from error


def _is_harmless(node: ast.stmt) -> bool:
    """Tell whether a statement only imports what annotations need, so that the cell runs by itself."""
    return isinstance(node, ast.ImportFrom) and node.module in {"typing", "annotated_types"} and node.level == 0


def _comments(source: str) -> dict[int, str]:
    """Return the comment at the end of each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}


def _parameter(node: ast.stmt, comments: dict[int, str], where: str) -> Parameter:
    """Read one annotated assignment."""
    if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
        raise InputError(
            f"{where}, line {node.lineno}, must be an annotated assignment such as 'seed: int = 0', "
            f"got {ast.unparse(node)!r}"
        )
    name, source = node.target.id, ast.unparse(node.annotation)
    try:
        default = ast.literal_eval(node.value)
    except ValueError as error:
        raise InputError(f"{where}: {name} must be a literal, got {ast.unparse(node.value)!r}; write it out") from error
    kind = _kind(node.annotation, f"{where}: {name}", may_be_empty=default in ([], ()))
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return Parameter(name, kind, source, default, next((comments[line] for line in lines if line in comments), ""))


def _kind(node: ast.expr, where: str, may_be_empty: bool = False) -> Any:
    """Build a type from its source, through the allow-list only."""
    match node:
        case ast.Name(id=name) if name in _SCALARS:
            return _SCALARS[name]
        case ast.Constant(value=None):
            return types.NoneType
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _kind(left, where, may_be_empty) | _kind(right, where, may_be_empty)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return Literal[_literals(choices, where)]
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            # A sweep over nothing is a mistake unless the author says otherwise.
            kind: Any = types.GenericAlias(list, (_kind(item, where),))
            return kind if may_be_empty else Annotated[kind, annotated_types.MinLen(1)]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=end)])) if (
            end is Ellipsis
        ):
            return tuple[_kind(item, where), ...]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=items):
            elements = items.elts if isinstance(items, ast.Tuple) else [items]
            return tuple[tuple(_kind(element, where) for element in elements)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *notes])) if notes:
            bounds = [_bound(note, where) for note in notes]
            says_length = any(isinstance(bound, annotated_types.MinLen) for bound in bounds)
            return Annotated[_kind(inner, where, may_be_empty or says_length), *bounds]
    raise InputError(f"{where} must have a type out of {_ALLOWED}, got {ast.unparse(node)!r}")


def _literals(node: ast.expr, where: str) -> tuple[Any, ...]:
    """Read the choices of a Literal."""
    choices = node.elts if isinstance(node, ast.Tuple) else [node]
    if all(isinstance(choice, ast.Constant) and isinstance(choice.value, str | int) for choice in choices):
        return tuple(choice.value for choice in choices if isinstance(choice, ast.Constant))
    raise InputError(f"{where} must choose between strings, integers and booleans, got {ast.unparse(node)!r}")


def _bound(node: ast.expr, where: str) -> Any:
    """Read a bound such as ``Ge(1)``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BOUNDS:
        try:
            (value,) = [ast.literal_eval(argument) for argument in node.args]
            if not node.keywords and math.isfinite(value):
                return getattr(annotated_types, node.func.id)(value)
        except (ValueError, TypeError):
            pass  # said below
    raise InputError(f"{where} must have bounds out of {', '.join(_BOUNDS)} with one number, got {ast.unparse(node)!r}")

"""Values from text and files: a command line's words read by declared type, YAML and JSON read as data."""

import json
import re
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from workbench.errors import InputError

_CLOSING = {"[": "]", "(": ")"}


class _Loader(yaml.SafeLoader):
    """YAML whose numbers are YAML 1.2's: PyYAML alone reads ``1e-3`` as a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read(text: str, kind: Any) -> Any:
    """Read a value as a type.

    Args:
        text: What a person typed.
        kind: ``int``, ``float``, ``bool``, ``str``, ``None``, a ``Literal``, ``list``, ``tuple``, union, or one of
            these with bounds, which are not checked here.

    Returns:
        The value.

    Raises:
        ValueError: If the text is no such value; the message names a remedy.

    Example:
        >>> read("1e-3", float), read("true", bool), read("[10, 30]", list[int]), read("none", float | None)
        (0.001, True, [10, 30], None)
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return read(text, arguments[0])
    if origin in {Union, types.UnionType}:
        return _first(text, sorted(arguments, key=lambda member: member is str))
    if origin is Literal:
        for choice in arguments:
            if text == str(choice) or (isinstance(choice, bool) and text == str(choice).lower()):
                return choice
        raise ValueError(f"choose from {', '.join(map(str, arguments))}")
    if origin in {list, tuple}:
        return _sequence(text, origin, arguments)
    return _scalar(text, kind)


def read_file(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON file that maps names to values.

    Args:
        path: The file; ``.json`` is read as JSON, everything else as YAML.

    Returns:
        Its content.

    Raises:
        InputError: If it cannot be read or is no mapping with string keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # The loader is SafeLoader with one more number format: plain data, no constructors.
        data = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} must be a readable YAML or JSON file, got {error}") from error
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise InputError(f"{path} must map names to values, got {type(data).__name__}; write lines such as 'seed: 0'")
    return data


def _first(text: str, members: typing.Sequence[Any]) -> Any:
    """Read as the first member of a union that takes the text."""
    remedies = []
    for member in members:
        try:
            return read(text, member)
        except ValueError as error:
            remedies.append(str(error))
    raise ValueError(" or ".join(remedies))


def _scalar(text: str, kind: Any) -> Any:
    """Read one number, word or truth value."""
    word = text.strip()
    if kind is str:
        return text
    if kind in {int, float}:
        try:
            return kind(word)
        except ValueError:
            raise ValueError("write a whole number" if kind is int else "write a number such as 0.1 or 1e-3") from None
    words = {"true": True, "false": False} if kind is bool else {"none": None, "null": None}
    if word.lower() in words:
        return words[word.lower()]
    raise ValueError(f"write {' or '.join(words)}")


def _sequence(text: str, origin: type, arguments: tuple[Any, ...]) -> Any:
    """Read ``[a, b]``, ``(a, b)`` or ``a, b``."""
    text = text.strip()
    if text[:1] in _CLOSING and text.endswith(_CLOSING[text[0]]):
        text = text[1:-1]
    parts = _split(text)
    if origin is list or (len(arguments) == 2 and arguments[1] is Ellipsis):
        kinds = [arguments[0]] * len(parts)
    else:
        kinds = list(arguments)
    if len(kinds) != len(parts):
        raise ValueError(f"write {len(kinds)} values such as [..., ...]")
    return origin(read(part, kind) for part, kind in zip(parts, kinds, strict=True))


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes; an optional pair of quotes around a part goes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "[(":
            depth += 1
        elif sign in "])":
            depth -= 1
        elif sign == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    if not parts[-1].strip():  # an empty list, or a trailing comma
        parts.pop()
    parts = [part.strip() for part in parts]
    return [part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "'\"" else part for part in parts]

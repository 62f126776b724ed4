"""Values from text and files, read as data: YAML whose plain words are JSON's."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import InputError, reading


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core types: PyYAML alone reads 1e-3 as a string, 1:30 as 90, 012 as 10 and no as false."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a name given twice, of which PyYAML would keep the last."""
        names = [str(key.value) for key, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} twice; keep one", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in {
    "null": r"~|null|",
    "bool": r"true|True|false|False",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), None)


def readings(text: str) -> Iterator[Any]:
    """Yield what the text behind ``name=`` may mean, most likely first; a declared type decides."""
    if text.lower() == "none":
        yield None
    # (1, 2) and 1, 2 are lists too; parentheses inside may be a word's own.
    listed = f"[{text[1:-1]}]" if text.startswith("(") and text.endswith(")") else text
    for written in (listed, listed.translate(str.maketrans("()", "[]")), f"[{text}]"):
        for loader in (_Loader, yaml.BaseLoader):  # the second leaves every word a string
            with contextlib.suppress(yaml.YAMLError, RecursionError):
                value = yaml.load(written, loader)
                yield text if isinstance(value, str) else value
    yield text


def read_file(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON (``.json``) file that maps names to values; raise InputError if it is none."""
    with reading(f"{path} must be a readable YAML or JSON file", kind=InputError):
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.load(text, _Loader)
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise InputError(f"{path} must map names to values, got {type(data).__name__}; write lines such as 'seed: 0'")
    return data

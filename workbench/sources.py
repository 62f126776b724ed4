"""The source files and versions that decide a result: read from import statements, never by running anything."""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from workbench import _HOMES
from workbench.errors import reading

_parsing = threading.Lock()  # CPython 3.11 raises SystemError when two threads parse at once


def versions() -> list[str]:
    """Return the versions of torch and NumPy without importing them; a build's suffix (``+cpu``) is left out."""
    return [importlib.metadata.version(name).partition("+")[0] for name in ("torch", "numpy")]


def source_digest(path: str | Path) -> str:
    """Hash a Python file or notebook and all it imports, as ``source_files`` finds it; a notebook is its code cells.

    Returns:
        64 hexadecimal digits that change when any of those files does, and not with where they lie.
    """
    named = sorted((name, _read(file)[0]) for name, file in source_files(path).items())
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def source_files(path: str | Path) -> dict[str, Path]:
    """Find a Python file or notebook and all it imports, statically and from its own folder or the package.

    Relative imports, imports inside functions, and the ``__init__`` of every package on the way count.

    Returns:
        Files by the dotted names under which they are imported, the file itself first.
    """
    path = Path(path).resolve()
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    # A notebook's name keeps its suffix, for the module beside it may have the same one.
    parts = path.relative_to(root).with_suffix("" if path.suffix == ".py" else path.suffix).parts
    files: dict[str, Path] = {}
    waiting = [(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)]
    while waiting:
        name, file = waiting.pop()
        if name not in files:
            files[name] = file
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            for imported in _imported(_read(file)[1], package):
                if imported not in files and (found := _find(imported, (root, path.parent))):
                    waiting.append((imported, found))
    return files


def _imported(names: tuple[str, ...], package: str) -> Iterator[str]:
    """Yield absolute names of what a module of ``package`` imports, with the packages they lie in."""
    for name in names:
        try:
            parts = importlib.util.resolve_name(name, package or None).split(".")
        except ImportError:  # a relative import that leads out of the package fails when it is run as well
            continue
        if len(parts) == 2 and parts[0] == "workbench":
            parts[1] = _HOMES.get(parts[1], parts[1])  # public names load lazily: no statement names their modules
        yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _find(name: str, folders: tuple[Path, ...]) -> Path | None:
    """Return the project's file of a module name, or None for what is not the project's."""
    if name == "workbench":
        return None  # it only names public names and their modules: a further one must not make all results stale
    if name.startswith("workbench."):
        folders = (Path(__file__).resolve().parent.parent,)
    bases = [folder.joinpath(*name.split(".")) for folder in folders]
    candidates = (file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py"))
    return next((file for file in candidates if file.is_file()), None)


def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return a file's digest and the names it may import, relative ones with their dots."""
    stat = path.stat()
    return _read_once(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1024)
def _read_once(path: Path, _modified: int, _size: int) -> tuple[str, tuple[str, ...]]:
    content = path.read_bytes()
    if path.suffix != ".ipynb":
        return hashlib.sha256(content).hexdigest(), tuple(_names(content))
    with reading(f"{path} must be a whole notebook", "restore it"):
        cells = [cell for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
    # IPython's own lines would keep the rest from being parsed.
    plain = [re.sub(r"(?m)^\s*[%!].*", "", source) for source in sources]
    names = tuple(name for source in plain for name in _names(source))
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest(), names


def _names(source: bytes | str) -> Iterator[str]:
    """Yield what a source may import: ``from a import b`` as a and a.b. What does not parse imports nothing."""
    try:
        with _parsing:
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return
    whole = False  # import workbench as wb; wb.train(...)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            whole |= any(alias.name.partition(".")[0] == "workbench" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}{'.' if node.module else ''}{alias.name}" for alias in node.names)
    if whole:
        yield from (f"workbench.{node.attr}" for node in nodes if isinstance(node, ast.Attribute))

"""Published files as ``sources.yml`` lists them: their origins, what they must hold, where they may lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from workbench.values import read_file


@dataclass(frozen=True)
class Part:
    """One array of bytes inside a file: its name there, its length and its SHA-256 once decompressed."""

    name: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} ({self.size:,} bytes, SHA-256 {self.sha256})"


@dataclass(frozen=True)
class Source:
    """One file (.gz, .tar.gz, .npz or plain), the parts that are read from it, and its mirrors, best first."""

    file: str
    parts: tuple[Part, ...]
    urls: tuple[str, ...] = ()


class Place(NamedTuple):
    """A folder that may hold a set, and its files there."""

    folder: str
    files: tuple[Source, ...]


# Where each set may lie. The first place is the whole set's, and the one that can be downloaded.
_READER = TypeAdapter(dict[str, tuple[Place, ...]])
PLACES = _READER.validate_python(read_file(Path(__file__).with_suffix(".yml")))

"""Published image files as ``sources.yml`` lists them: their origins, what they must hold, where they may lie."""

from dataclasses import dataclass
from pathlib import Path

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
    """One file (.gz, .tar.gz or .npz), the parts that are read from it, and its mirrors, best first."""

    file: str
    parts: tuple[Part, ...]
    urls: tuple[str, ...] = ()


# Where a set may lie: folder and files. The first entry is the whole set, and the one that can be downloaded.
PLACES = {
    name: tuple(
        (
            str(place["folder"]),
            tuple(
                Source(file["file"], tuple(Part(**part) for part in file["parts"]), tuple(file.get("urls", ())))
                for file in place["files"]
            ),
        )
        for place in places
    )
    for name, places in read_file(Path(__file__).with_suffix(".yml")).items()
}

"""Named arrays and plain values in one file, written whole or not at all; nothing in it is executed by loading."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import reading
from workbench.files import atomic


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write arrays and values that JSON can hold to an ``.npz`` file.

    Args:
        path: The file; replaced at once.
        arrays: Arrays by name; none may be called ``about``.
        about: Everything that is not an array.
    """
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{**arrays, "about": np.array(json.dumps(about))})  # type: ignore[arg-type]


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file written by ``save_arrays``.

    Args:
        path: The file.

    Returns:
        The arrays by name, and the values.

    Raises:
        DataError: If the file is missing, truncated or not such a file.
    """
    with reading(f"{path} must be a checkpoint of arrays", "delete it"):
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return arrays, json.loads(str(arrays.pop("about")))

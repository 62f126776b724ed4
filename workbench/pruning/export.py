"""A masked network in one compressed file, and back."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.checkpoints import load_arrays
from workbench.errors import DataError, require
from workbench.files import atomic
from workbench.layout import Layout, Point


def export(path: Path, layout: Layout, point: Point, mask: Tensor) -> int:
    """Write a network's kept parameters, one bit for each entry that says if it is kept, and its buffers.

    Args:
        path: The ``.npz`` file; replaced at once.
        layout: Where each tensor stands in theta.
        point: Parameters, of which those outside the mask are left out, and buffers.
        mask: True where kept, shape ``(D,)``.

    Returns:
        The file's size in bytes.

    Raises:
        InputError: If the mask has another shape.
    """
    require(mask.shape == (layout.D,), "mask", f"must have shape ({layout.D},)", tuple(mask.shape))
    arrays = {name: value.cpu().numpy() for name, value in point.buffers.items()}
    arrays |= {"mask": np.packbits(mask.cpu().numpy()), "kept": point.theta.detach().cpu()[mask.cpu()].numpy()}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(_about(layout))), **arrays)  # type: ignore[arg-type]
    return path.stat().st_size


def load_export(path: Path, layout: Layout) -> tuple[Point, Tensor]:
    """Read a file written by ``export``.

    Args:
        path: The file.
        layout: That of the network it was made of.

    Returns:
        The network, its pruned parameters 0; and the mask, shape ``(D,)``.

    Raises:
        DataError: If the file is missing, damaged or another network's.
    """
    arrays, about = load_arrays(path)
    mask = torch.from_numpy(np.unpackbits(arrays.pop("mask", np.zeros(0, np.uint8)))[: layout.D]).bool()
    kept = torch.from_numpy(arrays.pop("kept", np.zeros(0)))
    if about != _about(layout) or mask.shape != (layout.D,) or int(mask.sum()) != len(kept):
        raise DataError(f"{path} must hold the network whose layout was given, but holds {about}; export it again")
    theta = kept.new_zeros(layout.D).masked_scatter_(mask, kept)
    return Point(theta, {name: torch.from_numpy(value) for name, value in arrays.items()}), mask


def _about(layout: Layout) -> dict[str, list[int]]:
    """Return names and shapes, as JSON has them."""
    return {entry.name: list(entry.shape) for entry in layout.entries}

"""Float64 references, written from the definitions and sharing no code with what they check."""

import numpy as np
import torch
from scipy.linalg import block_diag, hadamard

from workbench.coordinates.base import Coordinates, Projection
from workbench.coordinates.dense import Dense
from workbench.coordinates.fastfood import Fastfood
from workbench.coordinates.hadamard import BlockHadamard
from workbench.coordinates.hashed import Hashed
from workbench.coordinates.sparse import Sparse


def projection_matrix(P: Projection) -> np.ndarray:
    """Write out P, shape (D, d), from the numbers drawn for it."""
    if isinstance(P, Dense):
        return as_float64(P.columns).T
    if isinstance(P, Hashed):
        sign, column = np.divmod(P.index.numpy(), P.d)
        matrix = np.zeros((P.D, P.d))
        matrix[np.arange(P.D), column] = (1 - 2 * sign) * as_float64(P.scale)[column]
        if isinstance(P, BlockHadamard):
            n_blocks, rest = divmod(P.D, P.block)
            matrix = block_diag(*[hadamard(P.block) / P.block**0.5] * n_blocks, np.eye(rest))[: P.D, : P.D] @ matrix
        return matrix
    if isinstance(P, Sparse):
        matrix = np.zeros((P.D, P.d))
        np.add.at(matrix, (P.rows.numpy(), np.arange(P.d)[:, None]), as_float64(P.values))
        return matrix
    assert isinstance(P, Fastfood)
    blocks, n = P.signs.shape
    h, rows = hadamard(n).astype(float), []
    for block in range(blocks):
        permutation = np.eye(n)[P.index.numpy().reshape(blocks, n)[block] - block * n]
        rows.append(h @ np.diag(as_float64(P.gauss[block])) @ permutation @ h @ np.diag(as_float64(P.signs[block])))
    return np.concatenate(rows)[: P.D, : P.d]


def applied_matrix(P: Projection) -> np.ndarray:
    """Collect P's columns as P computes them, float64."""
    dtype = floating_type(P)
    unit = torch.eye(P.d, dtype=dtype)
    return np.stack([as_float64(P.apply(v, torch.empty(P.D, dtype=dtype))) for v in unit], axis=1)


def jacobian(coordinates: Coordinates, phi: torch.Tensor, step: float = 1e-5) -> np.ndarray:
    """Differentiate push by central differences, shape (D, d); exact to rounding for maps of degree two in phi."""
    columns = []
    for unit in torch.eye(coordinates.d, dtype=phi.dtype):
        ends = [coordinates.push(phi + sign * step * unit, phi.new_empty(coordinates.D)) for sign in (1, -1)]
        columns.append(as_float64(ends[0] - ends[1]) / (2 * step))
    return np.stack(columns, axis=1)


def floating_type(P: Projection) -> torch.dtype:
    """Find the type P computes in."""
    return next(x.dtype for x in vars(P).values() if isinstance(x, torch.Tensor) and x.is_floating_point())


def as_float64(x: torch.Tensor) -> np.ndarray:
    """Convert a tensor."""
    return x.detach().to("cpu", torch.float64).numpy()


def memory_bytes(projection):
    """Bytes of every tensor that a projection holds, working buffers included."""
    held = [t for x in vars(projection).values() for t in (x if isinstance(x, tuple) else (x,))]
    held = [t.untyped_storage() for t in held if isinstance(t, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in held}.values())

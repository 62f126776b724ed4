"""Hashed, then mixed in blocks."""

import numpy as np
import pytest

from tests.references import memory_bytes, projection_matrix
from workbench.coordinates import projection


@pytest.mark.parametrize(("D", "block"), [(1, 1), (3, 1), (4, 2), (1000, 16), (44_426, 128), (199_210, 256)])
def test_block_grows_with_the_problem(D, block):
    assert projection("block_hadamard", D, 1, 0).block == block


def test_every_parameter_of_a_block_follows_as_many_coordinates():
    P = projection("block_hadamard", 1000, 1000, 0)  # at d = D no two parameters of a block share a coordinate
    counts = np.count_nonzero(projection_matrix(P), axis=1)
    assert counts.tolist() == [16] * 992 + [1] * 8


def test_memory_does_not_grow_with_d():
    assert memory_bytes(projection("block_hadamard", 10_000, 1000, 0)) <= 16 * 10_000 + 12 * 1000

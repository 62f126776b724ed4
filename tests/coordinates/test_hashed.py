"""One signed coordinate per parameter, in balance, in 8 bytes per parameter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.references import memory_bytes
from workbench.coordinates import projection


@given(D=st.integers(1, 2000), data=st.data())
def test_balanced(D, data):
    d = data.draw(st.integers(1, D))
    index = projection("hashed", D, d, 0).index.numpy()
    counts = np.bincount(index % d, minlength=d)
    assert index.max() < 2 * d
    assert set(counts) <= {D // d, -(-D // d)}


def test_signs_are_fair():
    index = projection("hashed", 10_000, 100, 0).index
    assert abs((index >= 100).double().mean() - 0.5) < 4 * 0.5 / 100


@pytest.mark.parametrize("d", [1, 100, 10_000])
def test_memory_is_8_bytes_a_parameter(d):
    assert memory_bytes(projection("hashed", 199_210, d, 0)) == 8 * 199_210 + 12 * d


def test_square_is_a_signed_permutation():
    v = torch.arange(1.0, 101.0)
    assert torch.equal(projection("hashed", 100, 100, 0).apply(v, torch.empty(100)).abs().sort().values, v)

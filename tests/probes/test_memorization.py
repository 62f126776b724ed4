"""Memorisation: tables whose answer is known, and unbiased in the mean over random ones."""

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.probes import memorization


def test_a_table_by_hand():
    member = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]], dtype=bool)
    found = memorization([[1, 1, 1], [1, 1, 0], [0, 0, 1], [0, 1, 1]], member)
    np.testing.assert_array_equal(found.value[:2], [1.0, -0.5])
    np.testing.assert_array_equal(found.n_in, [2, 2, 4])
    np.testing.assert_array_equal(found.n_out, [2, 2, 0])
    assert np.isnan(found.value[2])
    np.testing.assert_allclose(found.standard_error[:2], [0, np.sqrt(0.5 / 2)])
    assert len(found.to_frame()) == 3


def test_planted_chances_are_found_within_the_error_it_states():
    rng = np.random.default_rng(0)
    chance_in, chance_out = rng.uniform(0.2, 0.8, (2, 500))
    member = rng.random((200, 500)) < 0.7
    found = memorization(rng.random((200, 500)) < np.where(member, chance_in, chance_out), member)
    z = (found.value - (chance_in - chance_out)) / found.standard_error
    assert abs(z.mean()) < 0.15
    assert 0.9 < z.std() < 1.1


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"correct, member must have one shape \(n_runs, n\)"):
        memorization([[1.0]], [[True, False]])
    with pytest.raises(InputError, match="member must be of bool, got dtype"):
        memorization([[1.0]], [[1]])
    with pytest.raises(InputError, match=r"correct must be in 0\.\.1"):
        memorization([[2.0]], [[True]])

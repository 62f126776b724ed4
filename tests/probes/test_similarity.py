"""Linear CKA: exact answers, and an independent reference with explicit centring matrices."""

import numpy as np
import pytest
import torch

from workbench.errors import InputError
from workbench.probes import linear_cka


def draw(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("p", [5, 80])
def test_rotated_scaled_and_shifted_copies_are_one(unbiased, p):
    a, q = draw(0, 40, p), torch.linalg.qr(draw(1, p, p))[0]
    assert linear_cka(a, 3 * a @ q + 7, unbiased=unbiased).value == pytest.approx(1, abs=1e-12)


def test_independent_ones_are_near_zero_where_unbiased():
    found = [[linear_cka(draw(i, 20, 100), draw(99 + i, 20, 100), unbiased=u).value for i in range(40)] for u in (0, 1)]
    assert np.mean(found[0]) > 0.7  # what few examples do to the biased one
    assert abs(np.mean(found[1])) < 4 * np.std(found[1]) / 40**0.5
    assert np.std(found[1]) < 0.1


@pytest.mark.parametrize("p", [3, 30])
def test_it_is_what_the_definitions_say(p):
    a, b = draw(0, 12, p), draw(1, 12, 4)
    H = np.eye(12) - 1 / 12
    K, M = (H @ (z @ z.T).numpy() @ H for z in (a, b))
    wanted = np.trace(K @ M) / np.sqrt(np.trace(K @ K) * np.trace(M @ M))
    assert linear_cka(a, b).value == pytest.approx(wanted, rel=1e-12)

    def hsic(k, m, n=12):
        k, m = (z - np.diag(np.diag(z)) for z in (k, m))
        one = np.ones(n)
        ends = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
        return (np.trace(k @ m) + ends) / (n * (n - 3))

    K, M = ((z @ z.T).numpy() for z in (a, b))
    wanted = hsic(K, M) / np.sqrt(hsic(K, K) * hsic(M, M))
    assert linear_cka(a, b, unbiased=True).value == pytest.approx(wanted, rel=1e-9)


def test_what_never_varies_is_like_nothing():
    assert linear_cka(torch.ones(5, 2), draw(0, 5, 2)).value == 0


def test_bad_input_is_refused():
    with pytest.raises(InputError, match=r"a, b must be as many examples, at least 2, got \(3, 4\)"):
        linear_cka(draw(0, 3, 2), draw(0, 4, 2))
    with pytest.raises(InputError, match="at least 4"):
        linear_cka(draw(0, 3, 2), draw(0, 3, 2), unbiased=True)
    with pytest.raises(InputError, match="a, b must be finite"):
        linear_cka(draw(0, 3, 2).log(), draw(0, 3, 2))

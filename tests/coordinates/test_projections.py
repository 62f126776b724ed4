"""What every kind of projection promises, against its matrix written out in float64."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references import applied_matrix, as_float64, floating_type, projection_matrix
from workbench.coordinates import KINDS, Projection, projection
from workbench.errors import InputError

SHAPES = [(1, 1), (2, 1), (3, 2), (7, 7), (64, 16), (129, 5), (130, 130), (1000, 10), (1001, 33), (513, 257)]
ISOMETRIES = ["hashed", "block_hadamard"]

every_kind = pytest.mark.parametrize("kind", KINDS)
every_shape = pytest.mark.parametrize(("D", "d"), SHAPES)


def pair(P: Projection, v: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply P and its transpose, each twice with foreign calls between: working buffers must not leak."""
    P.apply(torch.ones_like(v), torch.empty_like(g))
    pushed = P.apply(v, torch.full_like(g, float("nan")))
    P.adjoint(torch.ones_like(g), torch.empty_like(v))
    pulled = P.adjoint(g, torch.full_like(v, float("nan")))
    assert torch.equal(P.apply(v, torch.empty_like(g)), pushed)
    assert torch.equal(P.adjoint(g, torch.empty_like(v)), pulled)
    return pushed, pulled


def assert_adjoint(kind: str, D: int, d: int, seed: int, dtype: torch.dtype) -> None:
    """Compare <P v, g> with <v, P' g> relative to the norms of what enters them."""
    P = projection(kind, D, d, seed, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    v, g = (torch.randn(n, dtype=dtype, generator=generator) for n in (d, D))
    pushed, pulled = pair(P, v, g)
    left, right = as_float64(pushed) @ as_float64(g), as_float64(v) @ as_float64(pulled)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert abs(left - right) <= tolerance * np.linalg.norm(as_float64(pushed)) * np.linalg.norm(as_float64(g))


@every_kind
@every_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adjoint(kind, D, d, dtype):
    assert_adjoint(kind, D, d, 0, dtype)


@every_kind
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_adjoint_anywhere(kind, data):
    D = data.draw(st.integers(1, 3000), label="D")
    d = data.draw(st.integers(1, min(D, 400)), label="d")
    assert_adjoint(kind, D, d, data.draw(st.integers(0, 2**63), label="seed"), torch.float32)


@pytest.mark.parametrize("kind", ["sparse", "hashed", "block_hadamard", "fastfood"])
@pytest.mark.parametrize("d", [1, 1000])
def test_adjoint_at_full_size(kind, d):
    """Gradients of one sign are the worst case: 200,000 float32 additions into few sums."""
    P = projection(kind, 199_210, d, 0)
    v, g = torch.ones(d), torch.rand(199_210, generator=torch.Generator().manual_seed(0))
    pushed, pulled = pair(P, v, g)
    left, right = as_float64(pushed) @ as_float64(g), as_float64(v) @ as_float64(pulled)
    assert abs(left - right) <= 1e-5 * np.linalg.norm(as_float64(pushed)) * np.linalg.norm(as_float64(g))


@every_kind
@every_shape
def test_matrix(kind, D, d):
    P = projection(kind, D, d, 3, dtype=torch.float64)
    expected = projection_matrix(P)
    np.testing.assert_allclose(applied_matrix(P), expected, rtol=0, atol=1e-13)
    g = torch.randn(D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pulled = P.adjoint(g, torch.empty(d, dtype=torch.float64))
    np.testing.assert_allclose(pulled, expected.T @ g.numpy(), rtol=0, atol=1e-12)


@every_kind
@pytest.mark.parametrize("d", [100, 600])
def test_gradient_direction(kind, d):
    """The most copied Fastfood code was measured at cosines down to 0.81: its backward pass is not its adjoint."""
    P = projection(kind, 1500, d, 0)
    g = torch.randn(1500, generator=torch.Generator().manual_seed(1))
    pulled = as_float64(P.adjoint(g, torch.empty(d)))
    exact = projection_matrix(P).T @ as_float64(g)
    assert pulled @ exact / np.linalg.norm(pulled) / np.linalg.norm(exact) > 1 - 1e-6
    assert np.linalg.norm(pulled) == pytest.approx(np.linalg.norm(exact), rel=1e-6)


@every_kind
@every_shape
def test_columns_have_unit_length(kind, D, d):
    norms = np.linalg.norm(projection_matrix(projection(kind, D, d, 1, dtype=torch.float64)), axis=0)
    exact = kind != "fastfood" or D % (1 << (d - 1).bit_length()) == 0  # a cut block is exact in expectation only
    np.testing.assert_allclose(norms, 1, rtol=0, atol=1e-12 if exact else 0.5)


@pytest.mark.parametrize("kind", ["dense", "sparse", *ISOMETRIES])
@pytest.mark.parametrize("d", [1, 30, 900])
def test_column_length_in_float32_does_not_vary_with_d(kind, d):
    P = projection(kind, 3001, d, 0)
    units = torch.eye(d)[:: max(1, d // 10)]
    for unit in units:
        assert np.linalg.norm(as_float64(P.apply(unit, torch.empty(3001)))) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", ISOMETRIES)
@every_shape
def test_columns_are_orthonormal(kind, D, d):
    matrix = applied_matrix(projection(kind, D, d, 2, dtype=torch.float64))
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(d), rtol=0, atol=1e-12)


@every_kind
def test_no_tensor_is_favoured(kind):
    """Projections made tensor by tensor give small tensors, such as biases, unit columns of their own."""
    D, d, bias = 4096, 32, slice(4000, 4096)
    draws = [projection_matrix(projection(kind, D, d, seed))[bias] for seed in range(20)]
    assert np.mean([np.sum(rows**2) for rows in draws]) == pytest.approx(d * 96 / D, rel=0.1)


@every_kind
def test_streams(kind):
    def matrix(d=20, seed=0, *names):
        return projection_matrix(projection(kind, 500, d, seed, *names))

    assert np.array_equal(matrix(), matrix())
    others = [matrix(), matrix(20, 1), matrix(20, 0, "replicate", 1), matrix(21)[:, :20]]
    for a, b in itertools.combinations(others, 2):
        cosines = np.sum(a * b, axis=0)  # of columns of length 1: sd 1/sqrt(D) for independent ones
        assert np.abs(cosines).max() < 6 / 500**0.5


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("hashed", "8222d0718440efe3"),
        ("block_hadamard", "8a259b2e131ad109"),
        ("sparse", "e015a665990dd2dd"),
        ("fastfood", "de56557fd6eed848"),
    ],
)
def test_draws_are_pinned(kind, expected):
    """The same on every machine; if this changes, results already published can no longer be reproduced."""
    P = projection(kind, 1001, 37, 5, "pinned")
    if kind == "sparse":
        drawn = [P.rows.numpy(), P.values.numpy() > 0]
    elif kind == "fastfood":
        drawn = [P.index.numpy(), P.signs.numpy() > 0]
    else:
        drawn = [P.index.numpy()]
    content = b"".join(np.ascontiguousarray(x.astype("<i8")).tobytes() for x in drawn)
    assert hashlib.sha256(content).hexdigest()[:16] == expected


@every_kind
def test_device_and_type_follow(kind):
    P = projection(kind, 50, 5, 0, dtype=torch.float64, device=torch.device("cpu"))
    assert floating_type(P) == torch.float64
    wide, narrow = projection_matrix(P), projection_matrix(projection(kind, 50, 5, 0))
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=1e-7)  # one P, rounded


@pytest.mark.gpu
@every_kind
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees(kind):
    v, g = torch.randn(33), torch.randn(5001)
    here, there = (projection(kind, 5001, 33, 0, device=device) for device in ("cpu", "cuda"))
    pushed, pulled = there.apply(v.cuda(), torch.empty(5001).cuda()), there.adjoint(g.cuda(), torch.empty(33).cuda())
    torch.testing.assert_close(pushed.cpu(), here.apply(v, torch.empty(5001)), rtol=0, atol=1e-4)
    torch.testing.assert_close(pulled.cpu(), here.adjoint(g, torch.empty(33)), rtol=0, atol=1e-4)


@every_kind
@pytest.mark.parametrize("d", [0, -1, 1001, True, 3.0, "3", None])
def test_dimension_is_checked(kind, d):
    with pytest.raises(InputError, match=r"subspace_dim must be in 1\.\.D=1000, got"):
        projection(kind, 1000, d, 0)


@every_kind
@pytest.mark.parametrize("D", [0, True, 2.5])
def test_number_of_parameters_is_checked(kind, D):
    with pytest.raises(InputError, match="D must be a positive integer, got"):
        projection(kind, D, 1, 0)


def test_unknown_kind_is_refused():
    with pytest.raises(InputError, match=r"kind must be one of dense, sparse, .*, got 'x'"):
        projection("x", 10, 1, 0)


@pytest.mark.parametrize(("kind", "D", "d"), [("dense", 200_000, 10_000), ("sparse", 1_000_000, 1_000_000)])
def test_what_would_not_fit_is_refused_before_it_is_drawn(kind, D, d):
    with pytest.raises(InputError, match=rf'subspace_dim must keep a {kind} P .* below .* got {d}; use kind "hashed"'):
        projection(kind, D, d, 0)

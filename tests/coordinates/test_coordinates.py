"""Every coordinate map: start, gradients of every order, no side effects."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from tests.references import as_float64, jacobian, projection_matrix
from workbench.coordinates import (
    KINDS,
    Composed,
    Coordinates,
    Dynamic,
    Entries,
    Full,
    Gradual,
    LayerScaled,
    Masked,
    MaskedLowRank,
    Shared,
    Subspace,
    projection,
)
from workbench.errors import InputError
from workbench.layout import Entry, Layout

SIZES = [20, 4, 11, 1]
D = sum(SIZES)
SHAPES = [("weight", (4, 5)), ("bias", (4,)), ("weight", (1, 11)), ("bias", (1,))]
LAYOUT = Layout(tuple(Entry(f"{i}.{r}", s, sum(SIZES[:i]), SIZES[i], r) for i, (r, s) in enumerate(SHAPES)))
MASK = torch.tensor([i % 3 > 0 or i > 30 for i in range(D)])
BIASES = torch.zeros(D).index_fill(0, torch.tensor([20, 21, 22, 23, 35]), 1).bool()


def composed(theta_0: torch.Tensor) -> Composed:
    """Return five random dimensions of what a mask keeps."""
    kept = theta_0[MASK]
    within = Composed(Entries(theta_0, MASK), Subspace(kept, projection("hashed", len(kept), 5, 0, dtype=kept.dtype)))
    within.theta_0 = theta_0
    return within


OTHERS = {
    "composed": composed,
    "full": Full,
    "masked": lambda theta_0: Masked(theta_0, MASK),
    "gradual": lambda theta_0: Gradual(theta_0, 0.5, lambda scores, density, within: within, range(99)),
    "dynamic": lambda theta_0: Dynamic(theta_0, MASK, LAYOUT, "gradient", range(9, 99)),
    "entries": lambda theta_0: Entries(theta_0, BIASES),
    "masked low rank": lambda theta_0: MaskedLowRank(theta_0, MASK, LAYOUT, 2, 0),
    "shared": lambda theta_0: Shared(theta_0, torch.ones(D).bool(), 7, LAYOUT, 0),
    "shared, unstable": lambda theta_0: Shared(theta_0, ~BIASES, 7, LAYOUT, 0, stable=False),
}


def build(name: str, dtype: torch.dtype = torch.float64) -> Coordinates:
    """Make a small map of every sort."""
    theta_0 = torch.randn(D, dtype=dtype, generator=torch.Generator().manual_seed(0))
    if name in OTHERS:
        return OTHERS[name](theta_0)
    if name.startswith("scaled "):
        return LayerScaled.of_dimension(theta_0, SIZES, 9, 0, kind=name.removeprefix("scaled "))
    return Subspace(theta_0, projection(name, D, 5, 0, dtype=dtype))


NAMES = [*OTHERS, *KINDS, *(f"scaled {kind}" for kind in KINDS)]
every_map = pytest.mark.parametrize("name", NAMES)


@every_map
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_starts_at_theta_0(name, dtype):
    coordinates = build(name, dtype)
    phi, out = coordinates.initial(), torch.empty(D, dtype=dtype)
    assert phi.shape == (coordinates.d,)
    assert phi.dtype == dtype
    assert coordinates.push(phi, out) is out
    assert torch.equal(out, coordinates.theta_0)
    assert torch.equal(coordinates(phi), coordinates.theta_0)
    phi.add_(1)
    assert torch.equal(coordinates.push(coordinates.initial(), out), coordinates.theta_0)


@every_map
def test_pull_is_the_transposed_jacobian(name):
    coordinates = build(name)
    generator = torch.Generator().manual_seed(1)
    phi, g = (torch.randn(n, dtype=torch.float64, generator=generator) for n in (coordinates.d, D))
    kept = phi.clone(), g.clone(), coordinates.theta_0.clone()
    out = torch.full_like(phi, float("nan"))
    assert coordinates.pull(phi, g, out) is out
    np.testing.assert_allclose(out, jacobian(coordinates, phi).T @ g.numpy(), rtol=0, atol=1e-8)
    assert all(torch.equal(a, b) for a, b in zip(kept, (phi, g, coordinates.theta_0), strict=True))


@every_map
def test_call_agrees_with_push_and_pull(name):
    coordinates = build(name)
    phi = torch.randn(coordinates.d, dtype=torch.float64, requires_grad=True)
    g = torch.randn(D, dtype=torch.float64)
    theta = coordinates(phi)
    torch.testing.assert_close(theta, coordinates.push(phi, torch.empty_like(g)), rtol=0, atol=1e-14)
    (grad,) = torch.autograd.grad(theta, phi, g)
    torch.testing.assert_close(grad, coordinates.pull(phi, g, torch.empty_like(phi)), rtol=0, atol=1e-13)


@every_map
def test_differentiable_twice(name):
    coordinates = build(name)
    phi = torch.randn(coordinates.d, dtype=torch.float64, requires_grad=True)
    assert gradcheck(coordinates, (phi,))
    assert gradgradcheck(coordinates, (phi,))
    assert gradgradcheck(lambda phi: (coordinates(phi) ** 3).sum(), (phi,))


@every_map
def test_hessian_and_third_derivative(name):
    """Of a cubic loss, against the chain rule written out: the circle of push and pull closes."""
    coordinates = build(name)
    phi = torch.randn(coordinates.d, dtype=torch.float64, requires_grad=True)
    u = torch.randn(coordinates.d, dtype=torch.float64)
    value = (coordinates(phi) ** 3).sum()
    for _ in range(3):
        (grad,) = torch.autograd.grad(value, phi, create_graph=True)
        value = grad @ u
    times = np.linspace(-2, 2, 9)  # the loss along u is a polynomial of degree 6 at most
    line = [float((coordinates(phi.detach() + t * u) ** 3).sum()) for t in times]
    exact = np.polynomial.Polynomial.fit(times, line, 8).deriv(3)(0)
    assert float(value.detach()) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_hessian_product_in_a_subspace(kind):
    coordinates = build(kind)
    A = torch.randn(D, D, dtype=torch.float64)
    phi, u = (torch.randn(5, dtype=torch.float64) for _ in range(2))

    def loss(phi):
        theta = coordinates(phi)
        return theta @ A @ theta / 2

    P = projection_matrix(coordinates.projection)
    expected = P.T @ as_float64(A + A.T) / 2 @ P @ u.numpy()
    np.testing.assert_allclose(torch.autograd.functional.hvp(loss, phi, u)[1], expected, atol=1e-10)
    gradient = torch.func.grad(loss)(phi)
    np.testing.assert_allclose(
        gradient, P.T @ as_float64(A + A.T) / 2 @ as_float64(coordinates(phi)), rtol=0, atol=1e-10
    )


@every_map
def test_trainable_phi_and_noncontiguous_gradients(name):
    coordinates = build(name, torch.float32)
    phi = torch.nn.Parameter(coordinates.initial())
    assert not coordinates.push(phi, torch.empty(D)).requires_grad
    assert not coordinates.pull(phi, torch.ones(D), torch.empty(coordinates.d)).requires_grad
    coordinates(phi).sum().backward()  # an expanded, stride-0 gradient
    np.testing.assert_allclose(phi.grad, coordinates.pull(phi, torch.ones(D), torch.empty(coordinates.d)), atol=1e-6)
    assert coordinates.after_step(phi, {}) is None


def test_full_shares_a_buffer_at_no_cost():
    coordinates = build("full")
    theta = coordinates.initial()
    assert theta.data_ptr() != coordinates.theta_0.data_ptr()
    assert coordinates.push(theta, theta) is theta


def test_theta_0_must_fit():
    with pytest.raises(InputError, match=r"theta_0 must have shape \(D=36,\), got"):
        Subspace(torch.zeros(35), projection("hashed", D, 5, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_least_squares_reaches_the_subspace_optimum(kind):
    """Gradient descent through push and pull ends at the exact projection of the target."""
    coordinates = build(kind)
    target = torch.randn(D, dtype=torch.float64)
    phi, theta, grad = coordinates.initial(), torch.empty_like(target), torch.empty(5, dtype=torch.float64)
    P = projection_matrix(coordinates.projection)
    rate = 1 / np.linalg.norm(P, 2) ** 2
    for _ in range(500):
        coordinates.push(phi, theta)
        phi -= rate * coordinates.pull(phi, theta - target, grad)
    exact = np.linalg.lstsq(P, as_float64(target - coordinates.theta_0), rcond=None)[0]
    np.testing.assert_allclose(phi, exact, atol=1e-6)


def test_maps_that_do_not_join_are_refused():
    theta_0 = torch.zeros(D)
    with pytest.raises(InputError, match=r"inner must map to the outer map's d=36, got 20"):
        Composed(Full(theta_0), Full(theta_0[:20]))

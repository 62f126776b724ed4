"""The loss around a point: gradients and products against dense float64 references, in every coordinates."""

import weakref

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from workbench.coordinates import Masked, Subspace, projection
from workbench.errors import InputError
from workbench.models import CharTransformer, lenet, mlp, small_cnn
from workbench.objective import Supervised
from workbench.probes import Landscape


def draw(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def classes(n, n_classes, *shape):
    return torch.arange(n * (shape[0] if shape else 1)).view(n, *shape) * 7 % n_classes


def build(name):
    """Return an objective of a few hundred parameters, its batch statistics and parameters anything but special."""
    model, x, y, loss = {
        "mlp": lambda: (mlp([6, 5, 3]), draw(1, 13, 6), classes(13, 3), "cross_entropy"),
        "line": lambda: (nn.Linear(4, 1), draw(1, 13, 4), draw(2, 13, 1), "squared_error"),
        "lenet": lambda: (lenet(4, 2), draw(1, 4, 1, 4, 4), classes(4, 2), "cross_entropy"),
        "batch_norm": lambda: (small_cnn(3, 1, 2), draw(1, 9, 1, 5, 5), classes(9, 3), "cross_entropy"),
        "transformer": lambda: (CharTransformer(5, 4, 4, 1, 2), classes(6, 5, 4), classes(6, 5, 4), "cross_entropy"),
    }[name]()
    objective = Supervised(model, (x, y), (x[:5], y[:5]), loss=loss, dtype=torch.float64, chunk_size=5)
    theta = objective.theta_0 + 0.1 * draw(3, objective.D)
    return objective, objective.recalibrated(theta)


def rescaled(objective, point):
    """Return the MLP with its hidden layer multiplied and the next divided: the same function at another theta."""
    scaled = nn.Sequential(*objective.module_at(point))
    for values, c in ((scaled[1].weight, 5), (scaled[1].bias, 5), (scaled[3].weight, 1 / 5)):
        values.data *= c
    other = Supervised(scaled, objective.splits["train"].batch(None), dtype=torch.float64)
    assert other.loss(other.theta_0) == pytest.approx(objective.loss(point))
    return other, other.theta_0


NETWORKS = ("mlp", "line", "batch_norm", "transformer")  # LeNet's dense Hessian has 10 million entries


def maps(objective, point):
    """Yield phi and theta(phi) of every sort: free, straight, masked, between models, bent."""
    D, theta = objective.D, point.theta
    yield theta, None
    yield 0.1 * draw(4, 3), Subspace(theta, projection("hashed", D, 3, 0, dtype=torch.float64))
    yield theta, Masked(theta, draw(5, D) > 0)
    experts = draw(6, 2, D)
    yield draw(7, 2), lambda a: theta + 0.1 * a @ experts
    yield draw(7, 2), lambda a: theta + 0.1 * a.square() @ experts


@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_the_dense_matrices(name):
    objective, point = build(name)
    objective.set_buffers(point.buffers)
    x, y = objective.splits["train"].batch(None)
    for phi, chart in maps(objective, point):
        at = Landscape(objective, (phi, point.buffers), chart)

        def outputs(p, at=at):
            state = {**objective.layout.views(at.theta(p)), **point.buffers}
            objective.model.eval()
            return torch.func.functional_call(objective.model, state, (x,))

        with sdpa_kernel(SDPBackend.MATH):
            wanted = {"hessian": torch.autograd.functional.hessian(lambda p, at=at: objective(at.theta(p)), phi)}
            z = outputs(phi).detach()
            J = torch.autograd.functional.jacobian(outputs, phi).reshape(z.numel(), -1)
            L = torch.autograd.functional.hessian(lambda z: objective.losses(z, y).mean(), z)
            wanted["gauss_newton"] = J.T @ L.reshape(z.numel(), -1) @ J
            G = torch.autograd.functional.jacobian(lambda p: objective.losses(outputs(p), y), phi)
        wanted["empirical_fisher"] = G.T @ G / len(y)
        for kind, matrix in wanted.items():
            for max_bytes in (0, 2**32):
                with at.products(kind, max_bytes) as product:
                    for v in draw(8, 3, at.d):
                        torch.testing.assert_close(product(v), matrix @ v, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(at.gradient(), G.mean(0), rtol=1e-9, atol=1e-12)


def test_everything_is_left_as_it_was():
    objective, point = build("batch_norm")
    objective.set_point(objective.theta_0)
    objective.model.train()
    objective.grad.fill_(2.0)
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}
    rng, grad = torch.get_rng_state(), objective.grad.clone()
    with Landscape(objective, point).products() as product:
        torch.rand(3)
        product(point.theta)
    assert all(torch.equal(value, before[name]) for name, value in objective.model.state_dict().items())
    assert torch.equal(objective.grad, grad)
    assert torch.equal(torch.get_rng_state(), rng)
    assert objective.model.training
    assert all(p.grad.data_ptr() >= objective.grad.data_ptr() for p in objective.model.parameters())


def test_examples_are_averaged_and_not_batches():
    objective, point = build("mlp")
    found = []
    for size in (13, 9, 1):
        objective.chunk_size = size
        with Landscape(objective, point).products() as product:
            found.append(product(point.theta))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_what_a_bent_map_adds_is_the_same_in_chunks():
    objective, point = build("batch_norm")
    phi, experts = draw(7, 2), draw(6, 2, objective.D)

    def bent(a):
        return point.theta + 0.1 * a.square() @ experts

    objective.set_buffers(point.buffers)
    wanted = torch.autograd.functional.hessian(lambda a: objective(bent(a)), phi)
    for size in (9, 4, 1):
        objective.chunk_size = size
        with Landscape(objective, (phi, point.buffers), bent).products() as product:
            found = torch.stack([product(v) for v in torch.eye(2, dtype=torch.float64)])
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)


class Box:
    """What a graph keeps, told when it is let go."""

    def __init__(self, tensor):
        self.tensor = tensor


def most_kept(work):
    """Return the most bytes that graphs kept at any one time."""
    live, most = 0, 0

    def let_go(n_bytes):
        nonlocal live
        live -= n_bytes

    def pack(t):
        nonlocal live, most
        box = Box(t.detach())
        live += t.nbytes
        most = max(most, live)
        weakref.finalize(box, let_go, t.nbytes)
        return box

    with saved_tensors_hooks(pack, lambda box: box.tensor):
        work()
    return most


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton", "empirical_fisher"])
def test_memory_inside_a_map_does_not_grow_with_the_examples(matrix):
    found = []
    for n in (10, 80):
        objective = Supervised(mlp([6, 5, 3]), (draw(1, n, 6), classes(n, 3)), dtype=torch.float64, chunk_size=5)
        theta, experts = objective.theta_0, draw(6, 2, objective.D)
        at = Landscape(objective, draw(7, 2), lambda a, t=theta, e=experts: t + 0.1 * a.square() @ e)

        def products(at=at):
            with at.products(matrix, 0) as product:
                product(draw(8, 2))

        found.append(most_kept(products))
    assert found[1] == found[0] > 0


def test_some_examples_of_any_split():
    objective, point = build("mlp")
    some = Landscape(objective, point, n_examples=4, seed=1)
    assert some.n == 4
    assert torch.equal(some.gradient(), objective.sample(4, 1).gradient(point))
    torch.testing.assert_close(
        Landscape(objective, point, split="validation").gradient(), objective.gradient(point, "validation")
    )


class Chance(nn.Module):
    """Dropout that nobody switched off."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return nn.functional.dropout(self.layer(x), training=True)


def test_bad_input_is_refused():
    objective, point = build("mlp")
    with pytest.raises(InputError, match=r"point must be a finite vector"):
        Landscape(objective, point.theta.log())
    with pytest.raises(InputError, match=r"theta must have shape \(53,\), got \(4,\)"):
        Landscape(objective, torch.zeros(4, dtype=torch.float64))
    with pytest.raises(InputError, match=r"n_examples must be in 1\.\.13, got 14"):
        Landscape(objective, point, n_examples=14)
    with Landscape(objective, point).products() as product, pytest.raises(InputError, match=r"v must have shape"):
        product(torch.zeros(2))
    with pytest.raises(InputError, match="matrix must be one of"), Landscape(objective, point).products("fisher"):
        pass
    chance = Supervised(Chance(), (draw(1, 5, 4), classes(5, 3)), dtype=torch.float64)
    with pytest.raises(InputError, match="model must give the same outputs twice in evaluation mode"):
        Landscape(chance, chance.theta_0)

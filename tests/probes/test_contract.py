"""What every probe keeps: it leaves everything as it was, repeats from its seed, and states its cost."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch

from tests.probes.test_landscape import build
from workbench import probes

# How to call those that would take long, or need more than an objective and a point.
CALLS = {
    "line": lambda probe, objective, point, **kw: probe(objective, point, point.theta, [0.0, 1.0], **kw),
    "plane": lambda probe, objective, point, **kw: probe(
        objective, point, torch.stack([point.theta, objective.theta_0]), [0.0, 1.0], [0.0, 1.0], **kw
    ),
    "bootstrap_eigenvalue": lambda probe, *at, **kw: probe(*at, n_resamples=2, **kw),
    "learning_coefficient": lambda probe, *at, **kw: probe(*at, n_chains=2, n_leapfrog=1, n_steps=8, **kw),
    "sharpness": lambda probe, *at, **kw: probe(*at, n_steps=2, n_draws=2, **kw),
    "spectral_density": lambda probe, *at, **kw: probe(*at, n_outliers=2, n_vectors=2, n_steps=3, **kw),
    "top_eigenpairs": lambda probe, *at, **kw: probe(*at, 2, **kw),
    "trace": lambda probe, *at, **kw: probe(*at, n_products=6, exact=False, **kw),
}
LINEAR_ONLY = {"degeneracy"}


def public():
    """Yield every function of the package that takes an objective and a point."""
    for name in probes.__all__:
        found = getattr(probes, name)
        if inspect.isfunction(found) and list(inspect.signature(found).parameters)[:2] == ["objective", "point"]:
            yield name


def numbers(value):
    """Return a result's numbers as bytes and text, however deep they stand."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return np.asarray(value).tobytes()
    if isinstance(value, dict | list | tuple):
        return [numbers(each) for each in (value.values() if isinstance(value, dict) else value)]
    return numbers(vars(value)) if hasattr(value, "__dict__") and not callable(value) else repr(value)


@pytest.mark.parametrize("name", sorted(public()))
def test_contract(name):
    objective, point = build("mlp" if name in LINEAR_ONLY else "batch_norm")
    call = CALLS.get(name, lambda probe, *at, **kw: probe(*at, **kw))
    objective.set_point(objective.theta_0)
    objective.model.train()
    objective.grad.fill_(2.0)
    before = {key: value.clone() for key, value in objective.model.state_dict().items()}
    rng, grad = torch.get_rng_state(), objective.grad.clone()
    first, second = (call(getattr(probes, name), objective, point, seed=1) for _ in range(2))
    assert all(torch.equal(value, before[key]) for key, value in objective.model.state_dict().items())
    assert torch.equal(objective.grad, grad)
    assert all(p.grad.data_ptr() >= objective.grad.data_ptr() for p in objective.model.parameters())
    assert torch.equal(torch.get_rng_state(), rng)
    assert objective.model.training
    assert not any(m._forward_hooks for m in objective.model.modules())
    assert numbers(first) == numbers(second)
    assert first.n_gradients > 0
    assert first.n_examples == len(objective.splits["train"])
    assert first.seed == 1


def test_functions_of_arrays_take_no_gradient_and_draw_nothing():
    x, y = torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2)
    kinds = probes.linear_cka(x, x), probes.neural_collapse(x, y, torch.eye(3)), probes.memorization(x[:3], x[3:] > 0)
    for found, n in zip(kinds, (6, 6, 3), strict=True):
        assert (found.n_gradients, found.n_examples, found.seed) == (0, n, 0)


def test_every_result_states_its_cost():
    results = [each for each in vars(probes).values() if dataclasses.is_dataclass(each)]
    assert len(results) > 10
    for each in results:
        assert {"n_gradients", "n_examples", "seed"} <= {field.name for field in dataclasses.fields(each)}


def test_there_are_probes():
    assert set(CALLS) <= set(public())

"""Any network on one page: planned, answered with intervals or refused, kept, and left as it was."""

import gc
import importlib
import multiprocessing
import os
import random
import signal
import time
from contextlib import contextmanager
from itertools import accumulate

import numpy as np
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, TensorDataset

import workbench
from workbench import measures, probes
from workbench.errors import InputError
from workbench.examine import PARTS, Examination
from workbench.measures import costs, needs
from workbench.measures.asked import CHAINS
from workbench.models import mlp
from workbench.recipes import Recipe

RECIPE = Recipe(4, batch_size=30)
PACE = {"step": 1e-4, "look": 1e-4, "gradient": 1e-4, "product": 1e-4}
CHEAP = ("scores", "curvature", "barrier")  # pruning, derivatives and training


class Tied(nn.Module):
    """Tokens in, one class a sequence out; embedding and head share their weight."""

    def __init__(self):
        super().__init__()
        self.token, self.norm, self.head = nn.Embedding(7, 8), nn.LayerNorm(8), nn.Linear(8, 7, bias=False)
        self.head.weight = self.token.weight

    def forward(self, x):
        return self.head(self.norm(self.token(x).mean(1)))


class Shared(nn.Module):
    """One layer called twice."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.last(torch.tanh(self.again(torch.tanh(self.again(h)))))


class Two(nn.Module):
    """One layer with two names."""

    def __init__(self):
        super().__init__()
        inner = nn.Linear(8, 8)
        self.first, self.again, self.last = nn.Linear(6, 8), nn.Sequential(inner), nn.Linear(8, 3)
        self.same = nn.Sequential(inner)

    def forward(self, x):
        return self.last(torch.tanh(self.same(torch.tanh(self.again(torch.tanh(self.first(x)))))))


class Both(nn.Module):
    """Returns outputs and hidden units, as a tuple or by name."""

    def __init__(self, named):
        super().__init__()
        self.named, self.hidden, self.last = named, nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.hidden(x).relu()
        return {"hidden": h, "logits": self.last(h)} if self.named else (self.last(h), h)


def perceptron(*between):
    return nn.Sequential(nn.Linear(6, 8), *between, nn.ReLU(), nn.Linear(8, 3))


NETWORKS = {
    "plain": perceptron,
    "BatchNorm": lambda: perceptron(nn.BatchNorm1d(8)),
    "dropout": lambda: perceptron(nn.Dropout(0.5)),
    "LayerNorm": lambda: perceptron(nn.LayerNorm(8)),
    "tied embedding": Tied,
    "shared module": Shared,
    "module of two names": Two,
    "half precision": lambda: perceptron().half(),
    "bfloat16": lambda: perceptron().bfloat16(),
    "tuple": lambda: Both(False),
    "mapping": lambda: Both(True),
    "convolution": lambda: nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.Flatten(), nn.Linear(8, 3)),
}


def task(network, n=120):
    """Return examples that a network labels itself, so that it is right on all of them."""
    g = torch.Generator().manual_seed(0)
    tokens = any(isinstance(m, nn.Embedding) for m in network.modules())
    x = torch.randint(7, (n, 5), generator=g) if tokens else torch.randn(n, 6, generator=g)
    mode = network.training
    with torch.no_grad():
        out = network.eval().float()(x)
    network.train(mode)
    out = out["logits"] if isinstance(out, dict) else out[0] if isinstance(out, tuple) else out
    return x, out.argmax(1)


def made(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2)  # so that it gives out every class
    dtype = next(network.parameters()).dtype
    data = task(network)
    return network.to(dtype), data


def asked(network, data, tmp_path, **settings):
    settings = {"recipe": RECIPE, "n_seeds": 2, "n_examples": 60, "out": tmp_path} | settings
    return workbench.examine(network, data, data, **settings)


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_and_leaves_everything_as_it_was(name, tmp_path):
    network, data = made(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    next(network.parameters()).requires_grad_(True).grad = None
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    found = asked(network, data, tmp_path).run(CHEAP)
    assert found.refused == {}
    table = found.to_frame()
    assert set(table["item"]) == set(CHEAP)
    values = table[~table.note.str.startswith("refused")]
    assert np.isfinite(values[["value", "low", "high"]]).all(axis=None)
    assert (values.low <= values.value).all()
    assert (values.value <= values.high).all()
    assert found.subject.given["score"] == (
        1.0 if "precision" not in name and "16" not in name else pytest.approx(1, abs=0.05)
    )
    after = network.state_dict()
    assert all(torch.equal(after[key], value) and after[key].dtype == value.dtype for key, value in before.items())
    assert network.training
    assert next(network.parameters()).grad is None
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002


def test_frozen_parameters_stay_out_and_as_given(tmp_path):
    network, data = made("plain")
    network[0].requires_grad_(False)
    found = asked(network, data, tmp_path)
    assert found.subject.objective.D == 27
    fresh = found.subject.fresh(3).model
    assert torch.equal(fresh[0].weight, network[0].weight)
    assert not torch.equal(fresh[2].weight, network[2].weight)


def test_a_gain_that_no_layer_knows_does_not_start_at_zero(tmp_path):
    network, data = made("plain")
    network.register_parameter("gain", nn.Parameter(torch.tensor(3.0)))
    network.register_parameter("gains", nn.Parameter(torch.tensor([1.0, 2.0, 4.0])))
    fresh = asked(network, data, tmp_path).subject.fresh(1).model
    assert fresh.gain == 3
    assert sorted(fresh.gains.tolist()) == [1, 2, 4]


def test_every_part_of_a_small_network(tmp_path, monkeypatch):
    monkeypatch.setitem(CHAINS, "n_steps", 8)
    network, (x, y) = made("plain")
    found = asked(network, (x, y), tmp_path, recipe=Recipe(60, lr=0.02, batch_size=30)).run()
    table = found.to_frame()
    assert set(table.part) == set(PARTS)
    assert set(table["item"]) == {item for items in PARTS.values() for item in items}
    whole = table.set_index("quantity").value
    assert 1 <= whole["d for 90 % of fresh networks' score"] <= 83
    assert whole["smallest file that keeps 90 %"] < 2000
    share = table[table.quantity.str.startswith("trace inside")]
    assert (abs(share.value - 1) < 1).all()
    assert found.details["plane"]["loss"][10][10] == pytest.approx(
        found.subject.sample.loss(found.subject.point), rel=1e-5
    )


def test_squared_error_by_the_targets_type_and_a_loader(tmp_path):
    torch.manual_seed(0)
    network, x = nn.Linear(4, 1), torch.randn(80, 4)
    loader = DataLoader(TensorDataset(x, network(x).detach()), batch_size=16, shuffle=True)
    found = asked(network, loader, tmp_path).run(["curvature"])
    assert found.subject.objective.metric_name == "r2"
    assert found.subject.given["score"] == pytest.approx(1)
    top = torch.linalg.eigvalsh(2 * torch.cat([x, torch.ones(80, 1)], 1).T.cov(correction=0))  # not the same mean
    assert found.answers["curvature"][0].value > 0.5 * float(top[-1])


def test_a_trajectory_and_another_network(tmp_path):
    network, data = made("plain")
    g = torch.Generator().manual_seed(1)
    steps = [{k: v + s * torch.randn(v.shape, generator=g) for k, v in network.state_dict().items()} for s in (2, 1)]
    found = asked(network, data, tmp_path, trajectory=steps, other=NETWORKS["plain"]()).run(["plane", "barrier"])
    share, _ = found.answers["plane"]
    assert share.value == pytest.approx(1, abs=1e-5)  # three points lie in one plane
    assert found.details["plane"]["at"][-1] == pytest.approx([0, 0], abs=1e-5)
    assert len(list(tmp_path.glob("*.json"))) == 3  # paces, plane, walk: nothing was trained


def test_three_examples(tmp_path):
    network, data = made("plain")
    found = asked(network, tuple(each[:3] for each in data), tmp_path)
    why = found.plan().set_index("item").refused
    assert why["dimension"] == "3 test examples cannot tell a loss of 3 points; give 30 or more"
    assert why["scores"] == "3 test examples cannot tell a loss of 1 points; give 100 or more"
    assert why["curvature"] == ""
    found.run(["needs", "curvature"])
    row = found.to_frame().iloc[0]
    assert (row.quantity, row.note) == ("dimension", f"refused: {why['dimension']}")
    assert found.answers["curvature"][0].n == 3


def test_a_classifier_at_chance(tmp_path, monkeypatch):
    network, (x, _) = made("plain")
    y = torch.arange(120) % 3
    found = asked(network, (x, y[torch.randperm(120, generator=torch.Generator().manual_seed(5))]), tmp_path)
    assert "is not above chance, 0.333; train it first" in found.plan().set_index("item").refused["scores"]
    monkeypatch.setitem(CHAINS, "n_steps", 8)
    found.run(["dimension", "coefficient"])
    assert found.refused["dimension"].startswith("recipe must lead above chance, 0.333, got 0.")
    assert found.answers == {} or np.isnan(found.answers["coefficient"][0].value)


def test_a_loss_that_is_nan(tmp_path):
    network, data = made("plain")
    with torch.no_grad():
        network[0].weight[0, 0] = torch.nan
    with pytest.raises(InputError, match="model must have a finite loss on every example, got nan; look for nan"):
        asked(network, data, tmp_path)


def test_data_that_do_not_fit(tmp_path):
    network, (x, y) = made("plain")
    with pytest.raises(InputError, match=r"model, train and test must fit together: .* got RuntimeError: "):
        asked(network, (x[:, :4], y), tmp_path)
    with pytest.raises(InputError, match="parts must be one of needs, goes, shape, crossings, got 'size'"):
        asked(network, (x, y), tmp_path, parts=["size"])


def test_what_takes_too_long_is_refused_with_a_remedy(tmp_path):
    network, data = made("plain")
    plan = asked(network, data, tmp_path, budget=1e-9).plan()
    assert plan.refused.str.fullmatch(r"takes about .* s, more than the budget of 0; raise it(, or use a GPU)?").all()
    plan = asked(network, data, tmp_path, recipe=Recipe(10**6), budget=20.0).plan().set_index("item")
    assert "n_steps of the recipe of" in plan.refused["dimension"]


def test_a_density_that_learns_nothing_leaves_the_others_their_answers(tmp_path, monkeypatch):
    whole = needs.search

    def search(here, density=1.0):
        if density in fails:
            raise InputError("recipe must lead above chance")
        return whole(here)

    monkeypatch.setattr(needs, "search", search)
    found, fails = asked(*made("plain"), tmp_path, recipe=Recipe(30, lr=0.02, batch_size=30)), (0.05,)
    answers = {each.quantity: each for each in found.run(["pruned_dimension"]).answers["pruned_dimension"]}
    assert answers["d at density 0.05"].note == "refused: recipe must lead above chance"
    assert np.isnan(answers["d at density 0.05"].value)
    assert not np.isnan([answers[f"d at density {density}"].value for density in ("1", "0.5", "0.2")]).any()
    fails = (1,)
    assert asked(*made("plain"), tmp_path).run(["pruned_dimension"]).refused.keys() == {"pruned_dimension"}


def test_what_memory_does_not_hold_is_refused_before_it_is_tried(tmp_path, monkeypatch):
    network, data = made("plain")
    found = asked(network, data, tmp_path, recipe=Recipe(4), other=NETWORKS["plain"]())
    at = found.subject
    assert at.bytes == pytest.approx(1.4 * (4 * (6 + 8 + 8 + 8) + 8))  # inputs, ReLU's output, two gradients; a target
    trained = []
    monkeypatch.setattr(costs, "memory", lambda device: (76 * at.objective.D + 50.5 * at.bytes) / 0.7)
    monkeypatch.setattr(measures, "paces", lambda _, __, recipe, **___: trained.append(recipe) or PACE)
    why = found.plan().set_index("item").refused
    assert [each.batch_size for each in trained] == [2]  # nothing was tried that does not fit
    short = {
        item
        for item, text in why.items()
        if "does not fit into 0 GiB of memory; use a batch_size of at most 50" in text
    }
    assert short == {
        "dimension",
        "retraining",
        "saved",
        "pruned_dimension",
        "path",
        "further",
    }  # two networks are given
    assert set(why[~why.index.isin(short)]) == {""}
    monkeypatch.setattr(costs, "memory", lambda device: 0.0)
    assert found.plan().refused[0].endswith("use a machine with more, or a smaller network")
    monkeypatch.undo()
    assert 2**29 < costs.memory(torch.device("cpu")) < 2**50
    assert measures.fitting(found._asked) is found.recipe


def most_allocated(work):
    """Return the most bytes that torch's allocator gave out at one time, as torch's own profiler tells."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        work()
    events = [event for event in told.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def convolutions(*blocks):
    return nn.Sequential(nn.Unflatten(1, (3, 8, 8)), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


class Recurrent(nn.Module):
    """An LSTM over eight times, its last output."""

    def __init__(self):
        super().__init__()
        self.states, self.last = nn.LSTM(24, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x):
        return self.last(self.states(x.view(-1, 8, 24))[0][:, -1])


class Skipped(nn.Sequential):
    """Layers and what skips them."""

    def forward(self, x):
        return x + super().forward(x)


def skipped():
    return Skipped(nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))


SIZED = {
    "wide": lambda: mlp([192, 2000, 10]),
    "deep": lambda: mlp([192, *[64] * 12, 10]),
    "many parameters": lambda: mlp([192, 1000, 1000, 10]),
    "dropout": lambda: nn.Sequential(nn.Linear(192, 99), nn.Dropout(0.1), nn.ReLU(inplace=True), nn.Linear(99, 10)),
    "one convolution": lambda: convolutions(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()),
    "residual": lambda: convolutions(nn.Conv2d(3, 32, 3), *(skipped() for _ in range(4))),
    "recurrent": Recurrent,
}


@pytest.mark.parametrize("name", SIZED)
def test_memory_is_foreseen(name):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(500, 192, generator=g), torch.randint(10, (500,), generator=g)
    network, held = SIZED[name](), []

    def train(batch_size):
        found = Examination(network, (x, y), (x[:9], y[:9]), None, Recipe(2, batch_size=batch_size), n_examples=9)
        held.append(found)
        measures.trained(found.subject.fresh(0), None, 0, found.recipe)

    train(2)  # what is made once
    for batch_size in (100, 400):
        held.clear()
        measured = most_allocated(lambda size=batch_size: train(size))
        at = held[0].subject
        assert 1 < (76 * at.objective.D + batch_size * at.bytes) / measured < 1.7


def test_subspaces_take_a_product_a_dimension_at_most_twice(tmp_path, monkeypatch):
    network, data = made("plain")
    found, of, n = asked(network, data, tmp_path), probes.Landscape.products, []

    @contextmanager
    def counted(self, *kind):
        with of(self, *kind) as product:
            yield lambda v: n.append(1) or product(v)

    monkeypatch.setattr(probes.Landscape, "products", counted)
    pace = dict.fromkeys(PACE, 0.0) | {"product": 1.0}
    planned = measures.seconds(found._asked, "inside", pace)
    assert planned == 200 + 2 * 10 + 2 * 30  # of 83 dimensions
    for d in (10, 30):
        measures.curvature(found.subject.sample, found.subject.point, d)
    assert 60 <= len(n) <= 2 * 10 + 2 * 30


def test_another_network_given_is_not_trained_in_the_plan(tmp_path):
    network, data = made("plain")
    pace = PACE | {"step": 9.0}
    took = [
        measures.seconds(asked(network, data, tmp_path, other=other)._asked, "barrier", pace)
        for other in (None, NETWORKS["plain"]())
    ]
    assert took[0] > 2 * 4 * 9 > took[1]


def test_of_many_failed_trials_the_first_is_told(tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no room")

    monkeypatch.setattr(measures, "trained", fails)
    found = asked(*made("plain"), tmp_path).run(["dimension"])
    assert found.refused["dimension"].startswith("RuntimeError: no room")
    assert found.refused["dimension"].count("no room") == 1


def test_no_remedy_is_itself_refused(tmp_path):
    network, data = made("plain")
    here = asked(network, data, tmp_path)._asked
    pace = {"step": 1.0, "look": 1.0, "gradient": 1.0, "product": 1.0}
    took = measures.seconds(here, "coefficient", pace)
    said = [measures.obstacle(here, "coefficient", pace, (n + 0.5) / here.n * took) for n in (2, 3)]
    assert said[0].endswith("; raise it")
    assert said[1].endswith("; raise it, n_examples of 3 in place of 60")


def test_statistics_taken_anew_double_a_point_of_a_slice(tmp_path):
    pace = {"step": 0.0, "look": 0.0, "gradient": 3.0, "product": 0.0}
    took = []
    for name in ("plain", "BatchNorm"):
        network, data = made(name)
        here = asked(network, data, tmp_path)._asked
        took.append([measures.seconds(here, item, pace) for item in ("plane", "barrier")])
    assert took == [[441, 11], [882, 22]]


def test_a_stop_loses_nothing(tmp_path):
    network, data = made("plain")
    seen = []

    def stop(fraction, item):
        seen.append((fraction, item))
        if item == "barrier":
            raise KeyboardInterrupt

    first = asked(network, data, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.run(CHEAP, stop)
    told = len(seen)
    first.plan()
    assert len(seen) == told  # whom a stopped run told hears nothing of what comes after
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    found = asked(network, data, tmp_path).run(CHEAP)
    assert set(found.answers) == set(CHEAP)
    assert kept.items() < {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}.items()
    assert [fraction for fraction, _ in seen] == sorted(fraction for fraction, _ in seen)


def _forever(folder):
    network, data = made("plain")
    asked(network, data, folder, recipe=Recipe(200), n_seeds=50).run(["dimension"])


def test_a_kill_loses_nothing_but_the_trial_at_work(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_forever, args=(tmp_path,))
    process.start()
    while len(list(tmp_path.glob("*.json"))) < 4:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("[!.]*.json")}
    network, data = made("plain")
    found = asked(network, data, tmp_path, recipe=Recipe(200), n_seeds=2).run(["dimension"])
    assert found.refused == {}
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("[!.]*.json")}
    assert kept.items() <= again.items()


def test_what_is_asked_of_more_examples_keeps_what_was_trained(tmp_path):
    network, data = made("plain")
    first, second = (asked(network, data, tmp_path, n_examples=n) for n in (60, 90))
    assert first.subject.name == second.subject.name
    assert first._name != second._name
    changed = [p.data.mul_(1.5) for p in network.parameters()]
    assert changed
    assert asked(network, data, tmp_path).subject.name != first.subject.name


def test_the_module_is_called_like_its_function():
    module = importlib.import_module("workbench.examine")
    assert workbench.examine in (module, Examination)
    with pytest.raises(InputError, match="parts must be one of"):
        workbench.examine(nn.Linear(1, 1), (torch.ones(1, 1), torch.ones(1, 1)), parts=["x"])
    with pytest.raises(InputError, match="parts must be one of"):
        module(nn.Linear(1, 1), (torch.ones(1, 1), torch.ones(1, 1)), parts=["x"])


def test_where_a_score_falls():
    dense = {"score": 0.9, "right": None, "n": 0}
    arms = [[{"score": s, "right": None, "n": 0} for s in (a, a + 0.002)] for a in (0.898, 0.889, 0.7)]
    value, low, high = measures.critical_density([0.5, 0.25, 0.1], arms, dense)
    assert value == pytest.approx(0.25)
    assert low < 0.25 < high
    assert measures.critical_density([0.5], arms[:1], dense)[0] == 0  # even the lowest passes
    right = np.arange(100) < 90
    packed = np.packbits(right).tobytes().hex()
    rows = [{"score": 0.9, "right": packed, "n": 100}]
    assert measures.critical_density([0.5], [rows], rows[0]) == (0, 0, 0.5)  # paired: nothing differs down to 0.5
    assert measures.right(rows[0]).sum() == 90

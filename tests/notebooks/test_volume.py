"""Shares of random networks: batched draws against torch's modules, exact shares, fits, splitting, verdicts."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
import volume_bits
import volume_checks
import volume_claims
import volume_classes
import volume_figures
import volume_splitting
import volume_tasks
import volume_trials
from degeneracy_and_volume import CLAIMS
from scipy.special import betainc, ndtr
from scipy.stats import binom, norm
from torch import nn

from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.study import Study
from workbench.sweeps import Sweep

SMOKE = {"seeds": [0, 1], "n_draws": 400, "dimensions": [2, 4], "n_examples": 32, "n_teachers": 2, "n_per_digit": 3}
SMOKE |= {"n_bits": 3, "n_particles": 30, "n_moves": 2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# --- classes


def module(kind, z, d):
    """Return a network of torch's own with the weights that z stands for."""
    first, second = volume_classes.CHANNELS
    if kind == "cnn":
        layers = [nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(first, second, 3)]
        network = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(4 * second, 1))
    else:
        sizes = (d, *(volume_classes.HIDDEN_IMAGES if kind == "images" else volume_classes.HIDDEN), 1)
        layers = [each for a, b in pairwise(sizes) for each in (nn.Linear(a, b), nn.ReLU())]
        network = nn.Sequential(nn.Flatten(), *layers[:-1])
    for layer in [each for each in network if hasattr(each, "weight")]:
        units, fan = len(layer.weight), layer.weight[0].numel()
        part, z = z[: units * (fan + 1)].view(units, fan + 1), z[units * (fan + 1) :]
        layer.weight.data = (part[:, :-1] * math.sqrt(2 / fan)).view_as(layer.weight)
        layer.bias.data = part[:, -1] * 0.1
    assert not len(z)
    return network.double()


@pytest.mark.parametrize(("kind", "shape"), [("mlp", (7, 3)), ("images", (5, 1, 8, 8)), ("cnn", (5, 1, 8, 8))])
def test_many_networks_at_once_are_torch_modules_one_by_one(kind, shape):
    x = torch.randn(shape, generator=rng(), dtype=torch.float64)
    law = volume_classes.prior("cnn" if kind == "cnn" else "mlp", x)
    z = torch.randn(4, law.D, generator=rng(1), dtype=torch.float64)
    alone = torch.stack([module(kind, each, shape[1] if len(shape) == 2 else 64)(x)[:, 0] for each in z])
    torch.testing.assert_close(law.outputs(z), alone, rtol=1e-6, atol=1e-6)
    single = volume_classes.prior("cnn" if kind == "cnn" else "mlp", x.float()).outputs(z.float())
    torch.testing.assert_close(single, alone.float(), rtol=1e-4, atol=1e-5)


def test_both_networks_on_images_have_about_as_many_parameters():
    x = torch.zeros(1, 1, 8, 8)
    sizes = [volume_classes.prior(name, x).D for name in ("mlp", "cnn")]
    assert sizes == [652, 651]


def test_a_kernel_class_has_its_covariance_and_linear_functions_are_linear():
    x = torch.randn(6, 2, generator=rng())
    for name in volume_classes.KERNELS:
        law, kernel = volume_classes.prior(name, x), volume_classes.gram(name, x)
        root = law.outputs(torch.eye(law.D))  # a row a number drawn
        torch.testing.assert_close(root.T @ root, kernel.float(), rtol=1e-4, atol=1e-4)
    assert volume_classes.prior("linear", x).D == 3
    slope = 2 / 2 * (x @ x.T) + 0.1**2
    torch.testing.assert_close(volume_classes.gram("linear", x).float(), slope, rtol=1e-5, atol=1e-5)


def test_a_class_that_is_none_is_refused():
    with pytest.raises(InputError, match="name must be one of mlp, linear, polynomial, radial"):
        volume_classes.prior("cnn", torch.zeros(3, 2))


# --- tasks


def test_parities_are_products_and_pairs_have_their_images():
    drawn = volume_tasks.tasks("parity", 3, 0, 0, 0)
    assert drawn.x.shape == (8, 3)
    torch.testing.assert_close(drawn.labels[2], drawn.x.prod(1))
    pairs = volume_tasks.tasks("digits", 64, 4, 0, 0)
    assert pairs.labels.shape == (45, 40)
    assert pairs.n_examples == 8
    assert (pairs.labels.sum(1) == 0).all()
    assert pairs.names[0] == "0 or 1"
    chosen = pairs.labels[0]
    assert (chosen[:4] == 1).all()
    assert (chosen[4:8] == -1).all()
    assert (chosen[8:] == 0).all()


def test_shuffling_is_one_order_for_all_images_and_leaves_them_else():
    plain, other = (volume_tasks.tasks(family, 64, 4, 0, 3) for family in ("digits", "shuffled"))
    a, b = plain.x.flatten(1), other.x.flatten(1)
    assert not torch.equal(a, b)
    assert torch.equal(a.sort(1).values, b.sort(1).values)
    torch.testing.assert_close(a @ a.T, b @ b.T, rtol=1e-4, atol=1e-4)  # one order, so inner products stay
    assert torch.equal(plain.labels, other.labels)


def test_half_of_a_teachers_labels_are_positive():
    drawn = volume_tasks.tasks("teacher", 3, 20, 4, 0)
    assert drawn.labels.shape == (4, 20)
    assert (drawn.labels.sum(1) == 0).all()
    with pytest.raises(InputError, match="n_examples must be even"):
        volume_tasks.tasks("teacher", 3, 21, 4, 0)


# --- exact shares


def test_linear_functions_of_two_signs_by_the_angle(monkeypatch):
    """Without a bias (w1, w2) has the first sign at all four corners iff w1 > |w2|, a quarter of all angles."""
    monkeypatch.setattr(volume_classes, "BIAS", 0.0)
    drawn = volume_tasks.tasks("parity", 2, 0, 0, 0)
    law = volume_classes.prior("linear", drawn.x)
    assert law.D == 2
    counts = volume_trials.histogram(law, drawn, 20_000, rng())
    assert counts.sum() == 40_000
    assert counts[0, 0] / 20_000 == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 20_000))
    assert counts[0, [0, 2, 4]].sum() == 20_000
    assert counts[1, 0] == 0  # no linear function is the parity of both
    assert counts[1, 2] == 20_000


def test_half_spaces_within_an_angle(monkeypatch):
    """A half-space is wrong on theta / pi of a round law; P(theta <= pi e) is an incomplete beta function."""
    monkeypatch.setattr(volume_classes, "BIAS", 0.0)
    d, n, target = 4, 20_000, 0.2
    x = torch.randn(n, d, generator=rng())
    labels = torch.where(torch.ones(1, d) @ x.T > 0, 1.0, -1.0)
    law = volume_classes.prior("linear", x[:64])._replace(D=d, outputs=lambda z: z @ x.T, chunk=500)
    counts = volume_trials.histogram(law, volume_tasks.Tasks(x, labels, ("half-space",)), 4000, rng(1))[0]
    share = counts[: volume_bits.errors(target, n) + 1].sum() / 4000
    exact = 0.5 * betainc((d - 1) / 2, 0.5, math.sin(math.pi * target) ** 2)
    assert share == pytest.approx(exact, abs=4 * math.sqrt(exact / 4000) + 0.003)


def test_wrong_answers_are_counted_task_by_task():
    drawn = volume_tasks.tasks("digits", 64, 2, 0, 0)
    law = volume_classes.prior("mlp", drawn.x)
    z = torch.randn(3, law.D, generator=rng())
    found, said = volume_trials.wrong(law, drawn.labels, z), law.outputs(z) > 0
    for i in range(3):
        for j in (0, 17, 44):
            used = drawn.labels[j] != 0
            assert found[i, j] == int((said[i, used] != (drawn.labels[j, used] > 0)).sum())


# --- bits and fits


def test_bits_of_a_count_with_their_interval():
    assert float(volume_bits.bits(np.array(25), 101)) == pytest.approx(2.0)
    assert np.isfinite(volume_bits.bits(np.array(0), 1000))
    low, high = volume_bits.bits_interval(np.array(25), 500)  # 1,000 draws
    ends = [2 * 2.0**-low, 2 * 2.0**-high]  # as shares of passes: Clopper and Pearson's own definition
    assert binom.cdf(25, 500, ends[0]) == pytest.approx(0.025)
    assert binom.sf(24, 500, ends[1]) == pytest.approx(0.025)
    assert volume_bits.bits_interval(np.array(0), 500)[1] == np.inf
    assert volume_bits.errors(0.3, 10) == 3


def test_gaussian_errors_are_fitted_exactly():
    n, deviation = 200, 20.0
    edges = norm.cdf((np.arange(-1, n + 1) + 0.5 - n / 2) / deviation)
    counts = 1e9 * np.diff(edges)
    found = volume_bits.fitted_bits(counts, 30)
    exact = -math.log2(ndtr((30.5 - n / 2) / deviation))
    assert found["gaussian"] == pytest.approx(exact, abs=0.02)
    assert found["tail"] == pytest.approx(exact, abs=0.02)
    assert found["chi-squared"] > exact + 0.5  # lighter on this side


def test_a_tail_of_one_step_is_no_line():
    assert np.isnan(volume_bits.fitted_bits(np.array([10.0, 0, 10.0]), 0)["tail"])


# --- splitting


@pytest.mark.parametrize("depth", [2.0, 4.0])
def test_splitting_finds_the_share_of_a_half_space(depth):
    def score(z):
        return -(z @ torch.full((20,), 20**-0.5))

    goals = [-1.0, -depth]
    levels, sizes = volume_splitting.pilot(score, 20, goals, 300, 10, rng(1))
    assert levels[-1] == -depth
    assert -1.0 in levels
    assert levels == sorted(levels, reverse=True)
    runs = [volume_splitting.split(score, 20, levels, sizes, 300, 10, rng(2 + i))[-1] for i in range(12)]
    exact, error = ndtr(-depth), np.std(runs, ddof=1) / math.sqrt(12)
    assert abs(np.mean(runs) - exact) < 4 * error
    assert error < 0.2 * exact


def test_splitting_says_zero_where_nothing_is():
    def score(z):
        return z.abs().sum(1)

    assert volume_splitting.split(score, 3, [-1.0, -2.0], [0.5, 0.5], 10, 1, rng()) == [0.0, 0.0]
    assert volume_splitting.pilot(score, 3, [-1.0], 10, 1, rng())[0][-1:] != [-1.0]


def test_a_step_leaves_the_normal_law():
    z = torch.randn(20_000, 2, generator=rng(), dtype=torch.float64)
    moved, _, taken = volume_splitting.walk(lambda z: z[:, 0], z, z[:, 0], math.inf, 0.7, rng(1))
    assert taken == 1.0
    assert float(moved.var()) == pytest.approx(1.0, abs=0.04)


# --- verdicts


def table(seeds=5, off=0.2, rise=1.0, gap=1.0, rest=0.1, hits=500, draws=180_000):
    """Return a table in which fits are off, bits rise with d and the MLP needs more than the CNN, as told."""
    rows = []
    for seed in range(seeds):
        shake = 0.01 * (seed - 2)
        cells = [("teacher", d, "mlp", 3 + rise * d) for d in range(2, 13)]
        cells += [("teacher", d, name, 3.0 + d) for d in range(2, 13) for name in volume_classes.KERNELS]
        cells += [("digits", 64, "mlp", 5 + gap), ("digits", 64, "cnn", 5)]
        cells += [("shuffled", 64, "mlp", 5 + rest), ("shuffled", 64, "cnn", 5)]
        for family, d, name, bits in cells:
            own = bits + shake * (name == "mlp")
            row = {"family": family, "d": d, "class": name, "task": "t", "seed": seed, "target": 0.25, "hits": hits}
            fits = {law: own + off for law in volume_bits.FITS}
            rows.append(row | fits | {"draws": draws, "bits": own, "low": own - 0.1, "high": own + 0.1})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({}, "holds holds holds holds"),
        ({"off": 1.5}, "fails holds holds holds"),
        ({"off": -1.5}, "fails holds holds holds"),
        ({"rise": -1.0}, "holds fails holds holds"),
        ({"gap": -1.0}, "holds holds fails inconclusive"),
        ({"gap": 0.0}, "holds holds inconclusive inconclusive"),
        ({"rest": 0.8}, "holds holds holds fails"),
        ({"seeds": 4}, "inconclusive inconclusive inconclusive inconclusive"),
        ({"draws": 1000}, "inconclusive inconclusive inconclusive inconclusive"),
        ({"hits": 10}, "inconclusive inconclusive inconclusive inconclusive"),
    ],
)
def test_verdicts(tmp_path, monkeypatch, changes, verdicts):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    images = volume_tasks.workbench.load("digits")
    study = Study("volume", parameters={}, claims=CLAIMS, stages={}, dataset=images)
    found = volume_claims.judge(study, table(**changes))
    assert " ".join(each.verdict for each in found) == verdicts


# --- the whole, small


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    ticks = []
    with Sweep(tmp_path_factory.mktemp("trials"), executor="serial") as sweep:
        return volume_trials.volumes(ticks.append, sweep=sweep, **SMOKE), ticks


def test_the_table_has_every_cell_once(small):
    found, ticks = small
    cell = ["family", "d", "class", "task", "seed", "target"]
    assert not found.duplicated(cell).any()
    assert len(found) == 2 * 6 * (2 * 4 * 2 + 3 * 4 + 45 * (5 + 2))
    assert ticks[-1] == 1.0
    assert ticks == sorted(ticks)
    assert ((found.low <= found.bits + 0.5) & (found.bits <= found.high)).all()
    assert set(found[found.split.notna()].family) <= {"teacher", "digits"}
    assert found.split.notna().any()


def test_the_figure_shows_what_the_table_holds(small):
    found, _ = small
    figure = volume_figures.volume_figure(found)
    names = {trace.name for trace in figure.data}
    assert {"mlp", "linear", "polynomial", "radial", "cnn"} <= names
    drawn = next(trace for trace in figure.data if trace.xaxis == "x2" and trace.name == "mlp")
    assert list(drawn.x) == [2, 4]
    np.testing.assert_allclose(drawn.y, volume_claims.seed_bits(found, "teacher", "mlp").mean())


def test_too_few_draws_are_refused(tmp_path):
    with Sweep(tmp_path, executor="serial") as sweep, pytest.raises(InputError, match="n_draws must be at least 200"):
        volume_trials.volumes(sweep=sweep, **SMOKE | {"n_draws": 10})


# --- the exercise


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda e, t: (e <= t).mean(), "this is the share"),
        (lambda e, t: np.log2((e <= t).mean()), "the sign"),
        (lambda e, t: -np.log((e <= t).mean()), "these are nats"),
        (lambda e, t: -np.log2((e < t).mean()), "at or below"),
        (lambda e, t: -np.log2((e > t).mean()), "good enough"),
        (lambda e, t: None, "There is no answer yet"),
    ],
)
def test_the_check_says_why(answer, why, capsys):
    with pytest.raises(WrongAnswer, match=why):
        volume_checks.check_bits(answer)
    volume_checks.check_bits(lambda e, t: -np.log2((e <= t).mean()))
    assert capsys.readouterr().out.startswith("Right.")

"""The study of learning curves: prior, network, sampler, searches, rules, figures, explorer, answers."""

import hashlib

import curve_checks as checks
import curve_compare as compare
import curve_explorer as explorer
import curve_figures as figures
import curve_network as network
import curve_prior as prior
import curve_sampler as sampler
import curve_tables as tables
import curve_training as training
import curve_trials as trials
import learning_curves as judging
import numpy as np
import pandas as pd
import pytest
import torch

from workbench.exercises import WrongAnswer
from workbench.seeds import generator

SHA256 = "665e4298fa25ca1955da7e18cbb6a5ab5038e3c74f0d0d4faf30e775afa072e0"


@pytest.fixture(scope="module")
def planted():
    return tables.read("planted")


@pytest.fixture(scope="module")
def judged(planted):
    return tables.sampled(planted, 20, judged=True)


def test_the_shipped_network_is_what_it_says():
    data = network.WEIGHTS.read_bytes()
    assert len(data) < 250_000
    assert hashlib.sha256(data).hexdigest() == SHA256
    loaded, fresh = network.load(), network.CurveNetwork()
    shapes = {name: value.shape for name, value in fresh.state_dict().items()}
    assert {name: value.shape for name, value in loaded.state_dict().items()} == shapes
    assert sum(value.numel() for value in loaded.parameters()) == 89_516
    assert all(torch.equal(value, value.half().float()) for value in loaded.parameters())


def test_training_gives_the_same_bits_and_learns(tmp_path):
    losses = []
    first, again = (training.train(3, watch=lambda _, loss: losses.append(loss)) for _ in range(2))
    training.save(first, tmp_path / "a.safetensors")
    training.save(again, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert losses[:3] == losses[3:]


def test_the_network_is_calibrated_on_its_prior():
    drawn = prior.draw(generator(7, "calibration"), 600)
    told = network.forecast(network.load(), drawn.u, drawn.y, drawn.seen, drawn.ahead)
    below = told.cdf(drawn.future)
    for p in (0.1, 0.5, 0.9):
        assert (below < p).mean() == pytest.approx(p, abs=0.05)
        np.testing.assert_allclose(told.cdf(told.quantile(p)), p, atol=1e-6)
    grid = np.linspace(-3, 5, 20_001)
    one = network.Forecast(*(getattr(told, name)[:1, :1] for name in ("weight", "location", "scale")))
    total = np.trapezoid(np.exp(one.log_density(np.broadcast_to(grid, (1, 20_001)))[0]), grid)
    assert total == pytest.approx(np.diff(one.cdf(np.array([[-3.0, 5.0]])))[0, 0], abs=1e-3)


def test_units_change_no_forecast():
    drawn = prior.draw(generator(8, "units"), 20)
    one = network.forecast(network.load(), drawn.u, drawn.y, drawn.seen, drawn.ahead)
    two = network.forecast(network.load(), drawn.u, 50 * drawn.y, drawn.seen, drawn.ahead)
    np.testing.assert_allclose(two.quantile(0.8), 50 * one.quantile(0.8), rtol=1e-3, atol=1e-6)


def test_curves_of_the_prior_start_at_their_level():
    z = generator(0, "z").standard_normal((50, prior.N_LATENT))
    z[:, 10] = 0  # no bump
    mean, noise = prior.curve(z, np.zeros((50, 1)), np.ones((50, 1)))
    np.testing.assert_allclose(mean[:, 0], np.exp(1.5 * z[:, 9]))
    assert (noise > 0).all()
    drawn = prior.draw(generator(1, "d"), 200)
    assert (drawn.u[drawn.seen] <= 0).all()
    assert ((drawn.ahead > 0) & (drawn.ahead <= prior.HORIZON)).all()


def test_the_sampler_finds_a_normal_posterior():
    rng, data = generator(3, "normal"), np.array([2.0, -1.0, 0.5])
    start = rng.standard_normal((64, 1, 3))  # prior N(0, 1), likelihood N(data; z, 0.5^2)
    draws = sampler.sample(lambda z: -(((data - z) / 0.5) ** 2).sum(-1) / 2, start, 1200, 5, rng)
    flat = draws.reshape(-1, 3)
    np.testing.assert_allclose(flat.mean(0), data * 0.8, atol=0.06)
    np.testing.assert_allclose(flat.std(0), np.sqrt(0.2), rtol=0.08)


def test_ensembles_that_disagree_are_told():
    rng = generator(4, "r hat")
    same = rng.standard_normal((2, 400, 1, 1))
    assert sampler._r_hat(same)[0, 0] < 1.02
    assert sampler._r_hat(same + np.array([0, 3]).reshape(2, 1, 1, 1))[0, 0] > 1.5


def test_both_predict_the_same_draws():
    found, again = (compare.compare_batch(3, 60, 8, 0, weights) for weights in ("", "other"))
    assert [len(found[name]) for name in ("sampler", "network", "r_hat")] == [3, 3, 3]
    assert found["network"] == again["network"]
    assert found["sampler_seconds"] > found["network_seconds"] > 0


def test_pooled_points_keep_their_means():
    drawn = prior.draw(generator(5, "pool"), 50)
    shown = network.tokens(drawn.u, drawn.y, drawn.seen)
    count = np.where(shown.used, np.exp(shown.points[..., 2].numpy()), 0)
    np.testing.assert_allclose(count.sum(1), drawn.seen.sum(1), rtol=1e-4)
    height = np.sinh(shown.points[..., 1].double().numpy()) * shown.scale + shown.centre
    np.testing.assert_allclose((count * height).sum(1), (drawn.y * drawn.seen).sum(1), rtol=1e-3, atol=1e-3)


def test_planted_ends_are_found(planted, judged):
    frame = trials.predict(network.load(), judged.until(1 / 2), 1.0)
    off = (frame["mmf"] - frame.target).abs()
    assert off.median() < 0.005
    assert off.mean() < (frame["last value"] - frame.target).abs().mean()
    others = trials.predict(network.load(), tables.sampled(planted, 20, judged=False).until(1 / 2), 1.0)
    factors = trials.widened(frame, others)
    width = frame["network high"] - frame["network low"]
    np.testing.assert_allclose(width, factors["network"] * (frame["network high raw"] - frame["network low raw"]))
    assert judging.errors(frame).loc["last value", "less last"] == 0
    assert list(judging.coverage(frame).index) == [
        f"{way}, {said}" for way in ("ensemble", "network") for said in ("as fitted", "calibrated")
    ]


def test_no_dataset_is_judged_and_calibrated_on(planted):
    n = len(planted.lcdb["error"])
    assert sorted([*tables.half(n, True), *tables.half(n, False)]) == list(range(n))
    cut = tables.sampled(planted, 20, judged=True).until(1 / 8)
    assert (cut.seen.sum(1) >= tables.LEAST).all()
    assert (np.where(cut.seen, cut.x, 0).max(1) <= cut.end / 8).all()
    np.testing.assert_allclose(np.where(cut.seen, cut.x, 0).max(1) * np.exp(cut.ahead[:, 0]), cut.end)


def test_a_search_gives_up_what_has_no_chance():
    costs, finals, full = [np.array([1.0, 2.0])] * 4, np.array([0.3, 0.5, 0.2, np.inf]), np.full(4, 4.0)
    oracle = lambda k, i, best: float(finals[k] < best)  # noqa: E731
    assert trials.hunt(np.arange(4), costs, oracle, finals, full) == (4 + 1 + 4 + 1, 2)
    assert trials.hunt(np.arange(4), costs, lambda *_: 1.0, finals, full) == (16.0, 2)


def test_searches_and_stops_on_planted_tables(planted, judged):
    net = network.load()
    epochs = trials.searches_by_epochs(planted, net, 12, 2)
    assert len(epochs) == 6
    assert (epochs["network saving"] >= 1).all()
    examples = trials.searches_by_examples(planted, net, 3)
    assert len(examples) == 3
    picked = trials.picks(planted, net, 12)
    assert (picked.regret >= 0).all()
    stops = trials.stopping(judged, net)
    assert ((stops.used > 0) & (stops.used <= 1)).all()
    for figure in (
        figures.search_figure(epochs, examples),
        figures.pick_figure(picked),
        figures.stopping_figure(stops),
    ):
        assert len(figure.data) >= 4


class Taker:
    """Takes findings as a study does."""

    def judge(self, name, **found):
        return {"name": name, **found}


def compared(gap, n=40, ratio=2000.0):
    own = generator(0, "compared").standard_normal(n)
    batches = np.arange(n) // 10
    return pd.DataFrame({"sampler": own, "network": own + gap + 0.01 * own, "r_hat": 1.01, "batch": batches,
                         "sampler_seconds": 2.0 + 0.01 * batches, "network_seconds": 2.0 / ratio})  # fmt: skip


def stopped(good, n=300):
    ok = np.arange(n) % 10 < good
    frame = pd.DataFrame({"group": np.arange(n) // 3, "known": True, "monotone": ok, "rising": 0.5, "stopped": True})
    off = np.where(ok, 0.1, 5.0)
    ways = ("rule", "distorted", "last value", "exponential", "ensemble", "network", "off")
    return frame.assign(used=np.where(ok, 0.3, 1.0), **dict.fromkeys(ways, off))


@pytest.mark.parametrize(
    ("gap", "ratio", "saving", "good", "words"),
    [
        (0.1, 2000.0, 3.0, 10, ["holds"] * 7),
        (-0.1, 500.0, 1.5, 1, ["fails"] * 7),
    ],
)
def test_rules_hold_and_fail(gap, ratio, saving, good, words):
    columns = {
        f"{way} {part}": value
        for way in ("network", "behind")
        for part, value in (("saving", saving), ("regret", 0.001))
    }
    epochs = pd.DataFrame({"task": range(12), "search": 0, **columns})
    examples = pd.DataFrame({"dataset": range(100), **columns})
    found = judging.judge(Taker(), compared(gap, ratio=ratio), epochs, examples, stopped(good))
    assert [each["name"] for each in found] == [claim.name for claim in judging.CLAIMS]
    assert [each["verdict"] for each in found] == words
    few = judging.judge(Taker(), compared(gap, 20), epochs[:5], examples[:20], stopped(good, 100))
    assert {each["verdict"] for each in few} == {"inconclusive"}


def test_an_interval_over_groups_is_wider():
    values, groups = np.repeat([0.0, 1.0] * 20, 10), pd.Series(np.repeat(np.arange(40), 10))
    mean, low, high = judging.over_groups(values, groups)
    _, near, far = judging.over_groups(values, pd.Series(np.arange(400)))
    assert mean == 0.5
    assert high - low > 2.5 * (far - near)


def test_the_explorer_opens_and_a_reader_trains(judged, monkeypatch):
    net, seen = network.load(), []
    figure = explorer.explore_curves(judged, net, 1.5, live=False)
    assert len(figure.layout.sliders[0].steps) >= 4
    box = explorer.explore_curves(judged, net, 1.5, live=True)
    assert [*box.children[1].controls] == ["learner", "seen"]
    slider, drawn = box.children[0].children
    with monkeypatch.context() as patch:
        patch.setattr(explorer, "extrapolate", None)  # a move only draws
        slider.value = explorer.LEAST
    assert len(drawn.data[-2].x) == explorer.LEAST
    monkeypatch.setattr(explorer, "SIZES", explorer.SIZES[:7])
    run = explorer.train(lambda part, numbers: seen.append(numbers), "nearest neighbour", 6, repeats=1)
    assert run.errors[-1] < run.errors[0] < 0.9
    drawn = [explorer.own_view(net, 1.5, each) for each in [explorer.OwnCurve(), *seen]]
    assert {len(each.data) for each in drawn} == {len(figure.data)}
    assert "6 points seen" in drawn[-1].layout.title.subtitle.text


def test_answers_are_checked(capsys):
    checks.check_weights(lambda a: np.exp(-(a - a.min()) / 2) / np.exp(-(a - a.min()) / 2).sum())
    checks.check_factor(lambda needed, level: np.sort(needed)[int(np.ceil((len(needed) + 1) * level)) - 1])
    checks.check_left(lambda a, alpha, x, horizon: a * (x**-alpha - horizon**-alpha))
    assert capsys.readouterr().out.count("Right.") == 3
    for said, call, wrong in (
        ("half of the AICc", checks.check_weights, lambda a: np.exp(a.min() - a) / np.exp(a.min() - a).sum()),
        ("they must sum to 1", checks.check_weights, lambda a: np.exp((a.min() - a) / 2)),
        ("no interpolation", checks.check_factor, np.quantile),
        ("forgets the new curve", checks.check_factor, lambda needed, level: np.sort(needed)[int(9 * level) - 1]),
        ("until the asymptote", checks.check_left, lambda a, alpha, x, horizon: a * x**-alpha),
    ):
        with pytest.raises(WrongAnswer, match=said):
            call(wrong)

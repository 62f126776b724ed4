"""The tour: trials on a tiny network, the exact values it compares with, verdicts that can fail, figures, exercises."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import tour
import tour_checks
import tour_exact
import tour_explorer
import tour_figures
import tour_planes
import tour_ways
from torch import nn

from workbench import probes
from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.objective import Supervised
from workbench.study import Study

SMALL = {"width": 4, "n_steps": 60}


@pytest.fixture(scope="module")
def walked():
    """Return a small network's loss and moments of its training."""
    return tour.objective_of(0, 4), tour.trained(0, 4, 60, 7)


def judged(tmp_path, monkeypatch, n=5, **changes):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    jitter = 1 + 0.01 * np.arange(n)
    row = {"outliers": 10, "gradient held": 0.8, "top, rescaled": 5.0, "sharpness": 5.0, "adaptive": 1.0}
    row |= {"outputs": 1e-15, "barrier": 1.0, "aligned": 0.2, "curved": 0.1} | changes
    table = pd.DataFrame({name: [value] * n for name, value in row.items()}).rename_axis("seed")
    table["aligned"] *= jitter
    study = Study("tour", parameters={}, claims=tour.CLAIMS, stages={}, dataset=tour.digits())
    return {each.claim.name: each for each in tour.judge(study, table, 32, 2000)}


def test_moments_run_from_start_to_end(walked):
    objective, path = walked
    assert path.shape == (7, objective.D)
    assert torch.equal(path[0], objective.theta_0)
    assert torch.equal(path[-1], tour.trained(0, 4, 60)[0])
    assert objective.loss(path[-1]) < objective.loss(path[0]) - 0.5


def test_rescaling_leaves_the_function(walked):
    objective, path = walked
    other = tour.rescaled(path[-1], objective, 5.0)
    assert other.norm() > 2 * path[-1].norm()
    assert torch.allclose(objective.logits(other, "train"), objective.logits(path[-1], "train"))


def test_a_look_is_what_the_dense_hessian_says(walked):
    objective, path = walked
    found = tour.look(0, **SMALL)
    values, axes = np.linalg.eigh(tour_exact.exact_hessian(objective, path[-1]))
    assert found["values"] == pytest.approx(values[::-1][:31], rel=2e-3)
    slope = objective.gradient(path[-1]).numpy() @ axes
    assert found["held"] == pytest.approx((slope[-10:] ** 2).sum() / (slope**2).sum(), abs=1e-3)
    assert found["adaptive"] == pytest.approx(1, abs=1e-6)
    assert found["outputs"] < 1e-12


def test_the_ways_have_the_networks_own_ends(walked):
    objective, path = walked
    found = tour.join(0, **SMALL, n_bend_steps=5)
    for way in ("straight", "aligned", "curved"):
        assert found[way]["loss"][0] == pytest.approx(objective.loss(path[-1]))
        assert found[way]["loss"][-1] == pytest.approx(found["straight"]["loss"][-1])
        assert found[way]["height"] >= 0
    assert found["straight"]["loss"][12] != pytest.approx(found["aligned"]["loss"][12])


def test_outliers_end_at_the_largest_relative_fall():
    assert tour.n_outliers([8, 4, 3, 0.3, 0.2]) == 3
    assert tour.n_outliers([100, 1, 0.9, 0.5]) == 1
    assert tour.n_outliers([1, 0.9, 1e-30, -1e-20]) == 2


def test_the_interval_is_students():
    assert tour.interval([1.0, 2.0, 3.0]) == pytest.approx((2, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert np.isnan(tour.interval([1.0])[1])


@pytest.mark.parametrize(
    ("changes", "name", "verdict"),
    [
        ({}, "outliers", "holds"),
        ({"outliers": 3}, "outliers", "fails"),
        ({}, "tiny", "holds"),
        ({"gradient held": 0.3}, "tiny", "fails"),
        ({}, "rescaled", "holds"),
        ({"top, rescaled": 1.5}, "rescaled", "fails"),
        ({"adaptive": 1.02}, "rescaled", "fails"),
        ({"outputs": 1e-3}, "rescaled", "fails"),
        ({}, "aligned", "holds"),
        ({"aligned": 0.9}, "aligned", "fails"),
        ({"n": 4}, "aligned", "inconclusive"),
    ],
)
def test_verdicts_follow_the_rules(tmp_path, monkeypatch, changes, name, verdict):
    found = judged(tmp_path, monkeypatch, **changes)[name]
    assert found.verdict == verdict
    assert ("the rule asks for" in found.detail) == ("n" in changes)


def test_every_seed_counts_once():
    with pytest.raises(InputError, match=r"seeds must be at least one, each once, got \[1, 1\]"):
        tour.measure(None, tour.look, [1, 1], print)


def test_the_largest_rise_in_a_ball_is_exact():
    assert tour_exact.largest_rise(np.array([0, 1e-6]), np.array([1.0, 4.0]), 0.5) == pytest.approx(0.5, rel=1e-5)
    assert tour_exact.largest_rise(np.array([3.0, 4.0]), np.zeros(2), 2.0) == pytest.approx(10)
    slope, values = np.array([1.0, -2.0]), np.array([3.0, -1.0])
    turns = 0.7 * np.stack([np.cos(t := np.linspace(0, 7, 20_000)), np.sin(t)])
    assert tour_exact.largest_rise(slope, values, 0.7) == pytest.approx((slope @ turns + values @ turns**2 / 2).max())


def test_the_exact_hessian_is_that_of_a_quadratic():
    x = torch.diag(torch.tensor([1.0, 2.0])).double()
    line = Supervised(nn.Linear(2, 1, bias=False), (x, torch.zeros(2, 1)), loss="squared_error", dtype=x.dtype)
    assert tour_exact.exact_hessian(line, line.theta_0) == pytest.approx(np.diag([1.0, 4.0]))


@pytest.mark.parametrize("part", ["gradients", "ways"])
def test_exact_probes_keep_what_they_say(part):
    rows = tour_exact.table([tour_exact.compare(part, 0, 4, 60, 8)])
    assert set(rows.kept) == {"yes"}
    assert rows.missed[rows.stated == "rounding"].max() < 1e-9


def test_a_wrong_statement_is_told():
    rows = [
        ["a", "x", 1.0, 1.1, 0.1, 0.05, None],
        ["b", "x", 1.0, 1.1, 0.1, 0.2, 3.0],
        ["c", "x", 1.0, 2.0, 1.0, None, None],
    ]
    rows.append(["d", "x", 1.0, "nan", "nan", "nan", 1.0])
    found = tour_exact.table([{"rows": rows}])
    assert found.kept.tolist() == ["no", "yes", "no", "not said"]
    assert found.stated.tolist() == ["0.05", "0.2", "rounding", "none"]


def test_nearest_neighbours_memorise_as_chances_say():
    _, _, value, exact, missed, stated, _ = tour_ways.memorised(20, 4000)
    assert missed == abs(value - exact) <= 2 * stated < 0.1


@pytest.mark.parametrize("kind", tour_planes.KINDS)
def test_a_plane_is_seen_from_its_points(walked, kind):
    objective, path = walked
    view = tour_planes.survey(objective, path, kind, 5)
    assert view.at[-1] == pytest.approx([0, 0], abs=1e-9)
    a, b = (axis[1] for axis in view.seen.axes)
    spot = tour_planes.visit(objective, view, a, b)
    assert spot.loss == pytest.approx(view.seen.loss[1, 1])
    assert spot.error == pytest.approx(view.seen.error[1, 1])
    full = tour_exact.exact_hessian(objective, view.point(a, b))
    within = view.directions.numpy() @ full @ view.directions.numpy().T
    assert spot.curvatures == pytest.approx(np.linalg.eigvalsh(within), rel=1e-6)
    assert view.coordinates(-1, 1) == pytest.approx((view.seen.axes[0][0], view.seen.axes[1][-1]))


def test_the_explorer_opens_on_the_plane_and_measures_another(walked):
    objective, path = walked
    views = {kind: tour_planes.survey(objective, path, kind, 5) for kind in ("trajectory", "filter")}
    plain = tour_explorer.explore(objective, views, live=False)
    assert len(plain.layout.sliders[0].steps) == 7
    box = tour_explorer.explore(objective, views, live=True)
    choice, across, _, figure, _ = box.children
    before = figure.data[-1].x[0]
    across.value = 0.5
    assert figure.data[-1].x[0] != before
    choice.value = "filter"
    assert figure.data[-1].x[0] == pytest.approx(0.5)
    said = []
    own = tour_explorer.live_plane(objective, path[-1])(lambda *now: said.append(now), "layer", 3, 50)
    span = probes.directions(path[-1], objective.layout, normalise="layer", seed=3)
    assert own.loss[0, -1] == pytest.approx(objective.loss(path[-1] - 0.5 * span[0] + 0.5 * span[1]))
    assert len(said) == tour_explorer.N_OWN + 1
    assert np.isnan(said[1][1].loss).sum() == own.loss.size - tour_explorer.N_OWN
    assert len({len(tour_explorer.draw_plane(each).data) for each in (said[0][1], own)}) == 1


def test_figures_draw_their_numbers(walked):
    objective, path = walked
    looks = [{"seed": 0, "values": [3.0, 2.0, 0.1, 0.09]}]
    shown = {"grid": [0.0, 1.0], "density": [1.0, 0.1], "width": 0.1, "values": [0.0, 1.0]}
    drawn = tour_figures.spectrum(shown, looks)
    assert list(drawn.data[2].marker.size) == [10, 10, 5, 5]
    assert drawn.data[0].y[0] == pytest.approx(1 / (0.1 * np.sqrt(2 * np.pi) * 2))
    way = {"t": [0.0, 1.0], "loss": [1.0, 3.0]}
    join = {"seed": 0, "straight": way, "aligned": way, "curved": way}
    assert len(tour_figures.ways([join, join]).data) == 9
    found = {"trace": [[1.0, 2.0]], "loss": 0.5, "value": 8.0, "interval": [7.0, 9.0], "refused": None}
    drawn = tour_figures.chains({"known": found, "own": found | {"refused": "why"}})
    assert "8.0 [7.0, 9.0]" in drawn.layout.title.subtitle.text
    assert "refused, why" in drawn.layout.title.subtitle.text
    drawn = tour_figures.chains({"known": found, "own": found | {"refused": "one reason or another; " * 9}})
    assert max(map(len, drawn.layout.title.subtitle.text.split("<br>"))) <= 100  # more would leave the figure
    views = {kind: tour_planes.survey(objective, path, kind, 5) for kind in ("trajectory", "filter")}
    assert tour_figures.maps(views).data[3].z == pytest.approx(np.log10(views["filter"].seen.loss.T))


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_a_surface_is_drawn_from_back_to_front(slope):
    axis, span = np.linspace(-1.0, 1.0, 5), torch.eye(2)
    heights = slope * axis[None, :] + 0 * axis[:, None]  # of log10 loss, along b; a hole in the middle
    heights[2, 2] = np.nan
    seen = SimpleNamespace(axes=(axis, axis), loss=10**heights)
    view = tour_planes.View("trajectory", torch.zeros(2), span, seen, np.array([[-1.0, -1.0], [1.0, 1.0]]))
    *rows, way = tour_figures.surface(view, 3).data
    floors, lines = rows[::2], rows[1::2]
    assert [line.name for line in lines] == [f"b = {b:.2f}" for b in (1, 0, -1)[:: int(slope)]]  # the highest first
    assert all(floor.y == pytest.approx([0.8 * away] * 2) for floor, away in zip(floors, (1, 0.5, 0), strict=True))
    assert [line.y[0] - floor.y[0] for floor, line in zip(floors, lines, strict=True)] == pytest.approx([0.6, 0.3, 0])
    assert np.isnan(lines[1].y[2])
    assert lines[0].customdata[0] == f"a = -1.00, b = {slope:.2f}: loss 10 nats"
    ends = [lines[-1], lines[0]][:: int(slope)]
    assert (way.x[0], way.y[0]) == pytest.approx((ends[0].x[0], ends[0].y[0]))
    assert (way.x[1], way.y[1]) == pytest.approx((ends[1].x[-1], ends[1].y[-1]))


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        (tour_checks.check_trace, lambda v, p: (v * p).sum(), "take the mean over the vectors"),
        (tour_checks.check_trace, lambda v, p: (v * p).mean(), "sum over the D entries"),
        (tour_checks.check_filters, lambda d, w: d / d.norm(dim=1, keepdim=True), "every filter has norm 1 now"),
        (tour_checks.check_filters, lambda d, w: d * w.norm() / d.norm(), "one factor for the whole layer"),
        (tour_checks.check_factor, 5, "its square is asked for"),
        (tour_checks.check_factor, None, "There is no answer yet"),
    ],
)
def test_wrong_answers_are_told(check, answer, said):
    with pytest.raises(WrongAnswer, match=said):
        check(answer)


def test_right_answers_are_right(capsys):
    tour_checks.check_trace(lambda v, p: (v * p).sum(1).mean())
    tour_checks.check_filters(lambda d, w: d / d.norm(dim=1, keepdim=True) * w.norm(dim=1, keepdim=True))
    tour_checks.check_factor(25)
    assert capsys.readouterr().out.count("Right.") == 3

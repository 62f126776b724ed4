"""The first notebook's plane: the way between two networks, its verdict that can fail, the loss, the figure."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import start_here
import start_here_plane as study
import torch

import workbench
from workbench import probes, pruning
from workbench.errors import InputError

NOTEBOOK = Path(start_here.__file__).with_suffix(".ipynb")
STEPS = 80


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    """A tiny sweep, kept."""
    return study.measure(workbench.Sweep(tmp_path_factory.mktemp("trials"), workers=1), [0, 1], STEPS)


@pytest.fixture(scope="module")
def plane():
    """The objective, three networks and the loss on their plane."""
    objective, networks = start_here.objective_of(0), [study.solution(seed, STEPS) for seed in (0, 1, 2)]
    span = probes.through(*networks)
    return objective, networks, span, study.survey(objective, span, 7)


def made_up(share: float, n_seeds: int = 5) -> pd.DataFrame:
    """Walks whose ends have all of 400 images right and whose middle has a share of them."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(n_seeds):
        luck = rng.permutation(400) / 400 + 0.02 * rng.standard_normal(400)
        for part in study.PARTS:
            right = (luck < 1 - (1 - share) * (1 - abs(2 * part - 1))) if 0 < part < 1 else np.ones(400)
            rows.append({"seed": seed, "part": part, "loss": 1.0, "right": right.astype(np.uint8)})
    walks = pd.DataFrame(rows)
    return walks.assign(accuracy=walks.right.map(np.mean))


def test_a_way_leads_from_one_trained_network_to_another(walks):
    assert walks.groupby("seed").part.apply(tuple).to_dict() == {0: study.PARTS, 1: study.PARTS}
    objective = start_here.objective_of(1)
    first, second = study.solution(1, STEPS), study.solution(101, STEPS)
    assert not torch.equal(first, second)
    for row in walks[walks.seed == 1].itertuples():
        theta = torch.lerp(first, second, row.part)
        assert row.loss == pytest.approx(objective.loss(theta), rel=1e-4)
        assert row.accuracy == row.right.mean() == pytest.approx(objective.evaluate(theta, "test").metric, abs=0.003)
    with pytest.raises(InputError, match="seeds must be at least one, each once"):
        study.measure(None, [1, 1], STEPS)


def test_the_first_network_is_the_one_that_the_notebook_prunes():
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]}
    names = {"workbench": workbench, "pruning": pruning, "objective": start_here.objective_of(0), "n_steps": STEPS}
    exec("from dataclasses import replace\n" + cells["mask"], names)
    assert torch.equal(names["trained"], study.solution(0, STEPS))


@pytest.mark.parametrize(
    ("share", "n", "steps", "verdict"),
    [(0.5, 5, 4000, "holds"), (0.97, 5, 4000, "fails"), (0.9, 5, 4000, "inconclusive"), (0.5, 4, 4000, "inconclusive"),
     (0.5, 5, 3999, "inconclusive")],
)  # fmt: skip
def test_the_verdict_can_fail(tmp_path, monkeypatch, share, n, steps, verdict):
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(tmp_path))
    images = start_here.digits()
    opened = workbench.Study("start_here", parameters={}, claims=start_here.CLAIMS, stages={"x": 1}, dataset=images)
    table = study.halves(made_up(share, n))
    assert table.halfway.item() == pytest.approx(share, abs=0.02)
    found = study.judge(opened, table, steps)
    assert (found.verdict, found.unit, found.n) == (verdict, "of the ends' accuracy", n)


def test_the_plane_holds_the_three_networks(plane):
    objective, networks, span, seen = plane
    for theta, at in zip(networks, span.at, strict=True):
        torch.testing.assert_close(span.origin + at.to(theta) @ span.directions.to(theta), theta, rtol=0, atol=1e-4)
        assert all(axis[0] < float(c) < axis[-1] for axis, c in zip(seen.axes, at, strict=True))
    for i, j in ((0, 0), (2, 5), (6, 3)):
        theta = span.origin + torch.tensor([seen.axes[0][i], seen.axes[1][j]]).to(span.directions) @ span.directions
        assert seen.loss[i, j] == pytest.approx(objective.loss(theta.float()), rel=1e-4)


def test_the_figure_draws_what_was_measured(plane, walks):
    _, _, span, seen = plane
    figure = study.draw(seen, span, walks)
    contour, networks, *ways, bar = figure.data
    assert np.array_equal(contour.customdata, seen.loss.T)  # plotly's rows are the second axis
    assert contour.z == pytest.approx(np.log10(seen.loss.T))
    assert np.column_stack([networks.x, networks.y]) == pytest.approx(span.at.numpy())
    assert [tuple(way.y) for way in ways] == [tuple(each.accuracy) for _, each in walks.groupby("seed")]
    ends = walks[walks.part.isin([0, 1])].accuracy.mean()
    assert bar.y[0] == pytest.approx(0.9 * ends)

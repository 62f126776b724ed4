"""What the examination's notebook calls: networks by name, sentences, figures, explorer, checks."""

import math
import sys
from pathlib import Path

import examine_checks
import examine_explorer
import examine_figures
import examine_meaning
import examine_networks
import pandas as pd
import pytest
import torch
from torch import nn

import workbench
from workbench.errors import InputError
from workbench.exercises import WrongAnswer
from workbench.measures import PARTS, Answer
from workbench.measures.asked import CHAINS

FUNCTION = """
import torch

def make():
    torch.manual_seed(3)
    x = torch.randn(200, 4)
    return torch.nn.Linear(4, 2), (x, (x[:, 0] > 0).long())

def bad():
    return 3

def named():
    return {"model": make()[0], "train": make()[1], "n_seeds": 2}
"""


@pytest.fixture(autouse=True)
def imports(monkeypatch):
    """Take back what a network's file leaves importable, or a later test in this process finds a module of its name."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("deep", "nets_of_a_user")]:
        del sys.modules[name]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FUNCTION)
    return path


def test_a_file_by_its_name(file, monkeypatch):
    before = torch.get_rng_state()
    given = examine_networks.read(f"{file}:make")
    assert isinstance(given["model"], nn.Linear)
    assert set(given) == {"model", "train"}
    assert examine_networks.read(f"{file}:named")["n_seeds"] == 2
    assert torch.equal(before, torch.get_rng_state())
    monkeypatch.chdir(file.parent)
    assert examine_networks.read("mine.py:make")["train"][0].shape == (200, 4)


@pytest.mark.parametrize("name", ["deep/mine.py:make", "deep.mine:make"])
def test_from_the_shells_folder_with_what_lies_there(name, tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "data.txt").write_text("7")
    text = (
        "from pathlib import Path\nimport {0}\nimport torch\ndef make():\n    n = int(Path('data.txt').read_text())\n"
    )
    text += "    return {0}.Net(n, 2), (torch.ones(3, n), torch.ones(3).long())\n"
    beside = "nets_of_a_user" if ".py" in name else "deep.nets_of_a_user"
    (tmp_path / "deep/mine.py").write_text(text.format(beside))
    (tmp_path / "deep/nets_of_a_user.py").write_text("from torch.nn import Linear as Net\n")
    monkeypatch.setenv("PWD", str(tmp_path))
    before = Path.cwd()
    assert examine_networks.read(name)["model"].in_features == 7
    assert Path.cwd() == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mnist", "network must be digits, module:function or file.py:function, got 'mnist'"),
        ("nowhere:make", "network nowhere:make must be a function that can be called, got ModuleNotFoundError"),
        ("nowhere.py:make", "network must name a file that is there, got 'nowhere.py'; give its path"),
        ("{file}:absent", "must be a function that can be called, got AttributeError"),
        ("{file}:bad", r"network must return \(model, train, test\) or a mapping of arguments, got 'int'"),
    ],
)
def test_what_is_no_network(file, name, said):
    with pytest.raises(InputError, match=said):
        examine_networks.read(name.format(file=file))


def table(*answers):
    return pd.DataFrame([("part", "item", *each) for each in answers], columns=["part", "item", *Answer._fields])


NEEDS, GOES = "d for 90 % of fresh networks' score", "density at one point less, {}, retrained"
# A number whose interval carries a sentence, one whose interval does not, and a word of the sentence.
CASES = {
    "needs": ([Answer(NEEDS, 50, 40, 60)], [Answer(NEEDS, 50, 0, 60)], "40 to 60 random directions: 4 to 6 % of"),
    "no end": ([Answer(NEEDS, 50, 40, 60)], [Answer(NEEDS, math.inf, 40, math.inf)], "random directions"),
    "no interval": ([Answer(NEEDS, 50, 40, 60)], [Answer(NEEDS, 50)], "random directions"),
    "goes": (
        [Answer(GOES.format("magnitude"), 0.2, 0.1, 0.3)],
        [Answer(GOES.format("magnitude"), 0.2, 0.1, 1.0)],
        "at least 70 % of the weights can go if the rest trains on for one point; 90 % cannot",
    ),
    "score": (
        [Answer(GOES.format("magnitude"), 0.3, 0.2, 0.4), Answer(GOES.format("fisher"), 0.1, 0.05, 0.15)],
        [Answer(GOES.format("magnitude"), 0.3, 0.2, 1.0), Answer(GOES.format("fisher"), 0.1, 0.05, 0.25)],
        "Fisher leaves fewer weights than magnitude",
    ),
    "speed": (
        [Answer("speed-up, at density 0.1", 1.5, 1.2, 1.8)],
        [Answer("speed-up, at density 0.1", 1.5, 0.9, 2.1)],
        "1.2 to 1.8 times as fast",
    ),
    "steep": (
        [Answer("eigenvalue 1", 4, 4, 4), Answer("trace", 20, 18, 22)],
        [Answer("eigenvalue 1", 4, 4, 4), Answer("trace", 20, -5, 45)],
        "One direction holds 18.2 to 22.2 % of all curvature",
    ),
    "wall": (
        [Answer("barrier of error, between two seeds", 0.3, 0.2, 0.4)],
        [Answer("barrier of error, between two seeds", 0.3, 0.01, 0.6)],
        "averaging them would fail",
    ),
    "basin": (
        [Answer("barrier of error, between two seeds", 0.0, -0.01, 0.01)],
        [Answer("barrier of error, between two seeds", 0.0, -0.03, 0.03)],
        "they share a basin",
    ),
    "degenerate": (
        [Answer("learning coefficient of the network", 30, 20, 40)],
        [Answer("learning coefficient of the network", 30, 20, 600)],
        "a model of 40 to 80 parameters, not of 1,000",
    ),
    "refused": (
        [Answer("learning coefficient of the network", 30, 20, 40)],
        [Answer("learning coefficient of the network", note="refused: R-hat 3")],
        "a model of",
    ),
    "pruned": (
        [Answer("d at density 1", 50, 45, 55), Answer("d at density 0.2", 20, 15, 25)],
        [Answer("d at density 1", 50, 45, 55), Answer("d at density 0.2", 40, 30, 50)],
        "Pruned to density 0.2, fresh networks need fewer dimensions",
    ),
    "retrained": (
        [
            Answer("barrier of error, dense to density 0.1", 0.2, 0.1, 0.3),
            Answer("barrier of error, dense to density 0.1 retrained", 0.0, 0.0, 0.01),
        ],
        [
            Answer("barrier of error, dense to density 0.1", 0.2, 0.1, 0.3),
            Answer("barrier of error, dense to density 0.1 retrained", 0.0, -0.2, 0.2),
        ],
        "it stays in the dense network's basin",
    ),
    "further": (
        [
            Answer("density at one point less, found in all of theta", 0.5, 0.4, 0.6),
            Answer("density at one point less, found in 30 dimensions", 0.8, 0.7, 0.9),
        ],
        [
            Answer("density at one point less, found in all of theta", 0.5, 0.4, 0.6),
            Answer("density at one point less, found in 30 dimensions", 0.8, 0.5, 1.1),
        ],
        "prunes less far",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_no_sentence_that_the_interval_does_not_carry(name):
    carried, not_carried, said = CASES[name]
    assert said in str(examine_meaning.sentences(table(*carried), 1000))
    assert said not in str(examine_meaning.sentences(table(*not_carried), 1000))


def test_every_sentence_names_a_study_that_is_there():
    folder = examine_networks.project_folder() / "notebooks"
    for study in examine_meaning.STUDIES.values():
        assert (folder / study).is_file(), study
    nothing = examine_meaning.sentences(table(), 10)
    assert str(nothing) == "No interval carries a sentence: more seeds, steps or test examples would."


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(120, 6)
    data = x, network(3 * x).argmax(1)
    recipe, out = workbench.Recipe(40, lr=0.02, batch_size=30), tmp_path_factory.mktemp("out")
    return workbench.examine(network, data, data, recipe=recipe, n_seeds=2, n_examples=60, out=out)


def test_figures_before_and_after_the_work(found):
    drawn = (
        examine_figures.needs,
        examine_figures.goes,
        examine_figures.shape,
        examine_figures.plane,
        examine_figures.crossings,
    )
    for draw in drawn:
        assert "Not measured" in draw(found).layout.title.subtitle.text
    found.run(["dimension", "spectrum", "barrier", "plane"])
    needs, _, shape, plane, _ = (draw(found) for draw in drawn)
    assert "Not measured" not in needs.layout.title.subtitle.text
    assert len(needs.data) == 6  # two levels, two seeds on both sides
    assert len(shape.data[1].x) == 11
    assert plane.data[0].z.shape == (21, 21)
    record = examine_meaning.record(found)
    assert record["D"] == 83
    assert {row["item"] for row in record["answers"]} == {"dimension", "spectrum", "barrier", "plane"}


PANELS = {  # the items of each panel
    "needs": (("dimension",), ("dimension",)),
    "goes": (("scores", "retraining"), ("saved",)),
    "shape": (("spectrum",), ("barrier",)),
    "plane": (("plane",),),
    "crossings": (("pruned_dimension",), ("inside",)),
}


@pytest.mark.parametrize("name", PANELS)
def test_an_empty_panel_says_why(name, found, monkeypatch):
    monkeypatch.setattr(found, "answers", {})
    monkeypatch.setattr(found, "details", {})
    reason = "takes about 1,234 s, more than the budget of 5; raise it, n_steps of the recipe of 3 in place of 40"
    monkeypatch.setattr(found, "refused", {PANELS[name][0][0]: f"{reason}: <none>"})
    notes = getattr(examine_figures, name)(found).layout.annotations
    assert len(notes) == len(PANELS[name])
    for note, items in zip(notes, PANELS[name], strict=True):
        told = note.text.split("<br><br>")
        for item, text in zip(items, told, strict=True):
            why = f"refused: {reason}: &lt;none&gt;" if item in found.refused else "not measured yet"
            assert text.replace("<br>", " ") == f"{item} {why}"
            assert max(map(len, text.replace("&lt;", "<").replace("&gt;", ">").split("<br>"))) <= 36
    assert len({(note.xref, note.yref) for note in notes}) == len(notes)


def test_labels_of_many_long_layers_do_not_run_into_the_other_panel(found, monkeypatch):
    names = [f"features.stage{i}.unit1.attention.lstm.x_amps.amp1.fc1.weight" for i in range(40)]
    monkeypatch.setattr(found, "details", {"saved": {"densities": dict.fromkeys(names, 0.5)}})
    figure = examine_figures.goes(found)
    axis, bars = figure.layout.yaxis2, figure.data[-1]
    assert len(axis.ticktext) == len(axis.tickvals) <= 15
    assert max(map(len, axis.ticktext)) <= 20
    assert [*bars.text] == names
    assert len(set(bars.y)) == 40
    assert examine_figures.short(["net.first.weight", "net.gain"]) == ["first", "gain"]
    assert examine_figures.short(["0.weight", "2.weight"]) == ["0", "2"]
    assert axis.ticktext[0] == "stage0.uni….amp1.fc1"


@pytest.mark.parametrize("values", [[16000, 29000], [5.0], [3, 4e5]])
def test_a_log_axis_has_three_ticks_or_more(values):
    axis = examine_figures._log(values)
    assert len(axis["tickvals"]) >= 3
    assert 10 ** axis["range"][0] < min(values) <= max(values) < 10 ** axis["range"][1]


def test_an_answer_without_a_finite_number_says_so(found, monkeypatch):
    monkeypatch.setattr(found, "details", {})
    monkeypatch.setattr(found, "answers", {"pruned_dimension": [Answer("d at density 1", math.inf)]})
    left, _ = examine_figures.crossings(found).layout.annotations
    assert left.text.replace("<br>", " ") == "pruned_dimension answered without a finite number"


def test_the_explorer_says_why_an_item_is_refused(found, monkeypatch):
    monkeypatch.setattr(found, "answers", {})
    plan = found.plan()
    plan.loc[plan["item"] == "plane", "refused"] = "takes about 9 s, more than the budget of 5; raise it"
    figure = examine_explorer.draw(examine_explorer.view(found, plan))
    for shown in figure.data:
        said = dict(zip(shown.y, shown.text, strict=True))
        assert said["plane"].endswith(" s<br>takes about 9 s, more than the<br>budget of 5; raise it")
        assert "<br>" not in said["spectrum"]


def test_the_explorer_does_parts_and_stops(found, monkeypatch):
    monkeypatch.setitem(CHAINS, "n_steps", 8)
    seen = []
    work = examine_explorer.work_of(found)
    last = work(lambda fraction, view: seen.append((fraction, view)), part="shape", n_steps=found.recipe.n_steps)
    states = dict(zip(last.items, last.states, strict=True))
    assert states["curvature"] == "answered"
    assert states["scores"] == "to do"
    assert last.said == "shape, 40 steps: all done"
    assert {len(examine_explorer.draw(view).data) for _, view in seen} == {2}
    assert any("at work" in view.states for _, view in seen)

    def stop(fraction, view):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(stop, part="needs", n_steps=20)
    figure = examine_explorer.explore(found, live=False)
    assert [*figure.data[0].y] == [item for items in PARTS.values() for item in items]


def test_checks_of_the_exercises(capsys):
    numbers = table(Answer(NEEDS, 50, 40, 60))
    examine_checks.check_share(0.05, numbers, 1000)
    with pytest.raises(WrongAnswer, match="divide it by D"):
        examine_checks.check_share(50, numbers, 1000)
    rows = [{"density": d, "score": s} for d, s in ((0.9, 0.95), (0.5, 0.945), (0.1, 0.7))]
    examine_checks.check_score(0.5, rows, 0.95)
    with pytest.raises(WrongAnswer, match="the sparsity"):
        examine_checks.check_score(0.8, [{"density": 0.2, "score": 0.95}], 0.95)
    examine_checks.check_score(1.0, [], 0.95)
    examine_checks.check_share(0.1, table(), 10)
    assert capsys.readouterr().out.count("was not measured here") == 2

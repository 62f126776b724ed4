"""Parameters are read without executing anything and checked before anything runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.schema import read_schema
from workbench.values import read_file

CELL = """\
from typing import Annotated, Literal
from annotated_types import Ge, Gt, Le, MinLen

dataset: Literal["digits", "mnist"] = "digits"  # the images
n_seeds: Annotated[int, Ge(1)] = 3  # replicates
learning_rate: Annotated[float, Gt(0), Le(1)] = 0.1
subspace_dims: list[Annotated[int, Ge(1)]] = [
    10,
    30,
]  # trainable directions
controls: list[str] = []  # none unless named
optional: Annotated[list[int], MinLen(0)] = [1]
shape: tuple[int, float] = (8, 0.5)
widths: tuple[int, ...] = (50, 100)
fraction: float | None = None
quick: bool = False
budget: Literal["auto"] | float = "auto"
text: str = ""
copy: int = 1
"""


def notebook(folder: Path, *cells: str, name: str = "demo") -> Path:
    path = folder / f"{name}.ipynb"
    tagged = [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": cell.splitlines(keepends=True)}
        for cell in cells
    ]
    path.write_text(json.dumps({"cells": tagged, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def schema(tmp_path):
    return read_schema(notebook(tmp_path, CELL))


def test_cell_is_read_whole(schema):
    assert schema.names[:4] == ("dataset", "n_seeds", "learning_rate", "subspace_dims")
    assert {p.name: p.help for p in schema.parameters if p.help} == {
        "dataset": "the images",
        "n_seeds": "replicates",
        "subspace_dims": "trainable directions",
        "controls": "none unless named",
    }
    assert {p.name: p.default for p in schema.parameters}["subspace_dims"] == [10, 30]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("learning_rate=1e-3", 0.001),
        ("learning_rate = 1", 1.0),
        ("quick=true", True),
        ("quick=False", False),
        ("subspace_dims=[10, 30]", [10, 30]),
        ("subspace_dims=10,30", [10, 30]),
        ("subspace_dims=10", [10]),
        ("controls=[]", []),
        ("controls=[permuted, 'a, b']", ["permuted", "a, b"]),
        ("controls=('f(x)', b)", ["f(x)", "b"]),
        ("optional=[]", []),
        ("shape=(4, 2)", (4, 2.0)),
        ("widths=1,2,3", (1, 2, 3)),
        ("fraction=none", None),
        ("fraction=0.5", 0.5),
        ("budget=auto", "auto"),
        ("budget=2e1", 20.0),
        ("dataset=mnist", "mnist"),
        ("text=1e-3 # all of it", "1e-3 # all of it"),
        ("text=none", "none"),
    ],
)
def test_text_is_read_by_declared_type(schema, text, value):
    (checked,) = schema.parse([text]).values()
    assert checked == value
    assert type(checked) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_sed=3", "n_sed must be a parameter of demo, got an unknown name; did you mean n_seeds"),
        ("zzz=3", "choose from dataset, n_seeds"),
        ("n_seeds", "-p must be name=value, got 'n_seeds'"),
        ("=3", "-p must be name=value, got '=3'"),
        (
            "n_seeds=banana",
            r"-p: n_seeds must be Annotated\[int, Ge\(1\)\], got 'banana'; input should be a valid integer",
        ),
        ("n_seeds=True", "got True; input should be a valid integer"),
        ("n_seeds=1.0", "got 1.0; input should be a valid integer"),
        ("n_seeds=1:30", "got '1:30'"),
        ("n_seeds=0", "greater than or equal to 1"),
        ("learning_rate=banana", "input should be a valid number"),
        ("quick=1", "input should be a valid boolean"),
        ("dataset=cifar", "input should be 'digits' or 'mnist'"),
        ("shape=1,2,3", "valid array|at most 2 items|not 3|shape must be"),
        ("subspace_dims=[1, b]", "input should be a valid integer"),
        ("subspace_dims=0,2", r"got \[0, 2\]; input should be greater than or equal to 1"),
        ("subspace_dims=-1,2", r"got \[-1, 2\]; input should be greater than or equal to 1"),
        ("subspace_dims=", r"got \[\]; list should have at least 1 item"),
        ("budget=soon", "input should be 'auto' or input should be a valid number"),
    ],
)
def test_text_that_cannot_be_read(schema, text, message):
    with pytest.raises(InputError, match=message):
        schema.parse([text])


def test_text_that_is_too_deep_is_refused(schema):
    with pytest.raises(InputError, match="got '"):
        schema.parse(["n_seeds=" + "[" * 999])


def test_what_list_imports_is_light():
    code = "import sys, workbench.runner.studies; print({'pydantic', 'annotated_types'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_a_parameter_given_twice(schema):
    with pytest.raises(InputError, match="must be given once"):
        schema.parse(["n_seeds=1", "n_seeds=2"])


@pytest.mark.parametrize(
    "given",
    [
        {"n_seeds": True},
        {"n_seeds": 0},
        {"n_seeds": 1.0},
        {"n_seeds": "3"},
        {"learning_rate": "banana"},
        {"learning_rate": 0},
        {"learning_rate": 1.1},
        {"learning_rate": True},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"subspace_dims": []},
        {"subspace_dims": [0]},
        {"subspace_dims": [True]},
        {"subspace_dims": 10},
        {"shape": [1]},
        {"quick": 1},
        {"quick": "true"},
        {"dataset": "Digits"},
        {"fraction": "x"},
    ],
)
def test_values_are_checked_strictly(schema, given):
    (name,) = given
    with pytest.raises(InputError, match=f"file: {name} must be .*, got "):
        schema.check(given, "file")


def test_int_is_taken_for_float_and_list_for_tuple(schema):
    checked = schema.check({"learning_rate": 1, "widths": [3], "controls": []}, "file")
    assert (checked["learning_rate"], checked["widths"]) == (1.0, (3,))


def test_unknown_name_in_a_file(schema):
    with pytest.raises(InputError, match=r"demo\.yml: learningrate must be a parameter .* did you mean learning_rate"):
        schema.check({"learningrate": 0.1}, "demo.yml")


@pytest.mark.parametrize("cells", [(), ("a: int = 1", "b: int = 2")])
def test_exactly_one_cell(tmp_path, cells):
    with pytest.raises(InputError, match=f"exactly one cell tagged parameters, got {len(cells)}"):
        read_schema(notebook(tmp_path, *cells))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("a = 1", "annotated assignment"),
        ("a: int", "annotated assignment"),
        ("a: int = 1\nprint(a)", "annotated assignment"),
        ("import os\na: int = 1", "annotated assignment"),
        ("x.y: int = 1", "annotated assignment"),
        ("a: int = 2 * 3", "must be a literal"),
        ("a: int = __import__('os').getpid()", "must be a literal"),
        ("a: dict[str, int] = {}", "must have a type out of"),
        ("a: Path = 'x'", "must have a type out of"),
        ("a: Annotated[int, Ge(open('x'))] = 1", "must be a literal"),
        ("a: Annotated[int, Ge('x')] = 1", "must have bounds out of"),
        ("a: Annotated[int, Multiple(2)] = 1", "must have bounds out of"),
        ("a: Annotated[int, Ge(1, 2)] = 1", "must have bounds out of"),
        ("a: Literal[b'x', 1.5] = 1", "must have a type out of"),
        ("a: tuple[..., int] = (1,)", "must have a type out of"),
        ("a: Annotated[str, Ge(1)] = 'x'", "defaults: a must be .* Unable to apply constraint"),
        ("a: Annotated[int, Le(7.5)] = 1", "defaults: a must be .* must be coercible to an integer"),
        ("a: int = 1.5", "defaults: a must be int, got 1.5"),
        ("a: Annotated[int, Ge(1)] = 0", "defaults: a must be"),
        ("a: int = 1\na: int = 2", "each parameter once"),
        ("# nothing", "at least one"),
        ("%matplotlib inline", "plain Python"),
        ("a: str = 'x\0'", "plain Python"),
        ("a: int = " + "(" * 9000, "plain Python"),
    ],
)
def test_cells_that_are_refused(tmp_path, cell, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        read_schema(notebook(tmp_path, cell))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"source": 3}]}', '{"cells": ' + "[" * 99_999],
)
def test_not_a_notebook(tmp_path, text):
    path = tmp_path / "x.ipynb"
    path.write_text(text)
    with pytest.raises(InputError, match="must be a notebook"):
        read_schema(path)


def test_yaml_numbers_are_numbers(tmp_path, schema):
    path = tmp_path / "p.yml"
    path.write_text("learning_rate: 1e-3\nsubspace_dims: [1, 2]\ndataset: mnist\nquick: true\n")
    assert schema.check(read_file(path), "p.yml")["learning_rate"] == 0.001


@pytest.mark.parametrize(
    "text", ["[1, 2]", "3: 4", "a: 1\na: 2", "a: [", "a: !!python/object/apply:os.getcwd []", "[" * 999]
)
def test_files_that_are_refused(tmp_path, text):
    path = tmp_path / "p.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"p\.yml must"):
        read_file(path)


def test_json_file(tmp_path):
    path = tmp_path / "p.json"
    path.write_text('{"a": [1, 2.5]}')
    assert read_file(path) == {"a": [1, 2.5]}

"""What a result depends on is found in the import statements, and nothing else changes its digest."""

import gc
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from workbench.errors import DataError
from workbench.sources import source_digest, source_files, versions


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(path):
    return {name for name in source_files(path) if not name.startswith("workbench")}


def package(path):
    return {name.removeprefix("workbench.") for name in source_files(path) if name.startswith("workbench.")}


def notebook(path, *cells):
    kinds = [{"cell_type": "code", "source": text.splitlines(keepends=True)} for text in cells]
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": ["import b"]}, *kinds]}))
    return path


def test_the_digest_follows_submodules_and_the_package(tmp_path, monkeypatch):
    (tmp_path / "folder" / "part").mkdir(parents=True)
    (tmp_path / "workbench").mkdir()
    files = ["folder/part/__init__.py", "folder/part/inner.py", "workbench/seeds.py", "workbench/__init__.py"]
    for name in files:
        (tmp_path / name).write_text("")
    monkeypatch.setattr("workbench.sources.__file__", str(tmp_path / "workbench" / "sources.py"))
    trial = tmp_path / "folder" / "trial.py"
    trial.write_text("from part import inner\nfrom workbench import seeds\n")
    digests = {source_digest(trial)}
    for n, name in enumerate(files):
        (tmp_path / name).write_text(f"X = {n}\n")
        digests.add(source_digest(trial))
    assert len(digests) == 4  # a further public name makes no result stale


def test_the_digest_ignores_where_the_files_lie_and_what_is_not_imported(tmp_path):
    for folder in (tmp_path / "here", tmp_path / "there"):
        write(folder, {"a.py": "import b\n", "b.py": "import numpy\n"})
    write(tmp_path / "there", {"c.py": "X = 1\n"})
    assert source_digest(tmp_path / "here" / "a.py") == source_digest(tmp_path / "there" / "a.py")


def test_relative_imports_and_the_packages_on_the_way_are_followed(tmp_path):
    files = {
        "lab/__init__.py": "",
        "lab/trials.py": "from . import near\nfrom .deep.down import f\nfrom ...beyond import g\n",
        "lab/near.py": "from lab.absolute import h\n",
        "lab/absolute.py": "",
        "lab/deep/__init__.py": "from ..up import k\n",
        "lab/deep/down.py": "",
        "lab/up.py": "def late():\n    import late\n",
        "late.py": "",
        "other.py": "",
    }
    write(tmp_path, files)
    found = source_files(tmp_path / "lab" / "trials.py")
    expected = {"lab", "lab.trials", "lab.near", "lab.absolute", "lab.deep", "lab.deep.down", "lab.up", "late"}
    assert set(found) == expected
    assert next(iter(found)) == "lab.trials"
    assert found["lab.deep"] == tmp_path / "lab" / "deep" / "__init__.py"


@pytest.mark.parametrize(
    "text",
    ["from workbench import train\n", "import workbench as wb\nwb.train()\n", "from workbench.training import train\n"],
)
def test_public_names_count_as_their_modules(tmp_path, text):
    write(tmp_path, {"trial.py": text})
    assert {"training", "errors"} <= package(tmp_path / "trial.py")


def test_a_notebook_is_its_code_cells_and_their_imports(tmp_path):
    write(tmp_path, {"a.py": "", "b.py": "", "c.py": "", "d.py": ""})
    cells = [
        "%matplotlib inline\n!ls\nimport a\nif a:\n  import d\n  %time a\n",
        "%%time\nimport b\n",
        "import (\n",
        "import c\n",
    ]
    path = notebook(tmp_path / "study.ipynb", *cells)
    assert names(path) == {"study.ipynb", "a", "b", "c", "d"}
    digest = source_digest(path)
    book = json.loads(path.read_text())
    book["cells"][0]["source"], book["metadata"] = ["# other words"], {"kernelspec": "other"}
    path.write_text(json.dumps(book))
    assert source_digest(path) == digest
    (tmp_path / "c.py").write_text("X = 1\n")
    assert source_digest(path) != digest


def test_a_notebook_and_the_module_of_its_name(tmp_path):
    write(tmp_path, {"study.py": "import a\n", "a.py": ""})
    path = notebook(tmp_path / "study.ipynb", "from study import CLAIMS\n")
    assert names(path) == {"study.ipynb", "study", "a"}
    digest = source_digest(path)
    (tmp_path / "study.py").write_text("import a\nX = 1\n")
    assert source_digest(path) != digest


def test_what_is_not_a_notebook_is_named(tmp_path):
    (tmp_path / "study.ipynb").write_text("{}")
    with pytest.raises(DataError, match=r"study\.ipynb must be a whole notebook, got .*; restore it"):
        source_digest(tmp_path / "study.ipynb")


def test_versions_need_no_import(monkeypatch):
    import numpy
    import torch

    assert versions() == [torch.__version__.partition("+")[0], numpy.__version__]


@pytest.fixture
def interrupted_parser():
    """Let collections hand over to another thread in the middle of a parse, as libraries' callbacks do."""

    def hand_over(*_):
        time.sleep(1e-4)

    gc.callbacks.append(hand_over)
    yield
    gc.callbacks.remove(hand_over)


@pytest.mark.usefixtures("interrupted_parser")
def test_threads_may_parse_at_once(tmp_path):
    write(tmp_path, {f"m{n}.py": f"x = {60 * '-'}1\n" * 100 for n in range(8)})
    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(source_digest, tmp_path.glob("*.py")))) == 8

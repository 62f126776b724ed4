"""The project as a whole: layers, pins, commands."""

import ast
import importlib.metadata
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted((ROOT / "workbench").rglob("*.py"))

# From the bottom up. A module imports from layers below its own; modules of one layer do not import one another.
LAYERS = (
    "errors",
    "files seeds sources values exercises",
    "records layout examples recipes checkpoints schema",
    "objective transforms models datasets",
    "training coordinates pruning probes",
    "statistics",
    "dimension procedures merging laws verdicts",
    "study sweeps measures",
    "index examine",
    "figures",
    "widgets",
    "runner",
    "__init__ __main__",
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer.split()}
# Each a subject's box of tools and its lines at most; all else is the engine that every study runs on.
TOOLKITS = {"pruning": 1000, "probes": 1600, "merging": 1000, "laws": 1090, "measures": 1000}
# Libraries with one home.
HOMES = {
    "plotly": "figures",
    "ipywidgets": "widgets",
    "papermill": "runner",
    "nbconvert": "runner",
    "nbclient": "runner",
    "distributed": "sweeps",
    "dask": "sweeps",
    "playwright": "tests",
    "bleach": "runner",
}


def family(path: Path) -> str:
    """Name the module or package directly under workbench that a file belongs to."""
    return path.relative_to(ROOT / "workbench").parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Return every dotted name a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down(path):
    own = family(path)
    assert own in RANK, f"place {own} in LAYERS"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "workbench":
            other = rest.partition(".")[0]
            if other in RANK and other != own:
                assert RANK[other] < RANK[own], f"{own} must not import {other}"
        assert HOMES.get(top, own) == own, f"{top} is imported in {HOMES.get(top)} only"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_stored_or_typed_is_ever_executed(path):
    assert not {"pickle", "marshal", "shelve", "dill", "cloudpickle"} & {name.split(".")[0] for name in imports(path)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert not (isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}), ast.unparse(node)
            for keyword in node.keywords:
                assert (keyword.arg, ast.unparse(keyword.value)) not in {("shell", "True"), ("weights_only", "False")}


def code_lines(path: Path) -> int:
    """Count a file's lines but blank ones, comments and docstrings, of which there cannot be too many."""
    text = path.read_text(encoding="utf-8")
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in quiet]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_the_package_stays_small():
    lines = Counter[str]()
    for path in SOURCES:
        lines[family(path) if family(path) in (*TOOLKITS, "examine") else "engine"] += code_lines(path)
    assert lines.pop("engine") < 6000
    assert len((ROOT / "workbench" / "examine.py").read_text(encoding="utf-8").splitlines()) < 200  # it only calls
    assert [name for name, limit in TOOLKITS.items() if lines[name] >= limit] == []
    assert not [path.name for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > 300]


def test_import_is_light():
    code = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"
    seconds: dict[str, list[float]] = {"workbench": [], "torch": []}
    for _ in range(3):
        for name, measured in seconds.items():
            done = subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True)
            measured.append(float(done.stdout))
    assert statistics.median(seconds["workbench"]) < 0.3 * statistics.median(seconds["torch"]), seconds


def pins() -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """Return what an installed package needs here, itself left out."""
    found = set()
    for text in importlib.metadata.requires(name) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found.add(canonical(requirement.name))
    return found - {canonical(name)}  # an extra may name the project's other extras


def test_constraints_pin_everything_installed():
    wanted, seen = requirements("workbench", tuple(PROJECT["optional-dependencies"])), set()
    while wanted - seen:
        name = (wanted - seen).pop()
        seen.add(name)
        try:
            wanted |= requirements(name)
        except importlib.metadata.PackageNotFoundError:
            wanted.discard(name)  # an extra that is not installed here
    # torch's CUDA build brings what its CPU build does not have; setuptools comes with the interpreter.
    loose = {name for name in wanted - set(pins()) if not name.startswith(("nvidia-", "cuda-", "triton"))}
    assert not loose - {"setuptools", "pip"}
    for name in wanted & set(pins()):
        assert importlib.metadata.version(name).partition("+")[0] == pins()[name], name


def test_constraints_resolve_on_any_machine():
    assert pins()["torch"] == "2.13.0"
    assert not [name for name, version in pins().items() if "+" in version or not version or name.startswith("nvidia")]


def test_constraints_obey_pyproject():
    texts = PROJECT["dependencies"] + [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
    for text in texts:
        requirement = Requirement(text)
        name = canonical(requirement.name)
        if name == PROJECT["name"]:
            assert requirement.extras <= set(PROJECT["optional-dependencies"])
            continue
        assert name in pins(), f"{name} has no pin"
        assert requirement.specifier.contains(pins()[name]), text


def test_conda_environment_holds_python_pip_and_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, project = environment["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    assert pip == "pip"
    assert project == {"pip": ["-c constraints.txt", "-e .[test]"]}
    assert "test" in PROJECT["optional-dependencies"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is a convenience")
def test_readme_says_what_make_does():
    ours = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "EXTRAS", "STUDY", "PROFILE", "PYTHON", "ARGS")  # of a make outside
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    make = ["make", "-nB", "run", "test"]
    done = subprocess.run(make, cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    made = [line.strip() for line in done.stdout.splitlines() if ' -c "import' not in line and "make[" not in line]
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert made in [block.strip().splitlines() for block in blocks]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is a convenience")
def test_make_installs_extras_that_were_not_there_yet():
    done = subprocess.run(["make", "-n", "test", "EXTRAS=cluster,test"], cwd=ROOT, capture_output=True, text=True)
    assert "-e '.[cluster,test]'" in done.stdout


def test_a_script_beside_the_clone_finds_the_package(tmp_path):
    (tmp_path / "workbench").mkdir()  # as the clone's folder is called
    done = subprocess.run([sys.executable, "-c", "import workbench; workbench.Recipe"], cwd=tmp_path)
    assert done.returncode == 0


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
def test_readme_examples_run(tmp_path, block):
    (tmp_path / "example.py").write_text(block)
    done = subprocess.run([sys.executable, tmp_path / "example.py"], capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) > 0.7  # accuracy, last; chance is 0.5 or less


def test_torch_build_for_those_without_a_gpu_is_the_pinned_one():
    line = f"torch=={pins()['torch']} --index-url https://download.pytorch.org/whl/cpu"
    assert line in (ROOT / "README.md").read_text()

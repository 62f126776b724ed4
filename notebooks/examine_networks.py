"""Networks to examine: the built-in one, and any that a function somewhere returns."""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import workbench
from workbench.errors import InputError, reading, require
from workbench.records import project_folder

WIDTHS = (64, 24, 10)
_ENTRIES = ("model", "train", "test")


def digits() -> dict[str, Any]:
    """Train a small perceptron on scikit-learn's digits; return it with its data and where it went on the way."""
    data = workbench.load("digits", flatten=True)
    objective = workbench.Supervised(workbench.mlp(WIDTHS), data.train, data.validation, data.test)
    whole, recipe = workbench.Full(objective.theta_0), workbench.Recipe(1500, batch_size=64)
    history = workbench.train(objective, whole, recipe, 0, keep_steps=(0, 50, 150, 400, 900))
    states = [objective.module_at(each.phi).state_dict() for each in history.kept.values()]
    found = {"model": objective.module_at(history.phi), "train": data.train, "test": data.test}
    return found | {"trajectory": states}


def read(name: str) -> dict[str, Any]:
    """Return what to hand to ``workbench.examine``.

    Args:
        name: ``"digits"``, or ``"package.module:function"``, or ``"file.py:function"`` with a path from the folder that
            you are in, the notebook's or the project. What it imports may lie beside it. The function is called in that
            folder: naming it executes its code, with your rights. It returns ``(model, train, test)``, the last of
            which may be missing, or a mapping of arguments.

    Returns:
        Arguments by name.

    Raises:
        InputError: If there is no such function, or it returns something else.
    """
    if name == "digits":
        return digits()
    place, colon, function = name.rpartition(":")
    require(bool(place and colon and function), "network", "must be digits, module:function or file.py:function", name)
    here = Path(os.environ.get("PWD", "."))  # a run's kernel works in the notebook's folder, its user elsewhere
    home = next((folder for folder in (here, Path(), project_folder()) if (folder / place).is_file()), here)
    remedy = "give its path from the folder you are in, or its whole path"
    is_there = not place.endswith(".py") or (home / place).is_file()
    require(is_there, "network", "must name a file that is there", place, remedy)
    rule = f"network {name} must be a function that can be called"
    with torch.random.fork_rng(), reading(rule, kind=InputError), contextlib.chdir(home):
        found = getattr(_module(place), function)()
    if isinstance(found, Mapping):
        given = dict(found)
    else:
        pair = isinstance(found, tuple | list) and 2 <= len(found) <= len(_ENTRIES)
        require(pair, "network", "must return (model, train, test) or a mapping of arguments", type(found).__name__)
        given = dict(zip(_ENTRIES, found, strict=False))
    require({"model", "train"} <= given.keys(), "network", "must return model and train", sorted(given))
    return given


def _module(place: str) -> Any:
    """Import a module by its dotted name or its file, and what it imports from beside it or from this folder."""
    file = Path(place).resolve() if place.endswith(".py") else None
    beside = str(file.parent if file else Path.cwd())
    if beside not in sys.path:
        sys.path.append(beside)
    if file is None:
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(f"examined_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

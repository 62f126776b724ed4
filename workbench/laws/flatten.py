"""Tables whose authors keep them in many JSON files: each fetched and verified by its content, then all made one."""

import csv
import io
import json
import shutil
import zlib
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from workbench.datasets.downloads import fetch, from_mirrors, read
from workbench.datasets.sources import Part, Source
from workbench.files import atomic
from workbench.laws.tables import Origin
from workbench.values import read_file

_MIRRORS = ("https://raw.githubusercontent.com/{}/{}/{}", "https://cdn.jsdelivr.net/gh/{}@{}/{}")
_MOST = 1 << 24  # bytes of a file that are read: the longest has 3.4 million, and what is cut is no JSON
_INTERVALS = [f"loss_{what}_{side}_95" for what in ("tokens", "sequences") for side in ("lower", "upper")]
_SETTINGS = ["warmup", "lr", "wd", "cd", "global_bs", "seed"]
_SIZES = ["model", "params", "params_no_embed", "tokens", "chinchilla_multiplier", "token_multiplier"]
_LOSSES = ["name", "dataset", *_SIZES, *_SETTINGS, "val_data", "loss", *_INTERVALS]
_SCORES = ["rw_small_centered", "95%_CI_above_centered", "99%_CI_above_centered", "low_variance_datasets_centered"]


def pieces(name: str, origin: Origin) -> list[Source]:
    """Return the files that a table is made of, in its order, with length and SHA-256 of what each one gives to it."""
    found = []
    for stem, (size, digest) in read_file(Path(__file__).parents[1] / "datasets" / "pieces.yml")[name].items():
        path = origin.flattened.replace("*", stem)
        urls = tuple(mirror.format(origin.repository, origin.commit, path) for mirror in _MIRRORS)
        found.append(Source(PurePosixPath(path).name, (Part(f"flattened {path}", size, digest),), urls))
    return found


def flatten(name: str, origin: Origin, source: Source, part: Path, target: Path) -> None:
    """Fill ``part`` with a table made of its authors' files, which lie beside ``target`` until that is done.

    Those that an earlier call has fetched are not fetched again. Of each, at most 16 MiB are read, as JSON.
    """
    folder = target.parent / f"{target.name}.files"
    unpack = partial(_unpack, name)
    found: dict[str, list[np.ndarray]] = {}
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        for file in bar.track(pieces(name, origin), description=source.file):
            path = fetch(file, folder, lambda one, begun, _: from_mirrors(one, begun, target, unpack))
            for key, values in read(file, path, "delete it, and it will be downloaded anew", unpack).items():
                found.setdefault(key, []).append(values)
    with atomic(part) as temporary, temporary.open("wb") as whole:
        if shapes := origin.arrays.items():  # of what each file says alike, as much as the shape holds
            arrays = {key: np.resize(np.concatenate(found[key]), shape).astype(kind) for key, (kind, shape) in shapes}
            np.savez_compressed(whole, **arrays)  # type: ignore[arg-type]
        else:
            first, *rest = (text.tobytes() for text in found["text"])
            whole.write(b"".join([first, *(text.partition(b"\n")[2] for text in rest)]))  # one header
    read(source, part, f"name in WORKBENCH_DATA a folder with {target.parent.name}/{target.name}")
    shutil.rmtree(folder)


def _unpack(name: str, source: Source, path: Path) -> dict[str, np.ndarray]:
    """Read one file, flattened, and all its bytes under the name of its part; it may lie compressed, as it came."""
    with path.open("rb") as file:
        content = file.read(_MOST)
    if content.startswith(b"\x1f\x8b"):
        content = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, _MOST)
    values = {key: np.ravel(value) for key, value in _FLATTEN[name](source.file, json.loads(content)).items()}
    joined = np.frombuffer(b"".join(value.tobytes() for value in values.values()), np.uint8)
    return values | {source.parts[0].name: joined}


def _losses(file: str, model: dict[str, Any]) -> dict[str, np.ndarray]:
    """Give a row to each set that a model was evaluated on."""
    shared = model["hyperparameters"] | {"name": model["name"], "dataset": model["dataset_name"]}
    shared["token_multiplier"] = 20 * shared["chinchilla_multiplier"]
    shared |= {key: float(shared[key]) for key in shared.keys() & {"chinchilla_multiplier", "token_multiplier", "seed"}}
    return _text(_LOSSES, [result | shared | {"val_data": result["val_data"][0]} for result in model["results"]])


def _downstream(file: str, model: dict[str, Any]) -> dict[str, np.ndarray]:
    """Give a row to a model, with its accuracy on each task."""
    name = file.removeprefix("evaluation_").removesuffix("_heavy.json")
    tasks = {f"icl/{task}": float(accuracy) for task, accuracy in model["eval_metrics"]["icl"].items()}
    row = model | {"file": file, "eval_name": model["name"], "name": name} | tasks
    return _text(["file", "eval_name", "model", "name", *tasks, *_SCORES], [row])


def _text(columns: list[str], rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Write a small table as CSV, each number in as few digits as tell it from all others."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return {"text": np.frombuffer(text.getvalue().encode(), np.uint8)}


def _lcdb(file: str, content: Any) -> dict[str, np.ndarray]:
    """Take error rates in ten thousandths, 65535 where missing; or the labels, from two files of their own."""
    if file == "names.json":
        return {"dataset_names": np.array([*content.values()])}
    if file == "meta.json":
        content["splits"] = content["tvt_labels"]
        return {key: np.array(content[key]) for key in ("dataset_ids", "learners", "anchors", "splits")}
    rates = np.array(content, float)
    return {"err_e4": np.where(np.isnan(rates), np.iinfo("u2").max, np.rint(rates * 1e4)).astype("<u2")}


def _taskset(file: str, runs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Take the curves in single precision, NaN after the end of one, and with what each was run."""
    hp = pd.DataFrame([run["hp"] for run in runs])
    found = {"tasks": np.array([file.removesuffix(".json")]), "hp_names": np.array([*hp]), "hp": hp.to_numpy("<f8")}
    for split in ("train", "valid", "test"):
        points = zip_longest(*(run[split]["loss"] for run in runs), fillvalue=np.nan)
        found[f"{split}_loss"] = np.array([*points], "<f4").T
    return found


_FLATTEN: dict[str, Callable[[str, Any], dict[str, np.ndarray]]] = {
    "mlfoundations_scaling": _losses,
    "mlfoundations_downstream": _downstream,
    "lcdb11": _lcdb,
    "taskset_dpl": _taskset,
}

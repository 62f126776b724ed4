"""Tables made of many JSON files: a small repository on this machine; and the real ones, taken apart and made again."""

import csv
import dataclasses
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from tests.serving import Server, serving
from workbench.datasets.downloads import contents, fetch, read
from workbench.datasets.sources import PLACES, Part, Place, Source
from workbench.errors import DataError
from workbench.laws import flatten as module
from workbench.laws.flatten import flatten, pieces
from workbench.laws.tables import ORIGINS, table

FLATTENED = [name for name, origin in ORIGINS.items() if origin.flattened]
published = pytest.mark.skipif(
    not os.environ.get("WORKBENCH_DATA"), reason="set WORKBENCH_DATA to a folder with the tables"
)


def model(name: str, loss: float, **settings: object) -> dict[str, Any]:
    hyper = {"model": "m.json", "tokens": 200, "warmup": 5, "lr": 0.003, "wd": 0.033, "cd": 3e-05, "global_bs": 2}
    hyper |= {"acc": 1, "params": 10, "params_no_embed": 8, "chinchilla_multiplier": 0.5, **settings}
    results = [
        {"loss": loss + k, "data_time": 0.1, "loss_sequences_lower_95": 1 / 3, "loss_sequences_upper_95": 7.25}
        | {"loss_tokens_lower_95": 2.5, "loss_tokens_upper_95": 1e-07, "tokens": 99, "model": "m"}
        | {"val_data": [f"training/eval_data/{at}/1.tar"]}
        for k, at in enumerate(("c4_val", "val_tok_mult/paloma_ptb"))
    ]
    return {"name": name, "dataset_name": "c4", "hyperparameters": hyper, "results": results, "uuid": "u"}


def evaluation(extra: dict[str, float]) -> dict[str, Any]:
    tasks = {"icl": {"boolq": 0.5, "copa": 1}}
    return {"name": "/eval/heavy", "uuid": "u", "model": "m", "eval_metrics": tasks} | extra


def run(rate: float, *losses: float) -> dict[str, Any]:
    return {"hp": {"learning_rate": rate, "beta1": 0.9}} | {
        split: {"loss": [k + loss for loss in losses]} for k, split in enumerate(("train", "valid", "test"))
    }


SCORES = "rw_small_centered,95%_CI_above_centered,99%_CI_above_centered,low_variance_datasets_centered"
LOSSES = """name,dataset,model,params,params_no_embed,tokens,chinchilla_multiplier,token_multiplier,warmup,lr,wd,cd,\
global_bs,seed,val_data,loss,loss_tokens_lower_95,loss_tokens_upper_95,loss_sequences_lower_95,loss_sequences_upper_95
c4-a=1,c4,m.json,10,8,200,0.5,10.0,5,0.003,0.033,3e-05,2,,training/eval_data/c4_val/1.tar,\
3.5,2.5,1e-07,0.3333333333333333,7.25
c4-a=1,c4,m.json,10,8,200,0.5,10.0,5,0.003,0.033,3e-05,2,,training/eval_data/val_tok_mult/paloma_ptb/1.tar,\
4.5,2.5,1e-07,0.3333333333333333,7.25
c4-b=2,c4,m.json,10,8,200,1.0,20.0,5,0.003,0.033,3e-05,2,124.0,training/eval_data/c4_val/1.tar,\
2.25,2.5,1e-07,0.3333333333333333,7.25
c4-b=2,c4,m.json,10,8,200,1.0,20.0,5,0.003,0.033,3e-05,2,124.0,training/eval_data/val_tok_mult/paloma_ptb/1.tar,\
3.25,2.5,1e-07,0.3333333333333333,7.25
"""
DOWNSTREAM = f"""file,eval_name,model,name,icl/boolq,icl/copa,{SCORES}
evaluation_a_heavy.json,/eval/heavy,m,a,0.5,1.0,,,,
evaluation_b_heavy.json,/eval/heavy,m,b,0.5,1.0,0.125,0.25,0.5,0.75
"""
LCDB = {
    "err_e4": np.array([[0, 1549], [65535, 65535], [3, 10000], [29, 5700]], "<u2").reshape(2, 2, 2, 1, 1),
    "dataset_ids": np.array([7, 9], "<i8"),
    "dataset_names": np.array(["kr-vs-kp", "letter"], "<U8"),
    "learners": np.array(["SVM", "KNN"], "<U3"),
    "anchors": np.array([16], "<i8"),
    "splits": np.array(["train"], "<U5"),
}
TASKSET = {
    "tasks": np.array(["imdb", "other"], "<U5"),
    "hp_names": np.array(["learning_rate", "beta1"], "<U13"),
    "hp": np.array([[[0.1, 0.9], [1e-8, 0.9]], [[0.3, 0.9], [0.4, 0.9]]], "<f8"),
    "train_loss": np.array([[[1.1, 2.2], [3.3, np.nan]], [[4, 5], [6, np.nan]]], "<f4"),
    "valid_loss": np.array([[[2.1, 3.2], [4.3, np.nan]], [[5, 6], [7, np.nan]]], "<f4"),
    "test_loss": np.array([[[3.1, 4.2], [5.3, np.nan]], [[6, 7], [8, np.nan]]], "<f4"),
}
MADE: dict[str, Any] = {
    "mlfoundations_scaling": LOSSES,
    "mlfoundations_downstream": DOWNSTREAM,
    "lcdb11": LCDB,
    "taskset_dpl": TASKSET,
}
OF: dict[str, dict[str, Any]] = {
    "mlfoundations_scaling": {
        "c4-a=1": model("c4-a=1", 3.5),
        "c4-b=2": model("c4-b=2", 2.25, chinchilla_multiplier=1, seed=124),
    },
    "mlfoundations_downstream": {
        "a": evaluation({}),
        "b": evaluation(dict(zip(SCORES.split(","), (0.125, 0.25, 0.5, 0.75), strict=True))),
    },
    "lcdb11": {
        "meta": {"learners": ["SVM", "KNN"], "dataset_ids": [7, 9], "anchors": [16], "tvt_labels": ["train"]},
        "names": {"7": "kr-vs-kp", "9": "letter"},
        "er/7": [[[[0.0]], [[0.1549]]], [[[None]], [[None]]]],
        "er/9": [[[[0.0003]], [[1.0]]], [[[0.0029]], [[0.57]]]],
    },
    "taskset_dpl": {"imdb": [run(0.1, 1.1, 2.2), run(1e-8, 3.3)], "other": [run(0.3, 4, 5), run(0.4, 6, np.nan)]},
}


def part_of(name: str, data: bytes) -> Part:
    return Part(name, len(data), hashlib.sha256(data).hexdigest())


def gives(name: str) -> dict[str, bytes]:
    """What each file gives to a small table, read off the table."""
    if name == "lcdb11":
        meta = b"".join(LCDB[key].tobytes() for key in ("dataset_ids", "learners", "anchors", "splits"))
        rates = {f"er/{7 + 2 * k}": LCDB["err_e4"][k].tobytes() for k in range(2)}
        return {"meta": meta, "names": LCDB["dataset_names"].tobytes(), **rates}
    if name == "taskset_dpl":
        own = [TASKSET[key] for key in ("hp", "train_loss", "valid_loss", "test_loss")]
        return {
            task: b"".join([np.array([task]).tobytes(), TASKSET["hp_names"].tobytes(), *(x[k].tobytes() for x in own)])
            for k, task in enumerate(("imdb", "other"))
        }
    header, *rows = MADE[name].splitlines(keepends=True)
    each = len(rows) // 2
    return {stem: "".join([header, *rows[k * each :][:each]]).encode() for k, stem in enumerate(OF[name])}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """An empty cache, no data folder, and small tables in the place of the real ones."""
    monkeypatch.setenv("WORKBENCH_DATA", "")
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    listed = {
        name: {stem: [len(data), hashlib.sha256(data).hexdigest()] for stem, data in gives(name).items()}
        for name in FLATTENED
    }
    monkeypatch.setattr(module, "read_file", lambda path: listed)
    for name, made in MADE.items():
        ((folder, (source,)),) = PLACES[name]
        arrays = {} if isinstance(made, str) else made
        parts = [part_of(key, data.tobytes()) for key, data in arrays.items()] or [part_of(source.file, made.encode())]
        monkeypatch.setitem(PLACES, name, (Place(folder, (Source(source.file, tuple(parts)),)),))
        held = {key: (data.dtype.str, data.shape) for key, data in arrays.items()}
        monkeypatch.setitem(ORIGINS, name, dataclasses.replace(ORIGINS[name], arrays=held))
    with serving(monkeypatch) as state:
        monkeypatch.setattr(module, "_MIRRORS", (state.url + "{}/{}/{}",))
        yield state


def put(server: Server, name: str, pack: Callable[[bytes], bytes] = bytes) -> list[str]:
    """Serve the files that a small table is made of; return their paths."""
    origin = ORIGINS[name]
    paths = [f"/{origin.repository}/{origin.commit}/{origin.flattened.replace('*', stem)}" for stem in OF[name]]
    for path, document in zip(paths, OF[name].values(), strict=True):
        server.add(path, pack(json.dumps(document).encode()))
    return paths


def made(name: str) -> Any:
    """What the cache holds of a table: text, or arrays."""
    folder, (source,) = PLACES[name][0]
    path = Path(os.environ["WORKBENCH_CACHE"], folder, source.file)
    if not source.file.endswith(".npz"):
        return path.read_text(encoding="utf-8")
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "compressed"])
@pytest.mark.parametrize("name", FLATTENED)
def test_a_table_is_made_of_its_files_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, pack: Callable[[bytes], bytes]
) -> None:
    paths = put(server, name, pack)
    first = table(name)  # type: ignore[call-overload]
    if isinstance(MADE[name], str):
        assert made(name) == MADE[name]
    else:
        np.testing.assert_equal(made(name), MADE[name])
        assert {key: data.dtype for key, data in made(name).items()} == {k: v.dtype for k, v in MADE[name].items()}
    bar = capsys.readouterr().err
    assert f"{len(paths)}/{len(paths)}" in bar
    assert "json" not in bar, "one bar for all files"
    again = table(name)  # type: ignore[call-overload]
    assert all(np.array_equal(again[key], first[key], equal_nan=first[key].dtype.kind == "f") for key in dict(first))
    assert server.paths == paths, "each once, in the table's order"
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and path.name.endswith(".files")]


def test_a_cut_connection_is_resumed(server: Server) -> None:
    *_, path, last = paths = put(server, "lcdb11")
    server.faults[path] = "cut 30"
    table("lcdb11")
    assert server.paths == [*paths[:-1], path, last]
    assert server.ranges == [None] * 3 + ["bytes=30-", None]


def test_files_already_fetched_are_kept(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = put(server, "lcdb11")

    def killed(source: Source, folder: Path, get: Any) -> Path:
        if source.file == "9.json":
            raise KeyboardInterrupt
        return fetch(source, folder, get)

    monkeypatch.setattr(module, "fetch", killed)
    with pytest.raises(KeyboardInterrupt):
        table("lcdb11")
    assert server.paths == paths[:-1]
    monkeypatch.setattr(module, "fetch", fetch)
    assert table("lcdb11")["dataset_names"].tolist() == ["kr-vs-kp", "letter"]
    assert server.paths == paths


def test_a_missing_file_is_named_with_what_to_do(server: Server, tmp_path: Path) -> None:
    path = put(server, "lcdb11")[-1]
    body = server.bodies.pop(path)
    whole = tmp_path / "lcdb11" / "lcdb11_error_rates.npz"
    wanted = rf"^9\.json could not be downloaded: \S*{path} \(HTTPError: .*404.*\)\. Call again to go on "
    wanted += rf"where it stopped, put {whole} there by hand, or name in WORKBENCH_DATA a folder with "
    wanted += r"lcdb11/lcdb11_error_rates\.npz$"
    with pytest.raises(DataError, match=wanted):
        table("lcdb11")
    server.add(path, body)
    table("lcdb11")
    assert server.paths[-1] == path
    assert len(server.paths) == 6, "four, and the missing one twice in vain"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda body: body.replace(b"0.57", b"0.58"), r"\(8 bytes, SHA-256 \w+\), got flattened docs/data/er/9\.json"),
        (lambda body: body.replace(b"[0.57]", b"[]"), "truncated or damaged"),
        (lambda body: body[:-1], "truncated or damaged, got JSONDecodeError"),
        (lambda body: b"<html>Please log in</html>", "truncated or damaged"),
        (lambda body: gzip.compress(body)[:-20], "truncated or damaged"),
        (lambda body: body + b" " * 2000 + b"1", "truncated or damaged"),
    ],
    ids=["altered", "ragged", "short", "html", "cut gzip", "long"],
)
def test_a_changed_file_is_refused_by_name(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    path = put(server, "lcdb11")[-1]
    body = server.bodies[path]
    server.bodies[path] = spoil(body)
    with pytest.raises(DataError, match=rf"9\.json\.part must hold flattened docs/data/er/9\.json.*{reason}"):
        table("lcdb11")
    kept = [found.name for found in tmp_path.rglob("*.json*") if found.stat().st_size]
    assert sorted(kept) == ["7.json", "meta.json", "names.json"]
    server.bodies[path] = body
    table("lcdb11")


def test_no_more_is_read_of_a_file_than_may_be_long(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    put(server, "lcdb11", lambda body: gzip.compress(body + b" " * 3000))
    monkeypatch.setattr(module, "_MOST", 2000)
    table("lcdb11")  # what is cut off is blank
    monkeypatch.setattr(module, "_MOST", 20)
    (Path(os.environ["WORKBENCH_CACHE"]) / "lcdb11" / "lcdb11_error_rates.npz").unlink()
    with pytest.raises(DataError, match=r"meta\.json.*truncated or damaged"):
        table("lcdb11")


def test_a_fetched_file_that_was_altered_since_is_named(server: Server, tmp_path: Path) -> None:
    put(server, "lcdb11")
    fetched = tmp_path / "lcdb11" / "lcdb11_error_rates.npz.files" / "7.json"
    fetched.parent.mkdir(parents=True)
    fetched.write_text(json.dumps(OF["lcdb11"]["er/9"]))
    with pytest.raises(DataError, match=rf"^{fetched} must hold flattened .*er/7\.json.*; delete it, and it will be"):
        table("lcdb11")


def test_a_table_of_other_files_gets_no_name(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(server, "lcdb11")
    listed = module.read_file(tmp_path)["lcdb11"]
    monkeypatch.setattr(module, "read_file", lambda path: {"lcdb11": dict(reversed(listed.items()))})
    with pytest.raises(DataError, match=r"must hold err_e4 \(16 bytes, SHA-256 \w+\), got err_e4 .*; name in WORKB"):
        table("lcdb11")
    assert not (tmp_path / "lcdb11" / "lcdb11_error_rates.npz").exists()


@pytest.mark.parametrize("name", FLATTENED)
def test_the_files_of_the_real_tables(name: str) -> None:
    found = pieces(name, ORIGINS[name])
    count = {"lcdb11": 265 + 2, "taskset_dpl": 12}.get(name, 104)
    assert len({source.file for source in found}) == len(found) == count
    for source in found:
        (part,) = source.parts
        raw, mirror = source.urls
        path = part.name.removeprefix("flattened ")
        at = ORIGINS[name].repository, ORIGINS[name].commit
        assert (raw, mirror) == (
            "https://raw.githubusercontent.com/{}/{}/{}".format(*at, path),
            "https://cdn.jsdelivr.net/gh/{}@{}/{}".format(*at, path),
        )
        assert PurePosixPath(path).match(ORIGINS[name].flattened.replace("docs/data/", "**/"))
        assert len(bytes.fromhex(part.sha256)) == 32


def taken_apart(name: str, path: Path) -> Iterator[tuple[str, Any]]:
    """What the authors' files hold of a real table, by file name."""
    if name == "mlfoundations_scaling":
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file)]
        for first in rows[::8]:
            own = {key: value for key, value in first.items() if value != "" and not key.startswith("loss")}
            results = [row | {"val_data": [row["val_data"]]} for row in rows if row["name"] == first["name"]]
            del own["token_multiplier"]
            whole = {"name": own["name"], "dataset_name": own["dataset"], "hyperparameters": own, "results": results}
            yield f"{own['name']}.json", whole
    elif name == "mlfoundations_downstream":
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                scores = {key: _number(value) for key, value in row.items() if value and key in SCORES}
                tasks = {key[4:]: _number(value) for key, value in row.items() if key.startswith("icl/")}
                whole = {"name": row["eval_name"], "model": row["model"], "eval_metrics": {"icl": tasks}}
                yield row["file"], whole | scores
    elif name == "lcdb11":
        with np.load(path) as arrays:
            held = {key: arrays[key].tolist() for key in ORIGINS[name].arrays if key != "err_e4"}
            yield "meta.json", held | {"tvt_labels": held["splits"]}
            yield "names.json", dict(zip(map(str, held["dataset_ids"]), held["dataset_names"], strict=True))
            for key, rates in zip(held["dataset_ids"], arrays["err_e4"], strict=True):
                values = (rates / 1e4).astype(object)
                values[rates == 65535] = None
                yield f"{key}.json", values.tolist()
    else:
        with np.load(path) as arrays:
            held = {key: arrays[key] for key in ORIGINS[name].arrays}
        for k, task in enumerate(held["tasks"]):
            hp = [dict(zip(held["hp_names"].tolist(), row, strict=True)) for row in held["hp"][k].tolist()]
            curves = [[{"loss": loss} for loss in held[f"{at}_loss"][k].tolist()] for at in ("train", "valid", "test")]
            runs = zip(hp, *curves, strict=True)
            yield f"{task}.json", [{"hp": own, "train": a, "valid": b, "test": c} for own, a, b, c in runs]


def _number(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


@published
@pytest.mark.parametrize("name", FLATTENED)
def test_a_real_table_taken_apart_is_made_again(name: str, tmp_path: Path) -> None:
    folder, (source,) = PLACES[name][0]
    files = tmp_path / f"{source.file}.files"
    files.mkdir()
    for file, document in taken_apart(name, Path(os.environ["WORKBENCH_DATA"], folder, source.file)):
        (files / file).write_text(json.dumps(document))
    again = fetch(source, tmp_path, partial(flatten, name, ORIGINS[name]))
    assert {key: data.tobytes() for key, data in read(source, again, "").items()} == {
        key: data.tobytes() for key, data in contents(name).items()
    }
    assert not files.exists()

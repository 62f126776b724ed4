"""Tables of runs: small stand-ins from a folder and a server on this machine; the published ones where they lie."""

import dataclasses
import hashlib
import http.server
import io
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from workbench.datasets.sources import PLACES, Part, Place, Source
from workbench.errors import DataError, InputError
from workbench.laws.tables import ORIGINS, table

STEPLAW = """h,ffnh,numh,numl,lr,bs,ti,loss,smooth loss,exp_name,D,N,D/N
960,9368,15,7,0.001,32,100,2.5,2.25,a,6553600,1000,6553.6
1280,9472,10,10,0.002,64,50,2.0,2.125,b,6553600,2000,3276.8
"""
MOE = (
    STEPLAW
    .replace("D/N\n", "D/N,moe_name,Na,nume\n")
    .replace(".6\n", ".6,1in8,400,8\n")
    .replace(".8\n", ".8,3in8,900,8\n")
)
LOSSES = """name,dataset,model,params,params_no_embed,tokens,chinchilla_multiplier,token_multiplier,warmup,lr,wd,cd,\
global_bs,seed,val_data,loss,loss_tokens_lower_95,loss_tokens_upper_95,loss_sequences_lower_95,loss_sequences_upper_95
a,c4,m,10,8,200,1.0,20.0,5,0.003,0.033,3e-05,2,,training/eval_data/c4_val/shard-{0..1}.tar,3.0,2.5,3.5,2.0,4.0
a,c4,m,10,8,200,1.0,20.0,5,0.003,0.033,3e-05,2,,training/eval_data/val_tok_mult/paloma_ptb/1.tar,4.0,3.5,4.5,3.0,5.0
"""
DOWNSTREAM = "file,eval_name,model,name,icl/boolq,icl/copa,rw_small_centered\nf,e,m,a,0.5,0.25,\n"
FITS = "lr_intercept,lr_coefN,lr_coefD,bs_intercept,bs_coefD\n0.5,-0.75,0.25,-0.5,0.5\n"
CHINCHILLA = "x,y,color,Model Size,Training FLOP,hex_color,loss\n1,2,#f,1e9,6e19,#f,2.5\n"
MIXTURE = "index,train_the_pile_arxiv,train_the_pile_github\n1,0.25,0.75\n2,0.5,0.5\n"
PILE = "index,metric/the_pile_arxiv_val_loss\n2,5.0\n1,4.0\n"
REGMIX = {
    f"{split}_{kind}_{size}.csv": text
    for split, size in (("train", "1m"), ("test", "1m"), ("test", "60m"), ("test", "1B"))
    for kind, text in (("mixture", MIXTURE), ("pile_loss", PILE))
}
CSV = {
    "steplaw": {"dense_lr_bs_loss.csv": STEPLAW},
    "steplaw_moe": {"moe_lr_bs_loss.csv": MOE},
    "steplaw_fits": {"1004_fitted_lr_bs_scaling_model_parameters.csv": FITS},
    "mlfoundations_scaling": {"losses_104models.csv": LOSSES},
    "mlfoundations_downstream": {"downstream_evals_104models.csv": DOWNSTREAM},
    "chinchilla_epoch": {"svg_extracted_data.csv": CHINCHILLA},
    "regmix": REGMIX,
}
LCDB = {
    "err_e4": np.array([0, 5000, 65535, 125, 10000, 1], np.uint16).reshape(1, 1, 2, 1, 3),
    "dataset_ids": np.array([7]),
    "dataset_names": np.array(["kr-vs-kp"]),
    "learners": np.array(["SVM"]),
    "anchors": np.array([16]),
    "splits": np.array(["train", "val", "test"]),
}
TASKSET = {"tasks": np.array(["imdb"]), "valid_loss": np.array([[[0.5, np.nan]]], np.float32)}
published = pytest.mark.skipif(
    not os.environ.get("WORKBENCH_DATA"), reason="set WORKBENCH_DATA to a folder with the tables"
)


def part_of(name: str, data: bytes) -> Part:
    return Part(name, len(data), hashlib.sha256(data).hexdigest())


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, url: str = "") -> list[Path]:
    """Put a small table into a folder, and say so where the real one is described."""
    files = {file: text.encode() for file, text in CSV.get(name, {}).items()}
    sources = [Source(file, (part_of(file, data),), (f"{url}/{file}",) if url else ()) for file, data in files.items()]
    if not files:
        arrays, file = (LCDB, "lcdb11_error_rates.npz") if name == "lcdb11" else (TASKSET, "taskset_12tasks.npz")
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        files, sources = (
            {file: packed.getvalue()},
            [Source(file, tuple(part_of(k, v.tobytes()) for k, v in arrays.items()))],
        )
        held = {k: (v.dtype.str, v.shape) for k, v in arrays.items()}
        monkeypatch.setitem(ORIGINS, name, dataclasses.replace(ORIGINS[name], arrays=held))
    monkeypatch.setitem(PLACES, name, (Place(PLACES[name][0].folder, tuple(sources)),))
    folder = folder / PLACES[name][0].folder
    folder.mkdir(parents=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    return [folder / file for file in files]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A web server of ``tmp_path / "served"``; yields its address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def test_steplaw_counts_tokens(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    stand_in(monkeypatch, data, "steplaw")
    runs = table("steplaw")
    assert runs.iloc[0].to_dict() == {
        **{"N": 1000, "D": 6553600, "lr": 0.001, "batch": 32 * 2048, "loss": 2.25, "final_loss": 2.5, "steps": 100},
        **{"width": 960, "ffn_width": 9368, "heads": 15, "layers": 7},
    }
    assert (runs.batch * runs.steps).tolist() == runs.D.tolist()
    assert (runs.N * runs.D * 1e6).dtype == "float64"


def test_steplaw_moe(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    stand_in(monkeypatch, data, "steplaw_moe")
    assert table("steplaw_moe")[["kind", "N_active", "experts", "N"]].to_numpy().tolist() == [
        ["1in8", 400, 8, 1000],
        ["3in8", 900, 8, 2000],
    ]


def test_steplaw_fits(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    stand_in(monkeypatch, data, "steplaw_fits")
    assert table("steplaw_fits").iloc[0].to_dict() == {
        **{"ln_lr": 0.5, "lr_N": -0.75, "lr_D": 0.25, "ln_batch": -0.5, "batch_D": 0.5}
    }


def test_mlfoundations(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    stand_in(monkeypatch, data, "mlfoundations_scaling")
    (data / "mlfoundations_scaling").rename(data / "kept")
    stand_in(monkeypatch, data, "mlfoundations_downstream")
    (data / "kept" / "losses_104models.csv").rename(data / "mlfoundations_scaling" / "losses_104models.csv")
    runs = table("mlfoundations_scaling")
    assert runs.validation.tolist() == ["c4_val", "paloma_ptb"]
    assert runs[["N", "D", "C", "M", "batch", "loss", "loss_low", "loss_high"]].iloc[0].tolist() == [
        *(10, 200, 12000, 20, 4096, 3.0, 2.5, 3.5)
    ]
    assert table("mlfoundations_downstream").to_dict("list") == {"name": ["a"], "boolq": [0.5], "copa": [0.25]}


def test_chinchilla(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    stand_in(monkeypatch, data, "chinchilla_epoch")
    assert table("chinchilla_epoch").to_dict("list") == {"N": [1e9], "C": [6e19], "loss": [2.5], "D": [1e10]}


def test_regmix_joins_by_run(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    stand_in(monkeypatch, data, "regmix")
    runs = table("regmix")
    assert list(runs) == ["size", "split", "run", "mix_arxiv", "mix_github", "loss_arxiv"]
    order = ["1M train", "1M test", "60M test", "1B test"]
    assert (runs["size"] + " " + runs.split).tolist() == [each for each in order for _ in range(2)]
    assert runs.iloc[-2:, 2:].to_numpy().tolist() == [[1, 0.25, 0.75, 4.0], [2, 0.5, 0.5, 5.0]], (
        "losses in another order"
    )


def test_lcdb(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    stand_in(monkeypatch, data, "lcdb11")
    curves = table("lcdb11")
    np.testing.assert_array_equal(curves["error"], np.array([0, 0.5, np.nan], np.float32).reshape(1, 1, 1, 3))
    np.testing.assert_array_equal(curves["stderr"], np.array([0.0125, 1, 0.0001], np.float32).reshape(1, 1, 1, 3))
    assert curves["dataset_names"].tolist() == ["kr-vs-kp"]
    assert curves["splits"].tolist() == ["train", "val", "test"]
    assert set(curves) == {"error", "stderr", *LCDB} - {"err_e4"}


def test_taskset(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    stand_in(monkeypatch, data, "taskset_dpl")
    curves = table("taskset_dpl")
    np.testing.assert_array_equal(curves["valid_loss"], TASKSET["valid_loss"])
    assert curves["tasks"].tolist() == ["imdb"]


@pytest.mark.parametrize("name", [name for name, origin in ORIGINS.items() if not origin.flattened])
def test_a_table_is_downloaded_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path, server: str, name: str
) -> None:
    paths = stand_in(monkeypatch, tmp_path / "served", name, f"{server}/{PLACES[name][0].folder}")
    first = table(name)  # type: ignore[call-overload]
    for path in paths:
        path.unlink()
    assert table(name).equals(first)  # type: ignore[call-overload]
    assert (tmp_path / "cache" / PLACES[name][0].folder / paths[0].name).is_file()


@pytest.mark.parametrize(
    "spoil", [lambda text: text[:-5], lambda text: text + b"\n", lambda text: text.replace(b"4", b"5")]
)
def test_an_altered_table_is_refused(monkeypatch: pytest.MonkeyPatch, data: Path, spoil: "type[bytes]") -> None:
    (path,) = stand_in(monkeypatch, data, "steplaw")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(
        DataError, match=r"dense_lr_bs_loss\.csv must hold .*, got .*; replace it, or unset WORKBENCH_DATA"
    ):
        table("steplaw")


def test_names() -> None:
    with pytest.raises(InputError, match=r"name must be one of steplaw, .*taskset_dpl, got 'step_law'"):
        table("step_law")  # type: ignore[call-overload]
    assert set(ORIGINS) <= set(PLACES)
    for name, origin in ORIGINS.items():
        assert len(bytes.fromhex(origin.commit)) == 20
        urls = [url for _, sources in PLACES[name] for source in sources for url in source.urls]
        assert all(origin.repository in url and origin.commit in url for url in urls)
        assert bool(urls) is not bool(origin.flattened)


@published
def test_published_tables() -> None:
    steplaw = table("steplaw")
    assert len(steplaw) == 1911
    assert steplaw.groupby(["N", "D"]).ngroups == 17
    assert steplaw.loss.min() == pytest.approx(2.1206, abs=1e-4)
    assert (steplaw.batch * steplaw.steps / steplaw.D - 1).abs().max() < 0.003
    moe = table("steplaw_moe")
    assert (len(moe), moe.groupby(["kind", "N_active", "D"]).ngroups) == (708, 16)
    authors = table("steplaw_fits").mean()
    assert [round(authors[k], 3) for k in ("lr_N", "lr_D", "batch_D")] == [-0.713, 0.307, 0.571]
    assert np.exp(authors[["ln_lr", "ln_batch"]]).round(2).tolist() == [1.8, 0.58]
    losses = table("mlfoundations_scaling")
    assert losses.groupby("validation").size().tolist() == [104] * 8
    assert losses[losses.validation == "c4_val"].loss.min() == pytest.approx(2.3822, abs=1e-4)
    assert table("mlfoundations_downstream").shape == (104, 47)
    chinchilla = table("chinchilla_epoch")
    assert (len(chinchilla), round(chinchilla.loss.min(), 4)) == (245, 2.0774)
    regmix = table("regmix")
    assert regmix.groupby(["size", "split"]).size().to_dict() == {
        **{("1B", "test"): 64, ("1M", "test"): 256, ("1M", "train"): 512, ("60M", "test"): 256}
    }
    assert (regmix.filter(like="mix_").sum(axis=1) - 1).abs().max() < 0.005
    assert not regmix.isna().any(axis=None)


@published
def test_published_curves() -> None:
    lcdb = table("lcdb11")
    assert round(float(np.isfinite(lcdb["error"]).mean()), 3) == 0.443
    assert (lcdb["anchors"][0], lcdb["anchors"][-1]) == (16, 2097152)
    assert float(np.nanmin(table("taskset_dpl")["valid_loss"])) == pytest.approx(0.1238, abs=1e-4)

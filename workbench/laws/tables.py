"""Published tables of runs: from the data folder, the cache or the authors' repositories, verified by content."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, overload

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from workbench.errors import require_choice
from workbench.values import read_file

_Steplaw = Literal["steplaw", "steplaw_moe", "steplaw_fits"]
Frame = _Steplaw | Literal["mlfoundations_scaling", "mlfoundations_downstream", "chinchilla_epoch", "regmix"]
Curves = Literal["lcdb11", "taskset_dpl"]
_SEQUENCE = 2048  # tokens of a sequence, in Step Law's runs and in those of the 104 models


@dataclass(frozen=True)
class Origin:
    """Whom to cite, repository and commit, the licence stated there, which files a table is made of, what it holds."""

    citation: str
    repository: str
    commit: str
    licence: str
    flattened: str = ""
    columns: dict[str, str] = field(default_factory=dict)  # ours, and what the file calls them
    arrays: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)  # types and shapes


_READER = TypeAdapter(dict[str, Origin])
ORIGINS = _READER.validate_python(read_file(Path(__file__).parents[1] / "datasets" / "tables.yml"))


@overload
def table(name: Frame) -> pd.DataFrame: ...
@overload
def table(name: Curves) -> dict[str, np.ndarray]: ...
def table(name: str) -> pd.DataFrame | dict[str, np.ndarray]:
    """Read a published table of runs, from ``WORKBENCH_DATA``, else the cache, else its authors' repository.

    Four tables are made, the first time, of many files there: 12 to 267 of them, up to 40 MB in all.

    Losses are in nats per token, ``N`` counts parameters, ``D`` tokens, ``C`` floating-point operations of training,
    ``batch`` tokens per step; ``lr`` is the peak learning rate. ``ORIGINS[name]`` says whom to cite and the licence.

    ``steplaw``: 1,911 dense language models on grids of learning rate and batch at 17 pairs (N, D): ``N D lr batch loss
    final_loss steps width ffn_width heads layers``; ``loss`` is smoothed over the run's end, ``final_loss`` is the last
    step's. ``steplaw_moe``: 708 mixtures of experts, with ``kind``, ``N_active`` and ``experts`` besides.
    ``steplaw_fits``: the authors' 1,000 bootstrap fits: ``lr = exp(ln_lr) N^lr_N D^lr_D``, ``batch = exp(ln_batch)
    D^batch_D``.

    ``mlfoundations_scaling``: 104 models on 8 validation sets each: ``name dataset N N_no_embed D C M lr weight_decay
    warmup batch validation loss loss_low loss_high``; ``M`` is D / N, the last two a 95% interval over tokens.
    ``mlfoundations_downstream``: their ``name`` and their accuracies on 46 tasks.

    ``chinchilla_epoch``: ``N C D loss`` of 245 runs, read off a figure; D = C / (6 N).

    ``regmix``: 1,088 runs: ``size`` (1M, 60M, 1B), ``split`` (train, test), ``run``, the shares of 17 domains ``mix_*``
    and the losses on 13 ``loss_*``. The 60M runs have the 1M test runs' mixtures; the 1B runs have 64 of their own.

    ``lcdb11``: arrays ``error`` and ``stderr`` (265 datasets, 28 learners, 137 anchors, 3 splits), NaN where missing,
    ``dataset_ids dataset_names learners anchors splits``; an anchor counts training examples.

    ``taskset_dpl``: arrays ``train_loss valid_loss test_loss`` (12 tasks, 1000 configurations, 51 points), NaN where a
    curve ended, ``hp`` (12, 1000, 8), ``hp_names`` and ``tasks``.

    Args:
        name: One of ``ORIGINS``.

    Returns:
        A data frame, a run (on one validation set) a row; or arrays by name. The content is verified each time.

    Raises:
        InputError: If there is no such table.
        DataError: If it cannot be read, verified or downloaded; it says what to do.
    """
    require_choice("name", name, tuple(ORIGINS))
    parts = _parts(name)
    if shapes := ORIGINS[name].arrays:
        arrays = {part: parts[part].view(kind).reshape(shape) for part, (kind, shape) in shapes.items()}
        return _lcdb(arrays) if name == "lcdb11" else arrays
    frames = {part: pd.read_csv(io.BytesIO(data.tobytes())) for part, data in parts.items()}
    return _regmix(frames) if name == "regmix" else _tidy(name, *frames.values())


def _parts(name: str) -> dict[str, np.ndarray]:
    """Return a table's verified bytes, those of a flattened one made of its authors' files if need be."""
    from workbench.datasets.downloads import contents  # here, since it brings torch

    if not ORIGINS[name].flattened:
        return contents(name)
    from workbench.laws.flatten import flatten

    return contents(name, partial(flatten, name, ORIGINS[name]))


def _lcdb(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn ten thousandths into error rates, 65535 into NaN, and part means from standard errors."""
    raw = arrays["err_e4"]
    rates = np.where(raw == np.iinfo(raw.dtype).max, np.float32(np.nan), raw / np.float32(1e4))
    return {"error": rates[:, :, 0], "stderr": rates[:, :, 1]} | {k: v for k, v in arrays.items() if k != "err_e4"}


def _regmix(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join mixtures with losses, run by run, and stack the sizes."""
    found = []
    for split, size in (("train", "1m"), ("test", "1m"), ("test", "60m"), ("test", "1B")):
        mixture, loss = frames[f"{split}_mixture_{size}.csv"], frames[f"{split}_pile_loss_{size}.csv"]
        mixture.columns = mixture.columns.str.replace(r"^train_the_pile_", "mix_", regex=True)
        loss.columns = loss.columns.str.replace(r"^metric/the_pile_(\w+)_val_loss$", r"loss_\1", regex=True)
        runs = mixture.merge(loss, on="index", validate="1:1").rename(columns={"index": "run"})
        found.append(runs.assign(size=size.upper(), split=split))
    whole = pd.concat(found, ignore_index=True)
    return whole[["size", "split", *whole.columns.drop(["size", "split"])]]


def _tidy(name: str, raw: pd.DataFrame) -> pd.DataFrame:
    """Take the columns that matter by the field's names, in tokens, and add those that follow from them."""
    if name == "mlfoundations_downstream":
        tasks = raw.columns[raw.columns.str.startswith("icl/")]
        return raw[["name", *tasks]].rename(columns=lambda column: column.removeprefix("icl/"))
    columns = ORIGINS[name].columns
    frame = raw[[*columns.values()]].set_axis([*columns], axis=1)
    if "batch" in frame:
        frame["batch"] *= _SEQUENCE
    if name == "chinchilla_epoch":
        frame["D"] = frame.C / (6 * frame.N)
    if name == "mlfoundations_scaling":
        frame["C"] = 6.0 * frame.N * frame.D
        frame["validation"] = frame.validation.str.extract(r"eval_data/(?:val_tok_mult/)?([^/]+)/", expand=False)
    counts = [column for column in ("N", "N_active", "N_no_embed", "D", "batch") if column in frame]
    return frame.astype(dict.fromkeys(counts, "float64"))  # products of counts would leave the whole numbers' range

"""Data spoilt on purpose: what falls with them is a property of the task, what stays is one of the network."""

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from workbench.datasets import Dataset
from workbench.errors import require
from workbench.seeds import generator


def spoil(data: Dataset, controls: Sequence[str], seed: int = 0) -> Dataset:
    """Return a dataset with controls; the given one stays as it is.

    Args:
        data: From ``workbench.datasets.load``.
        controls: ``"permuted_pixels"`` (one permutation of all pixels of an image, the same for all images),
            ``"random_labels"`` (all splits' labels drawn anew, uniformly), ``"label_noise:0.2"`` (that fraction of the
            training labels replaced by another class).
        seed: Draws them.

    Raises:
        InputError: If an argument breaks its rule or a control does not apply to the dataset.
    """
    wanted, n_classes = _parse(data, controls), data.n_classes or 0
    streams = {kind: generator(seed, "datasets", data.name, kind) for kind in wanted}
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    if stream := streams.get("permuted_pixels"):
        order = torch.from_numpy(stream.permutation(data.train.x[0].numel()))
        splits = {name: replace(part, x=_permuted(part.x, order)) for name, part in splits.items()}
    if stream := streams.get("random_labels"):
        for name, part in splits.items():
            splits[name] = replace(part, y=torch.from_numpy(stream.integers(n_classes, size=len(part))))
    if stream := streams.get("label_noise"):
        train = splits["train"]
        hit = torch.from_numpy(stream.permutation(len(train))[: round(wanted["label_noise"] * len(train))])
        others = train.y[hit] + torch.from_numpy(stream.integers(1, n_classes, size=len(hit)))
        splits["train"] = replace(train, y=train.y.index_copy(0, hit, others % n_classes))
    note = f"{data.note}; controls: {', '.join(controls)}" if controls else data.note
    return replace(data, **splits, note=note)


def _permuted(x: Tensor, order: Tensor) -> Tensor:
    """Return images with their pixels in another order."""
    return x.flatten(1).index_select(1, order).view(x.shape)


def _parse(data: Dataset, controls: Sequence[str]) -> dict[str, float]:
    """Turn control strings into kinds and, for label noise, fractions; refuse what this dataset cannot have."""
    require(isinstance(controls, list | tuple), "controls", "must be a list of control strings", controls)
    wanted: dict[str, float] = {}
    for control in map(str, controls):
        form = re.fullmatch(r"permuted_pixels|random_labels|label_noise:(\d+\.?\d*|\.\d+)", control)
        rule = "must be one of permuted_pixels, random_labels, label_noise:<fraction>"
        require(form is not None, "controls", rule, control, "a fifth is label_noise:0.2")
        kind, _, fraction = control.partition(":")
        require(kind not in wanted, "controls", "must name a control once", controls)
        wanted[kind] = float(fraction or 1)
        require(0 < wanted[kind] <= 1, "controls", "must have a label-noise fraction in (0, 1]", control)
    labels = wanted.keys() - {"permuted_pixels"}
    rules = {
        "must not change labels where targets are numbers": not labels or data.n_classes is not None,
        "must not permute pixels but of images": labels == wanted.keys() or data.train.x.ndim > 2,
        "must not add noise to random labels": len(labels) < 2,
    }
    for rule, holds in rules.items():
        require(holds, "controls", rule, controls)
    return wanted

"""What others have published, beside what this study measures."""

import os
from pathlib import Path

import pandas as pd

from workbench.datasets import published

_RESNET = Path("shrinkbench") / "state-of-sparsity-resnet50"
_RESNET_SOURCE = "Gale et al. 2019, tables in JJGO/shrinkbench commit b244974"


def beside_published(table: pd.DataFrame) -> pd.DataFrame:
    """Set published accuracies of gradual magnitude pruning beside those of this run.

    Args:
        table: As ``compression_table`` returns it.

    Returns:
        A row a network and sparsity: dense and sparse accuracy in percent, their difference, source. ResNet-50 is read
        from the folder that ``WORKBENCH_DATA`` names, where it lies.
    """
    rows = [
        {"network": r["network"], "sparsity": r["sparsity"], "dense": float(r["dense"]), "pruned": float(r["sparse"]),
         "source": f"{r['dataset']}; {r['source']}"}
        for r in published("tensorflow_pruning")
    ] + _resnet()  # fmt: skip
    for (network, _, arm), row in table.iterrows():
        if arm == "gradual" and not str(network).startswith("transformer"):
            sparsity, dense = f"{100 * (1 - 1 / row.compression):.3g} %", 100 * (row.score - row.change)
            rows.append({"network": network, "sparsity": sparsity, "dense": dense, "pruned": 100 * row.score})
            rows[-1]["source"] = f"this run, mean of {row.seeds:.0f} seeds"
    found = pd.DataFrame(rows).assign(change=lambda t: t.pruned - t.dense)
    return found[["network", "sparsity", "dense", "pruned", "change", "source"]].set_index("network")


def _resnet() -> list[dict[str, object]]:
    """Return ResNet-50's best accuracy at each sparsity, or nothing where the tables are not at hand."""
    folder = Path(os.environ.get("WORKBENCH_DATA", "data")) / _RESNET
    if not (folder / "rn50_magnitude_pruning.csv").exists():
        print(f"ResNet-50 is left out: WORKBENCH_DATA has no {_RESNET.as_posix()}.")
        return []
    dense = pd.read_csv(folder / "rn50_baselines.csv").Accuracy.max()
    best = pd.read_csv(folder / "rn50_magnitude_pruning.csv").groupby("Sparsity").accuracy.max()
    return [
        {"network": "ResNet-50", "sparsity": f"{100 * s:g} %", "dense": dense, "pruned": 100 * accuracy,
         "source": f"ImageNet, best of the runs; {_RESNET_SOURCE}"}
        for s, accuracy in best.items()
    ]  # fmt: skip

"""How many random networks are drawn, passed forward and judged in a CPU second, and how far that is from the products
alone. Run on request: ``python -m tests.benchmarks.bench_volume``. Single-thread CPU time.
"""

import argparse
import sys
import time
from pathlib import Path

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks" / "landscape"))

from volume_classes import CLASSES, prior
from volume_tasks import tasks
from volume_trials import histogram


def speed(n_passes: int, n: int = 128, d: int = 12, n_per_digit: int = 16) -> pd.DataFrame:
    """Measure every class.

    Args:
        n_passes: Networks of each class.
        n: Examples of a teacher of dimension d.
        d: Its dimension.
        n_per_digit: Images of each digit.

    Returns:
        For every class: numbers drawn, million multiplications and additions of a network, networks a second (f and -f
        are one here), and how many times longer it takes than its products alone at the rate of a large product.
    """
    a = torch.randn(1024, 1024)
    a @ a
    started = time.process_time()
    for _ in range(5):
        a @ a
    rate = 5 * 2 * 1024**3 / (time.process_time() - started)
    found = []
    for family, names in (("teacher", ("mlp",)), ("digits", CLASSES)):
        drawn = tasks(family, d, n if family == "teacher" else n_per_digit, 1, 0)
        for name in names:
            law = prior(name, drawn.x)
            histogram(law, drawn, law.chunk, torch.Generator().manual_seed(0))
            started = time.process_time()
            histogram(law, drawn, n_passes, torch.Generator().manual_seed(1))
            each = (time.process_time() - started) / n_passes
            row = {"family": family, "class": name, "numbers": law.D, "Mflop": law.flops / 1e6}
            found.append(
                row | {"networks per CPU second": round(1 / each), "over its products": each * rate / law.flops}
            )
    return pd.DataFrame(found).set_index(["family", "class"])


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=4000)
    torch.set_num_threads(1)
    print(speed(parser.parse_args().passes).to_string())


if __name__ == "__main__":
    main()

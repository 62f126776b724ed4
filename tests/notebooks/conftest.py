"""The studies' own modules, importable as in their notebooks."""

import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
sys.path[:0] = [
    *(str(NOTEBOOKS / family) for family in ("dimension", "landscape", "merging", "pruning")),
    str(NOTEBOOKS),
]

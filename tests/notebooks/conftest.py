"""The studies' own modules, importable as in their notebooks."""

import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
sys.path[:0] = [*sorted({str(path.parent) for path in NOTEBOOKS.glob("*/*.ipynb")}), str(NOTEBOOKS)]

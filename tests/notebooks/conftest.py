"""The study's own modules, importable as in its notebook."""

import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "notebooks" / "dimension"
sys.path.insert(0, str(FOLDER))

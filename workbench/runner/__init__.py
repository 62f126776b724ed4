"""Runs studies: parameters checked first, papermill inside, a record and a page afterwards."""

import sys

# jsonschema, which reads notebooks, builds a grammar of international URIs when imported: 1.5 of papermill's 2 seconds.
# No notebook's schema asks for that format, and without this module jsonschema leaves it unchecked.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

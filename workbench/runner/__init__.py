"""Runs studies: parameters checked first, papermill inside, a record and a page afterwards."""

import sys

# jsonschema, which reads notebooks, builds a grammar of internationalised URIs when it is imported: 1.5 s of papermill's
# 2 s. No notebook's schema asks for that format, and without this module jsonschema leaves it unchecked.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

"""Runs studies: parameters checked first, papermill inside, a record and a page afterwards."""

"""Throw-away notebooks and the command line, run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook whose first cell is tagged ``parameters``; the others follow."""

    def write(*cells: str, parameters: str = "a: int = 1  # a number", name: str = "demo") -> Path:
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (parameters, *cells)])
        book.cells[0].metadata["tags"] = ["parameters"]
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(book, path)
        return path

    return write


@pytest.fixture
def command(tmp_path):
    """Yield a function that starts ``python -m workbench``; with ``wait=False`` the process itself."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, wait: bool = True, **environment: str):
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        if not wait:
            return process
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    yield start
    for process in started:  # one that a test gave up waiting for
        if process.poll() is None:
            process.kill()
            process.communicate()

"""A tiny study that breaks no rule of a notebook, to be broken one rule at a time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Cell = dict[str, Any]

MODULE = '''"""The tiny study's own functions."""

import plotly.graph_objects as go

from workbench.exercises import check
from workbench.figures.style import finish
from workbench.study import Claim

CLAIMS = (Claim("mean", "textbook", "The numbers 1 to n have mean (n + 1) / 2.", "measured / exact in [0.9, 1.1]"),)


def mean(n):
    return sum(range(1, n + 1)) / n


def draw(n):
    figure = go.Figure(go.Scatter(x=list(range(1, n + 1)), y=[mean(k) for k in range(1, n + 1)]))
    figure.update_xaxes(title="Largest number (n)")
    figure.update_yaxes(title="Mean (of 1 to n)")
    return finish(figure, f"The mean of {n} numbers", "Line: measured.")


def check_mean(answer, n):
    check(answer, mean(n), slips=[(n / 2, "That is n / 2: the numbers begin at 1, not at 0.")])


def check_name(answer):
    check(answer, "arithmetic")
'''
PROFILES = "smoke:\n  n: 3\nlaptop: {}\npaper:\n  n: 100\n"
WORDS = "Numbers that stand in a row have a mean which lies in the middle. " * 40

TITLE = """# What is the mean of the first n numbers?

**Source.** Any textbook.

**Time.** About 2 seconds; with the exercises it fits a 50-minute lab.

**You will learn**
- to say what a mean is,
  and where it lies;
- to judge a claim."""
SETUP = """schema = read_schema(Path("tiny.ipynb"))
study = Study("tiny", parameters={"n": n}, claims=tiny.CLAIMS, stages={"mean": 1}, dataset=None)"""
VERDICT = """ratio = tiny.mean(n) / ((n + 1) / 2)
study.judge("mean", value=ratio, interval=(ratio, ratio), n=1, unit="of the exact one", verdict="holds")
study.report()"""


def markdown(name: str, source: str) -> Cell:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def code(name: str, source: str, **metadata: Any) -> Cell:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": metadata,
        "outputs": [],
        "source": source,
    }


def exercise(k: int, text: str, start: str, solution: str, check: str) -> list[Cell]:
    """Return an exercise's three cells, marked for nbgrader."""
    marks = {"grade_id": f"exercise-{k}", "schema_version": 3, "task": False}
    solved = {"grade": False, "locked": False, "solution": True}
    graded = {"grade_id": f"exercise-{k}-check", "grade": True, "locked": True, "solution": False, "points": 1}
    source = f"{start}\n### BEGIN SOLUTION\n{solution}\n### END SOLUTION"
    return [
        markdown(f"exercise-{k}-text", text),
        code(f"exercise-{k}", source, jupyter={"source_hidden": True}, nbgrader=marks | solved),
        code(f"exercise-{k}-check", check, nbgrader=marks | graded),
    ]


def cells() -> list[Cell]:
    """Return the cells of the study."""
    return [
        markdown("title", TITLE),
        code(
            "imports",
            "from pathlib import Path\n\nimport tiny\n\nfrom workbench import widgets\n"
            "from workbench.schema import read_schema\nfrom workbench.study import Study",
        ),
        code("parameters", "n: int = 5  # largest number", tags=["parameters"]),
        markdown("prediction", f"| Claim | Rule |\n|---|---|\n| The mean is (n + 1) / 2. | in [0.9, 1.1] |\n\n{WORDS}"),
        code("predict", 'prediction = widgets.predict("tiny", "What is the mean of 1 to 5?")\nprediction'),
        code("setup", SETUP),
        code("figure", "tiny.draw(n)"),
        markdown("explorer-text", "## Explore"),
        code("explorer", 'widgets.explore(tiny.draw, schema["n"], n, stops=[7])'),
        markdown("verdict-text", "## Verdict"),
        code("verdict", VERDICT),
        code("prediction-result", "prediction.beside(tiny.mean(n), n=1)"),
        markdown("reading", "**Limits.** Whole numbers only."),
        *exercise(1, "What is the mean?", "answer = None", "answer = (n + 1) / 2", "tiny.check_mean(answer, n)"),
        *exercise(2, "Which mean is it?", "name = None", 'name = "arithmetic"', "tiny.check_name(name)"),
        markdown("further-reading", "Any textbook."),
    ]


def write_lesson(folder: Path, change: Callable[[list[Cell]], Any] = lambda cells: None, **metadata: Any) -> Path:
    """Write the study, changed; return its notebook."""
    book = {"cells": cells(), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    change(book["cells"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.py").write_text(MODULE, encoding="utf-8")
    (folder / "tiny.yml").write_text(PROFILES, encoding="utf-8")
    path = folder / "tiny.ipynb"
    path.write_text(json.dumps(book, indent=1), encoding="utf-8")
    return path

"""Progress is a bar on a terminal and a few plain lines elsewhere."""

import io
import json

from rich.console import Console

from workbench.runner import progress
from workbench.runner.progress import ProgressView


def write(path, stage, overall):
    with path.open("a") as file:
        file.write(json.dumps({"stage": stage, "overall": overall}) + "\n")


def test_plain_lines(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    path, text = tmp_path / "progress.jsonl", io.StringIO()
    with ProgressView(path, Console(file=text, width=200), "demo") as view:
        view.update()
        for step in range(101):
            now[0] += 1
            write(path, "first" if step < 50 else "second", step / 100)
            view.update()
    lines = text.getvalue().splitlines()
    assert lines[0] == "demo: starting"
    assert lines[1].startswith("  0%  first")
    assert 10 <= len(lines) <= 14
    half = next(line for line in lines if line.startswith(" 50%"))
    assert "second  0:00:51 elapsed, about 0:00:50 left" in half
    assert lines[-1].startswith("100%  second")


def test_no_estimate_from_almost_nothing(tmp_path):
    path, text = tmp_path / "progress.jsonl", io.StringIO()
    with ProgressView(path, Console(file=text, width=200), "demo") as view:
        for overall, stage in ((0.0, "a"), (0.02, "b"), (0.04, "c")):
            write(path, stage, overall)
            view.update()
    assert ["left" in line for line in text.getvalue().splitlines()[1:]] == [False, False, True]


def test_half_written_and_foreign_lines_are_no_error(tmp_path):
    path, text = tmp_path / "progress.jsonl", io.StringIO()
    with ProgressView(path, Console(file=text, width=200), "demo") as view:
        path.write_text('hello\n[1]\n{"stage": "a", "overall": "x"}\n{"stage": "a", ')
        view.update()
        with path.open("a") as file:
            file.write('"overall": 0.5}\n')
        view.update()
    assert " 50%  a" in text.getvalue()


def test_bar(tmp_path):
    path, text = tmp_path / "progress.jsonl", io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with ProgressView(path, console, "demo") as view:
        write(path, "toy", 0.25)
        view.update()
        view._bar.refresh()
    assert "demo: toy" in text.getvalue()
    assert "25 %" in text.getvalue()
    assert "elapsed" in text.getvalue()

"""What a figure is to those who do not see it: a text in its place, and its numbers as a table.

Figures may be anybody's: what plotly does not know has been left out of them, and a trace of no kind of ours is named.
"""

import base64
import math
import re
from collections.abc import Iterator
from html import unescape
from string import Template
from typing import Any

import numpy as np
import pandas as pd

from workbench.figures import Figure

_KINDS, _NUMBERS, _SAID = ("scatter", "scattergl", "bar", "heatmap"), ("x", "y"), ("hovertext", "text", "customdata")
_TAG = re.compile(r"</?(a|b|br|em|extra|i|s|span|strong|su[bp]|u)\b[^<>]*>")  # of plotly's own texts
_FIELD = re.compile(r"%\{(\w+)[^{}]*\}")  # of its hover texts


def caption(figure: Figure) -> str:
    """Return a figure's own title and what stands under it, which may be nothing."""
    title = figure.layout.title
    return " ".join(_sentence(text) for text in map(_words, (title.text, title.subtitle.text)) if text)


def label(figure: Figure) -> str:
    """Return the text in a figure's place: title, caption, axes, names of traces, what is written in it, stops."""
    sliders = figure.layout.sliders
    said = {
        "x: ": [_words(axis.title.text) for axis in figure.select_xaxes()],
        "y: ": [_words(axis.title.text) for axis in figure.select_yaxes()],
        "Shown: ": [_words(trace.name) for trace in figure.data],
        "Written in it: ": [_words(annotation.text) for annotation in figure.layout.annotations],
        "Slider: ": [_words(slider.currentvalue.prefix).rstrip(":= ") for slider in sliders],
        "Its stops: ": [_words(step.label) for slider in sliders for step in slider.steps],
    }
    texts = {before: "; ".join(dict.fromkeys(filter(None, parts))) for before, parts in said.items()}
    return " ".join([caption(figure), *(f"{before}{_sentence(text)}" for before, text in texts.items() if text)])


def tables(figure: Figure) -> tuple[list[pd.DataFrame], list[str]]:
    """Return a table for each panel, a row for each point of each trace at every stop, and the traces not listed."""
    found, others = dict[tuple[int, str], tuple[pd.DataFrame, list[str]]](), list[str]()
    panels = dict[tuple[Any, ...], list[pd.DataFrame]]()
    for stop, place, trace in _drawn(figure):
        name = _words(trace.get("name")) or _words(trace.get("legendgroup")) or f"trace {place + 1}"
        try:
            rows = pd.DataFrame({"stop": "", "trace": name} | _columns(trace, figure.layout), dtype=str)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # anybody's numbers
            others.append(f"{name} ({trace['type']})")
        else:  # once, if several stops show it alike
            found.setdefault((place, rows.to_csv()), (rows, []))[1].append(stop)
    for rows, stops in found.values():
        during = "all" if len(stops) == len(figure.frames) else ", ".join(stops)
        panels.setdefault(tuple(rows)[2:6:2], []).append(rows.assign(stop=during))
    joined = (pd.concat(parts) for parts in panels.values())
    return [rows.loc[:, (rows != "").any()] for rows in joined if len(rows)], list(dict.fromkeys(others))


def _drawn(figure: Figure) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the traces of every stop of a slider, or those of the one view, each with its stop and its place."""
    base = [trace.to_plotly_json() for trace in figure.data]
    steps = [step for slider in figure.layout.sliders for step in slider.steps]
    for name, places, data in [(each.name, each.traces, each.data) for each in figure.frames] or [("", (), ())]:
        at = map(str, places) if isinstance(places, list | tuple) else map(str, range(len(base)))
        changed = {place: trace.to_plotly_json() for place, trace in zip(at, data, strict=False)}
        stop = next((step.label for step in steps if (name,) in (step.args or ())), name)
        for place, trace in enumerate(base):
            yield _words(stop), place, trace | changed.get(str(place), {})


def _columns(trace: dict[str, Any], layout: Any) -> dict[str, Any]:
    """Return a trace's points; raise ValueError or the like where it is none of ours."""
    if trace["type"] not in _KINDS:
        raise ValueError
    flat = _flat(trace) if trace["type"] == "heatmap" else trace
    raw = {name: _list(flat[name]) for name in (*_NUMBERS, "z", *_SAID) if isinstance(flat.get(name), list | dict)}
    cells, columns = {name: [*map(_cell, values)] for name, values in raw.items()}, dict[str, Any]()
    for name in (name for name in _NUMBERS if name in raw):
        axis, bar = layout[f"{name}axis{trace.get(f'{name}axis', name)[1:]}"], trace.get(f"error_{name}")
        columns[f"{name}: {_words(axis.title.text)}".rstrip(": ")] = cells[name]
        columns[f"{name} interval"] = _intervals(bar, raw[name], axis) if bar else ""
    if "z" in raw:
        columns[f"z: {_words(trace.get('colorbar', {}).get('title', {}).get('text'))}".rstrip(": ")] = cells["z"]
    usual = "".join([f"%{{{name}}}" for name in _SAID if name in raw][:1])
    hover = trace.get("hovertemplate", usual).replace("<br>", ", ").replace("$", "$$")
    template, name = Template(_FIELD.sub(r"${\1}", hover)), _words(trace.get("name"))
    points = (dict(zip(cells, point, strict=True)) for point in zip(*cells.values(), strict=True))
    columns["hover text"] = [_words(template.safe_substitute(point, fullData=name)) for point in points]
    return columns


def _flat(trace: dict[str, Any]) -> dict[str, Any]:
    """Return a heat map as points, one for each of its cells, row by row."""
    rows = _list(trace["z"])
    x, y = (_list(trace.get(name, [*range(n)])) for name, n in (("x", len(rows[0])), ("y", len(rows))))
    cells = {name: [cell for row in _list(trace[name]) for cell in row] for name in ("z", *_SAID) if name in trace}
    return trace | {"x": [*x] * len(y), "y": [each for each in y for _ in x]} | cells


def _intervals(bar: dict[str, Any], values: list[Any], axis: Any) -> list[str]:
    """Return the ends of error bars; one that is not known is drawn out of the axis, both as a bar of no length."""
    limits = [10.0**end if axis.type == "log" else end for end in axis.range or (-math.inf, math.inf)]
    up, texts = _list(bar["array"]), []
    for at, less, more in zip(values, _list(bar.get("arrayminus", up)), up, strict=True):
        ends = [_cell(end) if limits[0] <= end <= limits[1] else "beyond the axis" for end in (at - less, at + more)]
        texts.append(f"[{', '.join(ends)}]" if less or more else "")
    return texts


def _list(value: Any) -> list[Any]:
    """Return a list, also one that plotly has packed."""
    if isinstance(value, dict):
        shape = [int(n) for n in value.get("shape", "-1").split(",")]
        value = np.frombuffer(base64.b64decode(value["bdata"], validate=True), value["dtype"]).reshape(shape).tolist()
    return value


def _cell(value: Any) -> str:
    """Return a value as text: numbers to six digits, whole ones whole."""
    if isinstance(value, float):
        return f"{value:.15g}" if value.is_integer() else f"{value:.6g}"
    return _words(value) if isinstance(value, str) else str(value)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _words(text: str | None) -> str:
    """Return plotly's text without its marks."""
    return " ".join(unescape(_TAG.sub(" ", text or "")).split())

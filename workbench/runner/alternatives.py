"""What a figure is to those who do not see it: a text in its place, and its numbers as tables.

Figures are plotly's JSON and may be anybody's: a trace that is not as plotly writes it is named as not listed.
"""

import base64
import functools
import json
import math
import re
from collections.abc import Iterator
from html import unescape
from itertools import zip_longest
from typing import Any

import numpy as np

_MOST = 20_000  # rows of a table
_PLACES = ("x", "y", "z", "r", "theta", "a", "b", "c", "lat", "lon", "labels", "values", "open", "high", "low", "close")
_HEADS = ["stop", "trace", *(f"{place}{more}" for place in _PLACES for more in ("", " interval")), "hover text"]
_CORNER = "y down, x across"  # of a grid
_DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")  # of plotly's arrays in base64
_TAG = re.compile(r"</?(a|b|br|em|extra|i|s|span|strong|su[bp]|u)\b[^<>]*>")  # of plotly's own texts
_FIELD = re.compile(r"%\{(\w+)(?:\[(\d{1,3})\])?[^{}]*\}")  # of its hover texts
_Rows = list[dict[str, str]]  # cells by their heads


def caption(figure: Any) -> str:
    """Return a figure's own title and what stands under it, which may be nothing."""
    title = _get(figure, "layout", "title")
    return " ".join(f"{text.rstrip('.')}." for text in (_words(title), _words(_get(title, "subtitle"))) if text)


def label(figure: Any) -> str:
    """Return the text in a figure's place: title, caption, axes, names of traces, what is written in it, stops."""
    layout, names = _get(figure, "layout"), map(_words, (trace.get("name") for trace in _dicts(figure, "data")))
    slider, stops = _slider(layout)
    said = {f"{axis}: ": _axes(layout, axis) for axis in "xyz"} | {
        "Shown: ": "; ".join(dict.fromkeys(filter(None, names))),
        "Written in it: ": "; ".join(filter(None, map(_words, _dicts(layout, "annotations")))),
        f"Stops of its slider, {slider}: ": ", ".join(stops.values()),
    }
    return " ".join([caption(figure), *(f"{before}{text.rstrip('.')}." for before, text in said.items() if text)])


def tables(figure: Any) -> tuple[list[tuple[list[str], list[list[str]]]], list[str]]:
    """Return the numbers of a figure as heads and rows, and what is to be said of those not there.

    There is a row for each point of each trace at every stop of a slider, and a table of its own for each grid.
    """
    drawn, found, notes = dict[str, tuple[str, _Rows, list[str]]](), dict[tuple[str, ...], _Rows](), list[str]()
    for stop, who, trace in _drawn(figure):
        try:
            rows = _rows(trace, _get(figure, "layout"))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # anybody's JSON
            notes.append(f"The numbers of {who} ({_words(trace.get('type')) or 'scatter'}) are not listed here.")
        else:  # once, if several stops show it alike
            drawn.setdefault(f"{who} {rows}", (who, rows, []))[2].append(stop)
    for who, rows, stops in drawn.values():
        during = "all" if len(stops) > len(_dicts(figure, "frames")) > 0 else ", ".join(stops)
        grid = tuple(rows[0]) if rows and _CORNER in rows[0] else ()
        found.setdefault(grid, []).extend({"stop": during, "trace": who} | row for row in rows)
    notes += [f"Of {len(rows):,} rows the first {_MOST:,} are listed." for rows in found.values() if len(rows) > _MOST]
    return [_table(rows, _get(figure, "layout")) for rows in found.values() if rows], list(dict.fromkeys(notes))


def _table(rows: _Rows, layout: Any) -> tuple[list[str], list[list[str]]]:
    """Return rows of unlike heads as a table."""
    heads, said = list(dict.fromkeys(head for row in rows for head, cell in row.items() if cell)), {}
    if _CORNER not in heads:
        heads.sort(key=_HEADS.index)
        said = {axis: f"{axis}: {words}" for axis in "xyz" if (words := _axes(layout, axis))}
    said["stop"] = _slider(layout)[0]
    return [said.get(head, head) for head in heads], [[row.get(head, "") for head in heads] for row in rows[:_MOST]]


def _drawn(figure: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the traces of every stop of a slider, then those of the first view, each with its stop and its name."""
    base, frames = dict(enumerate(_dicts(figure, "data"))), _dicts(figure, "frames")
    stops, views = _slider(_get(figure, "layout"))[1], list[tuple[str, dict[int, Any]]]()
    for name, frame in ((_words(frame.get("name")), frame) for frame in frames):
        places, given = frame.get("traces"), _dicts(frame, "data")
        pairs = zip(places if isinstance(places, list) else range(len(given)), given, strict=False)
        views.append((
            stops.get(name, name),
            {at: base.get(at, {}) | more for at, more in pairs if isinstance(at, int)},
        ))
    for stop, traces in [*views, ("as first drawn" if frames else "", base)]:
        for at, trace in traces.items():
            yield stop, _words(trace.get("name")) or _words(trace.get("legendgroup")) or f"trace {at + 1}", trace


def _rows(trace: dict[str, Any], layout: Any) -> _Rows:
    """Return a trace's points, or the lines of its grid; raise ValueError or the like where it is none of ours."""
    places = {name: _array(trace[name]) for name in _PLACES if trace.get(name) is not None}
    size = max(map(len, places.values()))
    if "x" not in places and trace.get("type", "scatter") in ("scatter", "scattergl", "bar"):
        places = {"x": list(range(size))} | places
    if [name for name, values in places.items() if values and isinstance(values[0], list)] == ["z"]:
        across = map(_cell, places.get("x") or range(max(map(len, places["z"]))))
        heads = [_CORNER, *(f"{head} (column {at})" for at, head in enumerate(across, 1))]
        lines = zip(places.get("y") or range(size), places["z"], strict=True)
        return [dict(zip(heads, map(_cell, [y, *line]), strict=True)) for y, line in lines]
    columns = dict[str, list[str]]()
    for name, values in places.items():
        columns[name] = list(map(_cell, values))
        if isinstance(bar := trace.get(f"error_{name}"), dict) and bar.get("visible") is not False:
            columns[f"{name} interval"] = _intervals(bar, values, _span(trace, layout, name))
    columns["hover text"] = _hover(trace, places, size)
    return [dict(zip(columns, line, strict=True)) for line in zip_longest(*columns.values(), fillvalue="")]


def _intervals(bar: dict[str, Any], values: list[Any], span: tuple[float, float]) -> list[str]:
    """Return the ends of error bars; a bar may lie partly beyond an axis of fixed range, which is said."""
    if bar.get("array") is None:
        return [f"± {_cell(bar.get('value'))} ({_words(bar.get('type'))})"] * len(values)

    def end(value: float) -> str:
        return _cell(value) + ("" if span[0] <= value <= span[1] else " (beyond the axis)")

    bars = zip(values, _array(bar.get("arrayminus") or bar["array"]), _array(bar["array"]), strict=False)
    # What is not known at either end is drawn as a bar of no length.
    return [f"[{end(at - low)}, {end(at + high)}]" if low or high else "" for at, low, high in bars]


def _span(trace: dict[str, Any], layout: Any, place: str) -> tuple[float, float]:
    """Return the range of a trace's axis where the figure fixes it."""
    axis = _get(layout, f"{place}axis{trace.get(f'{place}axis', place)[1:]}")
    match _get(axis, "range"):
        case [int() | float() as low, int() | float() as high]:
            return (10.0**low, 10.0**high) if _get(axis, "type") == "log" else (low, high)
    return -math.inf, math.inf


def _hover(trace: dict[str, Any], places: dict[str, list[Any]], size: int) -> list[str]:
    """Return what plotly says of each point under the pointer, where the figure says what that is."""
    texts = {name: trace.get(name) or [] for name in ("hovertext", "text", "customdata")}
    given = {name: text if isinstance(text, str) else _array(text) for name, text in texts.items()} | places
    template = trace.get("hovertemplate") or next((f"%{{{name}}}" for name in ("hovertext", "text") if given[name]), "")
    hidden = trace.get("hoverinfo") in ("skip", "none")

    def field(found: re.Match[str], at: int) -> str:
        value = given.get(found[1], found[0])
        for index in (at, int(found[2] or 0)):
            value = value[index] if isinstance(value, list) else value
        return _cell(value)

    filled = [_FIELD.sub(functools.partial(field, at=at), template) for at in range(0 if hidden else size)]
    return [_words(text.replace("<br>", ", ")) for text in filled]


def _array(value: Any) -> list[Any]:
    """Return a list, also one that plotly has packed, or raise ValueError."""
    match value:
        case list():
            return value
        case {"dtype": str(dtype), "bdata": str(data)} if dtype in _DTYPES and len(data) < 4_000_000:
            flat = np.frombuffer(base64.b64decode(data, validate=True), np.dtype(dtype).newbyteorder("<"))
            return list(flat.reshape([int(n) for n in str(value.get("shape") or -1).split(",")]).tolist())
    raise ValueError


def _cell(value: Any) -> str:
    """Return a value as text: numbers to six digits, whole ones whole."""
    if value is None or value != value:  # nan alone differs from itself
        return "none"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return _words(value) if isinstance(value, str) else json.dumps(value)


def _axes(layout: Any, letter: str) -> str:
    """Return the titles of all axes of a letter."""
    axes = {**layout, **(_get(layout, "scene") or {})} if isinstance(layout, dict) else {}
    titles = (_words(_get(axis, "title")) for name, axis in axes.items() if re.fullmatch(rf"{letter}axis\d*", name))
    return " / ".join(dict.fromkeys(filter(None, titles)))


def _slider(layout: Any) -> tuple[str, dict[str, str]]:
    """Return what a figure's sliders are called, and its frames as their stops."""
    sliders, stops = _dicts(layout, "sliders"), dict[str, str]()
    names = (_words(_get(slider, "currentvalue", "prefix")) for slider in sliders)
    for step in (step for slider in sliders for step in _dicts(slider, "steps")):
        match step:
            case {"args": [[str(name), *_], *_]}:
                stops[name] = _words(step.get("label"))
    return " / ".join(filter(None, names)).rstrip(":= ") or "stop", stops


def _get(value: Any, *names: str) -> Any:
    """Return what stands deeper in dicts, None where nothing does."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _dicts(value: Any, name: str) -> list[dict[str, Any]]:
    """Return the dicts of a list in a dict."""
    found = _get(value, name)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _words(value: Any) -> str:
    """Return plotly's text, or that of a title, without its marks."""
    text = _get(value, "text") if isinstance(value, dict) else value
    return " ".join(unescape(_TAG.sub(" ", text)).split()) if isinstance(text, str) else ""

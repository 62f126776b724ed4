"""How figures of this study mark an estimate: its bars, its arrow where it is only a bound, its threshold in words."""

from collections.abc import Mapping, Sequence
from typing import Any


def errors(rows: Sequence[Mapping[str, Any]], colour: str) -> dict[str, Any]:
    """Return error bars for a log axis of fixed range: an end not known leaves the axis, two not known are no bar."""
    up, down = [], []
    for row in rows:
        value, low, high = row["value"], row["low"], row["high"]
        known = low is not None or high is not None
        up.append((high or 1e6 * value) - value if known else 0.0)
        down.append(value - (low or 1e-6 * value) if known else 0.0)
    return {"type": "data", "array": up, "arrayminus": down, "color": colour, "thickness": 2, "width": 6}


def threshold_name(row: Mapping[str, Any]) -> str:
    """Return what an estimate's threshold is, from its record."""
    if row["fraction"] is None:
        return f"a score of {row['threshold']:g}"
    return f"{100 * row['fraction']:g} % of the network's own baseline"


def censored_symbol(row: Mapping[str, Any], usual: str, up: str, down: str) -> str:
    """Return an arrow where the value is only a bound."""
    return {"above": up, "below": down}.get(row["censored"], usual)

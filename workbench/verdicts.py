"""Claims, what was measured, and what the rule says: values, tables, files."""

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import records
from workbench.errors import reading, require_choice

# Okabe and Ito's blue and vermilion, told apart in every common colour blindness, that one darkened until white can be
# read on it; the word stands there anyway.
COLOURS = {"holds": "#0072B2", "fails": "#B84E00", "inconclusive": "#6A4C93", "illustration": "#5F5F5F"}
VERDICTS = tuple(COLOURS)


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper and the rule, fixed before the first run, that decides it."""

    name: str  # within the study
    paper: str  # its key
    sentence: str  # what is claimed
    rule: str  # when the claim holds; the rule can fail
    datasets: tuple[str, ...] | None = None  # where the rule decides; numbers on other data are an illustration


@dataclass(frozen=True)
class Finding:
    """A claim and what was measured."""

    claim: Claim
    value: float | None  # infinite when censored: the interval says beyond what
    interval: tuple[float, float] | None  # ends possibly infinite
    n: int  # seeds or examples it rests on
    unit: str  # of value and interval
    verdict: str  # one of VERDICTS
    detail: str  # what a reader must know beside the number

    def __str__(self) -> str:
        """Return the verdict and what it rests on, a line each."""
        measured = "; ".join(filter(None, (self.measured, self.detail)))
        lines = (f"rule      {self.claim.rule}", f"measured  {measured}", f"paper     {self.claim.paper}")
        return "\n  ".join((f"{self.verdict.upper()}  {self.claim.sentence}", *lines))

    @property
    def measured(self) -> str:
        """Value, unit, interval and n as one line of text."""
        return format_measurement(self.value, self.interval, self.n, self.unit)


@dataclass(frozen=True)
class Report:
    """The findings of one run, as text, as a page's table, as a file."""

    study: str
    data: str  # what the numbers stand on, in words
    findings: tuple[Finding, ...]  # in the order of the claims
    unjudged: tuple[Claim, ...] = ()  # what this run did not reach

    def __str__(self) -> str:
        """Return a block of lines per claim, the verdict first."""
        open_claims = [f"NOT JUDGED IN THIS RUN  {claim.sentence}" for claim in self.unjudged]
        return "\n\n".join([*map(str, self.findings), *open_claims, f"Data: {self.data}"])

    def _repr_html_(self) -> str:
        """Return the verdict table; whatever came from outside is escaped."""
        from jinja2 import Environment  # here, for the sake of commands that show no table

        template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
        return Environment(autoescape=True).from_string(template).render(report=self, colours=COLOURS)


def judge_interval(
    value: float | None, interval: tuple[float, float] | None, low: float | None = None, high: float | None = None
) -> str:
    """Decide whether a measurement lies in ``[low, high]``.

    It holds when the whole interval lies inside, fails when it lies outside, and is inconclusive when it crosses an
    end. A censored measurement (``value`` infinite, the interval saying beyond what) lies strictly beyond.

    Args:
        value: The measurement; ``None`` or nan decide nothing.
        interval: Its interval; ``None`` or an end that is nan decide nothing.
        low: Smallest value at which the claim holds; ``None`` for no such end.
        high: Largest one.

    Returns:
        ``"holds"``, ``"fails"`` or ``"inconclusive"``.

    Example:
        >>> judge_interval(750, (600, 900), 375, 1500), judge_interval(750, (300, 900), 375, 1500)
        ('holds', 'inconclusive')
        >>> judge_interval(math.inf, (1500, math.inf), 375, 1500)
        'fails'
    """
    if value is None or interval is None or math.isnan(value) or any(map(math.isnan, interval)):
        return "inconclusive"
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    bottom, top = interval
    beyond = (value == math.inf and bottom >= high) or (value == -math.inf and top <= low)
    if beyond or bottom > high or top < low:
        return "fails"
    return "holds" if low <= bottom and top <= high else "inconclusive"


def n_to_decide(
    value: float, interval: tuple[float, float], n: int, low: float | None = None, high: float | None = None
) -> int | None:
    """Estimate how many seeds or examples would take an interval off the ends of ``[low, high]``.

    The half-width shrinks as ``1/sqrt(n)``: ``n (half-width / distance to the nearest end)^2``.

    Returns:
        The number of them, given the present ``n``; ``None`` where none follows (a censored value, a value on an end).

    Example:
        >>> n_to_decide(10, (8, 12), 5, high=11)
        20
    """
    distance = min((abs(value - end) for end in (low, high) if end is not None), default=0.0)
    half = max(interval[1] - value, value - interval[0])
    if distance == 0 or not math.isfinite(half) or not math.isfinite(value):
        return None
    return max(n, math.ceil(n * (half / distance) ** 2))


def read_report(path: str | Path) -> Report:
    """Read the findings of a run from its ``results.json``; raise DataError if this version cannot."""
    with reading(f"{path} must hold results of schema {records.SCHEMA}", "run the study again"):
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        require_choice("schema", str(data["schema"]), (str(records.SCHEMA),))
        report: Report = _reader().validate_python(data)
        for finding in report.findings:
            require_choice("verdict", finding.verdict, VERDICTS)
        return report


@functools.cache
def _reader() -> Any:
    """Return what checks a report; making it costs more than using it."""
    from pydantic import TypeAdapter  # here, for the sake of studies, which only write

    return TypeAdapter(Report)


def format_measurement(value: float | None, interval: Sequence[float] | None, n: int | None, unit: str = "") -> str:
    """Return value, unit, interval and n as one line of text; a value beyond every run is a bound."""
    if value is None:
        return "no value"
    said, between, count = format_number(value), "", "" if n is None else f"n = {n}"
    low, high = interval or (0.0, 0.0)
    if math.isnan(low) or math.isnan(high):
        count = f"{count}, no spread".removeprefix(", ")
    elif interval and math.isinf(value):
        said = f"> {format_number(low)}" if value > 0 else f"< {format_number(high)}"
    elif interval:
        between = f"[{format_number(low)}, {format_number(high)}]"
    return " ".join(filter(None, (said, unit, between, count and f"({count})")))


def format_number(value: float) -> str:
    """Return four digits, or all of a large whole part: 19,754 and not 1.975e+04."""
    text = f"{value:,.0f}" if 9999.5 <= abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("inf", "∞")

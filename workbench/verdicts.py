"""Claims, what was measured, and what the rule says: values, tables, files."""

import html
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import records
from workbench.errors import DataError, require_choice

VERDICTS = ("holds", "fails", "inconclusive", "illustration")
# Okabe and Ito's blue and vermilion, told apart in every common colour blindness; the word stands there anyway.
_COLOURS = {"holds": "#0072B2", "fails": "#D55E00", "inconclusive": "#6A4C93", "illustration": "#5F5F5F"}


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper and the rule, fixed before the first run, that decides it.

    Attributes:
        name: Short name within the study.
        paper: Key of the paper.
        sentence: What is claimed.
        rule: When the claim holds; the rule can fail.
        datasets: Data on which the rule decides; ``None`` where the data do not matter. Elsewhere the same numbers
            are an illustration, never a verdict.
    """

    name: str
    paper: str
    sentence: str
    rule: str
    datasets: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Finding:
    """A claim and what was measured.

    Attributes:
        claim: The claim.
        value: The measurement; infinite when censored (the interval says beyond what), ``None`` if there is none.
        interval: Its interval, ends possibly infinite.
        n: How many seeds or examples it rests on.
        unit: Unit of value and interval.
        verdict: ``holds``, ``fails``, ``inconclusive`` or ``illustration``.
        detail: What a reader must know beside the number.
    """

    claim: Claim
    value: float | None
    interval: tuple[float, float] | None
    n: int
    unit: str
    verdict: str
    detail: str

    @property
    def measured(self) -> str:
        """Value, unit, interval and n as one line of text."""
        if self.value is None:
            return "no value"
        low, high = self.interval or (math.nan, math.nan)
        unit = f" {self.unit}" if self.unit else ""
        if self.value == math.inf and self.interval:
            return f"> {low:.4g}{unit} (n = {self.n})"
        if self.value == -math.inf and self.interval:
            return f"< {high:.4g}{unit} (n = {self.n})"
        interval = f" [{low:.4g}, {high:.4g}]" if self.interval else ""
        return f"{self.value:.4g}{unit}{interval.replace('inf', '∞')} (n = {self.n})"


@dataclass(frozen=True)
class Report:
    """The findings of one run, as text, as a page's table, as a file.

    Attributes:
        study: Name of the study.
        data: What the numbers stand on, in words.
        findings: One per judged claim, in the order of the claims.
        unjudged: Claims this run did not reach.
    """

    study: str
    data: str
    findings: tuple[Finding, ...]
    unjudged: tuple[Claim, ...] = ()

    def __str__(self) -> str:
        """Return a block of lines per claim, the verdict first."""
        blocks = [
            f"{finding.verdict.upper()}  {finding.claim.sentence}\n"
            f"  rule      {finding.claim.rule}\n"
            f"  measured  {finding.measured}" + (f"; {finding.detail}" if finding.detail else "") + "\n"
            f"  paper     {finding.claim.paper}"
            for finding in self.findings
        ]
        blocks += [f"NOT JUDGED IN THIS RUN  {claim.sentence}" for claim in self.unjudged]
        return "\n".join([*blocks, f"Data: {self.data}"])

    def _repr_html_(self) -> str:
        """Return the verdict table; whatever came from outside is escaped."""
        rows = "".join(_row(finding) for finding in self.findings)
        rows += "".join(
            f"<tr><td>{html.escape(claim.sentence)}</td><td>{html.escape(claim.rule)}</td>"
            "<td>not judged in this run</td><td></td></tr>"
            for claim in self.unjudged
        )
        return (
            '<table class="verdicts" style="border-collapse:collapse;width:100%;text-align:left">'
            "<thead><tr><th>Claim</th><th>Rule, fixed in advance</th><th>Measured</th><th>Verdict</th></tr></thead>"
            f"<tbody>{rows}</tbody></table><p>Data: {html.escape(self.data)}</p>"
        )


def judge_interval(
    value: float | None, interval: tuple[float, float] | None, low: float | None = None, high: float | None = None
) -> str:
    """Decide whether a measurement lies in ``[low, high]``.

    It holds when the whole interval lies inside, fails when it lies outside, and is inconclusive when it crosses an
    end. A censored measurement (``value`` infinite, the interval saying beyond what) lies strictly beyond.

    Args:
        value: The measurement; ``None`` or nan decide nothing.
        interval: Its interval; ``None`` decides nothing.
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

    Args:
        value: The measurement.
        interval: Its interval.
        n: How many seeds or examples it rests on.
        low: Smallest value at which the claim holds, or ``None``.
        high: Largest one, or ``None``.

    Returns:
        The number, or ``None`` where no number follows (a censored value, a value on the end).

    Example:
        >>> n_to_decide(10, (8, 12), 5, high=11)
        20
    """
    ends = [end for end in (low, high) if end is not None and math.isfinite(end)]
    distance = min((abs(value - end) for end in ends), default=0.0)
    half = max(interval[1] - value, value - interval[0])
    if distance == 0 or not math.isfinite(half) or not math.isfinite(value):
        return None
    return max(n, math.ceil(n * (half / distance) ** 2))


def read_report(path: str | Path) -> Report:
    """Read the findings of a run.

    Args:
        path: A ``results.json``.

    Returns:
        The report that wrote it.

    Raises:
        DataError: If the file is not a record this version can read.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        require_choice("schema", str(data["schema"]), (str(records.SCHEMA),))
        findings = tuple(_finding(entry) for entry in data["findings"])
        return Report(data["study"], data["data"], findings, tuple(_claim(entry) for entry in data["unjudged"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} must hold results of schema {records.SCHEMA}, got {type(error).__name__}: {error}; "
            "run the study again"
        ) from error


def _claim(entry: dict[str, Any]) -> Claim:
    """Read a claim back from JSON."""
    claim = Claim(**entry)
    return replace(claim, datasets=None if claim.datasets is None else tuple(claim.datasets))


def _finding(entry: dict[str, Any]) -> Finding:
    """Read a finding back from JSON, where infinities are words."""
    interval = entry["interval"] and (float(entry["interval"][0]), float(entry["interval"][1]))
    value = None if entry["value"] is None else float(entry["value"])
    require_choice("verdict", entry["verdict"], VERDICTS)
    return Finding(**{**entry, "claim": _claim(entry["claim"]), "value": value, "interval": interval})


def _row(finding: Finding) -> str:
    """Return a finding as a table row; a failure is as large as a success."""
    claim, small = finding.claim, "font-size:85%;opacity:.75"
    cells = [
        f'{html.escape(claim.sentence)}<br><span style="{small}">{html.escape(claim.paper)}</span>',
        html.escape(claim.rule),
        f'<b>{html.escape(finding.measured)}</b><br><span style="{small}">{html.escape(finding.detail)}</span>',
        f'<span style="display:inline-block;padding:.2em .5em;border-radius:.3em;color:#fff;font-size:1.3em;'
        f'font-weight:700;background:{_COLOURS[finding.verdict]}">{finding.verdict}</span>',
    ]
    style = "padding:.6em .8em .6em 0;vertical-align:top;border-top:1px solid #bbb;text-align:left"
    return "<tr>" + "".join(f'<td style="{style}">{cell}</td>' for cell in cells) + "</tr>"

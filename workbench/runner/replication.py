"""The replication table: every claim with the run that speaks for it, its other runs, and the runs without verdicts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from workbench.runner.html import frame
from workbench.runner.pages import failure_line
from workbench.verdicts import COLOURS, Claim, Finding, Report

_STYLE = """
body{max-width:92em} .scroll{overflow-x:auto} table{width:100%;min-width:72em;table-layout:fixed}
thead th{font-size:85%;font-weight:600;color:var(--faint);border-bottom:2px solid var(--line)}
td{border-top:1px solid var(--line);overflow-wrap:anywhere} tr.others>td{border:0;padding-top:0}
td table{margin:.3em 0 .6em;font-size:85%} td .note{display:block;color:var(--faint);font-size:85%}
.badge{padding:.2em .55em;border-radius:.3em;color:#fff;font-weight:700;white-space:nowrap}
"""
_CLAIMS = {"Study": 10, "Paper": 10, "Claim": 17, "Rule, fixed in advance": 15, "Measured": 17, "Verdict": 11}
_CLAIMS |= {"Minutes": 6, "Run": 14}  # widths in percent
_OTHERS = {"Study": 20, "Run": 25, "Ended": 10, "Why": 45}


@dataclass(frozen=True)
class Shown:
    """A run as the site shows it."""

    record: dict[str, Any]  # anybody's; its status as it is now
    report: Report | None
    href: str = ""  # its page, if it has one

    @property
    def link(self) -> str:
        """The run's name, leading to its page if there is one."""
        name = escape(self.record["run"])
        return f'<a href="{self.href}">{name}</a>' if self.href else name


_Line = tuple[Claim, Finding | None, Shown | None]  # nothing where that run, or every run, did not judge


def replication_table(shown: Iterable[Shown], known: Iterable[tuple[str, list[Claim]]]) -> str:
    """Return the page of all claims, those of the studies in ``known`` that no run reached included.

    Which of the runs that reached a claim stands first does not depend on what they said.
    """
    newest = sorted(shown, key=lambda entry: (entry.record["started"], entry.record["run"]), reverse=True)
    claims, others = dict[tuple[str, str], list[_Line]](), list[Shown]()
    for entry in sorted(newest, key=lambda entry: entry.record.get("profile") == "smoke"):
        if not entry.report or entry.record["status"] != "done":
            others.append(entry)
            continue
        lines: list[_Line] = [(finding.claim, finding, entry) for finding in entry.report.findings]
        for line in lines + [(claim, None, entry) for claim in entry.report.unjudged]:
            claims.setdefault((entry.record["study"], line[0].name), []).append(line)
    for study, its_claims in known:
        for claim in its_claims:
            claims.setdefault((study, claim.name), [(claim, None, None)])
    first = Counter(lines[0][1].verdict if lines[0][1] else "not judged" for lines in claims.values())
    said = ", ".join(f"{first[verdict]} {verdict}" for verdict in (*COLOURS, "not judged"))
    rows = "".join(_rows(study, claims[study, name]) for study, name in sorted(claims, key=lambda key: key[0]))
    ended = "".join(map(_ended, others))
    return frame(
        "Replication table",
        _STYLE,
        f"<h1>Replication table</h1><p>Claims: {len(claims)} ({said}). Each is shown with its newest run that is not "
        "of profile smoke, or its newest where all are, whatever it said. All numbers: "
        f'<a href="runs.csv">runs.csv</a>.</p>{_table(_CLAIMS, rows)}'
        + (f"<h2>Runs without verdicts</h2>{_table(_OTHERS, ended)}" if ended else ""),
    )


def _table(widths: Mapping[str, int], rows: str) -> str:
    """Return a table with its heads."""
    heads = "".join(f'<th style="width:{width}%">{name}</th>' for name, width in widths.items())
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(*cells: str) -> str:
    """Return cells, HTML already, as a row."""
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _rows(study: str, lines: list[_Line]) -> str:
    """Return a claim's row and, folded, those of its other runs."""
    (claim, first, speaker), *others = lines
    words = (study.replace("_", "-"), claim.paper, claim.sentence, claim.rule)
    row = _cells(*map(escape, words), *_outcome(first, speaker))
    if not others:
        return row
    folded = "".join(
        _cells("same rule" if other.rule == claim.rule else escape(other.rule), *_outcome(finding, entry))
        for other, finding, entry in others
    )
    fold = f"<details><summary>other runs: {len(others)}</summary><table>{folded}</table></details>"
    return f'{row}<tr class="others"><td colspan="{len(_CLAIMS)}">{fold}</td></tr>'


def _outcome(finding: Finding | None, entry: Shown | None) -> tuple[str, str, str, str]:
    """Return the cells of what was measured, what follows, how long it took, and by which run."""
    if not entry:
        return "no run yet", "", "", ""
    measured, badge, record = "not judged in this run", "", entry.record
    if finding:
        measured = f'<b>{escape(finding.measured)}</b><span class="note">{escape(finding.detail)}</span>'
        badge = f'<span class="badge" style="background:{COLOURS[finding.verdict]}">{finding.verdict}</span>'
    data, seconds = record.get("data"), record.get("seconds")
    facts = (record["started"][:10], record.get("profile"), data.get("name") if isinstance(data, dict) else None)
    said = escape(", ".join(str(fact) for fact in facts if fact))
    minutes = f"{seconds / 60:.1f}" if isinstance(seconds, int | float) else ""
    return measured, badge, minutes, f'{entry.link}<span class="note">{said}</span>'


def _ended(entry: Shown) -> str:
    """Return the row of a run that judged nothing: failed, interrupted, running, or of a notebook without claims."""
    status = entry.record["status"]
    why = failure_line(entry.record) or ("the process ended without a word" if status == "interrupted" else "")
    return _cells(escape(entry.record["study"]), entry.link, escape(status), escape(why))

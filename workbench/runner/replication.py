"""The replication table: every claim, the newest measurement of it first, and the runs that came to nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from workbench.records import Run
from workbench.runner.html import frame
from workbench.runner.pages import failure_line
from workbench.verdicts import COLOURS, Claim, Finding, Report

_STYLE = """
body{max-width:76em} h2{margin:2em 0 .2em} h2 small{font-weight:400;color:var(--faint)} .scroll{overflow-x:auto}
table{width:100%} .claims{table-layout:fixed;min-width:60em}
thead th{font-size:85%;font-weight:600;color:var(--faint);border-bottom:2px solid var(--line)}
td{border-top:1px solid var(--line);overflow-wrap:anywhere} tr.older td{border-top:0;padding-top:0}
tr.older table{margin:.3em 0 .6em;font-size:85%;table-layout:fixed} .runs{min-width:50em}
.runs td:nth-child(-n+3){white-space:nowrap}
.badge{display:inline-block;padding:.2em .55em;border-radius:.3em;color:#fff;font-weight:700;font-size:115%;
white-space:nowrap;overflow-wrap:normal} td .note{display:block} .older .badge{font-size:100%}
"""
_COLUMNS = (("Claim", 25), ("Rule, fixed in advance", 20), ("Measured", 22), ("Verdict", 16), ("Run", 17))


@dataclass(frozen=True)
class Shown:
    """A run, what it found, where its page is."""

    run: Run
    report: Report | None
    href: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """When, how and on what, in words; the record is anybody's."""
        record = self.run.record
        data, seconds = record.get("data"), record.get("seconds")
        name = data.get("name") if isinstance(data, dict) else record["parameters"].get("dataset")
        facts = {"date": record["started"][:10], "profile": record.get("profile"), "dataset": name}
        if isinstance(seconds, int | float):
            facts["minutes"] = f"{seconds / 60:.1f} min"
        return {key: str(value) for key, value in facts.items() if value}

    @property
    def link(self) -> str:
        """The run's name, leading to its page if there is one."""
        name = escape(self.run.folder.name)
        return f'<a href="{self.href}">{name}</a>' if self.href else name


_Line = tuple[Claim, Finding | None, Shown | None]  # nothing where a run or all of them did not judge


def replication_table(shown: Iterable[Shown], known: Mapping[str, Iterable[Claim]]) -> str:
    """Return the page of all claims.

    Args:
        shown: The runs, in any order.
        known: Study -> its claims, those without a run included.

    Returns:
        HTML; of several runs that judged a claim the newest stands first and the others are folded away.
    """
    shown = sorted(shown, key=lambda entry: (entry.run.record["started"], entry.run.folder.name), reverse=True)
    claims: dict[str, dict[str, list[_Line]]] = {}
    for entry in shown:
        if entry.report and entry.run.status == "done":
            judged: list[tuple[Claim, Finding | None]] = [(f.claim, f) for f in entry.report.findings]
            for claim, finding in judged + [(claim, None) for claim in entry.report.unjudged]:
                of_study = claims.setdefault(entry.run.folder.parent.name, {})
                of_study.setdefault(claim.name, []).append((claim, finding, entry))
    for study, its_claims in known.items():
        for claim in its_claims:
            claims.setdefault(study, {}).setdefault(claim.name, [(claim, None, None)])
    newest = [lines[0][1] for study in claims.values() for lines in study.values()]
    counts = {verdict: sum(f is not None and f.verdict == verdict for f in newest) for verdict in COLOURS}
    said = ", ".join([*(f"{n} {verdict}" for verdict, n in counts.items()), f"{newest.count(None)} not judged"])
    heads = "".join(f'<th style="width:{width}%">{name}</th>' for name, width in _COLUMNS)
    tables = [
        f'<h2>{escape(study)}</h2><div class="scroll"><table class="claims"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(map(_rows, of_study.values()))}</tbody></table></div>"
        for study, of_study in sorted(claims.items())
    ]
    return frame(
        "Replication table",
        _STYLE,
        f"<h1>Replication table</h1><p>Claims: {len(newest)} ({said}). Each is shown with its newest run, whatever it "
        f'said. All numbers: <a href="runs.csv">runs.csv</a>.</p>{"".join(tables)}{_others(shown)}',
    )


def _rows(lines: list[_Line]) -> str:
    """Return a claim's row and, folded, those of its earlier runs."""
    claim = lines[0][0]
    row = (
        f'<td>{escape(claim.sentence)}<span class="note">{escape(claim.paper)}</span></td><td>{escape(claim.rule)}</td>'
    )
    row = f"<tr>{row}{_outcome(*lines[0][1:])}</tr>"
    if lines[1:]:
        older = "".join(
            f"<tr><td>{'same rule' if old.rule == claim.rule else escape(old.rule)}</td>{_outcome(finding, entry)}</tr>"
            for old, finding, entry in lines[1:]
        )
        fold = f"<details><summary>earlier runs: {len(lines) - 1}</summary><table>{older}</table></details>"
        row += f'<tr class="older"><td colspan="{len(_COLUMNS)}">{fold}</td></tr>'
    return row


def _outcome(finding: Finding | None, entry: Shown | None) -> str:
    """Return the cells of what was measured, what follows, and by which run."""
    measured, badge = "not judged in this run" if entry else "no run yet", ""
    if finding:
        measured = f'<b>{escape(finding.measured)}</b><span class="note">{escape(finding.detail)}</span>'
        badge = f'<span class="badge" style="background:{COLOURS[finding.verdict]}">{finding.verdict}</span>'
    run = f'{entry.link}<span class="note">{escape(", ".join(entry.facts.values()))}</span>' if entry else ""
    return f"<td>{measured}</td><td>{badge}</td><td>{run}</td>"


def _others(shown: Sequence[Shown]) -> str:
    """Return the runs that judged nothing: failed, interrupted, running, or of notebooks without claims."""
    rows = ""
    for entry in shown:
        status, run = entry.run.status, entry.run
        if status == "done" and entry.report:
            continue
        why = failure_line(run.record) or ("the process ended without a word" if status == "interrupted" else "")
        cells = (escape(run.folder.parent.name), entry.link, escape(status), escape(why))
        rows += f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    heads = "<thead><tr><th>Study</th><th>Run</th><th>Ended</th><th>Why</th></tr></thead>"
    table = f'<div class="scroll"><table class="runs">{heads}<tbody>{rows}</tbody></table></div>'
    return f"<h2>Runs without verdicts</h2>{table}" if rows else ""

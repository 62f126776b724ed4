"""The replication table: every claim with the run that speaks for it, its other runs, and the runs without verdicts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.runner.html import render
from workbench.runner.pages import failure_line
from workbench.verdicts import COLOURS, Claim, Finding, Report


@dataclass(frozen=True)
class Shown:
    """A run as the site shows it."""

    record: dict[str, Any]  # anybody's; its status as it is now
    report: Report | None
    href: str = ""  # its page, if it has one

    @property
    def facts(self) -> str:
        """The run's day, profile and data."""
        data = self.record.get("data")
        facts = (self.record["started"][:10], self.record.get("profile"), isinstance(data, dict) and data.get("name"))
        return ", ".join(str(fact) for fact in facts if fact)

    @property
    def why(self) -> str:
        """What ended the run early, if that is known."""
        silent = self.record["status"] == "interrupted"
        return failure_line(self.record) or ("the process ended without a word" if silent else "")


Line = tuple[Claim, Finding | None, Shown | None]  # nothing where that run, or every run, did not judge
Claims = dict[tuple[str, str], list[Line]]  # by study and claim; the line that speaks stands first


def ranked(shown: Iterable[Shown]) -> list[Shown]:
    """Return the runs in the order in which they speak: the newest first, then those of sweeps, then of profile smoke.

    A sweep's runs are not at the study's own parameters, or rest on one seed.
    """
    newest = sorted(shown, key=lambda entry: (entry.record["started"], entry.record["run"]), reverse=True)
    return sorted(newest, key=lambda run: (run.record.get("profile") == "smoke", bool(run.record.get("sweep"))))


def by_claim(runs: Iterable[Shown], known: Iterable[tuple[str, Iterable[Claim]]]) -> tuple[Claims, list[Shown]]:
    """Return what ranked runs say of every claim, and the runs without verdicts.

    Claims of the studies in ``known`` that no run reached are there too, and those that a notebook has dropped stay: a
    verdict does not go with its claim. Which run stands first does not depend on what it said.
    """
    claims, others = Claims(), list[Shown]()
    for entry in runs:
        if not entry.report or entry.record["status"] != "done":
            others.append(entry)
            continue
        lines: list[Line] = [(finding.claim, finding, entry) for finding in entry.report.findings]
        for line in lines + [(claim, None, entry) for claim in entry.report.unjudged]:
            claims.setdefault((entry.record["study"], line[0].name), []).append(line)
    for study, its_claims in known:
        for claim in its_claims:
            claims.setdefault((study, claim.name), [(claim, None, None)])
    return dict(sorted(claims.items(), key=lambda item: item[0][0])), others


def tally(claims: Claims) -> str:
    """Return how many claims there are, and how many of each verdict."""
    first = Counter(lines[0][1].verdict if lines[0][1] else "not judged" for lines in claims.values())
    return f"{len(claims)} ({', '.join(f'{first[verdict]} {verdict}' for verdict in (*COLOURS, 'not judged'))})"


def replication_table(claims: Claims, others: Sequence[Shown]) -> str:
    """Return the page of all claims, and of the runs that judged none."""
    return render("replication", title="Replication table", claims=claims, others=others, tally=tally(claims))

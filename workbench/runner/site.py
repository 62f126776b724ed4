"""Builds one static site out of all runs: landing page, replication table, a page for each run, numbers as CSV.

Every file is written whole or not at all and ``index.html`` last, so a site that was whole stays whole when the
building is killed. Records may come from strangers: what cannot be read is named and left out, what can be is escaped.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench import verdicts
from workbench.errors import DataError, InputError, StorageError
from workbench.files import write_text
from workbench.index import runs
from workbench.records import Run, all_runs
from workbench.runner import studies
from workbench.runner.console import write_csv
from workbench.runner.html import render
from workbench.runner.outcome import error_line, find_report
from workbench.runner.pages import write_page
from workbench.verdicts import Claim, Finding, Report

LARGE = 500_000  # bytes; a page is smaller unless the notebook's own outputs are not


@dataclass(frozen=True)
class Shown:
    """A run as the site shows it."""

    record: dict[str, Any]  # anybody's; its status as it is now
    report: Report | None  # where the run ended well
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
        return error_line(self.record.get("error")) or ("the process ended without a word" if silent else "")


@dataclass(frozen=True)
class Card:
    """A study on the map; one of which there are only runs has a name alone."""

    family: str
    name: str
    question: str = ""
    claims: Sequence[Claim] = ()  # as its notebook writes them down


Line = tuple[Claim, Finding | None, Shown | None]  # nothing where that run, or every run, did not judge
Claims = dict[tuple[str, str], list[Line]]  # by study and claim; the line that speaks stands first


def build_site(out: Path, site: Path, warn: Callable[[str], None]) -> Path:
    """Return the ``index.html`` of the site of all runs in ``out``, written into the folder ``site``.

    Pages that are newer than what they show stay as they are. ``warn`` hears what is left out, or too large.
    """
    found = [entry for folder in all_runs(out) if (entry := _show(folder, site, warn))]
    # The order in which they speak: the newest first, then those of sweeps, then of profile smoke. A sweep's runs are
    # not at the study's own parameters, or rest on one seed.
    found.sort(key=lambda run: (run.record["started"], run.record["run"]), reverse=True)
    found.sort(key=lambda run: (run.record.get("profile") == "smoke", bool(run.record.get("sweep"))))
    known = sorted(_known(warn), key=lambda card: (card.family, card.name))
    claims = _by_claim(found, known)
    strange = sorted({run.record["study"] for run in found} - {card.name for card in known})
    cards = [*known, *(Card("without a notebook here", name) for name in strange)]
    values: dict[str, Any] = {"claims": claims, "runs": found, "cards": cards, "known": known}
    with warnings.catch_warnings(action="ignore"):  # files that cannot be read have been named
        write_csv(site / "runs.csv", runs(out))
    write_text(site / "replication.html", render("replication", **values))
    index = site / "index.html"
    write_text(index, render("landing", **values))
    return index


def _known(warn: Callable[[str], None]) -> Iterator[Card]:
    """Yield all studies here."""
    for path in studies.studies():
        family = "" if path.parent in studies.roots() else path.parent.name
        try:
            yield Card(family, path.stem, studies.describe(path)["question"], studies.claims(path))
        except InputError as error:
            warn(str(error))


def _show(folder: Path, site: Path, warn: Callable[[str], None]) -> Shown | None:
    """Read a run and write its page; what is unreadable is warned about."""
    notebook = folder / "executed.ipynb"
    try:
        run, report = Run.read(folder), find_report(folder)
    except DataError as error:
        warn(str(error))
        return None
    record = {**run.record, "status": run.status}
    shown = Shown(record, report if run.status == "done" else None)
    if not notebook.is_file():
        return shown
    page = site / "pages" / folder.parent.name / f"{folder.name}.html"
    if run.record["status"] == "running" or not _is_newer(page, folder):
        try:
            write_page(notebook, page, library=site / "plotly.min.js", record=record, report=report, home="../../")
        except StorageError:
            raise
        except Exception as error:  # a stranger's notebook can break its converter in any way
            warn(f"{notebook} must be a notebook, got {type(error).__name__}: {error}; its run is shown without a page")
            return shown
    if (size := page.stat().st_size) > LARGE:
        warn(f"{page} has {size / 1e6:.1f} MB: the notebook's own outputs are large")
    return replace(shown, href=quote(page.relative_to(site).as_posix()))


def _is_newer(page: Path, folder: Path) -> bool:
    """Tell whether a page is there and newer than its run and the modules that make pages."""
    sources = [folder / name for name in ("run.json", "results.json", "executed.ipynb")]
    makers = (path for pattern in ("*.py", "templates/*") for path in Path(__file__).parent.glob(pattern))
    newest = max(path.stat().st_mtime for path in (*sources, *makers, Path(verdicts.__file__)) if path.is_file())
    return page.is_file() and page.stat().st_mtime > newest


def _by_claim(found: Sequence[Shown], known: Sequence[Card]) -> Claims:
    """Return what runs, in the order in which they speak, say of every claim.

    Claims of the studies in ``known`` that no run reached are there too, and those that a notebook has dropped stay: a
    verdict does not go with its claim. Which run stands first does not depend on what it said.
    """
    claims = Claims()
    for entry in found:
        if entry.report:
            lines: list[Line] = [(finding.claim, finding, entry) for finding in entry.report.findings]
            for line in lines + [(claim, None, entry) for claim in entry.report.unjudged]:
                claims.setdefault((entry.record["study"], line[0].name), []).append(line)
    for card in known:
        for claim in card.claims:
            claims.setdefault((card.name, claim.name), [(claim, None, None)])
    return dict(sorted(claims.items(), key=lambda item: item[0][0]))

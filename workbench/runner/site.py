"""Builds one static site out of all runs: landing page, replication table, a page for each run, numbers as CSV.

Every file is written whole or not at all and ``index.html`` last, so a site that was whole stays whole when the
building is killed. Records may come from strangers: what cannot be read is named and left out, what can be is escaped.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from workbench import verdicts
from workbench.errors import DataError, InputError, StorageError
from workbench.files import write_text
from workbench.index import runs
from workbench.records import Run, all_runs
from workbench.runner import studies
from workbench.runner.console import write_csv
from workbench.runner.landing import Card, landing_page
from workbench.runner.pages import write_page
from workbench.runner.replication import Shown, by_claim, ranked, replication_table
from workbench.verdicts import read_report

LARGE = 500_000  # bytes; a page is smaller unless the notebook's own outputs are not


def build_site(out: Path, site: Path, warn: Callable[[str], None]) -> Path:
    """Return the ``index.html`` of the site of all runs in ``out``, written into the folder ``site``.

    Pages that are newer than what they show stay as they are. ``warn`` hears what is left out, or too large.
    """
    shown = ranked(entry for folder in all_runs(out) if (entry := _show(folder, site, warn)))
    known = sorted(_known(warn), key=lambda card: (card.family, card.name))
    claims, others = by_claim(shown, ((card.name, card.claims) for card in known))
    with warnings.catch_warnings(action="ignore"):  # files that cannot be read have been named
        write_csv(site / "runs.csv", runs(out))
    write_text(site / "replication.html", replication_table(claims, others))
    index = site / "index.html"
    write_text(index, landing_page(known, claims, shown))
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
    results, notebook = folder / "results.json", folder / "executed.ipynb"
    try:
        run = Run.read(folder)
        report = read_report(results) if results.is_file() else None
    except DataError as error:
        warn(str(error))
        return None
    record = {**run.record, "status": run.status}
    if not notebook.is_file():
        return Shown(record, report)
    page = site / "pages" / folder.parent.name / f"{folder.name}.html"
    if run.record["status"] == "running" or not _is_newer(page, folder):
        table = report._repr_html_() if report else ""
        try:
            write_page(notebook, page, library=site / "plotly.min.js", record=record, verdicts=table, home="../../")
        except StorageError:
            raise
        except Exception as error:  # a stranger's notebook can break its converter in any way
            warn(f"{notebook} must be a notebook, got {type(error).__name__}: {error}; its run is shown without a page")
            return Shown(record, report)
    if (size := page.stat().st_size) > LARGE:
        warn(f"{page} has {size / 1e6:.1f} MB: the notebook's own outputs are large")
    return Shown(record, report, quote(page.relative_to(site).as_posix()))


def _is_newer(page: Path, folder: Path) -> bool:
    """Tell whether a page is there and newer than its run and the modules that make pages."""
    sources = [folder / name for name in ("run.json", "results.json", "executed.ipynb")]
    makers = (path for pattern in ("*.py", "templates/*") for path in Path(__file__).parent.glob(pattern))
    newest = max(path.stat().st_mtime for path in (*sources, *makers, Path(verdicts.__file__)) if path.is_file())
    return page.is_file() and page.stat().st_mtime > newest

"""Builds one static site out of all runs: the replication table, a page for each run, their numbers as CSV.

Every file is written whole or not at all and ``index.html`` last, so a site that was whole stays whole when the
building is killed. Records may come from strangers: what cannot be read is named and left out, what can be is escaped.
"""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from workbench import verdicts
from workbench.errors import DataError, InputError, StorageError
from workbench.files import atomic, write_text
from workbench.records import Run, all_runs
from workbench.runner import html, pages, studies
from workbench.runner.pages import LARGE, write_library, write_page
from workbench.runner.replication import Shown, replication_table
from workbench.verdicts import Claim, Report, read_report

_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}(-\d+)?")
_HOME = '<p><a href="../../index.html">Replication table</a></p>'


def build_site(out: Path, site: Path, warn: Callable[[str], None]) -> Path:
    """Write the site of all runs; pages that are newer than what they show stay as they are.

    Args:
        out: Folder of all runs.
        site: Folder of the site.
        warn: Called with what is left out or larger than it should be.

    Returns:
        The site's ``index.html``.
    """
    write_library(site / "plotly.min.js")
    shown = [entry for folder in all_runs(out) if (entry := _show(folder, site, warn))]
    _write_csv(out, site)
    index = site / "index.html"
    write_text(index, replication_table(shown, _known(warn)))
    # Only now does nothing lead to the pages of runs that are gone. What is no page of ours stays.
    kept = {entry.href for entry in shown}
    for page in (site / "pages").glob("*/*.html"):
        if _RUN_ID.fullmatch(page.stem) and _href(page, site) not in kept:
            page.unlink()
    return index


def _known(warn: Callable[[str], None]) -> dict[str, list[Claim]]:
    """Return the claims of all studies here."""
    known = {}
    for path in studies.studies():
        try:
            known[path.stem] = studies.claims(path)
        except InputError as error:
            warn(str(error))
    return known


def _show(folder: Path, site: Path, warn: Callable[[str], None]) -> Shown | None:
    """Read a run and write its page; what is unreadable is warned about."""
    report, notebook = None, folder / "executed.ipynb"
    try:
        run = Run.read(folder)
        if (folder / "results.json").is_file():
            report = read_report(folder / "results.json")
    except DataError as error:
        warn(str(error))
        return None
    if not notebook.is_file():
        return Shown(run, report)
    page = site / "pages" / folder.parent.name / f"{folder.name}.html"
    try:
        _write_page(run, report, page, site / "plotly.min.js")
    except StorageError:
        raise
    except Exception as error:  # a stranger's notebook can break its converter in any way
        warn(f"{notebook} must be a notebook, got {type(error).__name__}: {error}; its run is shown without a page")
        return Shown(run, report)
    if page.stat().st_size > LARGE:
        warn(f"{page} has {page.stat().st_size / 1e6:.1f} MB: the notebook's own outputs are large")
    return Shown(run, report, _href(page, site))


def _write_page(run: Run, report: Report | None, page: Path, library: Path) -> None:
    """Write a run's page unless it is there and newer than the run and the modules that make pages."""
    sources = [run.folder / name for name in ("run.json", "results.json", "executed.ipynb")]
    sources += [Path(str(module.__file__)) for module in (html, pages, verdicts)]
    newest = max(path.stat().st_mtime for path in sources if path.is_file())
    if page.is_file() and page.stat().st_mtime > newest and run.status == run.record["status"]:
        return
    write_page(
        run.folder / "executed.ipynb",
        page,
        library=library,
        record={**run.record, "status": run.status},
        verdicts=report._repr_html_() if report else "",
        home=_HOME,
    )


def _href(page: Path, site: Path) -> str:
    """Return the link to a page."""
    return quote(page.relative_to(site).as_posix())


def _write_csv(out: Path, site: Path) -> None:
    """Write every run's parameters and results as a table."""
    from workbench.index import runs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # files that cannot be read have been named
        table = runs(out)
    with atomic(site / "runs.csv") as temporary:
        table.to_csv(temporary, index=False)

"""Chromium on pages from disk: no network, and every request and word of the console kept."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.browser.lab import Notebook, project, serve


@pytest.fixture(scope="module")
def chromium():
    """Start Chromium, once for each module: while it runs, no other event loop may in this thread."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -e '.[browser]'")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page as opened, and what it did."""

    page: object
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    @classmethod
    def watched(cls, context) -> "Visit":
        """Open a page and write down every request and every word of the console."""
        seen = cls(context.new_page())
        context.on("request", lambda request: seen.requests.append(request.url))
        context.on("page", lambda page: seen.requests.append(f"new page {page.url}"))
        context.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
        context.on("weberror", lambda error: seen.console.append(f"error: {error.error}"))
        return seen


@pytest.fixture
def visit(chromium):
    """Open a file without any network."""
    contexts = []

    def forget(seen, request):
        if request.failure == "csp":  # the page's policy refused it: it never left
            seen.requests.remove(request.url)

    def go(path, **options) -> Visit:
        context = chromium.new_context(viewport={"width": 1100, "height": 900}, **options)
        contexts.append(context)
        context.set_offline(True)
        context.set_default_timeout(15_000)
        seen = Visit.watched(context)
        context.on("requestfailed", lambda request: forget(seen, request))
        seen.page.goto(path.absolute().as_uri())
        return seen

    yield go
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Start `workbench lab` on a copy of the notebooks, opened on the study that is named; yield its address."""
    with serve(project(tmp_path_factory.mktemp("lab")), "intrinsic-dimension") as address:
        yield address


@pytest.fixture(scope="module")
def desk(lab, chromium):
    """Yield a function that opens a notebook's page, everything it says and asks for kept as ``seen``."""
    contexts = []

    def go(path: Path) -> Notebook:
        contexts.append(chromium.new_context(viewport={"width": 1300, "height": 1000}))
        contexts[-1].set_default_timeout(60_000)
        return Notebook(Visit.watched(contexts[-1]), lab, path)

    yield go
    for context in contexts:
        context.close()

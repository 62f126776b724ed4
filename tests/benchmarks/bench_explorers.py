"""From a control's move to the redraw on the page: milliseconds in Chromium, and in Python alone.

Run: ``python -m tests.benchmarks.bench_explorers``. The goal is 100 ms for what is already computed. A start button is
timed to the first redraw that it brings; its work is stopped then.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import Visit
from tests.browser.lab import DRAWN, NOTEBOOKS, ROOT, Notebook, project, serve

# From the time that the browser gives to the key until after the first frame that shows another drawing; null where
# the drawing is the same after so many milliseconds, as that of a value that another one is rounded to.
WATCH = f"""el => {{
    const drawn = {DRAWN}, before = drawn(el);
    window.took = new Promise(done => {{
        let start;
        setTimeout(() => done(null), 5000);
        document.addEventListener('keydown', event => {{ start = event.timeStamp; }}, {{ capture: true, once: true }});
        new MutationObserver((_, self) => {{
            if (start === undefined || drawn(el) === before) return;
            self.disconnect();
            requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
        }}).observe(el, {{ subtree: true, childList: true, attributes: true }});
    }});
}}"""
# Processor time of what the kernel does about a control's message, from taking its state to sending what to draw.
PYTHON = """
import ipywidgets, time
taken, plain = [], ipywidgets.Widget.set_state
def timed(self, state):
    start = time.thread_time()
    plain(self, state)
    taken.append(1000 * (time.thread_time() - start))
for kind in (ipywidgets.FloatSlider, ipywidgets.IntSlider, ipywidgets.SelectionSlider, ipywidgets.ToggleButtons):
    kind.set_state = timed
"""


def timed(book: Notebook, output, control, key: str) -> float | None:
    """Press a key on a control; return milliseconds to the redraw, None if what is drawn stays the same."""
    control.focus()
    output.evaluate(WATCH)
    book.page.keyboard.press(key)
    milliseconds = book.page.evaluate("window.took")
    book.figure("explorer")
    return milliseconds


def walk(book: Notebook, output, control, moves: int) -> list[float | None]:
    """Move a control on from where it stands, a slider to an end and back, so that most values are met afresh."""
    handle, buttons, took, key = control.locator(".noUi-handle"), control.locator("button"), [], "ArrowLeft"
    for _ in range(moves):
        if handle.count():
            now, low, high = (handle.get_attribute(f"aria-value{name}") for name in ("now", "min", "max"))
            key = {low: "ArrowRight", high: "ArrowLeft"}.get(now, key)
            took.append(timed(book, output, handle, key))
        else:
            chosen = buttons.evaluate_all("all => all.findIndex(one => one.classList.contains('mod-active'))")
            took.append(timed(book, output, buttons.nth((chosen + 1) % buttons.count()), "Enter"))
    return took


def say(name: str, milliseconds: list[float | None], where: str) -> None:
    """Print one line."""
    found = [each for each in milliseconds if each is not None]
    if found:
        what = f"median {statistics.median(found):6.1f} ms, worst {max(found):6.1f} ms of {len(found)}"
        same = len(milliseconds) - len(found)
        print(f"{name:45} {where:7} {what}" + f"; {same} drew the same" * bool(same), flush=True)


def measure(book: Notebook, name: str, moves: int) -> None:
    """Time every control of a notebook's explorer."""
    output = book.figure("explorer")
    book.ask("0", PYTHON)
    for control in output.locator(":is(.widget-slider, .widget-toggle-buttons):not(:has(~ .widget-button))").all():
        book.ask("taken.clear()")
        said = f"{name}: {control.locator('.widget-label').first.text_content()}"
        say(said, walk(book, output, control, moves), "page")
        say(said, json.loads(book.ask("taken")), "Python")
    start, stop = (output.locator(f"button:has(.fa-{icon})") for icon in ("play", "stop"))
    slider = output.locator(".widget-inline-hbox:has(~ .widget-button) .noUi-handle").first
    took = []
    for i in range(moves):
        slider.press("ArrowLeft" if i % 2 else "ArrowRight")
        took.append(timed(book, output, start, "Enter"))
        stop.press("Enter")
        output.get_by_text(re.compile(r": (stopped at .*|finished)$")).wait_for()
    say(f"{name}: {start.text_content()}", took, "page")


def main() -> None:
    """Measure every notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--only", default="", help="part of a notebook's name")
    options = parser.parse_args()
    print(f"load average of the last minute {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(project(Path(folder))) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for path in (path for path in NOTEBOOKS if options.only in path.stem):
            seen = Visit.watched(browser.new_context(viewport={"width": 1300, "height": 1000}))
            book = Notebook(seen, address, path.relative_to(ROOT / "notebooks"))
            book.open(afresh=True)
            assert book.run() == []
            measure(book, path.stem, options.moves)
            book.shut_down()


if __name__ == "__main__":
    main()

"""Every notebook in JupyterLab in a browser: a person predicts, runs, moves, stops, reloads, darkens."""

import re

import pytest

from tests.browser.lab import CROWDED, FAINT, NOTEBOOKS, ROOT

pytestmark = pytest.mark.timeout(600)  # the first test of a notebook waits for all its cells
AT_ONCE = "el => !el.matches(':has(~ .widget-button)')"  # else a control moves what the button beside it will start
STATUS = ".widget-button ~ .widget-html"  # of the live run
KEPT = "kept, given before the result was first shown"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# Collects which part of a widget's state each message of the page to the kernel begins with.
SENDING = """() => {
    window.sent = [];
    window.plainSend ??= WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
        const [, part] = /"method": ?"update", ?"state": ?\\{"(\\w+)"/.exec(text) ?? [];
        if (part) sent.push(part);
        return plainSend.call(this, data);
    };
}"""
# Loses the first message that asks the kernel for plotly's script.
LOSING = """() => {
    const plain = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
        if (window.lost || !/"ask": ?"plotly"/.test(text)) return plain.call(this, data);
        window.lost = true;
    };
}"""
SLOW = """
import time
from workbench.widgets.live import Live
if not hasattr(Live, "quick"):
    Live.quick = Live._report
def slow(self, *given):
    self.quick(*given)
    time.sleep(0.5)
Live._report = {}
"""


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request, desk):
    """Open a notebook and work through it as a reader does: predict, then run everything."""
    book = desk(request.param.relative_to(ROOT / "notebooks"))
    book.open(afresh=True)
    book.shoot("opened")
    ids = book.ids()
    assert book.run(until=ids[ids.index("predict") + 1]) == []
    answer(book)
    book.errors = book.run()
    yield book
    book.shut_down()


def answer(book) -> None:
    """Predict by keyboard: a number, or the first of the choices."""
    control = book.output("predict").locator("input[type=text], .widget-toggle-button").first
    if control.evaluate("el => el.tagName") == "INPUT":
        control.press_sequentially("42")
    control.press("Enter")
    book.output("predict").get_by_text(KEPT).wait_for()
    book.shoot("predicted")


def slide(book, slider, how: str) -> None:
    """Move a slider's handle by keyboard or mouse; it says another value then."""
    handle, readout = slider.locator(".noUi-handle"), slider.locator(".widget-readout")
    before = readout.text_content()
    now, low, high = (float(handle.get_attribute(f"aria-value{name}")) for name in ("now", "min", "max"))
    upper = now > (low + high) / 2
    if how == "keys":
        handle.focus()
        for _ in range(3):
            book.page.keyboard.press("ArrowLeft" if upper else "ArrowRight")
    else:
        rail, grip = slider.locator(".noUi-base").bounding_box(), handle.bounding_box()
        goal = rail["x"] + rail["width"] * (0.25 if upper else 0.75), rail["y"] + rail["height"] / 2
        if how == "drag":
            book.page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
            book.page.mouse.down()
            book.page.mouse.move(*goal, steps=5)
            book.page.mouse.up()
        else:
            book.page.mouse.click(*goal)
    book.until("([el, before]) => el.textContent !== before", readout, before)


def finish(book, cell) -> None:
    """Have the explorer's live run go to its end, at other values than the one before if there was one."""
    status = cell.locator(STATUS)
    before = status.text_content()
    cell.locator("button:has(.fa-play)").click()
    book.until("([el, before]) => el.textContent !== before && /: finished$/.test(el.textContent)", status, before)


def test_it_runs_and_its_figures_draw(notebook):
    assert notebook.errors == []
    notebook.figure("explorer")
    notebook.shoot("explorer")
    plots = notebook.page.locator(".js-plotly-plot")
    for i in range(plots.count()):
        plot = plots.nth(i)
        plot.scroll_into_view_if_needed()
        titles = plot.locator("[class^='g-x'] text, [class^='g-y'] text").all_text_contents()
        assert len(titles) >= 2
        assert all(titles)
        assert plot.evaluate(CROWDED) == []
        width, room = plot.evaluate("el => [el._fullLayout.width, el.clientWidth]")
        assert abs(width - room) <= 1
    for width in (1000, 1300):
        notebook.page.set_viewport_size({"width": width, "height": 1000})
        notebook.until("([el]) => Math.abs(el._fullLayout.width - el.clientWidth) <= 1", plots.last)


def test_hovering_says_what_a_point_is(notebook):
    cell = notebook.figure("explorer")
    point = cell.locator(".points path.point").last
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    notebook.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    said = cell.locator(".hoverlayer .hovertext").first
    said.wait_for()
    notebook.shoot("hover")
    assert re.search(r"[a-z]{3}.*\d|\d.*[a-z]{3}|\w+ = ", said.text_content())
    notebook.page.mouse.move(0, 0)


@pytest.mark.parametrize("how", ["keys", "drag", "click"])
def test_its_controls_move_what_is_drawn(notebook, how):
    cell = notebook.figure("explorer")
    for slider in cell.locator(".widget-slider").all():
        before = notebook.drawn(cell)
        slide(notebook, slider, how)
        if slider.evaluate(AT_ONCE):
            notebook.changed(cell, before)
    notebook.shoot(f"moved-{how}")
    for row in cell.locator(".widget-toggle-buttons").all() if how != "drag" else ():
        before, other = notebook.drawn(cell), row.locator("button:not(.mod-active)").first
        other.press("Enter") if how == "keys" else other.click()
        if row.evaluate(AT_ONCE):
            notebook.changed(cell, before)
    assert notebook.page.evaluate("document.activeElement.closest('.jp-Cell').dataset.id") == "explorer"


def test_a_redraw_is_answered_by_nothing(notebook):
    cell = notebook.figure("explorer")
    for slider in filter(lambda slider: slider.evaluate(AT_ONCE), cell.locator(".widget-slider").all()):
        before = notebook.drawn(cell)
        notebook.page.evaluate(SENDING)
        slide(notebook, slider, "keys")
        notebook.changed(cell, before)
        notebook.ask("0")
        assert set(notebook.page.evaluate("sent")) in ({"value"}, {"index"})


def test_a_live_run_streams_stops_and_starts_anew(notebook):
    cell = notebook.figure("explorer")
    start, stop = (cell.locator(f"button:has(.fa-{name})") for name in ("play", "stop"))
    notebook.ask("0", SLOW.format("slow"))  # a small network is done before anybody presses stop
    frames = [notebook.drawn(cell)]
    start.focus()
    notebook.page.keyboard.press("Enter")
    for _ in range(2):
        frames.append(notebook.changed(cell, frames[-1], rest=False))
    notebook.shoot("streaming")
    assert len(set(frames)) == 3
    assert notebook.ask("6 * 7") == "42"  # the kernel answers meanwhile
    assert cell.get_by_text(re.compile(r"\d: \d+ %$")).is_visible()
    stop.click()
    cell.get_by_text(re.compile(r"stopped at \d+ %$")).wait_for()
    threads = "[t.name for t in __import__('threading').enumerate() if t.name.endswith('(_go)')]"
    assert notebook.ask(threads) == "[]"  # nothing runs on that could draw
    last = notebook.drawn(cell)
    assert notebook.ask("6 * 7") == "42"
    assert notebook.drawn(cell) == last
    notebook.shoot("stopped")
    notebook.ask("0", SLOW.format("Live.quick"))
    start.click()
    cell.get_by_text(": finished").wait_for()
    assert notebook.changed(cell, last)
    notebook.shoot("finished")


def test_a_prediction_stands_beside_the_result(notebook):
    said = notebook.output("prediction-result").inner_text()
    notebook.shoot("prediction-result")
    assert re.match(r"You predicted .+ before the result was first shown:\n.+\.\nMeasured .*\d", said), said


def test_tab_alone_reaches_the_controls(notebook):
    cell = notebook.figure("explorer")
    wanted = cell.locator(".noUi-handle, .widget-button, .widget-toggle-button, input[type=text]")
    notebook.show("explorer")
    for _ in range(40):
        notebook.page.keyboard.press("Tab")
        notebook.page.evaluate("document.activeElement.dataset.reached = 'by tab'")
    assert wanted.count()
    assert [each.get_attribute("class") for each in wanted.all() if not each.get_attribute("data-reached")] == []


def test_a_reload_recovers(notebook):
    before, cell = notebook.ask("id(study)"), notebook.figure("explorer")
    if not cell.locator(STATUS).text_content().endswith(": finished"):
        finish(notebook, cell)
    cell, ended = notebook.figure("explorer"), cell.locator(STATUS).text_content()
    drawn, n_plots = notebook.drawn(cell), cell.locator(".main-svg:first-child").count()
    notebook.do("docmanager:save")
    notebook.page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
    notebook.open(afresh=False)
    assert notebook.ask("id(study)") == before
    cell = notebook.output("explorer")
    notebook.until("([el, n]) => el.querySelectorAll('.main-svg:first-child').length === n", cell, n_plots)
    again = notebook.drawn(notebook.figure("explorer"))
    assert NUMBER.sub("#", again) == NUMBER.sub("#", drawn)
    pixels = ([float(number) for number in NUMBER.findall(text)] for text in (again, drawn))
    assert next(pixels) == pytest.approx(next(pixels), rel=0, abs=0.05)  # Plotly rounds them to hundredths
    notebook.shoot("reloaded")
    assert cell.locator(STATUS).text_content() == ended
    assert notebook.output("predict").get_by_text(KEPT).is_visible()
    test_its_controls_move_what_is_drawn(notebook, "keys")
    cell = notebook.figure("explorer")
    before = notebook.drawn(cell)
    finish(notebook, cell)
    notebook.changed(cell, before)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_every_output_is_readable(notebook, theme):
    notebook.do("apputils:change-theme", theme=theme)
    notebook.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=theme)
    notebook.page.locator("#jupyterlab-splash").wait_for(state="detached")
    for name in ("explorer", "verdict", "predict", "prediction-result"):
        notebook.output(name).scroll_into_view_if_needed()
        notebook.shoot(f"{theme.split()[1].lower()}-{name}")
    faint = notebook.page.locator(".jp-OutputArea-output").evaluate_all(FAINT, 4.5)
    assert faint == []


def test_nothing_went_wrong_and_nothing_left_the_machine(notebook):
    assert [line for line in notebook.seen.console if line.startswith(("error", "warning"))] == []
    base = notebook.url.split("/lab/")[0]
    elsewhere = [url for url in notebook.seen.requests if not url.startswith((f"{base}/", "data:", f"blob:{base}/"))]
    assert elsewhere == []


def test_a_study_named_on_the_command_line_is_opened(lab, desk):
    (path,) = [path for path in NOTEBOOKS if path.stem == "intrinsic_dimension"]
    book = desk(path.relative_to(ROOT / "notebooks"))
    book.url = lab
    book.open(afresh=False)
    assert book.page.locator(".jp-Notebook h1:visible").text_content().startswith("How many parameters")
    book.shut_down()


def test_a_lost_message_is_sent_again(desk):
    (path,) = [path for path in NOTEBOOKS if path.stem == "_template"]
    book = desk(path.relative_to(ROOT / "notebooks"))
    book.open(afresh=True)
    book.page.evaluate(LOSING)
    assert book.run() == []
    book.figure("explorer")
    assert book.page.evaluate("window.lost")
    book.shut_down()

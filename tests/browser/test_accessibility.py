"""The site for those who do not see it, use a keyboard or a phone, or print it."""

import nbformat
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from tests.stored import CLAIM, code, curves, finding, plotly_data, stored_run
from workbench.figures.style import finish
from workbench.runner import studies
from workbench.runner.site import build_site
from workbench.verdicts import COLOURS as VERDICTS
from workbench.verdicts import Claim

PHONE, SHEET = 360, 718  # CSS pixels; a sheet is A4 without the printer's margins
TIGHT = {"title": "Share of entries d", "dtick": 0.1}  # a break before the d, and more labels than a phone has room
WORST = {"serious", "critical"}
PAGES = ("landing", "replication", "run", "failed")


def panels() -> go.Figure:
    """Return panels side by side, with intervals, hover texts and a menu."""
    figure = make_subplots(1, 2)
    bar = {"array": [0.1, 0.25], "arrayminus": [0.2, 0.3]}
    figure.add_bar(x=[10, 200], y=[0.5, 1 / 3], error_y=bar, name="mean", row=1, col=1)
    figure.add_scatter(x=[1, 2, 4], y=[3, 2, 1.5], text=["a", "b", "c"], name="run", row=1, col=2)
    figure.update_xaxes(title="Step (minibatches)", row=1, col=2).update_yaxes(title="Loss (nats)")
    shown = [{"method": "restyle", "label": name, "args": ["visible", [name != "run", name != "mean"]]} for name in
             ("all", "mean", "run")]  # fmt: skip
    figure.update_layout(updatemenus=[{"buttons": shown}])
    return finish(figure, "<b>Two panels?</b>", "Bars: 95 % intervals.<br>Line: one run.")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build a site with one of everything; return its landing page, replication table, full run and failed run."""
    root = tmp_path_factory.mktemp("accessible")
    notebook = root / "notebooks" / "width" / "later.ipynb"
    notebook.parent.mkdir(parents=True)
    cells = [nbformat.v4.new_markdown_cell("# Does width matter?"), code("Claim('c', 'k', 'It does.', 'r')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    columns = [f"column {k}" for k in range(12)]
    head = "".join(f"<th>{name}</th>" for name in columns)
    row = "".join("<td>0.123456</td>" for _ in columns)
    wide = f"<table><thead><tr><th></th>{head}</tr></thead><tbody><tr><th>a</th>{row}</tr></tbody></table>"
    cells = [
        nbformat.v4.new_markdown_cell("# How many?\n\nSee [the paper](https://arxiv.org/abs/1804.08838).\n\n## Runs"),
        code("x = 1  # a comment\nfor name in 'text':\n    print(name, 0.5)", {"text/plain": "word " * 60 + "w" * 200}),
        code("wide", {"text/html": wide}),
        code("curves()", plotly_data(curves().update_layout(xaxis=TIGHT, yaxis_title="accuracy"))),
        code("panels()", plotly_data(panels())),
        code("w", {"application/vnd.jupyter.widget-view+json": {}}),
    ]
    said = [
        finding(verdict, Claim(verdict, "a-paper", CLAIM.sentence, CLAIM.rule), detail="well") for verdict in VERDICTS
    ]
    out = root / "runs"
    stored_run(out, *said, at=1.7e9)
    run = stored_run(out, *said, cells=cells, parameters={"widths": list(range(60)), "path": "/a" * 60})
    error = {
        "cell": 2,
        "line": 3,
        "name": "ValueError",
        "message": "no " * 60,
        "traceback": "Traceback\n  deep " + "x" * 200,
    }
    failed = stored_run(out, at=1.9e9, status="failed", error=error, cells=cells[:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "roots", lambda: [root / "notebooks"])
        index = build_site(out, root / "site", pytest.fail)
    pages = [index.parent / "pages" / "demo" / f"{each.folder.name}.html" for each in (run, failed)]
    return dict(zip(PAGES, (index, index.with_name("replication.html"), *pages), strict=True))


def opened(visit, path, **options):
    """Open a page, its figures drawn, everything unfolded."""
    seen = visit(path, **options)
    seen.page.wait_for_function(
        "[...document.querySelectorAll('.plotly-figure')].every(f => f.querySelector('.xtick'))"
    )
    unfold(seen.page)
    return seen


def drawn(page) -> None:
    """Wait for all figures."""
    for figure in page.locator(".plotly-figure").all():
        figure.locator(".xtick").first.wait_for(state="attached")


def unfold(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    if page.locator("#code").count():
        page.check("#code")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(site, visit, name, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is missing: pip install -e '.[browser]'"
    )
    page = opened(visit, site[name], color_scheme=scheme).page
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 10  # it did look
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]
            if each["impact"] in WORST] == []  # fmt: skip


def test_axe_would_find_something(site, visit):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is missing: pip install -e '.[browser]'"
    )
    page = visit(site["run"]).page
    page.evaluate("document.querySelector('main').innerHTML = '<img src=\"data:,\"><p style=\"color:#bbb\">faint</p>'")
    found = {each["id"] for each in axe.Axe().run(page).response["violations"] if each["impact"] in WORST}
    assert {"image-alt", "color-contrast"} <= found


def test_every_figure_has_a_text_and_its_very_numbers(site, visit):
    page = opened(visit, site["run"]).page
    figures = page.locator("figure")
    texts = [each.locator("svg[role=img]").get_attribute("aria-label") for each in figures.all()]
    assert texts[0] == "k = 1. x: Share of entries d. y: accuracy. Shown: curve. Slider: k. Its stops: zero; one; two."
    assert texts[1].startswith(
        "Two panels? Bars: 95 % intervals. Line: one run. x: Step (minibatches). y: Loss (nats)."
    )
    for figure in figures.all():
        rows = figure.locator("table tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(c => c.textContent))"
        )
        points = figure.locator(".js-plotly-plot").evaluate(
            "d => d.calcdata.flatMap(t => t.map((p, i) => [t[0].trace.x[i], t[0].trace.y[i]]))"
        )
        assert len(points) >= 3
        for x, y in points:
            assert any(f"{x:g}" in row and f"{y:g}" in row for row in rows), (x, y)
    assert page.get_by_role("cell", name="[0.3, 0.6]").count() == 1
    assert page.get_by_role("region", name="Numbers of figure 2").get_by_role("table").count() == 2


def test_the_keyboard_moves_sliders_and_menus_and_scrolls_tables(site, visit):
    page = visit(site["run"]).page
    page.wait_for_selector(".plotly-figure .main-svg path.js-line")
    slider = page.get_by_role("slider", name="k:")
    slider.focus()
    assert slider.get_attribute("aria-valuetext") == "one"
    curve = page.locator(".js-plotly-plot").first
    before = curve.locator("path.js-line").first.get_attribute("d")
    for key, title, stop in (("ArrowRight", "k = 2", "two"), ("Home", "k = 0", "zero"), ("End", "k = 2", "two")):
        page.keyboard.press(key)
        curve.locator(".gtitle", has_text=title).wait_for()
        assert slider.get_attribute("aria-valuetext") == stop
        assert curve.locator("path.js-line").first.get_attribute("d") != before
    assert page.locator("figcaption").first.text_content().startswith("k = 2.")
    page.locator("summary", has_text="Numbers of figure 1").focus()
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Numbers of figure 1").wait_for()
    panel = page.locator(".js-plotly-plot").nth(1)
    menu = page.get_by_role("combobox", name="shown")
    assert menu.locator("option").all_text_contents() == ["all", "mean", "run"]
    assert panel.locator(".scatterlayer path.js-line").count() == 1
    menu.focus()
    page.keyboard.press("ArrowDown")
    panel.locator(".scatterlayer path.js-line").wait_for(state="detached")
    output = page.get_by_role("group", name="Output").filter(has_text="column 11")
    page.set_viewport_size({"width": PHONE, "height": 740})
    output.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    assert output.evaluate("each => each.closest('.output_area').scrollLeft") > 0


def on_phone(visit, path, **options):
    seen = visit(path, **options)
    seen.page.set_viewport_size({"width": PHONE, "height": 740})
    seen.page.reload()
    drawn(seen.page)
    return seen


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_scrolls_down_alone(site, visit, name):
    seen = on_phone(visit, site[name])
    page = seen.page
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE
    # What is wider than the page is inside something that scrolls by itself.
    loose = """() => [...document.querySelectorAll('main *')].filter(each => {
      const scrolls = own => own && (/auto|scroll/.test(getComputedStyle(own).overflowX) || scrolls(own.parentElement));
      const out = each.getBoundingClientRect().right > innerWidth + 1;
      return out && !scrolls(each.parentElement) && !each.closest('svg');
    }).map(each => each.outerHTML.slice(0, 200))"""
    assert page.evaluate(loose) == []
    assert page.evaluate("[...document.querySelectorAll('p, li, td')].filter(each => each.offsetWidth && "
                         "parseFloat(getComputedStyle(each).fontSize) < 13).length") == 0  # fmt: skip
    assert seen.console == []


def test_a_phone_shows_captions_in_full_and_wide_figures_in_their_own_frame(site, visit):
    page = on_phone(visit, site["run"]).page
    captions = page.locator("figcaption")
    assert [each.is_visible() for each in captions.all()] == [True, True]
    assert captions.nth(1).text_content().startswith("Two panels? Bars:")
    assert page.locator(".gtitle").filter(visible=True).count() == 0
    assert page.locator(".modebar-btn").count() == 0
    narrow = page.locator(".plotly-figure").first
    assert narrow.locator(".xtitle tspan").count() == 0  # one line: no break before a lone letter
    assert narrow.locator(".xtick").count() < 10
    frame = page.get_by_role("group", name="A figure wider than the page")
    assert frame.count() == 1
    assert frame.evaluate("each => each.scrollWidth > each.clientWidth")
    width = "each => each._fullLayout.width"
    framed = frame.locator(".plotly-figure").evaluate(width)
    page.set_viewport_size({"width": 1100, "height": 900})
    page.reload()
    drawn(page)
    # panels stand as far apart as on a wide screen
    assert framed == max(page.locator(".plotly-figure").evaluate_all(f"all => all.map({width})"))
    assert [each.is_visible() for each in captions.all()] == [False, False]


def test_a_swipe_over_a_figure_scrolls(site, visit):
    page = on_phone(visit, site["run"], has_touch=True).page
    finger = page.context.new_cdp_session(page)

    def swipe(drawing, across: float, down: float) -> None:
        drawing.scroll_into_view_if_needed()
        place = drawing.bounding_box()
        x, y = place["x"] + 250, place["y"] + 200
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for part in range(1, 11):
            to = [{"x": x + across * part / 10, "y": y + down * part / 10}]
            finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": to})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    narrow, wide = page.locator(".plotly-figure").all()
    ranges = "each => [each._fullLayout.xaxis.range, each._fullLayout.yaxis.range]"
    drawn = [each.evaluate(ranges) for each in (narrow, wide)]
    narrow.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    swipe(narrow, 0, -150)
    page.wait_for_function("before => scrollY > before + 50", arg=before)
    swipe(wide, -150, 0)
    page.wait_for_function("document.querySelector('.wide').scrollLeft > 50")
    assert [each.evaluate(ranges) for each in (narrow, wide)] == drawn


@pytest.mark.parametrize("name", PAGES)
def test_print_cuts_nothing_and_shows_what_is_folded(site, visit, name):
    page = visit(site[name], color_scheme="dark").page
    drawn(page)
    page.emulate_media(media="print")
    drawings = page.locator(".plotly-figure .main-svg").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect().width)"
    )
    page.set_viewport_size({"width": SHEET, "height": 1000})
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = """() => [...document.querySelectorAll('body *')].filter(each => !each.closest('svg, .plotly-figure') &&
      each.getClientRects().length && each.getBoundingClientRect().right > innerWidth + 1)
      .map(each => each.outerHTML.slice(0, 200))"""
    assert page.evaluate(cut) == []
    room = page.evaluate("document.querySelector('main').clientWidth")
    assert [width for width in drawings if width > room] == []  # a figure is not drawn anew for the sheet
    hidden = ("nav", "input", ".numbers")
    assert [part for part in hidden if page.locator(part).filter(visible=True).count()] == []
    shown = {"failed": "deep", "run": "widths", "replication": "same rule"}.get(name)
    assert not shown or page.get_by_text(shown).first.is_visible()
    if name == "run":
        link = "getComputedStyle(document.querySelector('a[href*=arxiv]'), '::after').content"
        assert "https://arxiv.org/abs/1804.08838" in page.evaluate(link)


def test_pages_ask_for_nothing(site, visit):
    for name, path in site.items():
        seen = opened(visit, path)
        assert seen.console == [], name
        assert all(url.startswith("file:///") for url in seen.requests), seen.requests

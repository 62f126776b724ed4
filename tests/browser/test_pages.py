"""Pages and site in a browser without a network: they draw, respond, and run nothing of a stranger's."""

from pathlib import Path

import nbformat
import plotly.graph_objects as go
import pytest
from markupsafe import Markup

from tests.stored import code, curves, finding, plotly_data, stored_run
from workbench.runner.html import render
from workbench.runner.site import build_site
from workbench.verdicts import Claim

HOSTILE = [
    "<script>canary('script')</script>",
    "</script><script>canary('end of script')</script>",
    "<img src=x onerror=\"canary('onerror')\">",
    "<img src='https://example.org/pixel.png'>",
    "<svg onload=\"canary('svg')\"><script>canary('svg script')</script></svg>",
    "<details open ontoggle=\"canary('toggle')\"><summary>s</summary></details>",
    "<input autofocus onfocus=\"canary('focus')\">",
    "<iframe srcdoc=\"<script>parent.canary('frame')</script>\"></iframe><iframe src='https://example.org/'></iframe>",
    "<object data='https://example.org/'></object><embed src='https://example.org/'>",
    "<form action='https://example.org/'><button autofocus>send</button></form>",
    "<meta http-equiv='refresh' content='0;url=https://example.org/refresh'>",
    "<base href='https://example.org/'><link rel='stylesheet' href='https://example.org/s.css'>",
    "<link rel='dns-prefetch' href='//example.org'><link rel='preload' as='script' href='beside.js'>",
    "<style>@import 'https://example.org/i.css'; body{background:url(https://example.org/b.png)}</style>",
    "<p style=\"background:url('https://example.org/p.png');position:fixed;inset:0\">over all</p>",
    "<a id='link' href=\"javascript:canary('link')\">link</a>",
    "<script src='beside.js'></script><template><script>canary('template')</script></template>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=canary('mxss')&gt;\">",
    "<noscript><p title=\"</noscript><img src=x onerror=canary('noscript')>\"></noscript>",
    "<video src='https://example.org/v.mp4' onerror=\"canary('video')\"></video><audio src='https://example.org/a'>",
    "<!-- --!><img src=x onerror=canary('comment')> --><textarea></p><img src=x onerror=canary('text')></textarea>",
]
ALL = " ".join(HOSTILE)
CANARY = "window.caught = []; window.canary = name => window.caught.push(name)"


@pytest.fixture
def site(tmp_path):
    """Build a site of a good run, an earlier one and a failed one."""
    cells = [nbformat.v4.new_markdown_cell("# A question"), code("curves()", plotly_data(curves()))]
    out = tmp_path / "runs"
    stored_run(out, finding("fails"), at=1.7e9)
    stored_run(out, finding("holds", detail="well"), cells=cells)
    error = {"cell": 2, "line": 3, "name": "ValueError", "message": "no", "traceback": "Traceback\n  deep"}
    stored_run(out, at=1.9e9, status="failed", error=error, cells=cells[:1])
    warned: list[str] = []
    index = build_site(out, tmp_path / "site", warned.append)
    assert not warned
    return index


def page_of(index: Path, text: str) -> Path:
    (found,) = [page for page in (index.parent / "pages").glob("*/*.html") if text in page.read_text(encoding="utf-8")]
    return found


def drawn(page) -> str:
    return page.locator(".js-plotly-plot path.js-line").first.get_attribute("d")


def test_figures_draw_sliders_move_labels_show(site, visit):
    path = page_of(site, 'class="plotly"')
    seen = visit(path)
    page = seen.page
    page.wait_for_selector(".plotly-figure .main-svg path.js-line")
    assert page.locator(".gtitle").text_content() == "k = 1"
    slider = page.get_by_role("slider", name="k:")
    place = slider.bounding_box()
    lines = [drawn(page)]
    for part, title in ((0.99, "k = 2"), (0.01, "k = 0")):  # by a click
        page.mouse.click(place["x"] + part * place["width"], place["y"] + place["height"] / 2)
        page.locator(".gtitle", has_text=title).wait_for()
        lines.append(drawn(page))
    page.mouse.down()  # on its grip
    page.mouse.move(place["x"] + 0.5 * place["width"], place["y"] + place["height"] / 2, steps=5)
    page.mouse.up()
    page.locator(".gtitle", has_text="k = 1").wait_for()
    assert drawn(page) == lines[0]
    assert len(set(lines)) == 3
    point = page.locator(".points path.point").nth(1)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    page.wait_for_selector(".hoverlayer .hovertext")
    assert page.locator(".hoverlayer").text_content() == "(1, 1)"
    assert seen.console == []
    assert seen.requests == [path.as_uri(), (site.parent / "plotly.min.js").as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_opens_and_leads_to_its_pages(site, visit, scheme):
    seen = visit(site, color_scheme=scheme)
    page = seen.page
    assert "(1 holds, 0 fails" in page.inner_text("body")
    assert page.locator(".badge").all_inner_texts() == ["holds"]
    page.get_by_role("link", name="replication table").click()
    page.get_by_role("heading", name="Replication table", exact=True).wait_for()
    badges = page.locator(".badge")
    assert [badges.nth(i).is_visible() for i in range(badges.count())] == [True, False]  # the newest, an earlier one
    page.get_by_text("other runs: 1").click()
    assert page.get_by_text("fails", exact=True).last.is_visible()
    assert page.get_by_text("cell 2, line 3: ValueError: no").is_visible()
    sizes = page.evaluate("[...document.querySelectorAll('.badge')].map(b => getComputedStyle(b).fontWeight)")
    assert len(set(sizes)) == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("td a").first.click()
    page.wait_for_selector(".main-svg")
    page.get_by_role("link", name="Replication table").click()
    page.get_by_role("heading", name="Replication table", exact=True).wait_for()
    page.get_by_role("link", name="All studies").click()
    page.get_by_role("heading", name="What is a neural network's parameter worth?").wait_for()
    assert seen.console == []
    assert all(url.startswith("file:///") for url in seen.requests), seen.requests


def test_a_failed_run_says_where_and_folds_the_rest(site, visit):
    page = visit(page_of(site, "ValueError")).page
    assert page.get_by_text("cell 2, line 3: ValueError: no").is_visible()
    assert not page.get_by_text("deep").is_visible()
    page.get_by_text("Traceback", exact=True).click()
    assert page.get_by_text("deep").is_visible()


def watch(seen) -> None:
    """Look at a page again, everything that could call the canary touched."""
    page = seen.page
    page.add_init_script(CANARY)
    page.reload()
    page.wait_for_timeout(500)
    for link in page.locator("main a:not([href$='.html'], [href$='.csv'])").all():
        link.dispatch_event("click")
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = !d.open; })")
    page.wait_for_timeout(500)
    assert page.evaluate("window.caught") == []
    assert all(url.startswith("file:///") for url in seen.requests), seen.requests


def hostile_figure() -> go.Figure:
    text = f"{ALL}<a href=\"javascript:canary('title')\">title</a>"
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], name=text, text=[text, text], mode="lines+text"), {"title": text})
    step = {"label": text, "method": "relayout", "args": [{"title.subtitle.text": text}]}
    sliders = [{"steps": [step, step], "currentvalue": {"prefix": text}}]
    figure.update_layout(sliders=sliders, updatemenus=[{"buttons": [step]}])
    return figure.add_layout_image(source="https://example.org/image.png").add_annotation(text=text)


def test_nothing_of_a_strangers_notebook_runs(tmp_path, visit):
    out = tmp_path / "runs"
    data = [{"text/html": html} for html in HOSTILE]
    data += [{"image/svg+xml": f'<svg xmlns="http://www.w3.org/2000/svg">{HOSTILE[0]}</svg>'}]
    data += [{"application/javascript": "canary('javascript')"}, {"text/latex": ALL}, {"text/markdown": ALL}]
    data += [{"text/html": ALL}, {"text/plain": ALL}, plotly_data(hostile_figure())]
    cells = [nbformat.v4.new_markdown_cell(html) for html in HOSTILE] + [code(f"x = 1  # {ALL}", *data)]
    cells[0]["metadata"]["tags"] = [ALL]
    claim = Claim(ALL, ALL, ALL, ALL)
    run = stored_run(
        out,
        finding(claim=claim, detail=ALL),
        unjudged=(Claim("other", ALL, ALL, ALL),),
        cells=cells,
        parameters={ALL: ALL, "dataset": ALL},
        data=ALL,
        profile=ALL,
    )
    stored_run(out, status="failed", at=1.7e9, error={"name": ALL, "message": ALL, "traceback": ALL}, cells=cells[:1])
    index = build_site(out, tmp_path / "site", pytest.fail)
    for folder in (index.parent, index.parent / "pages" / "demo"):
        (folder / "beside.js").write_text("canary('beside')")
    for page in (index, index.with_name("replication.html")):
        seen = visit(page)
        watch(seen)
        assert seen.console == []
    for page in (index.parent / "pages").glob("*/*.html"):
        seen = visit(page)
        if run.folder.name in page.name:
            seen.page.wait_for_selector(".main-svg path.js-line")
        watch(seen)
        assert [line for line in seen.console if "example.org/image.png" not in line] == []


def test_the_policy_alone_stops_what_the_cleaning_might_miss(tmp_path, visit):
    (tmp_path / "beside.js").write_text("canary('beside')")
    (tmp_path / "page.html").write_text(render("frame", title="t"))
    page = visit(tmp_path / "page.html").page
    page.add_init_script(CANARY)
    # Nothing in a page can forbid a page to lead elsewhere: there the cleaning stands alone.
    for html in (html for html in HOSTILE if "refresh" not in html):
        (tmp_path / "page.html").write_text(render("frame", "n", title="t", body=Markup(f"<main>{html}</main>")))
        page.reload()
        page.wait_for_timeout(50)
        assert page.evaluate("window.caught") == [], html


def test_our_scripts_run_under_the_policy_and_a_page_without_any_runs_none(tmp_path, visit):
    script = Markup("<script nonce='n'>window.ours = 1</script>")
    (tmp_path / "own.html").write_text(render("frame", "n", title="t", scripts=script))
    (tmp_path / "none.html").write_text(render("frame", title="t", scripts=script))
    assert visit(tmp_path / "own.html").page.evaluate("window.ours") == 1
    assert visit(tmp_path / "none.html").page.evaluate("window.ours") is None


def test_the_hostile_cases_do_run_without_our_care(tmp_path, visit):
    """A canary that nothing can wake would prove nothing."""
    (tmp_path / "beside.js").write_text("canary('beside')")
    text = "".join(html for html in HOSTILE if "refresh" not in html and "base" not in html)
    (tmp_path / "bare.html").write_text(f"<!DOCTYPE html><script>{CANARY}</script><main>{text}</main>")
    seen = visit(tmp_path / "bare.html")
    seen.page.wait_for_function("window.caught.length > 3")
    assert {"script", "end of script", "onerror", "beside"} <= set(seen.page.evaluate("window.caught"))
    assert [url for url in seen.requests if "example.org" in url]

"""The built book in a real browser: offline, without errors, for every reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from coursebuild.chapter import Cell, load
from coursebuild.paths import BOOK

PAGES = sorted(
    path.relative_to(BOOK).with_suffix("").as_posix()
    for path in [*BOOK.glob("*.md"), *BOOK.glob("chapters/*.md")]
)
CHAPTERS = [name for name in PAGES if name.startswith("chapters/")]
# Docutils gives its citations roles that ARIA 1.3 deprecates; we cannot mend it from here.
NOT_OURS = {
    ("aria-deprecated-role", '<div class="citation"'),
    ("aria-allowed-role", '<div class="citation"'),
    ("aria-required-children", '<div role="list" class="citation-list"'),
}


class Visit:
    """A page that was opened, and what went wrong meanwhile."""

    def __init__(self, page: Page, site: Path) -> None:
        self.page, self.site = page, site
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: self.errors.append(f"not loaded: {request.url}"))

    def open(self, name: str) -> Page:
        self.page.goto((self.site / f"{name}.html").as_uri())
        self.page.wait_for_function("!window.MathJax || (MathJax.startup && MathJax.startup.promise)")
        self.page.evaluate("window.MathJax && MathJax.startup.promise.then(() => null)")
        return self.page


@pytest.fixture
def visit(browser: Browser, site: Path) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    yield Visit(context.new_page(), site)
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_opens_offline_without_errors(visit: Visit, name: str) -> None:
    page = visit.open(name)
    expect(page.locator("article h1")).to_be_visible()
    foreign = [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert not foreign, f"{name} asks other hosts: {foreign}"
    assert not visit.errors, f"{name} has errors: {visit.errors}"


@pytest.mark.parametrize("name", PAGES)
def test_maths_is_typeset(visit: Visit, name: str) -> None:
    page = visit.open(name)
    formulas = page.locator("article .math").count()
    assert page.locator("article mjx-container").count() >= formulas
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    text = page.evaluate(
        """() => {
          const article = document.querySelector("article").cloneNode(true);
          article.querySelectorAll("pre, code, script, style, mjx-container").forEach((node) => node.remove());
          return article.textContent;
        }"""
    )
    for raw in ("$", "\\(", "\\frac", "\\sqrt", ":::", "{cite}", "{term}"):
        assert raw not in text, f"{name} shows {raw!r} to the reader"


def test_query_and_key_have_their_colours_in_formulas(visit: Visit) -> None:
    page = visit.open("notation")
    colour = "node => getComputedStyle(node).fill"
    assert page.locator(".maths-query").first.evaluate(colour) == "rgb(0, 105, 164)"
    assert page.locator(".maths-key").first.evaluate(colour) == "rgb(179, 78, 0)"


def test_the_theme_can_be_switched(visit: Visit) -> None:
    page = visit.open("notation")
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for _ in range(3):
        page.locator("button.theme-switch-button").first.click()
        page.wait_for_timeout(300)
        seen[page.evaluate("document.documentElement.dataset.theme")] = page.evaluate(ground)
    assert set(seen) == {"light", "dark"}
    assert seen["light"] != seen["dark"]


SEARCHES = [
    ("softmax", "Glossary"),
    ("temperatures", "Notation"),
    ("注意力", "Glossary"),
    ("缩放点积注意力", "Glossary"),
    ("查询", "Glossary"),
]


@pytest.mark.parametrize(("word", "page_found"), SEARCHES)
def test_search_finds_english_and_chinese(visit: Visit, word: str, page_found: str) -> None:
    page = visit.open("index")
    page.goto((visit.site / "search.html").as_uri() + f"?q={word}")
    results = page.locator("ul.search li a")
    expect(results.first).to_be_visible(timeout=15_000)
    assert any(page_found in text for text in results.all_inner_texts()), results.all_inner_texts()


@pytest.mark.parametrize("name", ["index", *CHAPTERS])
def test_moving_figures_react_to_the_keyboard(visit: Visit, name: str) -> None:
    page = visit.open(name)
    figures = page.locator(".afs-figure:has(script)")
    assert figures.count(), f"{name} has no figure that moves"
    for index in range(figures.count()):
        figure = figures.nth(index)
        before = figure.locator(".afs-stage").inner_html()
        handles = figure.locator('[role="slider"], input[type="range"]')
        if handles.count():
            said = handles.first.get_attribute("aria-valuetext")
            handles.first.focus()
            handles.first.press("ArrowRight")
            if handles.first.get_attribute("aria-valuetext") == said:
                handles.first.press("ArrowLeft")
        else:  # a figure of choices: its buttons
            figure.locator('button[aria-pressed="false"]').first.press("Enter")
        assert figure.locator(".afs-stage").inner_html() != before, f"figure {index} of {name} does not move"
    assert not visit.errors


def test_a_moving_figure_follows_the_pointer(visit: Visit) -> None:
    page = visit.open("index")
    handle = page.locator('.afs-figure circle[role="slider"]')
    handle.scroll_into_view_if_needed()
    said = page.locator(".afs-say").inner_text()
    box = handle.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 10, steps=4)
    page.mouse.up()
    assert page.locator(".afs-say").inner_text() != said
    assert "finance" in page.locator(".afs-say").inner_text()


TRACER = "chapters/03_multi_head"


def marked(figure: Locator) -> list[str]:
    """The number that is marked in the memory, in the grid and in the stack of heads."""
    boxes = figure.locator("rect[stroke='currentColor']")
    return [box.evaluate("node => node.nextElementSibling.textContent") for box in boxes.all()]


def tracer(page: Page) -> Locator:
    return page.locator(".afs-figure", has=page.get_by_role("button", name="view alone"))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_tracer_of_strides_follows_pointer_slider_keys_and_recipe(
    browser: Browser, site: Path, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    visit = Visit(context.new_page(), site)
    figure = tracer(visit.open(TRACER))
    slider, said = figure.get_by_role("slider"), figure.locator(".afs-say")
    figure.scroll_into_view_if_needed()

    figure.locator("rect").nth(7).hover()  # the memory comes first
    assert marked(figure) == ["7", "7", "7"]
    expect(slider).to_have_value("7")
    expect(said).to_contain_text("head 1, row 1, dim 1: 1·2 + 1·4 + 1·1 = 7")
    figure.locator("rect").nth(12 + 4).hover()  # then the grid: the first number of its second row
    assert marked(figure) == ["4", "4", "4"]

    slider.press("ArrowRight")
    assert marked(figure) == ["5", "5", "5"]
    slider.press("End")
    assert marked(figure) == ["11", "11", "11"]
    slider.fill("2")
    assert marked(figure) == ["2", "2", "2"]
    assert "has left its position" not in said.inner_text()

    wrong = figure.get_by_role("button", name="view alone")
    wrong.focus()
    wrong.press("Enter")
    expect(wrong).to_have_attribute("aria-pressed", "true")
    expect(said).to_contain_text("head 0, row 1, dim 0: 0·6 + 1·2 + 0·1 = 2. It has left its position.")
    box = figure.locator("svg").bounding_box()
    assert box
    assert 0 <= box["x"] < box["x"] + box["width"] <= width
    assert not visit.errors
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", CHAPTERS)
def test_no_line_of_code_is_cut_off(browser: Browser, site: Path, name: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page = Visit(context.new_page(), site).open(name)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    cut = page.evaluate(
        """() => [...document.querySelectorAll("article .cell_input pre")]
          .filter((pre) => pre.scrollWidth > pre.clientWidth + 1).map((pre) => pre.textContent.slice(0, 80))"""
    )
    context.close()
    assert not cut, f"{name} at {width}: {cut}"


def test_code_is_copied_as_it_was_written(visit: Visit) -> None:
    page = visit.open(TRACER)
    copied = page.evaluate(
        """() => {
          const blocks = [...document.querySelectorAll(".cell_input pre")];
          const pre = blocks.find((block) => block.textContent.includes("class Broken"));
          getSelection().selectAllChildren(pre);
          return [pre.textContent, getSelection().toString()];
        }"""
    )
    written = next(c.source for c in chapter_cells(TRACER) if "class BrokenSelfAttention" in c.source)
    assert [text.strip("\n") for text in copied] == [written, written]


def chapter_cells(name: str) -> list[Cell]:
    """The cells of a chapter's source."""
    return load(name.removeprefix("chapters/")).cells


def test_a_long_title_of_a_fold_is_clear_of_its_arrow(visit: Visit) -> None:
    page = visit.open(TRACER)
    title = page.locator(".admonition.toggle > .admonition-title").first
    rest = title.locator("xpath=following-sibling::*").first
    expect(rest).to_be_hidden()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        overlap = title.evaluate(
            """(title) => {
              const words = document.createRange(); words.selectNodeContents(title.firstChild);
              const arrow = title.querySelector("button").getBoundingClientRect();
              return [...words.getClientRects()].some((line) => line.right > arrow.left + 1);
            }"""
        )
        assert not overlap, f"at {width} the arrow lies over the title"
    title.locator("button").press("Enter")
    expect(rest).to_be_visible()


@pytest.mark.parametrize("name", CHAPTERS)
def test_hints_fold(visit: Visit, name: str) -> None:
    page = visit.open(name)
    hint = page.locator("details.course-hint").first
    words = hint.locator("div").first
    expect(words).to_be_hidden()
    hint.locator("summary").click()
    expect(words).to_be_visible()


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_notebook_can_be_downloaded(visit: Visit, name: str) -> None:
    page = visit.open(name)
    link = page.locator("a.notebook")
    file = visit.site / "chapters" / (link.get_attribute("href") or "")
    text = file.resolve().read_text(encoding="utf-8")
    assert '"nbgrader"' in text
    assert "BEGIN SOLUTION" not in text


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(browser: Browser, site: Path, name: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = Visit(context.new_page(), site).open(name)
    width = page.evaluate("document.documentElement.scrollWidth")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("article *")]
          .filter((n) => n.getBoundingClientRect().right > 362 && !n.closest("pre, table, mjx-container, .math"))
          .slice(0, 3).map((n) => n.outerHTML.slice(0, 80))"""
    )
    context.close()
    assert width <= 360, f"{name} scrolls sideways, to {width}; too wide: {wide}"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_fault_of_ours(browser: Browser, site: Path, name: str, theme: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    page = Visit(context.new_page(), site).open(name)
    found = Axe().run(page, context={"include": [["article"]]})
    context.close()
    faults = [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
        if not any(violation["id"] == rule and node["html"].startswith(start) for rule, start in NOT_OURS)
    ]
    assert not faults, "\n".join(faults)

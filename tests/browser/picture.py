"""Takes the picture of the book that the README shows, `book/_static/book.png`, from the built book (`make picture`).

The picture is a page of chapter 01 as a reader sees it, scrolled to its figure, after the query was moved by two keys.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from coursebuild.paths import BOOK, BUILD

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LARGEST = 200_000


def take(site: Path, target: Path) -> int:
    """Write the picture; returns its size in bytes."""
    found = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit(
            "no Chromium was found: install one, or name it in the environment variable CHROMIUM"
        )
    page_file = site / "chapters/01_soft_lookup.html"
    if not page_file.is_file():
        raise SystemExit(f"{page_file} is not there; build the book first, with `course build`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 780}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.evaluate("window.MathJax && MathJax.startup.promise.then(() => null)")
        figure = page.locator(".afs-figure:has(script)").first
        handle = figure.get_by_role("slider").first
        handle.press("Shift+ArrowRight")
        page.evaluate("document.activeElement.blur()")
        figure.evaluate("node => scrollTo(0, node.getBoundingClientRect().top + scrollY - 150)")
        page.wait_for_timeout(400)  # the bar at the top fades
        page.screenshot(path=target)
        browser.close()
    size = target.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{target} has {size} bytes, more than {LARGEST}: make the window smaller")
    return size


if __name__ == "__main__":
    where = BOOK / "_static" / "book.png"
    size = take(Path(sys.argv[1]) if len(sys.argv) > 1 else BUILD / "html", where)
    print(f"wrote {where} ({size / 1000:.0f} kB)")

"""The built site in a real browser: every page fits its window in both themes, and nothing is missing or from a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.render.browsing import Page, browser

ROOT = Path(__file__).parents[2]
MISSING = "404.html"  # its addresses are those of a server

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None:
        pytest.skip("needs mkdocs, of the extra 'docs'")
    folder = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.mark.parametrize(("width", "dark"), [(380, True), (1280, False)], ids=["phone, dark", "desk, light"])
def test_every_page_fits_its_window_and_loads_from_disk(site: Path, chromium: Any, width: int, dark: bool) -> None:
    opened = Page(chromium, site / "index.html", width, dark)
    pages = [path for path in sorted(site.rglob("*.html")) if path.name != MISSING]
    assert len(pages) > 90
    for path in pages:
        opened.page.goto(path.as_uri())
        opened.page.wait_for_selector("article h1")
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width, path.relative_to(site)
        assert opened.page.evaluate("document.body.dataset.mdColorScheme") == ("slate" if dark else "default")
        assert opened.errors == [], path.relative_to(site)
    opened.page.close()


def test_search_finds_a_page_from_disk(site: Path, chromium: Any) -> None:
    opened = Page(chromium, site / "reference" / "names.html")
    opened.page.click("input[name=query]")
    opened.page.keyboard.type("subdifferential", delay=20)
    opened.page.wait_for_selector("a.md-search-result__link[href*='outside-subdifferential.html']")
    assert opened.errors == []
    opened.page.close()

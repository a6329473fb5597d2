"""A browser, and the page of a failing network in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.render.browsing import Page, browser, network_report


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    network_report().to_html(made / "network.html")
    return made


@pytest.fixture
def page(chromium: Any, folder: Path) -> Iterator[Page]:
    opened = Page(chromium, folder / "network.html")
    yield opened
    assert opened.errors == []
    opened.page.close()

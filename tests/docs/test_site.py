"""The documentation site, without building it: each page is in the navigation, links lead somewhere, drawings are current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.pictures import how_it_works
from docs.site.pages import DOCS, ROOT, ROOT_PAGES, files_of, inside_the_site, links_of, outside_links, page_files
from gradcheck_lab import __all__ as public
from gradcheck_lab.ops import __all__ as ops

CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
NAV = CONFIG.partition("\nnav:\n")[2].partition("\n\n")[0]
ENTRIES = re.findall(r"- (?:[^:\n]+: )?(\S+(?:\.md|/))$", NAV, re.MULTILINE)
HEADING = re.compile(r"^#+ +(?P<title>.*?)(?: +\{ *#(?P<anchor>[\w-]+) *\})?$", re.MULTILINE)
FENCE = re.compile(r"^( *)```.*?^\1``` *$", re.MULTILINE | re.DOTALL)


def anchors_of(path: Path) -> set[str]:
    """The anchors that a page's headings have."""
    found = HEADING.finditer(FENCE.sub("", path.read_text(encoding="utf-8")))
    return {each["anchor"] or re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", each["title"]).strip().lower()) for each in found}


def test_navigation_has_every_page_once() -> None:
    listed = [page for entry in ENTRIES for page in (files_of(entry) if entry.endswith("/") else [entry])]
    pages = [str(path.relative_to(DOCS)) if DOCS in path.parents else path.name for path in page_files()]
    assert sorted(listed) == sorted(pages), "mend `nav` in mkdocs.yml"


@pytest.mark.parametrize("page", page_files(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{page.relative_to(ROOT)} links {link}, where there is no file"
        if anchor and target.suffix == ".md":
            assert anchor in anchors_of(target), f"{page.relative_to(ROOT)} links {link}, which has no such heading"


def test_files_outside_of_docs_have_a_place_in_the_site() -> None:
    assert {inside_the_site(name) for name in ROOT_PAGES} == set(ROOT_PAGES)
    assert all((ROOT / name).is_file() for name in outside_links())


def test_nothing_of_the_site_is_from_a_network() -> None:
    assert re.search(r"^  font: false$", CONFIG, re.MULTILINE)
    assert not re.search(r"https?:", CONFIG)
    for file in (DOCS / "site").glob("*.[cj]s*"):
        assert not re.search(r"https?:|@import", file.read_text(encoding="utf-8")), file.name


@pytest.mark.parametrize("name", ["flow", "wings"])
def test_drawing_is_current(name: str) -> None:
    text = (DOCS / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    assert text == getattr(how_it_works, name)(), "run `python -m docs.pictures.how_it_works`"


def test_reference_has_every_public_name() -> None:
    text = (DOCS / "reference" / "names.md").read_text(encoding="utf-8")
    missing = [name for name in public if not re.search(rf"\bgl\.{name}\b", text)]
    assert not missing, f"docs/reference/names.md lacks {', '.join(missing)}"


def test_reference_has_every_op() -> None:
    text = (DOCS / "reference" / "ops.md").read_text(encoding="utf-8")
    missing = [name for name in ops if name != "FAMILIES" and f"heading: ops.{name}," not in text]
    assert not missing, f"docs/reference/ops.md lacks {', '.join(missing)}"
